//! Bad specs of everything that is not a service: for each rule the code and the text, and nothing left behind.

use skep_proto::{
    prost_types::Duration as WireDuration,
    swarmkit::{
        ConfigSpec, CreateConfigRequest, CreateNetworkRequest, CreateSecretRequest,
        DispatcherConfig, Driver, ExternalCa, IpamConfig, IpamOptions, NetworkSpec, Node, NodeSpec,
        RaftConfig, RemoveServiceRequest, RemoveTaskRequest, SecretSpec, TaskDefaults,
        UpdateClusterRequest, UpdateNodeRequest, ipam_config::AddressFamily,
        network_spec::ConfigFrom,
    },
};

use super::*;
use Code::{AlreadyExists, InvalidArgument as Bad, NotFound, PermissionDenied, Unimplemented};

/// Holds a refusal against the code and the beginning of the text.
fn check(refused: (Code, String), (code, text): (Code, &str)) {
    assert!(refused.1.starts_with(text), "expected {text:?}, but it says {:?}", refused.1);
    assert_eq!(refused.0, code, "{}", refused.1);
}

/// Annotations with more labels than an object may have.
fn fat(name: &str) -> Option<Annotations> {
    let labels = [("k".to_owned(), "v".repeat(200 << 10))].into();
    Some(Annotations { name: name.into(), labels, ..Default::default() })
}

fn driver(name: &str) -> Option<Driver> {
    Some(Driver { name: name.into(), ..Default::default() })
}

#[tokio::test]
async fn secrets() {
    let spec = || SecretSpec { annotations: named("key"), data: "x".into(), ..Default::default() };
    let name = |name: &str| SecretSpec { annotations: named(name), ..spec() };
    let data = |len: usize| SecretSpec { data: vec![0; len].into(), ..spec() };
    let size = "secret data must be larger than 0 and less than 512000 bytes, this has";
    let h = Harness::new();
    for (spec, expected) in [
        (None, (Bad, "the secret's spec is missing")),
        (Some(SecretSpec { annotations: None, ..spec() }), (Bad, "secret: the name is missing")),
        (Some(name("")), (Bad, "secret: the name must be provided")),
        (Some(name("a b")), (Bad, "secret: the name \"a b\" must have at most 64 characters")),
        (Some(name("../key")), (Bad, "secret: the name \"../key\" must have at most 64")),
        (Some(name(&"a".repeat(65))), (Bad, "secret: the name \"aaa")),
        (
            Some(SecretSpec { annotations: fat("key"), ..spec() }),
            (Bad, "secret: the name with its labels takes"),
        ),
        (Some(data(0)), (Bad, size)),
        (Some(data(500 << 10)), (Bad, size)),
        (Some(data(3 << 20)), (Bad, size)),
        (
            Some(SecretSpec { driver: driver("vault"), ..spec() }),
            (Bad, "secret: a secret of a driver must not carry data; leave one of them out"),
        ),
        (
            Some(SecretSpec { driver: driver(""), ..spec() }),
            (Bad, "secret: a driver was given without a name"),
        ),
        (
            Some(SecretSpec { templating: driver("jinja"), ..spec() }),
            (Bad, "secret: the template driver \"jinja\" is not known; use golang"),
        ),
        (
            Some(SecretSpec { templating: driver("golang"), data: "a {{nope}}".into(), ..spec() }),
            (
                Bad,
                "secret: the data is not a template that can be expanded: look at the action at character 3",
            ),
        ),
    ] {
        check(refused!(h, create_secret, CreateSecretRequest { spec }), expected);
    }
    done!(h, create_secret, CreateSecretRequest { spec: Some(data((500 << 10) - 1)) });
    let again = CreateSecretRequest { spec: Some(spec()) };
    check(refused!(h, create_secret, again), (AlreadyExists, "secret key already exists"));
}

