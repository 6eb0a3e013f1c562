//! Explanations as tables: a cluster in, what an operator reads out.

use super::*;
use crate::scheduler::{needs::GroupKey, tests::*};
use skep_proto::swarmkit::GenericResource;

/// What the nodes say to the task, a line each: the summary, each filter with its nodes, and the hints.
fn explained(cluster: &mut Cluster, task: &Task) -> String {
    let id = task.id.parse().unwrap();
    let key = GroupKey::of(task, id);
    let only = task.node_id.parse().ok().and_then(|id| cluster.state.nodes().index_of(&id));
    let placement = explain_placement(&cluster.state, &Shape::of(task, key), only);
    let mut lines = vec![format!(
        "{} of {} nodes: {}",
        placement.nodes_suitable, placement.nodes_total, placement.summary
    )];
    for rejection in &placement.rejections {
        lines.push(format!(
            "{}: {} nodes, {} of them for this alone",
            rejection.filter, rejection.nodes_total, rejection.nodes_only
        ));
        for node in &rejection.nodes {
            lines.push(format!("  {}: {}", node.hostname, node.detail));
        }
    }
    for hint in &placement.hints {
        lines.push(format!("* {hint}"));
    }
    lines.join("\n")
}

#[test]
fn each_filter_is_explained_node_by_node_with_what_would_help() {
    let gpu: Vec<GenericResource> = vec![counted("gpu", 2)];
    for (what, nodes, running, task, expected) in [
        (
            "nodes that are not there for it",
            vec![drained(node("n1")), down(node("n2")), paused(node("n3"))],
            vec![],
            task("web.1"),
            "0 of 3 nodes: no suitable node (3 nodes not available for new tasks)\n\
             available: 3 nodes, 3 of them for this alone\n  \
             n1: its availability is drain\n  \
             n2: it is down\n  \
             n3: its availability is pause\n\
             * make any of 2 nodes that are up available (`skep node update --availability active NODE`), or bring the \
             node that is not up back",
        ),
        (
            "no node at all",
            vec![],
            vec![],
            task("web.1"),
            "0 of 0 nodes: no suitable node\n* there is no node: join one (`skep swarm join`)",
        ),
        (
            "too little left",
            vec![node("n1"), node("n2"), drained(node("n3"))],
            vec![on(reserving(task("old.1"), 3 * CPU, 0, vec![]), "n1", TaskState::Running)],
            reserving(task("web.1"), 3 * CPU, 9 * GIB / 2, vec![]),
            "1 of 3 nodes: \n\
             available: 1 nodes, 1 of them for this alone\n  \
             n3: its availability is drain\n\
             resources: 1 nodes, 1 of them for this alone\n  \
             n1: 1 of 4 CPUs free, 3 reserved",
        ),
        (
            "what is missing where the most is left",
            vec![node("n1"), node("n2")],
            vec![
                on(reserving(task("old.1"), 3 * CPU, 0, vec![]), "n1", TaskState::Running),
                on(reserving(task("big.1"), 2 * CPU, 6 * GIB, vec![]), "n2", TaskState::Running),
            ],
            reserving(task("web.1"), 4 * CPU, 4 * GIB, gpu),
            "0 of 2 nodes: no suitable node (insufficient resources on 2 nodes)\n\
             resources: 2 nodes, 2 of them for this alone\n  \
             n1: 1 of 4 CPUs free, 4 reserved; 0 of gpu free, 2 reserved\n  \
             n2: 2 of 4 CPUs free, 4 reserved; 2 GiB of 8 GiB memory free, 4 GiB reserved; 0 of gpu free, 2 reserved\n\
             * needs 2 CPUs more and 2 more of gpu on any of 2 nodes: stop something there, reserve less, or add a node",
        ),
        (
            "more than any node has",
            vec![node("n1")],
            vec![],
            reserving(task("web.1"), 6 * CPU, 0, vec![]),
            "0 of 1 nodes: no suitable node (insufficient resources on 1 node)\n\
             resources: 1 nodes, 1 of them for this alone\n  \
             n1: 4 of 4 CPUs free, 6 reserved\n\
             * no node is large enough for 6 CPUs (the largest has 4 CPUs): reserve less, or add a larger node",
        ),
        (
            "a label that no node has, and one that some have",
            vec![
                labelled("n1", &[("zone", "b")]),
                labelled("n2", &[("zone", "c"), ("disk", "ssd")]),
            ],
            vec![],
            constrained(
                task("web.1"),
                &["node.labels.zone==a", "node.labels.disk==ssd", "node.role==worker"],
            ),
            "0 of 2 nodes: no suitable node (scheduling constraints not satisfied on 2 nodes)\n\
             constraints: 2 nodes, 2 of them for this alone\n  \
             n1: node.labels.zone==a: it has b; node.labels.disk==ssd: it has none\n  \
             n2: node.labels.zone==a: it has c\n\
             * node.labels.zone==a holds on no node; nodes have b, c (`skep node update --label-add zone=a NODE` gives \
             one the label); node.labels.disk==ssd holds on 1 of 2 nodes",
        ),
        (
            "labels that no node has together, and keys that do not exist",
            vec![labelled("n1", &[("zone", "a")]), labelled("n2", &[("disk", "ssd")])],
            vec![],
            constrained(task("web.1"), &["node.labels.zone==a", "node.labels.disk==ssd"]),
            "0 of 2 nodes: no suitable node (scheduling constraints not satisfied on 2 nodes)\n\
             constraints: 2 nodes, 2 of them for this alone\n  \
             n1: node.labels.disk==ssd: it has none\n  \
             n2: node.labels.zone==a: it has none\n\
             * node.labels.zone==a holds on 1 of 2 nodes; node.labels.disk==ssd holds on 1 of 2 nodes; no node meets all \
             of them together",
        ),
        (
            "a key that no node has",
            vec![node("n1")],
            vec![],
            constrained(task("web.1"), &["node.name!=a"]),
            "0 of 1 nodes: no suitable node (scheduling constraints not satisfied on 1 node)\n\
             constraints: 1 nodes, 1 of them for this alone\n  \
             n1: node.name!=a can hold on no node\n\
             * node.name!=a can hold on no node: node.name is not known",
        ),
        (
            "a port that another task has",
            vec![node("n1")],
            vec![on(publishing(task("old.1"), 0, 80), "n1", TaskState::Running)],
            publishing(task("web.1"), 0, 80),
            "0 of 1 nodes: no suitable node (host-mode port already in use on 1 node)\n\
             host-ports: 1 nodes, 1 of them for this alone\n  \
             n1: port 80/tcp is in use by task old.1\n\
             * free port 80/tcp on the node, publish another port, publish it in mode ingress, or add a node",
        ),
        (
            "as many replicas as a node may have",
            vec![node("n1")],
            vec![on(task("web.1"), "n1", TaskState::Running)],
            with_placement(task("web.2"), |placement| placement.max_replicas = 1),
            "0 of 1 nodes: no suitable node (max replicas per node limit exceed)\n\
             max-replicas: 1 nodes, 1 of them for this alone\n  \
             n1: 1 of at most 1 tasks of the service are here\n\
             * allow more than 1 tasks of the service on a node, or add a node",
        ),
        (
            "another platform",
            vec![node("n1")],
            vec![],
            with_placement(task("web.1"), |placement| {
                placement.platforms =
                    vec![Platform { os: "windows".into(), architecture: String::new() }];
            }),
            "0 of 1 nodes: no suitable node (unsupported platform on 1 node)\n\
             platform: 1 nodes, 1 of them for this alone\n  \
             n1: it is linux/x86_64, the image is for windows/any\n\
             * add a node of platform windows/any, or use an image for linux/x86_64",
        ),
        (
            "a node that fails twice counts once, and the hint that alone would help comes first",
            vec![labelled("n1", &[("zone", "a")]), drained(node("n2"))],
            vec![],
            constrained(task("web.1"), &["node.labels.zone==b"]),
            "0 of 2 nodes: no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on \
             1 node)\n\
             constraints: 2 nodes, 1 of them for this alone\n  \
             n1: node.labels.zone==b: it has a\n  \
             n2: node.labels.zone==b: it has none\n\
             available: 1 nodes, 0 of them for this alone\n  \
             n2: its availability is drain\n\
             * node.labels.zone==b holds on no node; nodes have a (`skep node update --label-add zone=b NODE` gives one \
             the label)\n\
             * make the node that is up available (`skep node update --availability active NODE`)",
        ),
        (
            "a task that came with its node asks only that one",
            vec![node("n1"), drained(node("n2"))],
            vec![],
            Task { node_id: "n2".into(), ..task("all.1") },
            "0 of 1 nodes: 1 node not available for new tasks\n\
             available: 1 nodes, 1 of them for this alone\n  \
             n2: its availability is drain\n\
             * make the node that is up available (`skep node update --availability active NODE`)",
        ),
    ] {
        let mut cluster = Cluster::of(nodes);
        running.into_iter().for_each(|task| cluster.put(task));
        let found = explained(&mut cluster, &task);
        assert_eq!(found, expected, "{what}");
    }
}
