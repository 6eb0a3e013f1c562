//! Whom a newcomer is led to, and that it can talk to them.

use std::collections::BTreeSet;

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{Meta, NodeStatus},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn node(number: u8, state: State, role: NodeRole) -> Node {
    let created_at = Some(Timestamp { seconds: number.into(), nanos: 0 });
    let addr = format!("192.0.2.{number}");
    Node {
        id: format!("node-{number}"),
        meta: Some(Meta { created_at, ..Default::default() }),
        status: Some(NodeStatus { state: state.into(), addr, ..Default::default() }),
        role: role.into(),
        ..Default::default()
    }
}

fn ready(number: u8) -> Node {
    node(number, State::Ready, NodeRole::Worker)
}

/// The last numbers of the addresses that a newcomer is led to.
fn led_to(nodes: &[Node], newcomer: u8) -> Vec<u8> {
    let hosts = hosts(nodes.iter(), IpAddr::from([192, 0, 2, newcomer]));
    let last = |host: IpAddr| match host {
        IpAddr::V4(host) => host.octets()[3],
        IpAddr::V6(host) => panic!("{host} is none of the nodes"),
    };
    hosts.into_iter().map(last).collect()
}

#[test]
fn newcomers_are_led_to_the_oldest_and_then_to_others() {
    let nodes: Vec<Node> = (1..=20).rev().map(ready).collect();
    let mut first = BTreeSet::new();
    for _ in 0..200 {
        let hosts = led_to(&nodes, 20);
        let anchors: BTreeSet<u8> = hosts[..ANCHORS].iter().copied().collect();
        assert_eq!(anchors, BTreeSet::from([1, 2, 3]));
        assert_eq!(hosts[ANCHORS..], [4, 5, 6, 7, 8]);
        first.insert(hosts[0]);
    }
    assert_eq!(first, BTreeSet::from([1, 2, 3]), "each of the anchors has its share");
}

#[test]
fn nobody_is_led_to_itself_or_to_one_who_cannot_answer() {
    let nodes = [
        ready(1),
        node(2, State::Down, NodeRole::Worker),
        node(3, State::Ready, NodeRole::Manager),
        node(4, State::Unknown, NodeRole::Worker),
        ready(5),
    ];
    for (newcomer, hosts) in [(1, vec![5]), (5, vec![1])] {
        assert_eq!(led_to(&nodes, newcomer), hosts);
    }
    assert_eq!(led_to(&nodes[..2], 1), [0; 0], "the first engine of all is led to nobody");
}

#[tokio::test]
async fn a_newcomer_talks_to_the_first_that_answers() {
    // A loopback address of its own for each, as the port is the same for all.
    let [silent, member, manager] = [(); 3].map(|()| {
        let [a, b, c] = rand::random::<[u8; 3]>();
        IpAddr::from([127, a.clamp(1, 254), b, c.clamp(1, 254)])
    });
    let listener = TcpListener::bind((member, GOSSIP_PORT)).await.unwrap();
    let door = TcpListener::bind((manager, 0)).await.unwrap();
    let dialled = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = door.accept().await.unwrap();
    let introducing = tokio::spawn(introduce(accepted, vec![silent, member]));
    let (mut answers, _) = listener.accept().await.unwrap();
    let mut newcomer = dialled;
    newcomer.write_all(b"who is there?").await.unwrap();
    newcomer.shutdown().await.unwrap();
    let mut heard = String::new();
    answers.read_to_string(&mut heard).await.unwrap();
    answers.write_all(b"all of us").await.unwrap();
    drop(answers);
    let mut told = String::new();
    newcomer.read_to_string(&mut told).await.unwrap();
    assert_eq!((&*heard, &*told), ("who is there?", "all of us"));
    introducing.await.unwrap();
}