#[tokio::test]
async fn configs() {
    let spec = || ConfigSpec { annotations: named("motd"), data: "x".into(), ..Default::default() };
    let name = |name: &str| ConfigSpec { annotations: named(name), ..spec() };
    let data = |len: usize| ConfigSpec { data: vec![0; len].into(), ..spec() };
    let size = "config data must be larger than 0 and less than 1024000 bytes, this has";
    let h = Harness::new();
    for (spec, expected) in [
        (None, (Bad, "the config's spec is missing")),
        (Some(ConfigSpec { annotations: None, ..spec() }), (Bad, "config: the name is missing")),
        (Some(name("")), (Bad, "config: the name must be provided")),
        (Some(name("-a")), (Bad, "config: the name \"-a\" must have at most 64 characters")),
        (Some(name(&"a".repeat(65))), (Bad, "config: the name \"aaa")),
        (
            Some(ConfigSpec { annotations: fat("motd"), ..spec() }),
            (Bad, "config: the name with its labels takes"),
        ),
        (Some(data(0)), (Bad, size)),
        (Some(data(1000 << 10)), (Bad, size)),
        (
            Some(ConfigSpec { templating: driver(""), ..spec() }),
            (Bad, "templating of a config: a driver was given without a name"),
        ),
        (
            Some(ConfigSpec { templating: driver("golang"), data: "{{".into(), ..spec() }),
            (
                Bad,
                "config: the data is not a template that can be expanded: look at the action at character 1",
            ),
        ),
    ] {
        check(refused!(h, create_config, CreateConfigRequest { spec }), expected);
    }
    done!(h, create_config, CreateConfigRequest { spec: Some(data((1000 << 10) - 1)) });
    let again = CreateConfigRequest { spec: Some(spec()) };
    check(refused!(h, create_config, again), (AlreadyExists, "config motd already exists"));
}

