//! What is there after everybody was killed, and how a manager that was away catches up.

use skep_proto::{
    skep::{GetRaftStatusRequest, InitRequest},
    swarmkit::ListConfigsRequest,
};
use skep_testkit::skepd_process::{SETTLE_LIMIT, SkepdCluster};

use crate::support::{cluster, create, create_surely, names, start};

/// Entries that a manager misses. `SKEP_TEST_AWAY_ENTRIES=100000` makes it the long run.
fn away_entries() -> usize {
    let set = std::env::var("SKEP_TEST_AWAY_ENTRIES").ok();
    set.map_or(1_500, |text| text.parse().expect("SKEP_TEST_AWAY_ENTRIES is a number"))
}

/// Entries between two snapshots in that test.
const SNAPSHOT_INTERVAL: u64 = 500;
/// Writers at once in that test.
const WRITERS: usize = 32;

#[tokio::test]
async fn everything_is_there_after_all_managers_were_killed() {
    let mut cluster = cluster(3).await;
    let written: Vec<_> = (0..20).map(|n| format!("config-{n}")).collect();
    for name in &written {
        create(&cluster.managers[0], name).await.unwrap();
    }
    for manager in &mut cluster.managers {
        manager.kill();
    }
    for manager in &mut cluster.managers {
        manager.spawn().unwrap();
    }
    for manager in &cluster.managers {
        manager.wait_until_ready(3, 3).await.unwrap();
        assert_eq!(names(manager).await, written.iter().cloned().collect());
    }
    create_surely(&cluster.managers[2], "one-more").await;
}

#[tokio::test]
async fn a_manager_that_was_away_for_long_comes_back_by_snapshot() {
    let first = start("manager-1").await;
    let settings = InitRequest { snapshot_interval: SNAPSHOT_INTERVAL, ..Default::default() };
    let token = first.init_with(settings).await.unwrap().manager_join_token;
    let mut managers = vec![first];
    for name in ["manager-2", "manager-3"] {
        let manager = start(name).await;
        manager.join(&managers[0], &token).await.unwrap();
        managers.push(manager);
    }
    let mut cluster = SkepdCluster { managers };
    let leader = cluster.leader().await.unwrap();
    let away = (leader + 1) % 3;
    cluster.managers[away].kill();

    let entries = away_entries();
    let writer = &cluster.managers[leader];
    let writers = (0..WRITERS).map(|writer_number| async move {
        for number in (writer_number..entries).step_by(WRITERS) {
            create(writer, &format!("config-{number}")).await.unwrap();
        }
    });
    futures::future::join_all(writers).await;

    cluster.managers[away].restart().await.unwrap();
    let back = &cluster.managers[away];
    back.wait_for("the snapshot and what came after it", SETTLE_LIMIT, async |manager| {
        let status = manager.raft_client().get_raft_status(GetRaftStatusRequest {}).await;
        let status = status.map_err(|s| s.to_string())?.into_inner();
        let caught_up = status.applied_index >= entries as u64 && status.snapshot_index > 0;
        if caught_up { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await
    .unwrap();
    let request = ListConfigsRequest::default();
    let listed = back.control_client().list_configs(request).await.unwrap().into_inner();
    assert_eq!(listed.configs.len(), entries);
}

#[tokio::test]
async fn one_manager_can_be_made_the_whole_cluster_when_the_quorum_is_lost() {
    let mut cluster = cluster(3).await;
    create(&cluster.managers[0], "kept").await.unwrap();
    cluster.managers[1].kill();
    cluster.managers[2].kill();
    let request = InitRequest { force_new_cluster: true, ..Default::default() };
    cluster.managers[0].daemon_client().init(request).await.unwrap();
    create_surely(&cluster.managers[0], "alone").await;
    assert_eq!(names(&cluster.managers[0]).await.len(), 2);
    let request = GetRaftStatusRequest {};
    let status =
        cluster.managers[0].raft_client().get_raft_status(request).await.unwrap().into_inner();
    assert_eq!(status.members.len(), 1);
    assert_eq!(status.removed_members, 2);
}

#[tokio::test]
async fn a_manager_that_moved_is_found_at_its_new_address() {
    let mut cluster = cluster(3).await;
    let leader = cluster.leader().await.unwrap();
    let moved = (leader + 1) % 3;
    cluster.managers[moved].kill();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = cluster.managers[moved].options();
    // The last one given counts.
    for argument in
        ["--listen".to_owned(), free.to_string(), "--advertise".to_owned(), free.to_string()]
    {
        options.arguments.push(argument.into());
    }
    options.environment.push(("SKEP_LOG_LEVEL".to_owned(), "info".into()));
    cluster.managers[moved].restart().await.unwrap();
    let keeper = &cluster.managers[leader];
    keeper
        .wait_for("the group to know the new address", SETTLE_LIMIT, async |keeper| {
            let status = keeper.raft_client().get_raft_status(GetRaftStatusRequest {}).await;
            let members = status.map_err(|s| s.to_string())?.into_inner().members;
            let found = members.iter().any(|member| member.addr == free.to_string());
            if found { Ok(()) } else { Err(format!("{members:?}")) }
        })
        .await
        .unwrap();
    create_surely(&cluster.managers[moved], "from-the-new-address").await;
}

#[tokio::test]
async fn a_manager_that_lost_its_log_comes_back_under_another_raft_id() {
    let mut cluster = cluster(3).await;
    create(&cluster.managers[0], "before").await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let wiped = (leader + 1) % 3;
    let raft_id = async |manager: &skep_testkit::skepd_process::Skepd| {
        manager
            .wait_for("its raft node to answer", SETTLE_LIMIT, async |manager| {
                let status = manager.raft_client().get_raft_status(GetRaftStatusRequest {}).await;
                status.map(|status| status.into_inner().raft_id).map_err(|s| s.to_string())
            })
            .await
            .unwrap()
    };
    let before = raft_id(&cluster.managers[wiped]).await;
    cluster.managers[wiped].kill();
    std::fs::remove_dir_all(cluster.managers[wiped].state_dir().join("raft")).unwrap();
    cluster.managers[wiped].restart().await.unwrap();
    assert_ne!(raft_id(&cluster.managers[wiped]).await, before, "it forgot what it voted for");
    create_surely(&cluster.managers[wiped], "after").await;
    assert_eq!(names(&cluster.managers[wiped]).await.len(), 2);
    cluster.managers[leader].wait_until_ready(3, 3).await.unwrap();
}
