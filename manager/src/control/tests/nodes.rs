//! Nodes: filters, demotion, removal.

use rcgen::{CertificateParams, KeyPair};
use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        BlacklistedCertificate, Certificate, EngineDescription, GetNodeRequest, ListNodesRequest,
        Node, NodeDescription, NodeRole, NodeSpec, NodeStatus, RemoveNodeRequest, Task, TaskState,
        TaskStatus, UpdateNodeRequest, list_nodes_request::Filters, node_status::State,
    },
};

use super::*;
use crate::group::Group;

fn node(id: &str, desired_role: NodeRole, state: State) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec { desired_role: desired_role.into(), ..Default::default() }),
        role: desired_role.into(),
        status: Some(NodeStatus { state: state.into(), ..Default::default() }),
        description: Some(NodeDescription { hostname: format!("host-{id}"), ..Default::default() }),
        ..Default::default()
    }
}

/// Three managers a, b, c and a worker w, all ready; a leads, c cannot be reached.
async fn three_managers() -> Harness {
    let managers = ["a", "b", "c"];
    let h = Harness::of(&managers);
    h.put(cluster()).await;
    for id in managers {
        h.put(node(id, NodeRole::Manager, State::Ready)).await;
    }
    h.group.set_reachable(3, false);
    h.put(node("w", NodeRole::Worker, State::Ready)).await;
    h
}

async fn ids(h: &Harness, filters: Filters) -> Vec<String> {
    let reply = done!(h, list_nodes, ListNodesRequest { filters: Some(filters) });
    reply.nodes.into_iter().map(|node| node.id).collect()
}

#[tokio::test]
async fn a_manager_shows_what_the_raft_group_knows_of_it() {
    let h = three_managers().await;
    let get = |id: &str| GetNodeRequest { node_id: id.into() };
    let shown = |node: Option<Node>| {
        node.unwrap()
            .manager_status
            .map(|s| (s.raft_id, s.addr.clone(), s.leader, s.reachability().as_str_name()))
    };
    assert_eq!(
        shown(done!(h, get_node, get("a")).node),
        Some((1, "a:2377".into(), true, "REACHABLE"))
    );
    assert_eq!(
        shown(done!(h, get_node, get("c")).node),
        Some((3, "c:2377".into(), false, "UNREACHABLE"))
    );
    assert_eq!(shown(done!(h, get_node, get("w")).node), None);
    let listed = done!(h, list_nodes, ListNodesRequest::default()).nodes;
    assert_eq!(listed.iter().filter(|node| node.manager_status.is_some()).count(), 3);
    assert!(h.get::<Node>("a").unwrap().manager_status.is_none(), "the store does not hold it");
    assert_eq!(
        refused!(h, get_node, get("")),
        says(Code::InvalidArgument, "the id of the node must be provided")
    );
    assert_eq!(refused!(h, get_node, get("zz")), says(Code::NotFound, "node zz not found"));
    assert_eq!(refused!(h, get_node, get("a b")), says(Code::NotFound, "node \"a b\" not found"));
}

#[tokio::test]
async fn nodes_are_filtered() {
    let h = three_managers().await;
    let labels =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let mut labelled = node("x", NodeRole::Worker, State::Down);
    labelled.spec.as_mut().unwrap().annotations =
        Some(Annotations { labels: labels(&[("zone", "eu")]), ..Default::default() });
    labelled.description.as_mut().unwrap().engine =
        Some(EngineDescription { labels: labels(&[("disk", "ssd")]), ..Default::default() });
    // Its certificate still says manager, though it is to be a worker.
    labelled.role = NodeRole::Manager.into();
    h.put(labelled).await;
    let none = Filters::default;
    for (filters, expected) in [
        (none(), &["a", "b", "c", "w", "x"][..]),
        (Filters { names: vec!["host-a".into(), "host-w".into()], ..none() }, &["a", "w"]),
        (Filters { name_prefixes: vec!["HOST".into()], ..none() }, &[]),
        (Filters { id_prefixes: vec!["b".into()], ..none() }, &["b"]),
        (Filters { roles: vec![NodeRole::Manager.into()], ..none() }, &["a", "b", "c", "x"]),
        (Filters { roles: vec![NodeRole::Worker.into()], ..none() }, &["w"]),
        (Filters { memberships: vec![1], ..none() }, &[]),
        (Filters { memberships: vec![0, 1], ..none() }, &["a", "b", "c", "w", "x"]),
        (Filters { labels: labels(&[("disk", "ssd")]), ..none() }, &["x"]),
        (Filters { node_labels: labels(&[("zone", "")]), ..none() }, &["x"]),
        (Filters { labels: labels(&[("zone", "eu")]), ..none() }, &[]),
    ] {
        assert_eq!(ids(&h, filters.clone()).await, expected, "{filters:?}");
    }
}

