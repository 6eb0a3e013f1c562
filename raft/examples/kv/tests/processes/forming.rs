//! How a group comes up: in any order, killed midway, with lost disks, and never twice.

use crate::{
    client::{get, put},
    cluster::{Cluster, until},
};

async fn serves(cluster: &Cluster, through: u16) {
    until("a write", async || {
        let answer = put(&cluster.http(through), "alive", "yes").await?;
        answer.status.is_success().then_some(()).ok_or_else(|| answer.text())
    })
    .await;
}

/// All of them are in one and the same group.
async fn one_group(cluster: &Cluster, ids: &[u16]) {
    let mut groups = Vec::new();
    for id in ids {
        let status = until("a status", async || cluster.status(*id).await).await;
        groups.push(status["cluster"].clone());
    }
    groups.dedup();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let wanted: Vec<String> = ids.iter().map(u16::to_string).collect();
    for id in ids {
        until("all members", async || match cluster.members(*id).await? {
            members if members == wanted => Ok(()),
            members => Err(format!("{members:?}")),
        })
        .await;
    }
}

#[tokio::test]
async fn five_that_start_at_once_are_one_group() {
    let cluster = Cluster::formed(5).await;
    serves(&cluster, 4).await;
    one_group(&cluster, &[1, 2, 3, 4, 5]).await;
}

#[tokio::test]
async fn nobody_founds_a_group_before_all_have_been_there() {
    let mut cluster = Cluster::of(3);
    for id in [3, 1] {
        cluster.start(id);
    }
    until("1 waits for 2", async || {
        let log = cluster.log(1);
        log.contains("no answer from 2").then_some(()).ok_or(log)
    })
    .await;
    assert!(put(&cluster.http(1), "a", "1").await.unwrap().text().contains("not a member yet"));
    cluster.start(2);
    serves(&cluster, 3).await;
    one_group(&cluster, &[1, 2, 3]).await;
}

#[tokio::test]
async fn whoever_is_killed_midway_goes_on_where_it_was() {
    let mut cluster = Cluster::of(3);
    for id in 1..=3 {
        cluster.start(id);
    }
    // Each at another moment: before it can have done anything, and while the group is forming.
    for (round, id) in [1, 2, 3, 1, 2, 3, 1].into_iter().enumerate() {
        let files = ["member.json", "raft/format", "log.key"];
        let file = cluster.dir(id).join(files[round % files.len()]);
        until("a file", async || file.exists().then_some(()).ok_or_else(String::new)).await;
        cluster.kill(id);
        cluster.start(id);
    }
    serves(&cluster, 2).await;
    one_group(&cluster, &[1, 2, 3]).await;
}

#[tokio::test]
async fn a_founder_without_its_disk_waits_for_those_who_come_back_with_theirs() {
    let mut cluster = Cluster::formed(3).await;
    one_group(&cluster, &[1, 2, 3]).await;
    put(&cluster.http(1), "kept", "by the others").await.unwrap();
    for id in 1..=3 {
        cluster.kill(id);
    }
    cluster.wipe(1);
    // At once: when it asks them, they answer, and are not members yet.
    for id in [2, 3, 1] {
        cluster.start(id);
    }
    for id in 1..=3 {
        cluster.healthy(id).await;
    }
    one_group(&cluster, &[1, 2, 3]).await;
    assert_eq!(get(&cluster.http(1), "kept").await.unwrap().text(), "by the others");
}

#[tokio::test]
async fn a_founder_that_has_lost_its_disk_joins_the_group_that_is_there() {
    let mut cluster = Cluster::formed(3).await;
    put(&cluster.http(1), "kept", "by the others").await.unwrap();
    one_group(&cluster, &[1, 2, 3]).await;
    cluster.kill(1);
    cluster.wipe(1);
    cluster.start(1);
    cluster.healthy(1).await;
    one_group(&cluster, &[1, 2, 3]).await;
    assert_eq!(get(&cluster.http(1), "kept").await.unwrap().text(), "by the others");
    // Its old membership has ended for good, which the new one does not change.
    cluster.kill(1);
    cluster.start(1);
    cluster.healthy(1).await;
}
