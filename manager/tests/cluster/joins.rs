//! Joins that must not succeed: a clear error each, and nothing left behind.

use std::net::{Ipv4Addr, SocketAddr};

use skep_proto::{
    skep::{DaemonState, JoinRequest},
    swarmkit::KeyRotation,
};
use skep_testkit::skepd_process::Skepd;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::support::{cluster, start, update_cluster};

/// A join that is refused; gives the reason. Neither side keeps anything of it.
async fn refused(joiner: &Skepd, member: &Skepd, settings: JoinRequest) -> Status {
    let before = member.nodes().await.unwrap().len();
    let status = joiner.daemon_client().join(settings).await.expect_err("the join is refused");
    assert_eq!(joiner.status().await.unwrap().state(), DaemonState::Inactive);
    assert_eq!(member.nodes().await.unwrap().len(), before, "a node was left behind");
    let certificates = joiner.state_dir().join("certificates");
    assert!(!certificates.exists(), "a certificate was left behind");
    status
}

fn join(member: &Skepd, token: &str) -> JoinRequest {
    JoinRequest {
        remote_addrs: vec![member.addr().to_string()],
        token: token.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn tokens_that_do_not_open_this_cluster() {
    let cluster = cluster(1).await;
    let member = &cluster.managers[0];
    let other = start("other-cluster").await;
    let foreign = other.init().await.unwrap().worker_join_token;
    let keys = member.keys().await.unwrap();
    let joiner = start("joiner").await;

    let status = refused(&joiner, member, join(member, "SWMTKN-1-nonsense")).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");

    // The digest of this cluster's root, and another secret.
    let (head, _) = keys.worker_join_token.rsplit_once('-').unwrap();
    let guessed = format!("{head}-0000000000000000000000000");
    let status = refused(&joiner, member, join(member, &guessed)).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let text = "A valid join token is necessary to join this cluster";
    assert!(status.message().contains(text), "{status}");

    let status = refused(&joiner, member, join(member, &foreign)).await;
    assert!(status.message().contains("does not match fingerprint"), "{status}");

    update_cluster(member, |request| {
        request.rotation = Some(KeyRotation { worker_join_token: true, ..Default::default() });
    })
    .await;
    let status = refused(&joiner, member, join(member, &keys.worker_join_token)).await;
    assert!(status.message().contains(text), "{status}");
    let fresh = member.keys().await.unwrap().worker_join_token;
    joiner.join(member, &fresh).await.unwrap();
}

#[tokio::test]
async fn a_manager_that_cannot_be_reached_back_is_not_admitted() {
    let cluster = cluster(1).await;
    let member = &cluster.managers[0];
    let token = member.keys().await.unwrap().manager_join_token;
    let joiner = start("joiner").await;

    // Nobody listens there: the port was free a moment ago, and the address is nobody's.
    let nobody = SocketAddr::from((Ipv4Addr::new(127, 255, 255, 254), 9));
    let settings = JoinRequest { advertise_addr: nobody.to_string(), ..join(member, &token) };
    let status = refused(&joiner, member, settings).await;
    assert!(status.message().contains(&nobody.to_string()), "{status}");

    // Somebody answers there who is no manager.
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = stranger.local_addr().unwrap();
    let closing = tokio::spawn(async move {
        while let Ok((stream, _)) = stranger.accept().await {
            drop(stream);
        }
    });
    let settings = JoinRequest { advertise_addr: addr.to_string(), ..join(member, &token) };
    let status = refused(&joiner, member, settings).await;
    assert!(status.message().contains(&addr.to_string()), "{status}");
    closing.abort();

    // And with an address of its own it is let in.
    joiner.join(member, &token).await.unwrap();
    member.wait_until_ready(2, 2).await.unwrap();
}

#[tokio::test]
async fn a_node_is_in_one_cluster_at_a_time() {
    let cluster = cluster(1).await;
    let member = &cluster.managers[0];
    let token = member.keys().await.unwrap().manager_join_token;
    let joiner = start("joiner").await;
    joiner.join(member, &token).await.unwrap();
    let status = joiner.daemon_client().join(join(member, &token)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("already part of a swarm"), "{status}");
    member.wait_until_ready(2, 2).await.unwrap();
}

#[tokio::test]
async fn managers_that_join_at_the_same_time_all_get_in() {
    let cluster = cluster(1).await;
    let member = &cluster.managers[0];
    let token = member.keys().await.unwrap().manager_join_token;
    let joiners = [start("a").await, start("b").await, start("c").await, start("d").await];
    let joins = joiners.iter().map(|joiner| joiner.join(member, &token));
    for joined in futures::future::join_all(joins).await {
        joined.unwrap();
    }
    member.wait_until_ready(5, 5).await.unwrap();
}

#[tokio::test]
async fn a_refused_join_leaves_nothing_behind_through_a_follower_either() {
    let cluster = cluster(3).await;
    let leader = cluster.leader().await.unwrap();
    let follower = &cluster.managers[(leader + 1) % 3];
    let token = follower.keys().await.unwrap().manager_join_token;
    let nobody = SocketAddr::from((Ipv4Addr::new(127, 255, 255, 254), 9));
    let settings = JoinRequest { advertise_addr: nobody.to_string(), ..join(follower, &token) };
    let joiner = start("joiner").await;
    let status = refused(&joiner, follower, settings).await;
    assert!(status.message().contains(&nobody.to_string()), "{status}");
}