#[tokio::test]
async fn a_node_is_updated_at_the_version_that_was_seen() {
    let h = three_managers().await;
    let stored = h.get::<Node>("w").unwrap();
    let spec = NodeSpec { availability: 2, ..Default::default() };
    let request =
        |node_version, spec| UpdateNodeRequest { node_id: "w".into(), node_version, spec };
    let seen = version_of(&*stored);
    for (request, expected) in [
        (
            request(None, Some(spec.clone())),
            says(
                Code::InvalidArgument,
                "the version of the node must be provided: the one that the change is based on",
            ),
        ),
        (request(seen, None), says(Code::InvalidArgument, "the node's spec is missing")),
        (request(Some(Version { index: 999 }), Some(spec.clone())), stale()),
        (
            UpdateNodeRequest { node_id: "zz".into(), ..request(seen, Some(spec.clone())) },
            says(Code::NotFound, "node zz not found"),
        ),
    ] {
        assert_eq!(refused!(h, update_node, request), expected);
    }
    let updated = done!(h, update_node, request(seen, Some(spec.clone()))).node.unwrap();
    assert_eq!(updated.spec.unwrap().availability, 2);
    assert_ne!(version_of(&*h.get::<Node>("w").unwrap()), seen);
    assert_eq!(refused!(h, update_node, request(seen, Some(spec))), stale());
}

#[tokio::test]
async fn a_demotion_that_takes_the_last_manager_or_the_quorum_is_refused() {
    let h = three_managers().await;
    let demote = |h: &Harness, id: &str| UpdateNodeRequest {
        node_id: id.into(),
        node_version: version_of(&*h.get::<Node>(id).unwrap()),
        spec: Some(NodeSpec::default()),
    };
    h.group.set_removable(false);
    assert_eq!(
        refused!(h, update_node, demote(&h, "b")),
        says(
            Code::FailedPrecondition,
            "can't remove member from the raft: this would result in a loss of quorum (1 of the 2 remaining managers \
             can be reached, 2 are needed)"
        )
    );
    h.group.set_removable(true);
    h.group.remove(3).await.unwrap();
    assert_eq!(
        refused!(h, update_node, demote(&h, "c")),
        says(Code::NotFound, "can't find manager in raft memberlist")
    );
    let demoted = done!(h, update_node, demote(&h, "b")).node.unwrap();
    assert_eq!(demoted.spec.as_ref().unwrap().desired_role(), NodeRole::Worker);
    assert_eq!(demoted.role(), NodeRole::Manager, "the role itself follows later");
    // Demoted already: nothing is checked again.
    h.group.set_removable(false);
    done!(h, update_node, demote(&h, "b"));
}

#[tokio::test]
async fn the_last_manager_stays() {
    let h = Harness::of(&["a"]);
    let only = h.put(node("a", NodeRole::Manager, State::Ready)).await;
    let request = UpdateNodeRequest {
        node_id: "a".into(),
        node_version: version_of(&*only),
        spec: Some(NodeSpec::default()),
    };
    assert_eq!(
        refused!(h, update_node, request),
        says(Code::FailedPrecondition, "attempting to demote the last manager of the swarm")
    );
}

fn remove(id: &str, force: bool) -> RemoveNodeRequest {
    RemoveNodeRequest { node_id: id.into(), force }
}

#[tokio::test]
async fn only_workers_that_are_down_are_removed_without_force() {
    let h = three_managers().await;
    h.put(node("d", NodeRole::Worker, State::Down)).await;
    let manager = "node b is a cluster manager and is a member of the raft cluster. It must be demoted to worker \
                   before removal";
    for (request, expected) in [
        (remove("", false), says(Code::InvalidArgument, "the id of the node must be provided")),
        (remove("zz", false), says(Code::NotFound, "node zz not found")),
        (remove("b", false), says(Code::FailedPrecondition, manager)),
        (remove("b", true), says(Code::FailedPrecondition, manager)),
        (
            remove("w", false),
            says(
                Code::FailedPrecondition,
                "node w is not down and can't be removed; stop it first, or use force",
            ),
        ),
    ] {
        assert_eq!(refused!(h, remove_node, request), expected);
    }
    done!(h, remove_node, remove("w", true));
    done!(h, remove_node, remove("d", false));
    // A manager that has left the raft group already.
    h.group.remove(3).await.unwrap();
    done!(h, remove_node, remove("c", true));
    assert_eq!(ids(&h, Filters::default()).await, ["a", "b"]);
}

