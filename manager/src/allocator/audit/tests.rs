//! Small clusters with one thing wrong each. The tables are filled as they would be by a store that checks nothing.

use skep_proto::swarmkit::{
    Annotations, Driver, Endpoint, EndpointSpec, IpamConfig, IpamOptions, Network,
    NetworkAttachment, NetworkAttachmentConfig, NetworkSpec, Node, PortConfig, Service,
    ServiceSpec, Task, TaskSpec, TaskState, TaskStatus, endpoint::VirtualIp,
    endpoint_spec::ResolutionMode,
};
use skep_store::{Store, solo::lead_alone};

use super::*;
use crate::allocator::{
    ipam::{DefaultPools, Ipam, Owner, SubnetRequest},
    vxlan::VxlanIds,
};

/// A cluster with the ingress network, a network of its own, a bridge of the nodes, and one of everything in them; as it should be.
#[derive(Clone)]
struct Cluster {
    networks: Vec<Network>,
    services: Vec<Service>,
    nodes: Vec<Node>,
    tasks: Vec<Task>,
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

fn network(id: &str, subnet: &str, gateway: &str, vxlan_id: &str) -> Network {
    let options =
        [("com.docker.network.driver.overlay.vxlanid_list".to_owned(), vxlan_id.to_owned())];
    let config =
        IpamConfig { subnet: subnet.into(), gateway: gateway.into(), ..Default::default() };
    Network {
        id: id.into(),
        spec: Some(NetworkSpec {
            annotations: named(id),
            ingress: id == "ingress",
            ..Default::default()
        }),
        driver_state: Some(Driver { name: "overlay".into(), options: options.into() }),
        ipam: Some(IpamOptions { configs: vec![config], ..Default::default() }),
        ..Default::default()
    }
}

fn bridge() -> Network {
    let driver_state = Some(Driver { name: "bridge".into(), ..Default::default() });
    let spec = Some(NetworkSpec { annotations: named("bridge"), ..Default::default() });
    Network { id: "bridge".into(), spec, driver_state, ..Default::default() }
}

fn attachment(network: Network, addresses: &[&str]) -> NetworkAttachment {
    NetworkAttachment {
        network: Some(network.into()),
        addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        ..Default::default()
    }
}

fn targets(networks: &[&str]) -> Vec<NetworkAttachmentConfig> {
    let target =
        |id: &&str| NetworkAttachmentConfig { target: (*id).to_owned(), ..Default::default() };
    networks.iter().map(target).collect()
}

fn task_spec(networks: &[&str]) -> TaskSpec {
    TaskSpec { networks: targets(networks), ..Default::default() }
}

fn port(published_port: u32) -> PortConfig {
    PortConfig { published_port, target_port: 80, ..Default::default() }
}

fn service(id: &str, networks: &[&str], ports: &[u32], vips: &[(&str, &str)]) -> Service {
    let ports: Vec<_> = ports.iter().copied().map(port).collect();
    let asked = EndpointSpec { ports: ports.clone(), ..Default::default() };
    let vip = |(network, addr): &(&str, &str)| VirtualIp {
        network_id: (*network).to_owned(),
        addr: (*addr).to_owned(),
    };
    Service {
        id: id.into(),
        spec: Some(ServiceSpec {
            annotations: named(id),
            task: Some(task_spec(networks).into()),
            endpoint: Some(asked.clone()),
            ..Default::default()
        }),
        endpoint: Some(
            Endpoint { spec: Some(asked), ports, virtual_ips: vips.iter().map(vip).collect() }
                .into(),
        ),
        ..Default::default()
    }
}

fn task(id: &str, state: TaskState, node: &str, networks: Vec<NetworkAttachment>) -> Task {
    let named = networks.iter().flat_map(|a| a.network.iter().map(|n| n.id.clone()));
    let named: Vec<_> = named.collect();
    let named: Vec<_> = named.iter().map(String::as_str).collect();
    Task {
        id: id.into(),
        node_id: node.into(),
        spec: Some(task_spec(&named).into()),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        networks,
        ..Default::default()
    }
}

fn own() -> Network {
    network("own", "10.1.0.0/24", "10.1.0.1", "4097")
}

fn ingress() -> Network {
    network("ingress", "10.0.0.0/24", "10.0.0.1", "4096")
}

fn sound() -> Cluster {
    let node = |id: &str, attachments| Node { id: id.into(), attachments, ..Default::default() };
    let vips = [("ingress", "10.0.0.3/24"), ("own", "10.1.0.2/24"), ("bridge", "")];
    Cluster {
        networks: vec![ingress(), own(), bridge()],
        services: vec![service("web", &["own", "bridge"], &[8080], &vips)],
        nodes: vec![
            node("idle", vec![attachment(ingress(), &["10.0.0.4/24"])]),
            node(
                "busy",
                vec![attachment(ingress(), &["10.0.0.2/24"]), attachment(own(), &["10.1.0.3/24"])],
            ),
        ],
        tasks: vec![
            task(
                "web-1",
                TaskState::Running,
                "busy",
                vec![
                    attachment(ingress(), &["10.0.0.5/24"]),
                    attachment(own(), &["10.1.0.4/24"]),
                    attachment(bridge(), &[]),
                ],
            ),
            // Ended, and another has its address.
            task("web-0", TaskState::Failed, "idle", vec![attachment(own(), &["10.1.0.4/24"])]),
            task("new", TaskState::New, "", vec![]),
        ],
    }
}

impl Cluster {
    async fn tables(self) -> skep_store::View {
        let store = Store::system();
        let _solo = lead_alone(&store);
        let written = store.update(|tx| {
            self.networks.into_iter().try_for_each(|n| tx.create(n).map(drop))?;
            self.services.into_iter().try_for_each(|s| tx.create(s).map(drop))?;
            self.nodes.into_iter().try_for_each(|n| tx.create(n).map(drop))?;
            self.tasks.into_iter().try_for_each(|t| tx.create(t).map(drop))
        });
        written.await.unwrap();
        store.view()
    }
}

async fn found(change: impl FnOnce(&mut Cluster)) -> String {
    let mut cluster = sound();
    change(&mut cluster);
    let tables = cluster.tables().await;
    let findings = audit(&tables);
    let texts = findings.iter().map(|finding| {
        let passing = if finding.may_pass() { " (may pass)" } else { "" };
        let ids = finding.object_ids().join(",");
        format!("{}{passing} [{ids}]: {finding}", finding.kind())
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_cluster_as_it_should_be_has_no_findings() {
    assert_eq!(found(|_| {}).await, "");
    // Nor has one whose networks wait for their addresses, with what waits for them.
    let waits = found(|cluster| {
        for network in &mut cluster.networks[..2] {
            (network.driver_state, network.ipam) = (None, None);
        }
        cluster.services[0].endpoint = None;
        cluster.nodes.iter_mut().for_each(|node| node.attachments.clear());
        cluster.tasks.retain(|task| task.id == "new");
    });
    assert_eq!(waits.await, "");
}

#[tokio::test]
async fn an_address_is_one_owners_and_in_its_network() {
    let task_on =
        |address| task("other", TaskState::Ready, "busy", vec![attachment(own(), &[address])]);
    for (address, expected) in [
        ("10.1.0.9/24", ""),
        ("10.1.0.9", ""),
        (
            "10.1.0.4/24",
            "duplicate-address [own,other,web-1]: network own: address 10.1.0.4 is held by task other and by task web-1; \
             force an update of its service, which makes new tasks",
        ),
        (
            "10.1.0.2/24",
            "duplicate-address [own,web,other]: network own: address 10.1.0.2 is held by service web and by task other; \
             force an update of its service, which makes new tasks",
        ),
        (
            "10.1.0.3/24",
            "duplicate-address [own,busy,other]: network own: address 10.1.0.3 is held by node busy and by task other; \
             force an update of its service, which makes new tasks",
        ),
        (
            "10.1.0.1/24",
            "duplicate-address [own,other]: network own: address 10.1.0.1 is held by the gateway and by task other; \
             force an update of its service, which makes new tasks",
        ),
        (
            "10.9.0.1/24",
            "address-outside-subnets [own,other]: network own: task other holds address 10.9.0.1, which is in none of \
             its subnets; force an update of its service, which makes new tasks",
        ),
        (
            "x",
            "unreadable [own,other]: network own: task other has \"x\", which is not an address; force an update of its \
             service, which makes new tasks",
        ),
    ] {
        assert_eq!(found(|c| c.tasks.push(task_on(address))).await, expected, "{address}");
    }
    let outside =
        found(|c| c.networks[1].ipam.as_mut().unwrap().configs[0].gateway = "10.2.0.1".into());
    assert_eq!(
        outside.await,
        "address-outside-subnets [own]: network own: the gateway holds address 10.2.0.1, which is in none of its \
         subnets; remove the network and create it anew"
    );
    let reserved = found(|c| {
        let config = &mut c.networks[1].ipam.as_mut().unwrap().configs[0];
        let reserved = [("a", "10.1.0.1"), ("b", "10.1.0.200"), ("c", "10.1.0.4")];
        config.reserved = reserved.map(|(name, ip)| (name.to_owned(), ip.to_owned())).into();
    });
    assert_eq!(
        reserved.await,
        "duplicate-address [own,web-1]: network own: address 10.1.0.4 is held by a reservation of the network's spec \
         and by task web-1; force an update of its service, which makes new tasks"
    );
}

#[tokio::test]
async fn subnets_vxlan_ids_and_ports_are_one_owners() {
    for (other, expected) in [
        (network("other", "10.2.0.0/24", "10.2.0.1", "4098"), ""),
        (
            network("other", "10.1.0.0/16", "10.1.9.1", "4098"),
            "overlapping-subnets [other,own]: subnet 10.1.0.0/16 of network other overlaps 10.1.0.0/24 of network own; \
             remove one of the networks",
        ),
        (
            network("other", "10.2.0.0/24", "10.2.0.1", "4100,4097"),
            "duplicate-vxlan-id [other,own]: networks other and own both have VXLAN id 4097; remove one of the networks",
        ),
        (
            network("other", "10.2.0.0", "", "x"),
            "unreadable [other]: network other: the gateway has \"x\", which is not a VXLAN id; remove the network and \
             create it anew\n\
             unreadable [other]: network other: the gateway has \"10.2.0.0\", which is not a subnet; remove the network \
             and create it anew",
        ),
    ] {
        assert_eq!(found(|c| c.networks.push(other)).await, expected);
    }
    let inner = found(|c| {
        c.networks.push(network("wide", "10.0.0.0/8", "10.9.0.1", "4098"));
        c.networks.push(network("far", "10.7.0.0/16", "10.7.0.1", "4099"));
    });
    let inner = inner.await;
    assert_eq!(inner.lines().count(), 3, "each of the others lies in the wide one: {inner}");
    let port = found(|c| {
        let mut other = service("other", &[], &[8080, 8081], &[("ingress", "10.0.0.9/24")]);
        other.endpoint.as_mut().unwrap().ports[1].protocol = 1;
        c.services.push(other);
        let host = &mut c.services[0].endpoint.as_mut().unwrap().ports;
        host.push(PortConfig { publish_mode: 1, ..super::tests::port(8081) });
    });
    assert_eq!(
        port.await,
        "duplicate-port [other,web]: services other and web both publish port 8080/tcp; update one of them to another port"
    );
}

#[tokio::test]
async fn nobody_is_attached_to_a_network_that_is_gone() {
    assert_eq!(
        found(|c| {
            c.networks.remove(1);
            c.nodes[1].attachments.remove(1);
            c.services[0].endpoint.as_mut().unwrap().virtual_ips.remove(1);
        })
        .await,
        "network-gone [own,web-1]: task web-1 is attached to network own, which is gone; force an update of its service, \
         which makes new tasks"
    );
    // One that nodes made by themselves, in which the service has no address.
    assert_eq!(
        found(|c| {
            c.networks.remove(2);
            c.tasks[0].networks.remove(2);
        })
        .await,
        "network-gone (may pass) [bridge,web]: service web is attached to network bridge, which is gone; take the \
         service off the network and put it on again"
    );
    let all = found(|c| drop(c.networks.remove(1))).await;
    let kinds: Vec<_> = all.lines().map(|line| line.split_once(':').unwrap().0).collect();
    assert_eq!(
        kinds,
        [
            "network-gone [own,web-1]",
            "network-gone (may pass) [own,web]",
            "network-gone (may pass) [own,busy]",
        ]
    );
}

#[tokio::test]
async fn tasks_services_and_nodes_have_the_addresses_that_they_need_and_no_others() {
    type Change = fn(&mut Cluster);
    let cases: [(Change, &str); 13] = [
        (|c| c.tasks[0].networks[1].addresses.clear(), "task-without-address [own,web-1]"),
        (
            |c| drop(c.tasks[0].networks.remove(1)),
            "task-without-address [own,web-1] node-with-unneeded-address (may pass) [own,busy]",
        ),
        (
            |c| {
                let mut early = task("early", TaskState::New, "", vec![]);
                early.spec = Some(task_spec(&["own"]).into());
                c.tasks.push(early);
            },
            "",
        ),
        (
            |c| drop(c.services[0].endpoint.as_mut().unwrap().virtual_ips.remove(1)),
            "service-without-address (may pass) [own,web]",
        ),
        (
            |c| drop(c.services[0].endpoint.as_mut().unwrap().virtual_ips.remove(0)),
            "service-without-address (may pass) [ingress,web]",
        ),
        (
            |c| {
                let spec = c.services[0].spec.as_mut().unwrap();
                spec.endpoint.as_mut().unwrap().mode = ResolutionMode::Dnsrr.into();
            },
            "service-with-unneeded-address (may pass) [ingress,web] service-with-unneeded-address (may pass) [own,web]",
        ),
        (
            |c| {
                // Where old clients put them.
                let spec = c.services[0].spec.as_mut().unwrap();
                spec.networks = targets(&["own"]);
                spec.task = Some(task_spec(&[]).into());
            },
            "",
        ),
        (|c| drop(c.nodes[1].attachments.remove(1)), "node-without-address (may pass) [own,busy]"),
        (
            |c| drop(c.nodes[0].attachments.remove(0)),
            "node-without-address (may pass) [ingress,idle]",
        ),
        (
            |c| c.nodes[0].attachments.push(attachment(own(), &["10.1.0.9/24"])),
            "node-with-unneeded-address (may pass) [own,idle]",
        ),
        // On its way to the node, and not there yet.
        (
            |c| {
                c.nodes[0].attachments.push(attachment(own(), &["10.1.0.9/24"]));
                let there = vec![attachment(own(), &["10.1.0.8/24"])];
                c.tasks.push(task("next", TaskState::Pending, "idle", there));
            },
            "",
        ),
        (
            |c| {
                let there = vec![attachment(own(), &["10.1.0.8/24"])];
                c.tasks.push(task("next", TaskState::Pending, "idle", there));
            },
            "",
        ),
        // Where managers before 18.09 put it.
        (|c| c.nodes[0].attachment = c.nodes[0].attachments.pop(), ""),
    ];
    for (at, (change, expected)) in cases.into_iter().enumerate() {
        let found = found(change).await;
        let found: Vec<_> = found.lines().map(|line| line.split_once(':').unwrap().0).collect();
        assert_eq!(found.join(" "), expected, "case {at}");
    }
}

#[tokio::test]
async fn the_leaders_memory_is_what_the_store_says() {
    let tables = sound().tables().await;
    let mut ipam = Ipam::new(DefaultPools::default());
    let mut vxlan = VxlanIds::default();
    for (id, subnet, vxlan_id) in [("ingress", "10.0.0.0/24", 4096), ("own", "10.1.0.0/24", 4097)] {
        let id = id.parse().unwrap();
        let request = SubnetRequest { subnet: subnet.parse().ok(), ..Default::default() };
        ipam.add_network(id, &[request]).unwrap();
        vxlan.claim(id, vxlan_id).unwrap();
    }
    let (own, ingress) = ("own".parse().unwrap(), "ingress".parse().unwrap());
    let web = Owner::Service("web".parse().unwrap());
    let task = |id: &str| Owner::Task(id.parse().unwrap());
    let node = |id: &str| Owner::Node(id.parse().unwrap());
    for (network, owner, address) in [
        (ingress, node("busy"), "10.0.0.2"),
        (ingress, web, "10.0.0.3"),
        (ingress, node("idle"), "10.0.0.4"),
        (ingress, task("web-1"), "10.0.0.5"),
        (own, web, "10.1.0.2"),
        (own, node("busy"), "10.1.0.3"),
        (own, task("web-1"), "10.1.0.4"),
    ] {
        ipam.claim(&network, owner, address.parse().unwrap()).unwrap();
    }
    assert_eq!(compare(&tables, &ipam, &vxlan), []);

    ipam.claim(&own, task("web-0"), "10.1.0.9".parse().unwrap()).unwrap();
    ipam.release(&own, node("busy"), "10.1.0.3".parse().unwrap());
    ipam.release(&own, web, "10.1.0.2".parse().unwrap());
    ipam.claim(&own, task("web-0"), "10.1.0.2".parse().unwrap()).unwrap();
    vxlan.release(own, 4097);
    vxlan.claim(own, 4099).unwrap();
    let findings: Vec<_> = compare(&tables, &ipam, &vxlan).iter().map(Finding::to_string).collect();
    assert_eq!(
        findings,
        [
            "network own: the leader holds address 10.1.0.2 for task web-0, which has it no more; a new leader frees it",
            "network own: the leader holds address 10.1.0.9 for task web-0, which has it no more; a new leader frees it",
            "network own: service web has address 10.1.0.2, which the leader takes for that of task web-0; a new leader \
             sets it right",
            "network own: node busy has address 10.1.0.3, which the leader takes for free; a new leader sets it right",
            "the leader holds VXLAN id 4099 for network own, which has it no more; a new leader frees it",
            "network own has VXLAN id 4097, which the leader does not know; a new leader sets it right",
        ]
    );
}
