//! What is done to both swarms, and described after each step.

use skep_proto::swarmkit::{
    IpamConfig, NetworkAttachmentConfig, PortConfig, TaskState, port_config,
};
use tokio::task::block_in_place;

use super::side::{Side, plain_task};
use crate::{
    networks::spec::{Network, overlay},
    services::spec::{IMAGE, Spec, replicated},
    support::docker,
};

const VXLAN_LIST: &str = "com.docker.network.driver.overlay.vxlanid_list";

pub async fn run(side: &mut Side<'_>) {
    block_in_place(|| side.worker.import_busybox(IMAGE)).unwrap();
    side.wait_ready().await;
    a_new_swarm(side).await;
    let ids = networks(side).await;
    services(side, &ids).await;
    changes(side).await;
    attachments(side).await;
    refusals(side).await;
}

async fn a_new_swarm(side: &mut Side<'_>) {
    for network in side.networks().await.unwrap() {
        let name = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
        let name = name.map_or(String::new(), |annotations| annotations.name.clone());
        side.describe_network(&format!("new/{name}"), &network.id).await;
    }
    side.describe_nodes("new").await;
    side.describe_engine("new/ingress", "ingress", false).await;
}

/// A service that says what kind of endpoint it has, as those of Docker's command do: for one that does not, a stock manager
/// takes a new address with every update.
fn service(name: &str, replicas: u64) -> Spec {
    replicated(name, replicas).with_address()
}

/// Networks of every kind.
fn kinds() -> Vec<Network> {
    let reserved = [("printer".to_owned(), "10.63.0.2".to_owned())].into();
    vec![
        overlay("plain"),
        overlay("encrypted").option("encrypted", ""),
        overlay("ranged").subnet_with("10.50.0.0/16", "10.50.4.0/24", "10.50.0.9"),
        overlay("attachable").attachable().subnet("10.51.0.0/24"),
        overlay("internal").internal(),
        overlay("two").subnet("10.60.0.0/24").subnet("10.61.0.0/24"),
        overlay("described").option("com.docker.network.driver.mtu", "1400").label("a", "b"),
        overlay("numbered").option(VXLAN_LIST, "5000"),
        overlay("reserving").addresses(IpamConfig {
            subnet: "10.63.0.0/24".into(),
            reserved,
            ..Default::default()
        }),
        overlay("both").ipv6().subnet("10.62.0.0/24").subnet("fd00:2::/64"),
        overlay("local").driver("bridge"),
        overlay("physical").driver("macvlan").config_from("physical-here"),
        overlay("plain-too"),
    ]
}

/// The ids by name.
type Ids = std::collections::BTreeMap<String, String>;

async fn networks(side: &mut Side<'_>) -> Ids {
    let (name, subnet) = ("physical-here", "192.168.200.0/24");
    let words =
        ["network", "create", "--config-only", "--subnet", subnet, "-o", "parent=eth0", name];
    docker(side.worker, &words).unwrap();
    let mut ids = Ids::new();
    for network in kinds() {
        let id = side.create_network(&network).await;
        side.describe_network(network.name(), &id).await;
        ids.insert(network.name().to_owned(), id);
    }
    for name in ["host", "bridge"] {
        let networks = side.networks().await.unwrap();
        let is_it = |network: &&skep_proto::swarmkit::Network| {
            let annotations = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
            annotations.is_some_and(|annotations| annotations.name == name)
        };
        ids.insert(name.to_owned(), networks.iter().find(is_it).unwrap().id.clone());
    }
    ids
}

/// Services on them, in every way; one after the other and with one task, so that addresses are given out in one order. None
/// is on a network with several subnets: which of them a stock manager takes an address from is a matter of chance.
async fn services(side: &mut Side<'_>, ids: &Ids) {
    let on = |name: &str, network: &str| service(name, 1).network(&ids[network]);
    let udp = PortConfig {
        protocol: port_config::Protocol::Udp.into(),
        target_port: 53,
        published_port: 8053,
        name: "names".into(),
        ..Default::default()
    };
    let called = NetworkAttachmentConfig {
        target: ids["plain-too"].clone(),
        aliases: vec!["foo".into(), "bar".into()],
        driver_attachment_opts: [("k".to_owned(), "v".to_owned())].into(),
        ..Default::default()
    };
    let cases: Vec<(&str, Spec, usize)> = vec![
        ("plain", on("vip", "plain"), 1),
        ("plain", on("rr", "plain").without_address(), 1),
        ("ingress", service("published", 1).ingress_port(8080, 80).ingress_port(0, 81), 1),
        ("plain", on("udp", "plain").port(udp), 1),
        ("plain", on("on-host", "plain").host_port(8090, 80).host_port(0, 81), 1),
        ("", on("as-host", "host"), 1),
        ("", on("bridged", "bridge"), 1),
        ("", on("locally", "local"), 1),
        ("plain-too", on("twice", "attachable").attached(called), 1),
        ("ranged", on("ranged", "ranged"), 1),
        ("reserving", on("reserving", "reserving"), 1),
        ("internal", on("internal", "internal"), 1),
        ("physical", on("physical", "physical"), 1),
    ];
    let mut created = Vec::new();
    for (network, spec, running) in cases {
        let name = spec.0.annotations.as_ref().map_or(String::new(), |a| a.name.clone());
        let step = format!("service {name}");
        let id = side.create_service(&spec, running).await;
        side.wait_attached().await;
        side.describe_service(&step, &id).await;
        if !network.is_empty() {
            side.describe_engine(&step, network, true).await;
        }
        created.push(id);
    }
    // It takes an engine seconds to let one go, however many there are.
    side.remove_services(&created).await;
    side.describe_nodes("nothing runs").await;
}