#[tokio::test]
async fn without_a_cluster_object_no_node_goes_unpunished() {
    let h = Harness::new();
    h.put(node("w", NodeRole::Worker, State::Down)).await;
    assert_eq!(
        refused!(h, remove_node, remove("w", false)),
        says(
            Code::Internal,
            "the cluster object \"default\" is missing: node w cannot be shut out"
        )
    );
}

#[tokio::test]
async fn a_removed_node_is_shut_out_until_its_certificate_has_run_out() {
    let h = Harness::new();
    let week = 7 * 24 * 60 * 60;
    let entry = |seconds: Option<i64>| BlacklistedCertificate {
        expiry: seconds.map(|seconds| Timestamp { seconds, nanos: 0 }),
    };
    let mut with_old = cluster();
    with_old.blacklisted_certificates = [
        ("long-gone".to_owned(), entry(Some(NOW - week - 1))),
        ("just-gone".to_owned(), entry(Some(NOW - week))),
        ("for-ever".to_owned(), entry(None)),
    ]
    .into();
    h.put(with_old).await;
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2027, 6, 1);
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let certified = |id: &str, pem: &str| Node {
        certificate: Some(Certificate { certificate: pem.to_owned().into(), ..Default::default() }),
        ..node(id, NodeRole::Worker, State::Down)
    };
    h.put(certified("good", &pem)).await;
    h.put(certified("broken", "no certificate")).await;
    done!(h, remove_node, remove("good", false));
    done!(h, remove_node, remove("broken", false));
    let shut_out: Vec<_> = h
        .get::<Cluster>("c")
        .unwrap()
        .blacklisted_certificates
        .iter()
        .map(|(id, entry)| (id.clone(), entry.expiry.map(|at| at.seconds)))
        .collect();
    let june = 1_811_808_000;
    assert_eq!(
        shut_out,
        [
            ("broken".to_owned(), None),
            ("for-ever".to_owned(), None),
            ("good".to_owned(), Some(june)),
            ("just-gone".to_owned(), Some(NOW - week)),
        ]
    );
}

fn task(id: &str, node: &str, state: TaskState, labels: usize) -> Task {
    Task {
        id: id.into(),
        node_id: node.into(),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        annotations: Some(Annotations {
            labels: [("fat".to_owned(), "x".repeat(labels))].into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_tasks_of_a_removed_node_are_given_up_with_it() {
    let h = Harness::new();
    h.put(cluster()).await;
    h.put(node("w", NodeRole::Worker, State::Down)).await;
    h.put(task("runs", "w", TaskState::Running, 0)).await;
    h.put(task("done", "w", TaskState::Complete, 0)).await;
    h.put(task("elsewhere", "v", TaskState::Running, 0)).await;
    let before = h.version();
    done!(h, remove_node, remove("w", false));
    assert_eq!(h.version(), before + 1, "all in one transaction");
    let state = |id: &str| h.get::<Task>(id).unwrap().status.clone().unwrap();
    let orphan = state("runs");
    assert_eq!((orphan.state(), orphan.timestamp.unwrap().seconds), (TaskState::Orphaned, NOW));
    assert_eq!(state("done").state(), TaskState::Complete);
    assert_eq!(state("elsewhere").state(), TaskState::Running);
}

#[tokio::test]
async fn a_node_with_more_tasks_than_fit_one_write_is_removed_too() {
    let h = Harness::new();
    h.put(cluster()).await;
    h.put(node("w", NodeRole::Worker, State::Down)).await;
    for i in 0..20 {
        h.put(task(&format!("t{i}"), "w", TaskState::Running, 100_000)).await;
    }
    done!(h, remove_node, remove("w", false));
    assert!(h.get::<Node>("w").is_none());
    let view = h.store.view();
    assert!(view.all::<Task>().all(|t| t.status.as_ref().unwrap().state() == TaskState::Orphaned));
}
