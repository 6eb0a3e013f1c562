//! Each filter: who passes, and what is said of those who do not.

use skep_proto::swarmkit::{
    Driver, Endpoint, EndpointSpec, Mount, Network, NetworkAttachment, PluginDescription,
    PortConfig, mount::VolumeOptions,
};

use super::*;

fn with_mount(task: Task, mount: Mount) -> Task {
    with_spec(task, |spec| {
        if let Some(Runtime::Container(container)) = &mut spec.runtime {
            container.mounts.push(mount);
        }
    })
}

fn volume(driver: &str) -> Mount {
    Mount {
        r#type: 1,
        volume_options: Some(VolumeOptions {
            driver_config: Some(Driver { name: driver.into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn on_network(mut task: Task, driver: &str) -> Task {
    let driver_state = Some(Driver { name: driver.into(), ..Default::default() });
    let network = Some(Network { driver_state, ..Default::default() });
    task.networks
        .push(NetworkAttachment { network: network.map(Into::into), ..Default::default() });
    task
}

fn logging(task: Task, driver: &str) -> Task {
    with_spec(task, |spec| {
        spec.log_driver = Some(Driver { name: driver.into(), ..Default::default() });
    })
}

fn with_plugins(id: &str, plugins: &[(&str, &str)]) -> Node {
    described(id, |description| {
        let plugins = plugins
            .iter()
            .map(|(kind, name)| PluginDescription { r#type: (*kind).into(), name: (*name).into() });
        description.engine.as_mut().unwrap().plugins = plugins.collect();
    })
}

pub(in crate::scheduler) fn publishing(mut task: Task, protocol: i32, port: u32) -> Task {
    let port = PortConfig {
        protocol,
        target_port: 80,
        published_port: port,
        publish_mode: 1,
        ..Default::default()
    };
    let endpoint = task.endpoint.get_or_insert_default();
    endpoint.ports.push(port);
    task
}

/// One task and one node: where the task goes, or what it is told.
#[test]
fn one_task_on_one_node() {
    let platform = |os: &str, architecture: &str| {
        let wanted = Platform { os: os.into(), architecture: architecture.into() };
        with_placement(task("web.1"), |placement| placement.platforms.push(wanted))
    };
    let small = |cpus, memory| reserving(task("web.1"), cpus, memory, Vec::new());
    let cluster_volume = Mount { r#type: 4, source: "data".into(), ..Default::default() };
    let no_engine = described("n", |description| description.engine = None);
    let no_resources = described("n", |description| description.resources = None);
    for (what, node, task, expected) in [
        ("a plain task", node("n"), task("web.1"), "-> n"),
        (
            "a node that is down",
            down(node("n")),
            task("web.1"),
            "1 node not available for new tasks",
        ),
        ("a drained node", drained(node("n")), task("web.1"), "1 node not available for new tasks"),
        ("all that there is", node("n"), small(4 * CPU, 8 * GIB), "-> n"),
        ("too much CPU", node("n"), small(4 * CPU + 1, 0), "insufficient resources on 1 node"),
        ("too much memory", node("n"), small(0, 8 * GIB + 1), "insufficient resources on 1 node"),
        ("nothing asked of a node that has nothing", no_resources.clone(), task("web.1"), "-> n"),
        ("a node that has nothing", no_resources, small(1, 0), "insufficient resources on 1 node"),
        ("the local driver", node("n"), with_mount(task("web.1"), volume("local")), "-> n"),
        ("no driver named", node("n"), with_mount(task("web.1"), volume("")), "-> n"),
        (
            "a driver that is not there",
            node("n"),
            with_mount(task("web.1"), volume("nfs")),
            "missing plugin on 1 node",
        ),
        (
            "a driver of another kind",
            with_plugins("n", &[("Network", "nfs")]),
            with_mount(task("web.1"), volume("nfs")),
            "missing plugin on 1 node",
        ),
        (
            "a driver",
            with_plugins("n", &[("Volume", "nfs")]),
            with_mount(task("web.1"), volume("nfs")),
            "-> n",
        ),
        (
            "a driver with a tag",
            with_plugins("n", &[("Volume", "nfs:latest")]),
            with_mount(task("web.1"), volume("nfs")),
            "-> n",
        ),
        (
            "a driver with another tag",
            with_plugins("n", &[("Volume", "nfs:2")]),
            with_mount(task("web.1"), volume("nfs")),
            "missing plugin on 1 node",
        ),
        (
            "a node that reports no engine",
            no_engine,
            with_mount(task("web.1"), volume("nfs")),
            "-> n",
        ),
        (
            "a network's driver",
            with_plugins("n", &[("Network", "overlay")]),
            on_network(task("web.1"), "overlay"),
            "-> n",
        ),
        (
            "a network without its driver",
            node("n"),
            on_network(task("web.1"), "overlay"),
            "missing plugin on 1 node",
        ),
        (
            "an engine that reports no log drivers",
            node("n"),
            logging(task("web.1"), "gelf"),
            "-> n",
        ),
        (
            "an engine with other log drivers",
            with_plugins("n", &[("Log", "syslog")]),
            logging(task("web.1"), "gelf"),
            "missing plugin on 1 node",
        ),
        (
            "no logs",
            with_plugins("n", &[("Log", "syslog")]),
            logging(task("web.1"), "none"),
            "-> n",
        ),
        (
            "log options alone",
            with_plugins("n", &[("Log", "syslog")]),
            logging(task("web.1"), ""),
            "-> n",
        ),
        (
            "a constraint that holds",
            labelled("n", &[("zone", "a")]),
            constrained(task("web.1"), &["node.labels.zone==a"]),
            "-> n",
        ),
        (
            "a constraint that does not",
            labelled("n", &[("zone", "a")]),
            constrained(task("web.1"), &["node.labels.zone==b"]),
            "scheduling constraints not satisfied on 1 node",
        ),
        (
            "constraints that do not parse",
            node("n"),
            constrained(task("web.1"), &["nonsense"]),
            "scheduling constraints not satisfied on 1 node",
        ),
        ("its platform", node("n"), platform("linux", "amd64"), "-> n"),
        (
            "another platform",
            node("n"),
            platform("windows", "amd64"),
            "unsupported platform on 1 node",
        ),
        (
            "a cluster volume",
            node("n"),
            with_mount(task("web.1"), cluster_volume),
            "cannot fulfill requested CSI volume mounts on 1 node",
        ),
    ] {
        let mut cluster = Cluster::of([node]);
        cluster.put(task);
        let expected = match expected.strip_prefix("-> ") {
            Some(node) => format!("web.1 -> {node}"),
            None => format!("web.1 waits: no suitable node ({expected})"),
        };
        assert_eq!(cluster.lines(), [expected], "{what}");
    }
}

#[test]
fn without_nodes_there_is_nothing_to_explain() {
    let mut cluster = Cluster::of([]);
    cluster.put(task("web.1"));
    assert_eq!(cluster.lines(), ["web.1 waits: no suitable node"]);
}

#[test]
fn each_node_counts_for_the_first_filter_that_it_fails_at_and_the_most_come_first() {
    let mut cluster = Cluster::of([
        drained(node("n1")),
        labelled("n2", &[("zone", "a")]),
        labelled("n3", &[("zone", "a")]),
        labelled("n4", &[("zone", "b")]),
    ]);
    cluster.put(constrained(
        reserving(task("web.1"), 5 * CPU, 0, Vec::new()),
        &["node.labels.zone==a"],
    ));
    cluster.put(constrained(task("db.1"), &["node.labels.zone==c"]));
    assert_eq!(
        cluster.lines(),
        [
            "db.1 waits: no suitable node (scheduling constraints not satisfied on 3 nodes; 1 node not available for \
             new tasks)",
            "web.1 waits: no suitable node (insufficient resources on 3 nodes; 1 node not available for new tasks)",
        ]
    );
}

#[test]
fn a_port_of_a_node_is_one_tasks() {
    let mut cluster = Cluster::of([node("n1"), node("n2")]);
    for slot in 1..=3 {
        cluster.put(publishing(task(&format!("web.{slot}")), 0, 8080));
    }
    // Another protocol, and a port of the routing mesh.
    cluster.put(publishing(task("dns.1"), 1, 8080));
    let mut ingress = task("mesh.1");
    let port = PortConfig { published_port: 8080, ..Default::default() };
    let spec = EndpointSpec { ports: vec![port.clone()], ..Default::default() };
    ingress.endpoint =
        Some(Endpoint { spec: Some(spec), ports: vec![port], ..Default::default() }.into());
    cluster.put(ingress);
    assert_eq!(
        cluster.lines(),
        [
            "web.1 -> n1",
            "web.2 -> n2",
            "dns.1 -> n1",
            "mesh.1 -> n2",
            "web.3 waits: no suitable node (host-mode port already in use on 2 nodes)",
        ]
    );
    cluster.put(on(publishing(task("web.2"), 0, 8080), "n2", TaskState::Complete));
    assert_eq!(cluster.lines(), ["web.3 -> n2"]);
}

#[test]
fn ports_that_the_allocator_has_not_settled_are_those_of_the_spec() {
    let mut asks = task("web.1");
    let port = PortConfig { published_port: 80, publish_mode: 1, ..Default::default() };
    let spec = EndpointSpec { ports: vec![port], ..Default::default() };
    asks.endpoint = Some(Endpoint { spec: Some(spec), ..Default::default() }.into());
    let mut cluster = Cluster::of([node("n1")]);
    cluster.put(on(publishing(task("old.1"), 0, 80), "n1", TaskState::Running));
    cluster.put(asks);
    assert_eq!(
        cluster.lines(),
        ["web.1 waits: no suitable node (host-mode port already in use on 1 node)"]
    );
}

#[test]
fn no_more_replicas_than_allowed_run_on_a_node() {
    let limited = |name: &str| with_placement(task(name), |placement| placement.max_replicas = 2);
    let mut cluster = Cluster::of([node("n1"), node("n2")]);
    // One that is to stop does not count, although it is still there.
    cluster.put(wanted(on(limited("web.9"), "n1", TaskState::Running), TaskState::Shutdown));
    for slot in 1..=5 {
        cluster.put(limited(&format!("web.{slot}")));
    }
    assert_eq!(
        cluster.lines(),
        [
            "web.1 -> n1",
            "web.2 -> n2",
            "web.3 -> n1",
            "web.4 -> n2",
            "web.5 waits: no suitable node (max replicas per node limit exceed)",
        ]
    );
}
