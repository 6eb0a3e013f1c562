//! Usage as text: a cluster in, what an operator is told out.

use skep_proto::{
    skep::{AddressHolder, NetworkUsageRequest},
    swarmkit::{
        Annotations, Driver, Endpoint, EndpointSpec, IpamConfig, IpamOptions, Network,
        NetworkAttachment, NetworkAttachmentConfig, NetworkAttachmentSpec, NetworkSpec, Node,
        NodeDescription, PortConfig, Service, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus,
        endpoint::VirtualIp, task_spec::Runtime,
    },
};
use skep_store::{Store, View, solo::lead_alone};

use super::{advice, service::checked, usage::usage};

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

/// A network with these subnets: subnet, range, gateway.
fn network(id: &str, driver: &str, subnets: &[(&str, &str, &str)]) -> Network {
    let config = |(subnet, range, gateway): &(&str, &str, &str)| IpamConfig {
        subnet: (*subnet).into(),
        range: (*range).into(),
        gateway: (*gateway).into(),
        ..Default::default()
    };
    let ids: Vec<String> = (4097..).take(subnets.len()).map(|id| id.to_string()).collect();
    let options = [("com.docker.network.driver.overlay.vxlanid_list".into(), ids.join(","))];
    let driver_config = Driver { name: driver.into(), ..Default::default() };
    let given = !subnets.is_empty();
    Network {
        id: id.into(),
        spec: Some(NetworkSpec {
            annotations: named(&id.to_uppercase()),
            driver_config: Some(driver_config.clone()),
            ingress: id == "ingress",
            ..Default::default()
        }),
        driver_state: given.then(|| Driver { options: options.into(), ..driver_config }),
        ipam: given.then(|| IpamOptions {
            configs: subnets.iter().map(config).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn attached(network: &str, addresses: &[&str]) -> NetworkAttachment {
    NetworkAttachment {
        network: Some(Network { id: network.into(), ..Default::default() }.into()),
        addresses: addresses.iter().map(|address| (*address).into()).collect(),
        ..Default::default()
    }
}

fn on(networks: &[&str]) -> TaskSpec {
    let on = |id: &&str| NetworkAttachmentConfig { target: (*id).into(), ..Default::default() };
    TaskSpec { networks: networks.iter().map(on).collect(), ..Default::default() }
}

/// A service on these networks with these virtual addresses.
fn service(id: &str, networks: &[&str], ips: &[(&str, &str)]) -> Service {
    let ip = |(network, addr): &(&str, &str)| VirtualIp {
        network_id: (*network).into(),
        addr: (*addr).into(),
    };
    Service {
        id: id.into(),
        spec: Some(ServiceSpec {
            annotations: named(&id.to_uppercase()),
            task: Some(on(networks).into()),
            ..Default::default()
        }),
        endpoint: Some(
            Endpoint { virtual_ips: ips.iter().map(ip).collect(), ..Default::default() }.into(),
        ),
        ..Default::default()
    }
}

fn task(id: &str, slot: u64, networks: Vec<NetworkAttachment>) -> Task {
    let targets: Vec<&str> =
        networks.iter().filter_map(|n| n.network.as_ref()).map(|n| n.id.as_str()).collect();
    Task {
        id: id.into(),
        slot,
        service_id: "web".into(),
        service_annotations: named("WEB"),
        spec: Some(on(&targets).into()),
        desired_state: TaskState::Running.into(),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..Default::default() }),
        networks,
        ..Default::default()
    }
}

fn node(id: &str, attachments: Vec<NetworkAttachment>) -> Node {
    let description =
        NodeDescription { hostname: format!("host-of-{id}"), ..NodeDescription::default() };
    Node { id: id.into(), description: Some(description), attachments, ..Default::default() }
}

/// The store with all of them.
async fn view(
    networks: Vec<Network>,
    services: Vec<Service>,
    tasks: Vec<Task>,
    nodes: Vec<Node>,
) -> View {
    let store = Store::system();
    let _solo = lead_alone(&store);
    store
        .update(|tx| {
            networks.into_iter().try_for_each(|network| tx.create(network).map(drop))?;
            services.into_iter().try_for_each(|service| tx.create(service).map(drop))?;
            nodes.into_iter().try_for_each(|node| tx.create(node).map(drop))?;
            tasks.into_iter().try_for_each(|task| tx.create(task).map(drop))
        })
        .await
        .unwrap();
    store.view()
}

/// The answer as text.
fn told(view: &View, ids: &[&str]) -> String {
    let request = NetworkUsageRequest {
        network_ids: ids.iter().map(|id| (*id).into()).collect(),
        holders: true,
    };
    let mut text = String::new();
    for network in usage(view, &request).networks {
        text += &format!(
            "{}: services {}, tasks {}, nodes {}{}{}\n",
            network.name,
            network.services_total,
            network.tasks_total,
            network.nodes_total,
            if network.node_local { ", node-local" } else { "" },
            if network.waits.is_empty() { String::new() } else { format!(", {}", network.waits) },
        );
        for subnet in network.subnets {
            text += &format!(
                " {} {} vxlan {}: {} of {} used, {} free\n",
                subnet.subnet,
                subnet.range,
                subnet.vxlan_id,
                subnet.used,
                subnet.total,
                subnet.free
            );
        }
        for holder in network.holders {
            let kind = holder.kind().as_str_name().trim_start_matches("ADDRESS_HOLDER_KIND_");
            let AddressHolder { address, id, name, hostname, .. } = holder;
            text += format!("  {address} {kind} {id} {name} {hostname}").trim_end();
            text += "\n";
        }
    }
    text
}

#[tokio::test]
async fn each_address_of_a_network_has_its_holder() {
    let mut by_hand = task("hand", 0, vec![attached("span", &["10.0.1.9/24"])]);
    let runtime = Runtime::Attachment(NetworkAttachmentSpec { container_id: "c0ffee".into() });
    let spec = TaskSpec { runtime: Some(runtime), ..on(&["span"]) };
    (by_hand.service_id, by_hand.spec) = (String::new(), Some(spec.into()));
    let on_node = |task: Task| Task { node_id: "n1".into(), ..task };
    let view = view(
        vec![network("span", "overlay", &[("10.0.1.0/24", "", "10.0.1.1")])],
        vec![service("web", &["span"], &[("span", "10.0.1.2/24")]), service("dns", &["span"], &[])],
        vec![on_node(task("t1", 1, vec![attached("span", &["10.0.1.3/24"])])), by_hand],
        vec![node("n1", vec![attached("span", &["10.0.1.4/24"])])],
    )
    .await;
    assert_eq!(
        told(&view, &[]),
        "\
SPAN: services 2, tasks 2, nodes 1
 10.0.1.0/24  vxlan 4097: 5 of 254 used, 249 free
  10.0.1.1 GATEWAY
  10.0.1.2 SERVICE web WEB
  10.0.1.3 TASK t1 WEB.1 host-of-n1
  10.0.1.4 NODE n1 host-of-n1
  10.0.1.9 CONTAINER hand c0ffee
"
    );
}

#[tokio::test]
async fn a_task_that_has_ended_holds_nothing() {
    let ended = |id: &str, desired: TaskState| {
        let mut task = task(id, 1, vec![attached("span", &[&format!("10.0.1.{}", &id[1..])])]);
        task.status = Some(TaskStatus { state: TaskState::Failed.into(), ..Default::default() });
        task.desired_state = desired.into();
        task
    };
    let view = view(
        vec![network("span", "overlay", &[("10.0.1.0/24", "", "10.0.1.1")])],
        vec![],
        vec![ended("t3", TaskState::Running), ended("t4", TaskState::Shutdown)],
        vec![],
    )
    .await;
    assert_eq!(
        told(&view, &["span"]),
        "SPAN: services 0, tasks 0, nodes 0\n \
         10.0.1.0/24  vxlan 4097: 1 of 254 used, 253 free\n  10.0.1.1 GATEWAY\n"
    );
}

#[tokio::test]
async fn a_range_is_what_can_be_given_out_and_an_address_counts_once() {
    let mut wide = network(
        "wide",
        "overlay",
        &[("10.1.0.0/16", "10.1.2.0/29", "10.1.0.1"), ("fd00::/64", "", "fd00::1")],
    );
    let configs = &mut wide.ipam.as_mut().unwrap().configs;
    configs[0].reserved = [("router".to_owned(), "10.1.2.3".to_owned())].into();
    let both = |id: &str| task(id, 1, vec![attached("wide", &["10.1.2.4/16", "fd00::5/64"])]);
    let view = view(vec![wide], vec![], vec![both("t1"), both("t2")], vec![]).await;
    assert_eq!(
        told(&view, &["wide", "nothing", "wide"]),
        "\
WIDE: services 0, tasks 2, nodes 0
 10.1.0.0/16 10.1.2.0/29 vxlan 4097: 2 of 8 used, 6 free
 fd00::/64  vxlan 4098: 2 of 18446744073709551615 used, 18446744073709551613 free
  10.1.0.1 GATEWAY
  10.1.2.3 RESERVED  router
  10.1.2.4 TASK t1 WEB.1
  10.1.2.4 TASK t2 WEB.1
  fd00::1 GATEWAY
  fd00::5 TASK t1 WEB.1
  fd00::5 TASK t2 WEB.1
"
    );
}

#[tokio::test]
async fn a_network_without_addresses_says_why() {
    let mut publishes = service("web", &[], &[("ingress", "10.0.0.2/30")]);
    publishes.spec.as_mut().unwrap().endpoint =
        Some(EndpointSpec { ports: vec![PortConfig::default()], ..Default::default() });
    let mut clash = network("clash", "overlay", &[]);
    let config = IpamConfig { subnet: "10.0.0.0/24".into(), ..Default::default() };
    clash.spec.as_mut().unwrap().ipam =
        Some(IpamOptions { configs: vec![config], ..Default::default() });
    let view = view(
        vec![
            clash,
            network("host", "host", &[]),
            network("ingress", "overlay", &[("10.0.0.0/30", "", "10.0.0.1")]),
            network("new", "overlay", &[]),
        ],
        vec![publishes],
        vec![],
        vec![],
    )
    .await;
    assert_eq!(
        told(&view, &[]),
        "\
CLASH: services 0, tasks 0, nodes 0, network CLASH: subnet 10.0.0.0/24 overlaps 10.0.0.0/30 of network ingress; choose \
another subnet
HOST: services 0, tasks 0, nodes 0, node-local
INGRESS: services 1, tasks 0, nodes 0
 10.0.0.0/30  vxlan 4097: 2 of 2 used, 0 free
  10.0.0.1 GATEWAY
  10.0.0.2 SERVICE web WEB
NEW: services 0, tasks 0, nodes 0, the managers are about to give it a subnet
"
    );
}

#[tokio::test]
async fn who_gets_no_address_is_told_what_would_help() {
    let six = [("10.0.1.0/24", "", "10.0.1.1"), ("fd00::/126", "", "fd00::3")];
    let view = view(
        vec![
            network("host", "host", &[]),
            network("full", "overlay", &[("10.0.2.0/30", "", "10.0.2.1")]),
            network("roomy", "overlay", &[("10.0.3.0/24", "", "10.0.3.1")]),
            network("six", "overlay", &six),
            network("new", "overlay", &[]),
        ],
        vec![],
        vec![task(
            "t1",
            1,
            vec![
                attached("full", &["10.0.2.2/30"]),
                attached("six", &["fd00::1/126", "fd00::2/126"]),
            ],
        )],
        vec![],
    )
    .await;
    let full = |name: &str, subnets: &str| {
        format!(
            "free addresses of network {name} by running less on it, or move the service to a network with a larger subnet \
             (`skep service update --network-rm {name} --network-add OTHER`): all of {subnets} are in use; \
             `skep network inspect --pretty --verbose {name}` shows by whom"
        )
    };
    let roomy =
        "network ROOMY has 253 free addresses (`skep network inspect --pretty ROOMY`)".to_owned();
    for (networks, expected) in [
        (&[][..], vec![]),
        (&["host"], vec![]),
        (&["roomy"], vec![roomy.clone()]),
        (&["roomy", "full"], vec![full("FULL", "10.0.2.0/30"), roomy]),
        (&["six"], vec![full("SIX", "fd00::/126")]),
        (
            &["new"],
            vec![
                "network NEW has no addresses: the managers are about to give it a subnet"
                    .to_owned(),
            ],
        ),
    ] {
        let ids: Vec<String> = networks.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(advice(&view, &ids), expected, "{networks:?}");
    }
}

#[tokio::test]
async fn what_the_audit_finds_is_told_with_the_ids_of_the_objects() {
    let view = view(
        vec![network("span", "overlay", &[("10.0.1.0/24", "", "10.0.1.1")])],
        vec![],
        vec![
            task("t1", 1, vec![attached("span", &["10.0.1.3/24"])]),
            task("t2", 2, vec![attached("span", &["10.0.1.3/24"])]),
        ],
        vec![],
    )
    .await;
    let answer = checked(&view);
    assert_eq!((answer.networks_total, answer.tasks_total), (1, 2));
    assert_eq!(answer.findings_total as usize, answer.findings.len());
    let twice = answer.findings.iter().find(|finding| finding.kind == "duplicate-address").unwrap();
    assert_eq!(twice.object_ids, ["span", "t1", "t2"]);
    assert!(!twice.may_pass);
    let begins = "network SPAN: address 10.0.1.3 is held by task WEB.1 and by task WEB.2;";
    assert!(twice.text.starts_with(begins), "{twice:?}");
}
