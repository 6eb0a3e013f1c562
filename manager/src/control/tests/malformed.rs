//! Requests with bytes changed at random: whatever still decodes is answered, and nothing panics.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use skep_proto::swarmkit::{
    ClusterSpec, ConfigSpec, EndpointSpec, HealthConfig, IpamConfig, IpamOptions, Mount,
    NetworkSpec, NodeSpec, Placement, PortConfig, ResourceRequirements, Resources, RestartPolicy,
    SecretReference, SecretSpec, UpdateConfig, VolumeSpec,
};

use super::*;
use crate::control::validate;

/// A service that uses most of what can be said.
fn rich() -> ServiceSpec {
    let duration = |seconds| Some(skep_proto::prost_types::Duration { seconds, nanos: 1 });
    let container = ContainerSpec {
        image: "registry:5000/team/app:1@sha256:ab".into(),
        hostname: "{{.Node.Hostname}}-{{if .Task.Slot}}{{.Task.Slot}}{{end}}".into(),
        env: vec!["A={{join \"a\" \"b\"}}".into()],
        mounts: vec![Mount {
            source: "a".into(),
            target: "{{.Service.Name}}".into(),
            ..Default::default()
        }],
        secrets: vec![SecretReference::default()],
        healthcheck: Some(HealthConfig { interval: duration(5), ..Default::default() }),
        ..Default::default()
    };
    let limits =
        Some(Resources { nano_cpus: 1_000_000, memory_bytes: 4 << 20, ..Default::default() });
    ServiceSpec {
        annotations: named("web"),
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(container)),
                resources: Some(ResourceRequirements { limits, ..Default::default() }),
                restart: Some(RestartPolicy { delay: duration(1), ..Default::default() }),
                placement: Some(Placement {
                    constraints: vec!["node.id != x".into()],
                    ..Default::default()
                }),
                ..Default::default()
            }
            .into(),
        ),
        endpoint: Some(EndpointSpec {
            ports: vec![PortConfig { target_port: 80, published_port: 8080, ..Default::default() }],
            ..Default::default()
        }),
        update: Some(UpdateConfig {
            monitor: duration(3),
            max_failure_ratio: 0.5,
            ..Default::default()
        }),
        ..service_spec("web")
    }
}

fn network() -> NetworkSpec {
    let config = IpamConfig {
        subnet: "10.1.0.0/16".into(),
        range: "10.1.2.0/24".into(),
        gateway: "10.1.0.1".into(),
        ..Default::default()
    };
    NetworkSpec {
        annotations: named("n"),
        ipam: Some(IpamOptions { configs: vec![config.clone(), config], ..Default::default() }),
        ..Default::default()
    }
}

/// Every validation over the same bytes: a field's number means something else in each.
fn judge(bytes: &[u8]) {
    fn spec<T: Message + Default>(bytes: &[u8]) -> Option<T> {
        T::decode(Bytes::copy_from_slice(bytes)).ok()
    }
    let _ = validate::service_spec(&spec::<ServiceSpec>(bytes));
    let _ = validate::network_spec(&spec::<NetworkSpec>(bytes));
    let _ = validate::cluster_spec(&spec::<ClusterSpec>(bytes));
    let _ = validate::node_spec(&spec::<NodeSpec>(bytes));
    let _ = validate::secret_spec(&spec::<SecretSpec>(bytes));
    let _ = validate::config_spec(&spec::<ConfigSpec>(bytes));
    let _ = validate::volume_spec(&spec::<VolumeSpec>(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_bytes_panic(
        of_service in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = if of_service { rich().encode_to_vec() } else { network().encode_to_vec() };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        judge(&bytes);
    }
}