#[tokio::test]
async fn networks() {
    let spec = || NetworkSpec { annotations: named("net"), ..Default::default() };
    let name = |name: &str| NetworkSpec { annotations: named(name), ..spec() };
    let labelled = |label: &str| {
        let labels = [(label.to_owned(), "true".to_owned())].into();
        let annotations = Some(Annotations { name: "net".into(), labels, ..Default::default() });
        NetworkSpec { annotations, ..spec() }
    };
    let ingress = || NetworkSpec { ingress: true, ..spec() };
    let config = |subnet: &str, range: &str, gateway: &str| IpamConfig {
        subnet: subnet.into(),
        range: range.into(),
        gateway: gateway.into(),
        ..Default::default()
    };
    let ipam = |configs: Vec<IpamConfig>| NetworkSpec {
        ipam: Some(IpamOptions { configs, ..Default::default() }),
        ..spec()
    };
    let reserved = IpamConfig {
        reserved: [("host".to_owned(), "10.9.9.9".to_owned())].into(),
        ..config("10.1.0.0/16", "", "")
    };
    let family = IpamConfig { family: AddressFamily::Ipv6.into(), ..config("10.1.0.0/16", "", "") };
    let strange = IpamConfig { family: 5, ..config("10.1.0.0/16", "", "") };
    let options = Driver {
        name: "overlay".into(),
        options: [("o".to_owned(), "x".repeat(200 << 10))].into(),
    };
    let from = |driver_name: &str| NetworkSpec {
        driver_config: driver(driver_name),
        config_from: Some(ConfigFrom::Network("local".into())),
        ..spec()
    };
    let h = Harness::new();
    for (spec, expected) in [
        (None, (Bad, "the network's spec is missing")),
        (Some(NetworkSpec { annotations: None, ..spec() }), (Bad, "network: the name is missing")),
        (Some(name("")), (Bad, "network: the name must be provided")),
        (Some(name("a.b")), (Bad, "network: the name \"a.b\" must be valid as a DNS name")),
        (Some(name(&"a".repeat(64))), (Bad, "network: the name must be 63 characters or fewer")),
        (
            Some(NetworkSpec { annotations: fat("net"), ..spec() }),
            (Bad, "network: the name with its labels takes"),
        ),
        (Some(name("host")), (PermissionDenied, "host is the name of a predefined network")),
        (Some(name("none")), (PermissionDenied, "none is the name of a predefined network")),
        (
            Some(labelled("com.docker.swarm.predefined")),
            (PermissionDenied, "label com.docker.swarm.predefined is for internally created"),
        ),
        (
            Some(labelled("com.docker.swarm.internal")),
            (PermissionDenied, "label com.docker.swarm.internal is for internally created"),
        ),
        (
            Some(NetworkSpec { driver_config: driver(""), ..spec() }),
            (Bad, "network: a driver was given without a name"),
        ),
        (
            Some(NetworkSpec { driver_config: Some(options), ..spec() }),
            (Bad, "the network's spec takes 2048"),
        ),
        (
            Some(NetworkSpec { attachable: true, ..ingress() }),
            (Bad, "ingress network cannot be attachable"),
        ),
        (
            Some(NetworkSpec { internal: true, ..ingress() }),
            (Bad, "ingress network cannot be internal"),
        ),
        (
            Some(NetworkSpec { driver_config: driver("macvlan"), ..ingress() }),
            (Unimplemented, "only overlay driver is currently supported for ingress network"),
        ),
        (Some(from("overlay")), (Bad, "network: config_from goes with a node-local driver")),
        (
            Some(NetworkSpec {
                ipam: ipam(vec![config("10.1.0.0/16", "", "")]).ipam,
                ..from("macvlan")
            }),
            (Bad, "network: addresses come from the network that config_from names"),
        ),
        (Some(ipam(vec![config("10.1", "", "")])), (Bad, "ipam: invalid subnet \"10.1\"; write")),
        (
            Some(ipam(vec![config("10.1.0.0/16", "10.2.0.0/24", "")])),
            (Bad, "ipam: subnet 10.1.0.0/16 does not contain range 10.2.0.0/24"),
        ),
        (
            Some(ipam(vec![config("10.1.0.0/16", "", "10.2.0.1")])),
            (Bad, "ipam: subnet 10.1.0.0/16 does not contain gateway 10.2.0.1"),
        ),
        (
            Some(ipam(vec![reserved])),
            (Bad, "ipam: subnet 10.1.0.0/16 does not contain reserved address 10.9.9.9"),
        ),
        (
            Some(ipam(vec![config("10.1.0.0/16", "", ""), config("10.1.2.0/24", "", "")])),
            (Bad, "ipam: subnets 10.1.0.0/16 and 10.1.2.0/24 overlap"),
        ),
        (Some(ipam(vec![family])), (Bad, "ipam: subnet 10.1.0.0/16 is not of the family")),
        (Some(ipam(vec![strange])), (Bad, "ipam address family 5 is not a known value")),
    ] {
        check(refused!(h, create_network, CreateNetworkRequest { spec }), expected);
    }
    done!(h, create_network, CreateNetworkRequest { spec: Some(ingress()) });
    let again = CreateNetworkRequest { spec: Some(spec()) };
    check(refused!(h, create_network, again), (AlreadyExists, "network net already exists"));
    let second = NetworkSpec { annotations: named("second"), ..ingress() };
    let second = CreateNetworkRequest { spec: Some(second) };
    check(refused!(h, create_network, second), (AlreadyExists, "the ingress network ("));
}

