//! Networks.

use skep_proto::swarmkit::{
    CreateNetworkRequest, Driver, EndpointSpec, GetNetworkRequest, IpamConfig, IpamOptions,
    ListNetworksRequest, Network, NetworkAttachmentConfig, NetworkSpec, PortConfig,
    RemoveNetworkRequest, Task, TaskState, TaskStatus, list_networks_request::Filters,
};

use super::*;

fn spec(name: &str) -> NetworkSpec {
    NetworkSpec { annotations: named(name), ..Default::default() }
}

fn by_id(id: &str) -> RemoveNetworkRequest {
    RemoveNetworkRequest { network_id: id.into(), ..Default::default() }
}

fn by_name(name: &str) -> RemoveNetworkRequest {
    RemoveNetworkRequest { name: name.into(), ..Default::default() }
}

async fn create(h: &Harness, spec: NetworkSpec) -> String {
    done!(h, create_network, CreateNetworkRequest { spec: Some(spec) }).network.unwrap().id
}

#[tokio::test]
async fn a_network_is_found_by_id_and_by_name() {
    let h = Harness::new();
    let id = create(&h, spec("front")).await;
    let get = |id: &str, name: &str| GetNetworkRequest {
        network_id: id.into(),
        name: name.into(),
        ..Default::default()
    };
    for request in [get(&id, ""), get("", "front"), get(&id, "other")] {
        assert_eq!(done!(h, get_network, request).network.unwrap().id, id);
    }
    assert_eq!(
        refused!(h, get_network, get("", "back")),
        says(Code::NotFound, "network back not found")
    );
    assert_eq!(
        refused!(h, get_network, get("", "")),
        says(Code::InvalidArgument, "the id of the network must be provided")
    );
    create(&h, spec("back")).await;
    let filters = Filters { names: vec!["back".into()], ..Default::default() };
    let listed = done!(
        h,
        list_networks,
        ListNetworksRequest { filters: Some(filters), ..Default::default() }
    );
    assert_eq!(listed.networks.len(), 1);
    assert_eq!(
        refused!(h, create_network, CreateNetworkRequest { spec: Some(spec("back")) }),
        says(Code::AlreadyExists, "network back already exists")
    );
    done!(h, remove_network, by_name("back"));
    done!(h, remove_network, by_id(&id));
    assert_eq!(h.store.view().count::<Network>(), 0);
}

#[tokio::test]
async fn there_is_one_ingress_network_which_stays_while_ports_need_it() {
    let h = Harness::new();
    let ingress = |name: &str| NetworkSpec { ingress: true, ..spec(name) };
    let id = create(&h, ingress("ingress")).await;
    assert_eq!(
        refused!(h, create_network, CreateNetworkRequest { spec: Some(ingress("second")) }),
        says(Code::AlreadyExists, &format!("the ingress network ({id}) already exists"))
    );
    let port = PortConfig { target_port: 80, ..Default::default() };
    let endpoint = Some(EndpointSpec { ports: vec![port], ..Default::default() });
    h.put(service("s", ServiceSpec { endpoint, ..service_spec("web") })).await;
    assert_eq!(
        refused!(h, remove_network, by_id(&id)),
        says(
            Code::FailedPrecondition,
            "ingress network cannot be removed because service web depends on it"
        )
    );
    let web = "s".parse().unwrap();
    h.store.update(|tx| tx.remove::<Service>(&web)).await.unwrap();
    done!(h, remove_network, by_id(&id));
    create(&h, ingress("second")).await;
}

#[tokio::test]
async fn a_network_asks_only_for_what_it_can_have() {
    let h = Harness::new();
    let with = |name: &str, subnets: &[&str], vni: &str| {
        let config = |subnet: &&str| IpamConfig { subnet: (*subnet).into(), ..Default::default() };
        let configs = subnets.iter().map(config).collect();
        let options =
            [("com.docker.network.driver.overlay.vxlanid_list".to_owned(), vni.to_owned())];
        let options = options.into_iter().filter(|(_, vni)| !vni.is_empty()).collect();
        NetworkSpec {
            ipam: Some(IpamOptions { driver: None, configs }),
            driver_config: Some(Driver { name: "overlay".into(), options }),
            ..spec(name)
        }
    };
    // No addresses are given yet: what it asks for counts.
    let first = create(&h, with("first", &["10.1.0.0/16"], "5000")).await;
    for (spec, text) in [
        (
            with("n", &["10.1.2.0/24"], ""),
            format!("network n: subnet 10.1.2.0/24 overlaps 10.1.0.0/16 of network {first}; choose another subnet"),
        ),
        (with("n", &["10.2.0.0/32"], ""), "network n: 10.2.0.0/32 has no address beside the gateway; choose a larger one".to_owned()),
        (
            with("n", &[], "5000"),
            format!("network n: VXLAN id 5000 is in use by network {first}; name another, or none"),
        ),
        (
            with("n", &[], "abc"),
            "network n: VXLAN id \"abc\" cannot be read; create it anew with one that can, or with none".to_owned(),
        ),
    ] {
        let request = CreateNetworkRequest { spec: Some(spec) };
        assert_eq!(refused!(h, create_network, request), says(Code::InvalidArgument, &text));
    }
    create(&h, with("second", &["10.2.0.0/16"], "5001")).await;
}

#[tokio::test]
async fn what_is_attached_to_holds_a_network() {
    let h = Harness::new();
    let id = create(&h, spec("front")).await;
    let attached = || TaskSpec {
        networks: vec![NetworkAttachmentConfig { target: id.clone(), ..Default::default() }],
        ..container("nginx")
    };
    h.put(service("s", ServiceSpec { task: Some(attached().into()), ..service_spec("web") })).await;
    let task = |task_id: &str, state: TaskState, desired: TaskState| Task {
        id: task_id.into(),
        spec: Some(attached().into()),
        desired_state: desired.into(),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    };
    h.put(task("runs", TaskState::Running, TaskState::Running)).await;
    h.put(task("stops", TaskState::Running, TaskState::Shutdown)).await;
    h.put(task("ended", TaskState::Failed, TaskState::Running)).await;
    assert_eq!(
        refused!(h, remove_network, by_id(&id)),
        says(Code::FailedPrecondition, "network front is in use by service web, task runs")
    );
    let (web, runs) = ("s".parse().unwrap(), "runs".parse().unwrap());
    h.store
        .update(|tx| {
            tx.remove::<Service>(&web)?;
            tx.remove::<Task>(&runs)
        })
        .await
        .unwrap();
    done!(h, remove_network, by_id(&id));
}

#[tokio::test]
async fn predefined_networks_are_not_for_users() {
    let h = Harness::new();
    let labels = [("com.docker.swarm.predefined".to_owned(), "true".to_owned())].into();
    let annotations = Some(Annotations { name: "host".into(), labels, ..Default::default() });
    let spec_of = NetworkSpec { annotations, ..Default::default() };
    h.put(Network { id: "h".into(), spec: Some(spec_of.clone()), ..Default::default() }).await;
    assert_eq!(
        refused!(h, remove_network, by_id("h")),
        says(Code::FailedPrecondition, "host is a pre-defined network and cannot be removed")
    );
    assert_eq!(
        refused!(h, create_network, CreateNetworkRequest { spec: Some(spec_of) }).0,
        Code::PermissionDenied
    );
    assert_eq!(
        refused!(h, create_network, CreateNetworkRequest { spec: Some(spec("bridge")) }),
        says(
            Code::PermissionDenied,
            "bridge is the name of a predefined network; choose another name"
        )
    );
}
