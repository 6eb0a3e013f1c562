//! What is refused, how it is said, and that nothing is half done by it.

use std::process::Command;

use crate::cluster::{Cluster, ORDERER};

fn text(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_at_once() {
    let mut cluster = Cluster::of(1, false, &["--timeout-ms", "50"]);
    cluster.start(1);
    cluster.settled(1).await;

    let large = "x".repeat(100_000);
    let missing = cluster.dialled(7);
    let own = cluster.dialled(1);
    for (arguments, expected) in [
        (&["submit", "--submitter", "", "--id", "1", "x"][..], "submitter has 0 bytes"),
        (&["submit", "--submitter", &large, "--id", "1", "x"], "submitter has 100000 bytes"),
        (&["deliver", "--from", "99"], "the chain has"),
        (&["member", "remove", "9"], "orderer 9 is not a member"),
        (&["member", "remove", "1"], "cannot be removed"),
        (&["member", "add", "1", &missing], "orderer 1 is a member already, at"),
        (&["member", "add", "7", &missing], "orderer 7 at"),
        (&["member", "add", "7", &own], "it is orderer 1 that answers"),
    ] {
        let output = cluster.tool(&[1], arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text(&output).contains(expected), "{arguments:?}: {}", text(&output));
    }

    // An envelope above the absolute size is the only one that is refused for its size.
    let mut client = crate::cluster::client(&cluster.clients(1));
    for (bytes, expected) in [(1_048_500, None), (1_048_577, Some(tonic::Code::InvalidArgument))] {
        let payload = vec![0; bytes].into();
        let envelope =
            skep_orderer::wire::Envelope { submitter: "a".into(), id: bytes.to_string(), payload };
        let outcome = client.submit(envelope).await;
        assert_eq!(outcome.err().map(|status| status.code()), expected, "{bytes}");
    }

    // Other processes: on its address, in its folder, under another name.
    let dir = cluster.dir(1).display().to_string();
    let other = format!("{}:7060", cluster.ip);
    let free = format!("{}:0", cluster.ip);
    let start = |id: &str, addr: &str, dir: &str| {
        let peers = format!("{id}={addr}");
        let mut command = Command::new(ORDERER);
        command.env_clear().args(["--id", id, "--peers", &peers, "--clients", &free, "--dir", dir]);
        text(&command.output().expect("it runs"))
    };
    let said = start("1", &own, &dir);
    assert!(said.contains("cannot listen for orderers"), "{said}");
    let said = start("1", &other, &dir);
    assert!(said.contains("another process has it open"), "{said}");
    cluster.kill(1);
    let said = start("2", &other, &dir);
    assert!(said.contains("belongs to member 1, not to 2"), "{said}");

    // The folder of another chain.
    let elsewhere = cluster.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::write(elsewhere.join("ledger"), "something else entirely, and long").expect("a file");
    let said = start("1", &other, &elsewhere.display().to_string());
    assert!(said.contains("it is no ledger"), "{said}");
    cluster.start(1);
    cluster.settled(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderer_does_not_go_on_with_the_ledger_of_another_chain() {
    let mut clusters = [(); 2].map(|()| Cluster::of(1, false, &["--timeout-ms", "50"]));
    for cluster in &mut clusters {
        cluster.start(1);
        cluster.settled(1).await;
        let submitted = cluster.tool(&[1], &["submit", "--submitter", "a", "--id", "1", "x"]);
        assert!(submitted.status.success(), "{}", text(&submitted));
        cluster.kill(1);
    }
    let ledger = |cluster: &Cluster| cluster.dir(1).join("ledger");
    let [own, other] = &mut clusters;
    let whole = std::fs::read(ledger(own)).expect("a ledger");
    std::fs::copy(ledger(other), ledger(own)).expect("it can be copied");
    own.start(1);
    assert_eq!(own.ended(1).await.code(), Some(1));
    assert!(own.log(1).contains("the ledger is of another chain"), "{}", own.log(1));

    // Damage is named; with its own ledger, whole, it goes on.
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(ledger(own), damaged).expect("it can be written");
    own.start(1);
    assert_eq!(own.ended(1).await.code(), Some(1));
    assert!(own.log(1).contains("block 0 is damaged, at byte 16"), "{}", own.log(1));
    std::fs::write(ledger(own), whole).expect("it can be written");
    own.start(1);
    own.settled(1).await;
}
