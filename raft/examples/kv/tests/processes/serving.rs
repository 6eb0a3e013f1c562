//! What clients may rely on: values come back, through any member, after restarts; members come and go; watchers see all.

use hyper::Method;

use crate::{
    client::{get, put, request},
    cluster::{Cluster, until},
};

#[tokio::test]
async fn what_was_written_through_one_is_read_through_another() {
    let cluster = Cluster::formed(3).await;
    for (through, key) in [(1, "a"), (2, "a/b%20c"), (3, "%00%ff")] {
        let value = format!("through {through}");
        let answer = put(&cluster.http(through), key, value.clone()).await.unwrap();
        assert!(answer.status.is_success(), "{}", answer.text());
        for reader in 1..=3 {
            let answer = get(&cluster.http(reader), key).await.unwrap();
            assert_eq!(answer.text(), value, "{key} through {reader}");
        }
    }
    let list = request(&cluster.http(2), Method::GET, "/kv?prefix=a", "").await.unwrap().json();
    let keys: Vec<_> = list["items"].as_array().unwrap().iter().map(|i| i["key"].clone()).collect();
    assert_eq!(keys, ["a", "a/b%20c"]);
    let gone = request(&cluster.http(3), Method::DELETE, "/kv/a", "").await.unwrap();
    assert!(gone.status.is_success());
    assert_eq!(get(&cluster.http(1), "a").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_stop_hands_over_and_a_restart_finds_everything() {
    let mut cluster = Cluster::formed(3).await;
    put(&cluster.http(1), "kept", "yes").await.unwrap();
    let leader = until("a leader", async || cluster.leader().await).await;
    assert_eq!(cluster.stop(leader).await.code(), Some(0));
    let log = cluster.log(leader);
    let other = leader % 3 + 1;
    // The next leader is there at once: nothing had to time out.
    let answer = put(&cluster.http(other), "next", "leader").await.unwrap();
    assert!(answer.status.is_success(), "{log}");
    for id in cluster.up() {
        assert_eq!(cluster.stop(id).await.code(), Some(0));
    }
    for id in 1..=3 {
        cluster.start(id);
    }
    for (id, key, value) in [(1, "kept", "yes"), (2, "next", "leader"), (3, "kept", "yes")] {
        cluster.healthy(id).await;
        assert_eq!(get(&cluster.http(id), key).await.unwrap().text(), value);
    }
}

#[tokio::test]
async fn members_are_added_and_removed_while_it_serves() {
    let mut cluster = Cluster::formed(3).await;
    put(&cluster.http(1), "a", "1").await.unwrap();
    cluster.start_joining(4, 2);
    until("4 says what it waits for", async || {
        let log = cluster.log(4);
        log.contains("POST its id and address to /members").then_some(()).ok_or(log)
    })
    .await;
    let body = format!("{{\"id\":\"4\",\"addr\":\"{}\"}}", cluster.dialled(4));
    let added = request(&cluster.http(3), Method::POST, "/members", body).await.unwrap();
    assert!(added.status.is_success(), "{}", added.text());
    cluster.healthy(4).await;
    assert_eq!(get(&cluster.http(4), "a").await.unwrap().text(), "1");

    // The leader itself goes: it hands over first.
    let leader = until("a leader", async || cluster.leader().await).await;
    until("the leader is removed", async || {
        let path = format!("/members/{leader}");
        let removed = request(&cluster.http(4), Method::DELETE, &path, "").await?;
        removed.status.is_success().then_some(()).ok_or_else(|| removed.text())
    })
    .await;
    assert_eq!(cluster.ended(leader).await.code(), Some(3), "it says that it was removed");
    cluster.start(leader);
    assert_eq!(cluster.ended(leader).await.code(), Some(3), "and says so again");
    let again = request(&cluster.http(4), Method::DELETE, &format!("/members/{leader}"), "").await;
    assert_eq!(again.unwrap().status, 404);
    assert!(put(&cluster.http(4), "b", "2").await.unwrap().status.is_success());
}

#[tokio::test]
async fn a_removal_that_would_cost_the_quorum_is_refused() {
    let mut cluster = Cluster::formed(3).await;
    let leader = until("a leader", async || cluster.leader().await).await;
    let (dead, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.kill(dead);
    // At once: the leader asks those who would remain rather than rely on what it has heard of them.
    let path = format!("/members/{other}");
    let answer = request(&cluster.http(leader), Method::DELETE, &path, "").await.unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(put(&cluster.http(other), "a", "1").await.unwrap().status.is_success());
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_then_every_change() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    let cluster = Cluster::formed(3).await;
    put(&cluster.http(1), "w/old", "1").await.unwrap();
    put(&cluster.http(1), "other", "1").await.unwrap();
    let mut tcp = tokio::net::TcpStream::connect(cluster.http(2)).await.unwrap();
    tcp.write_all(b"GET /watch/w/ HTTP/1.1\r\nhost: kv\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(tcp).lines();
    let mut event = async || loop {
        let line = lines.next_line().await.unwrap().expect("the stream goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            return data["key"].as_str().unwrap_or("synced").to_owned();
        }
    };
    assert_eq!(event().await, "w/old");
    assert_eq!(event().await, "synced");
    for n in 0..20 {
        put(&cluster.http(3), &format!("w/{n}"), "x").await.unwrap();
        put(&cluster.http(3), &format!("v/{n}"), "x").await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(event().await, format!("w/{n}"));
    }
}

#[tokio::test]
async fn a_joiner_gets_the_whole_state_in_a_snapshot_when_the_log_no_longer_has_it() {
    let mut cluster = Cluster::formed(3).await;
    let value = |n: usize| vec![b'a' + n as u8; 1024 * 1024];
    for n in 0..16 {
        let answer = put(&cluster.http(2), &format!("large/{n}"), value(n)).await.unwrap();
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let snapshot = async |cluster: &Cluster, id: u16| match cluster.status(id).await? {
        status if status["snapshot_index"].as_u64() > Some(0) => Ok(()),
        status => Err(status.to_string()),
    };
    until("a snapshot", async || {
        let leader = cluster.leader().await?;
        snapshot(&cluster, leader).await
    })
    .await;
    let body = format!("{{\"id\":\"4\",\"addr\":\"{}\"}}", cluster.dialled(4));
    request(&cluster.http(1), Method::POST, "/members", body).await.unwrap();
    cluster.start_joining(4, 1);
    cluster.healthy(4).await;
    for life in 0..2 {
        for n in [0, 7, 15] {
            let answer = get(&cluster.http(4), &format!("large/{n}")).await.unwrap();
            assert!(answer.body == value(n), "large/{n} in life {life}");
        }
        snapshot(&cluster, 4).await.unwrap();
        cluster.kill(4);
        cluster.start_joining(4, 1);
        cluster.healthy(4).await;
    }
}

#[tokio::test]
async fn members_with_certificates_talk_to_each_other_and_to_nobody_else() {
    let mut cluster = Cluster::of(3);
    let tls = cluster.folder.path().join("tls");
    let made = std::process::Command::new(crate::cluster::KV)
        .args(["certificates", "--out", tls.to_str().unwrap(), "1", "2", "3"])
        .status();
    assert!(made.unwrap().success());
    let peers = cluster.peers().to_owned();
    for id in 1..=3 {
        let own = tls.join(id.to_string());
        cluster.start_with(id, &["--peers", &peers, "--tls", own.to_str().unwrap()]);
    }
    for id in 1..=3 {
        cluster.healthy(id).await;
    }
    assert!(put(&cluster.http(2), "a", "1").await.unwrap().status.is_success());
    // In the clear nobody gets in.
    cluster.start_joining(4, 1);
    until("4 is not heard", async || {
        let log = cluster.log(4);
        log.contains("no member answers at").then_some(()).ok_or(log)
    })
    .await;
}
