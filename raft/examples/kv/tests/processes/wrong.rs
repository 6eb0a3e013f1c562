//! What is wrong is said at once, in words, and leaves nothing half-done.

use crate::{
    client::{put, request},
    cluster::{Cluster, KV, own_address, until},
};
use hyper::Method;

/// Runs it to its end; gives the exit code and what it said.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(KV).env_clear().args(args).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_line_that_makes_no_sense_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    let dir = dir.to_str().unwrap();
    let ip = own_address();
    let (peers, http) = (format!("1={ip}:7001"), format!("{ip}:0"));
    let common = ["--http", &http, "--dir", dir];
    for (args, code, says) in [
        (vec!["--id", "2", "--peers", &peers], 1, "--peers has no id 2"),
        (vec!["--id", "1", "--peers", "1=nowhere"], 2, "not of the form ID=HOST:PORT"),
        (vec!["--id", "1"], 1, "give --peers or --join"),
        (vec!["--id", "1", "--join", "a:1"], 2, "--addr"),
        (vec!["--id", "1", "--peers", "1=192.0.2.1:7001", "--listen", "0.0.0.0:0"], 1, "need TLS"),
        (vec!["--id", "1", "--peers", &peers, "--tls", "/nonexistent"], 1, "cannot read"),
    ] {
        let args: Vec<&str> = args.into_iter().chain(common).collect();
        let (exit, said) = run(&args);
        assert!(exit == Some(code) && said.contains(says), "{args:?}: {exit:?}\n{said}");
        assert!(!std::path::Path::new(dir).exists(), "{args:?} made the folder");
    }
    let taken = std::net::TcpListener::bind((ip, 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (exit, said) = run(&["--id", "1", "--peers", &peers, "--http", &taken, "--dir", dir]);
    assert!(exit == Some(1) && said.contains(&format!("cannot listen for clients on {taken}")));
    assert!(!std::path::Path::new(dir).exists());
}

#[tokio::test]
async fn a_folder_is_that_of_one_member_of_one_group() {
    let mut cluster = Cluster::formed(3).await;
    let mut other = Cluster::formed(3).await;
    cluster.kill(2);
    // The folder of member 3.
    let dir = cluster.dir(3);
    let dir = dir.to_str().unwrap();
    let args = |dir: &str| {
        let http = cluster.http(2);
        let args = ["--id", "2", "--peers", cluster.peers(), "--http", &http, "--dir", dir];
        run(&args)
    };
    let (exit, said) = args(dir);
    assert!(exit == Some(1) && said.contains("in use by another process"), "{said}");
    cluster.kill(3);
    let (exit, said) = {
        let http = cluster.http(2);
        run(&["--id", "2", "--peers", cluster.peers(), "--http", &http, "--dir", dir])
    };
    assert!(exit == Some(1) && said.contains("belongs to member 3, not to 2"), "{said}");
    cluster.start(3);
    cluster.healthy(3).await;

    // The folder of the same member of another group.
    other.kill(2);
    let (exit, said) = {
        let (http, dir) = (cluster.http(2), other.dir(2));
        let dir = dir.to_str().unwrap();
        run(&["--id", "2", "--peers", cluster.peers(), "--http", &http, "--dir", dir])
    };
    assert!(exit == Some(1) && said.contains("the folder or the address is wrong"), "{said}");

    // A log that is gone while the rest of the folder is there: its votes are forgotten.
    std::fs::remove_dir_all(cluster.dir(2).join("raft")).unwrap();
    let (exit, said) = {
        let (http, dir) = (cluster.http(2), cluster.dir(2));
        let dir = dir.to_str().unwrap();
        run(&["--id", "2", "--peers", cluster.peers(), "--http", &http, "--dir", dir])
    };
    assert!(exit == Some(1) && said.contains("raft log is gone"), "{said}");
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused() {
    let mut cluster = Cluster::formed(3).await;
    let body = format!("{{\"id\":\"2\",\"addr\":\"{}\"}}", cluster.dialled(5));
    let added = request(&cluster.http(1), Method::POST, "/members", body).await.unwrap();
    assert_eq!(added.status, 409, "{}", added.text());
    // Even one that would be let in by its address is dialled back, and it is somebody else who answers there.
    let (through, addr) = (cluster.dialled(1), cluster.dialled(2));
    let listen = format!("{}:0", cluster.ip);
    let options = ["--join", &through, "--addr", &addr, "--listen", &listen];
    let dir = cluster.dir(2).with_extension("impostor");
    let http = format!("{}:0", cluster.ip);
    let log = cluster.folder.path().join("impostor");
    let mut impostor = std::process::Command::new(KV)
        .args(["--id", "2", "--http", &http, "--dir", dir.to_str().unwrap()])
        .args(options)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    until("it is refused", async || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("another node answers at").then_some(()).ok_or(said)
    })
    .await;
    impostor.kill().unwrap();
    impostor.wait().unwrap();
    cluster.kill(3);
    assert!(put(&cluster.http(2), "a", "1").await.unwrap().status.is_success());
}

#[tokio::test]
async fn keys_and_values_that_are_too_large_are_refused_before_they_are_proposed() {
    let cluster = Cluster::formed(1).await;
    let http = cluster.http(1);
    let long = "k".repeat(4097);
    let answer = put(&http, &long, "v").await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.text().contains("a key has 1 to 4096")),
        (400, true)
    );
    let answer = put(&http, "k", vec![b'v'; 1024 * 1024]).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.text());
    let answer = put(&http, "k", vec![b'v'; 1024 * 1024 + 1]).await;
    // It may close the connection before all of it was sent.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 413));
    assert!(put(&http, "k", "v").await.unwrap().status.is_success());
    let nowhere = request(&http, Method::GET, "/elsewhere", "").await.unwrap();
    assert_eq!(nowhere.status, 404);
}