#[tokio::test]
async fn nodes() {
    let h = Harness::new();
    let stored = h.put(Node { id: "w".into(), ..Default::default() }).await;
    let spec = NodeSpec::default;
    for (spec, expected) in [
        (None, (Bad, "the node's spec is missing")),
        (Some(NodeSpec { desired_role: 2, ..spec() }), (Bad, "node role 2 is not a known value")),
        (Some(NodeSpec { membership: 2, ..spec() }), (Bad, "node membership 2 is not a known")),
        (Some(NodeSpec { availability: -1, ..spec() }), (Bad, "node availability -1 is not a")),
        (
            Some(NodeSpec { annotations: fat("w"), ..spec() }),
            (Bad, "node: the name with its labels takes"),
        ),
        (
            Some(NodeSpec { annotations: named(&"n".repeat(256)), ..spec() }),
            (Bad, "node: the name has 256 characters; at most 255 are allowed"),
        ),
    ] {
        let node_version = version_of(&*stored);
        let request = UpdateNodeRequest { node_id: "w".into(), node_version, spec };
        check(refused!(h, update_node, request), expected);
    }
}

#[tokio::test]
async fn the_cluster() {
    let h = Harness::new();
    let stored = h.put(cluster()).await;
    let spec = || stored.spec.clone().unwrap();
    let seconds = |seconds| Some(WireDuration { seconds, nanos: 0 });
    let expiry = |s| {
        let ca = CaConfig { node_cert_expiry: seconds(s), ..Default::default() };
        ClusterSpec { ca_config: Some(ca), ..spec() }
    };
    let heartbeat = |s| {
        let dispatcher = Some(DispatcherConfig { heartbeat_period: seconds(s) });
        ClusterSpec { dispatcher, ..spec() }
    };
    let external = |url: &str, count: usize| {
        let external_cas = vec![ExternalCa { url: url.into(), ..Default::default() }; count];
        ClusterSpec { ca_config: Some(CaConfig { external_cas, ..Default::default() }), ..spec() }
    };
    let ticks = RaftConfig { heartbeat_tick: 3, election_tick: 2, ..Default::default() };
    for (spec, expected) in [
        (
            ClusterSpec { annotations: named("mine"), ..spec() },
            "modification of cluster name is not",
        ),
        (
            ClusterSpec { annotations: fat("default"), ..spec() },
            "cluster: the name with its labels",
        ),
        (expiry(3599), "minimum certificate expiry time is 1h, this is 3599 s"),
        (expiry(-1), "node certificate expiry cannot be negative"),
        (heartbeat(0), "heartbeat period must be more than 0; leave it out for the default"),
        (heartbeat(-5), "heartbeat period cannot be negative"),
        (external("ftp://ca", 1), "external CA: invalid URL \"ftp://ca\"; write https://"),
        (external("https://ca/sign", 17), "17 external CAs; at most 16 are allowed"),
        (
            external(&format!("https://{}", "x".repeat(300 << 10)), 1),
            "the cluster's spec takes 307",
        ),
        (
            ClusterSpec { raft: Some(ticks), ..spec() },
            "raft: the election tick (2) must be greater",
        ),
        (
            ClusterSpec { task_defaults: Some(TaskDefaults { log_driver: driver("") }), ..spec() },
            "default log driver: a driver was given without a name",
        ),
    ] {
        let request = UpdateClusterRequest {
            cluster_id: "c".into(),
            cluster_version: version_of(&*stored),
            spec: Some(spec),
            rotation: None,
        };
        check(refused!(h, update_cluster, request), (Bad, expected));
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_removed() {
    let h = Harness::new();
    let task = |id: &str| RemoveTaskRequest { task_id: id.into() };
    check(refused!(h, remove_task, task("")), (Bad, "the id of the task must be provided"));
    check(refused!(h, remove_task, task("t")), (NotFound, "task t not found"));
    let service = |id: &str| RemoveServiceRequest { service_id: id.into() };
    check(refused!(h, remove_service, service("")), (Bad, "the id of the service must be"));
    check(refused!(h, remove_service, service("s")), (NotFound, "service s not found"));
    let strange = "s\n".repeat(1 << 20);
    check(refused!(h, remove_service, service(&strange)), (NotFound, "service \"s\\ns\\n"));
}