/// A service leaves its network for another, and one gets and loses ports; networks and ports are given back, and others
/// take their place.
async fn changes(side: &mut Side<'_>) {
    let first = side.create_network(&overlay("first")).await;
    let second = side.create_network(&overlay("second")).await;
    let other = side.create_network(&overlay("other")).await;
    let moving = service("moving", 1).network(&first).updated_at_once();
    let changing = service("changing", 1).network(&other).updated_at_once();
    let ids = [side.create_service(&moving, 1).await, side.create_service(&changing, 1).await];
    side.wait_attached().await;
    let onto_both = moving.clone().network(&second);
    let with_ports = changing.clone().ingress_port(0, 80).ingress_port(8081, 81);
    let away = moving.only_network(&second);
    let without_address = changing.without_address();
    let steps = [
        ("on a second network, and with ports", [onto_both, with_ports]),
        ("on the second network only, and without an address", [away, without_address]),
    ];
    for (step, specs) in steps {
        // One after the other, so that addresses are; an engine takes seconds to replace a task.
        for (id, spec) in ids.iter().zip(&specs) {
            side.update_service(id, spec).await;
        }
        for id in &ids {
            side.wait_running(id, 1).await;
        }
        side.wait_attached().await;
        for (id, name) in ids.iter().zip(["moving", "changing"]) {
            side.describe_service(&format!("{step}: {name}"), id).await;
        }
    }
    side.remove_services(&ids).await;

    side.remove_network(&first).await;
    let id = side.create_network(&overlay("third")).await;
    side.describe_network("after a removal", &id).await;
    let id = side.create_network(&overlay("fourth").subnet("10.70.0.0/24")).await;
    side.describe_network("with a subnet after a removal", &id).await;
    let ports = service("ports", 0).ingress_port(0, 80).ingress_port(0, 81);
    let service = side.create_service(&ports, 0).await;
    side.wait_allocated(&service).await;
    side.describe_service("ports after others were given back", &service).await;
    side.remove_services(&[service]).await;
}

/// A container of the engine's user on a network.
async fn attachments(side: &mut Side<'_>) {
    let words = ["run", "--detach", "--name", "visitor", "--network", "attachable"];
    let program = [IMAGE, "sleep", "3600"];
    let container = match docker(side.worker, &[&words[..], &program].concat()) {
        Ok(container) => container,
        Err(error) => panic!("{error}; as the manager sees it: {:?}", side.tasks_of("").await),
    };
    side.call(container.trim(), "container");
    let task = side
        .wait("the container to be attached", async |side| {
            let tasks = side.tasks_of("").await?;
            match &tasks[..] {
                [task] if task.status.as_ref().is_some_and(|s| s.state() == TaskState::Running) => {
                    Ok(task.clone())
                }
                tasks => Err(format!("{tasks:?}")),
            }
        })
        .await;
    side.call(&task.id, "attachment");
    side.described.add("attached/task", &plain_task(task));
    side.describe_nodes("attached").await;
    docker(side.worker, &["rm", "--force", "visitor"]).unwrap();
    side.wait("the container to be detached", async |side| {
        let tasks = side.tasks_of("").await?;
        if tasks.is_empty() { Ok(()) } else { Err(format!("{tasks:?}")) }
    })
    .await;
}

/// What managers do not take, and what they say.
async fn refusals(side: &mut Side<'_>) {
    let networks = side.networks().await.unwrap();
    let id = |name: &str| {
        let is_it = |n: &&skep_proto::swarmkit::Network| {
            n.spec.as_ref().and_then(|s| s.annotations.as_ref()).is_some_and(|a| a.name == name)
        };
        networks.iter().find(is_it).unwrap().id.clone()
    };
    let used = side.create_service(&service("used", 0).network(&id("plain")), 0).await;
    let publishes = side.create_service(&service("publishes", 0).ingress_port(8099, 80), 0).await;
    side.call(&used, "service used");
    side.call(&publishes, "service publishes");
    side.refuse_removal("removal of a network in use", &id("plain")).await;
    side.refuse_removal("removal of ingress in use", &id("ingress")).await;
    side.refuse_removal("removal of host", &id("host")).await;
    side.refuse_removal("removal of nothing", "nosuch").await;
    let mut second = overlay("ingress-too");
    second.0.ingress = true;
    side.refuse_network("a second ingress", &second).await;
    side.refuse_network("a name that is taken", &overlay("plain")).await;
    side.refuse_network("a predefined name", &overlay("host")).await;
    side.refuse_network("no name", &overlay("")).await;
    side.refuse_network("malformed subnet", &overlay("bad").subnet("10.0.0")).await;
    let gateway = overlay("bad").subnet_with("10.80.0.0/24", "", "nonsense");
    side.refuse_network("malformed gateway", &gateway).await;
    let range = overlay("bad").subnet_with("10.80.0.0/24", "nonsense", "");
    side.refuse_network("malformed range", &range).await;
    let port = service("late", 0).ingress_port(8099, 80);
    side.refuse_service("a port in use", &port).await;
    let without = service("late", 0).without_address().ingress_port(8100, 80);
    side.refuse_service("ingress port without an address", &without).await;
    let twice = service("late", 0).ingress_port(8100, 80).ingress_port(8100, 81);
    side.refuse_service("a port twice", &twice).await;
    let on_ingress = service("late", 0).network(&id("ingress"));
    side.refuse_service("on the ingress network", &on_ingress).await;
    let words = ["run", "--rm", "--network", "plain", IMAGE, "true"];
    let said = docker(side.worker, &words).unwrap_err().to_string();
    let code = said.split_once("code = ").and_then(|(_, said)| said.split_whitespace().next());
    let path = "refused/attachment to a network that is not open";
    side.described.add_line(path, code.unwrap_or(&said));
    side.remove_services(&[used, publishes]).await;
}
