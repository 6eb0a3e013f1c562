//! Objects as clients may see them: secrets blanked, clusters with their public parts alone.

use bytes::Bytes;
use skep_proto::swarmkit::{CaConfig, Cluster, ClusterSpec, RootCa, RootRotation, Secret};

/// What is shown when a cluster names no address pools of its own, because it is what is used.
const DEFAULT_ADDRESS_POOL: &str = "10.0.0.0/8";
/// The size of the subnets cut from it, likewise.
const DEFAULT_SUBNET_SIZE: u32 = 24;
/// The UDP port of overlay networks, likewise (RFC 7348).
const DEFAULT_VXLAN_PORT: u32 = 4789;

/// A secret without its data.
pub(crate) fn secret(mut secret: Secret) -> Secret {
    if let Some(spec) = &mut secret.spec {
        spec.data = Bytes::new();
    }
    secret
}

/// A cluster built anew from what is public, so that a field that is added one day does not leak. Defaults are filled in.
pub(crate) fn cluster(cluster: &Cluster) -> Cluster {
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let pools = &cluster.default_address_pool;
    Cluster {
        id: cluster.id.clone(),
        meta: cluster.meta,
        spec: cluster.spec.as_ref().map(cluster_spec),
        root_ca: cluster.root_ca.as_ref().map(root_ca),
        blacklisted_certificates: cluster.blacklisted_certificates.clone(),
        default_address_pool: match pools.is_empty() {
            true => vec![DEFAULT_ADDRESS_POOL.into()],
            false => pools.clone(),
        },
        subnet_size: or(cluster.subnet_size, DEFAULT_SUBNET_SIZE),
        vxlanudp_port: or(cluster.vxlanudp_port, DEFAULT_VXLAN_PORT),
        ..Default::default()
    }
}

fn cluster_spec(spec: &ClusterSpec) -> ClusterSpec {
    let ca_config = spec.ca_config.as_ref().map(|ca| CaConfig {
        node_cert_expiry: ca.node_cert_expiry,
        external_cas: ca.external_cas.clone(),
        force_rotate: ca.force_rotate,
        ..Default::default()
    });
    let mut spec = ClusterSpec { ca_config, ..spec.clone() };
    for policy in spec.acceptance_policy.iter_mut().flat_map(|policy| &mut policy.policies) {
        policy.secret = None;
    }
    spec
}

fn root_ca(root: &RootCa) -> RootCa {
    RootCa {
        ca_cert: root.ca_cert.clone(),
        ca_cert_hash: root.ca_cert_hash.clone(),
        join_tokens: root.join_tokens.clone(),
        root_rotation: root.root_rotation.as_ref().map(|rotation| RootRotation {
            ca_cert: rotation.ca_cert.clone(),
            cross_signed_ca_cert: rotation.cross_signed_ca_cert.clone(),
            ..Default::default()
        }),
        last_forced_rotation: root.last_forced_rotation,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use skep_proto::swarmkit::{
        AcceptancePolicy, EncryptionKey, JoinTokens, SecretSpec,
        acceptance_policy::{RoleAdmissionPolicy, role_admission_policy},
    };

    use super::*;

    fn contains(message: &impl Message, needle: &[u8]) -> bool {
        message.encode_to_vec().windows(needle.len()).any(|window| window == needle)
    }

    #[test]
    fn no_secret_byte_of_a_cluster_or_secret_is_left() {
        let key = || Bytes::from_static(b"hunter2");
        let unlock = EncryptionKey { key: key(), ..Default::default() };
        let policy = RoleAdmissionPolicy {
            secret: Some(role_admission_policy::Secret { data: key(), ..Default::default() }),
            ..Default::default()
        };
        let full = Cluster {
            id: "c".into(),
            fips: true,
            spec: Some(ClusterSpec {
                ca_config: Some(CaConfig {
                    signing_ca_cert: key(),
                    signing_ca_key: key(),
                    force_rotate: 3,
                    ..Default::default()
                }),
                acceptance_policy: Some(AcceptancePolicy { policies: vec![policy] }),
                ..Default::default()
            }),
            root_ca: Some(RootCa {
                ca_key: key(),
                ca_cert: "cert".into(),
                join_tokens: Some(JoinTokens { worker: "w".into(), manager: "m".into() }),
                root_rotation: Some(RootRotation { ca_key: key(), ..Default::default() }),
                ..Default::default()
            }),
            unlock_keys: vec![unlock.clone()],
            network_bootstrap_keys: vec![unlock],
            ..Default::default()
        };
        assert!(contains(&full, b"hunter2"));
        let shown = cluster(&full);
        assert!(!contains(&shown, b"hunter2"));
        assert!(!shown.fips);
        assert_eq!(shown.spec.unwrap().ca_config.unwrap().force_rotate, 3);
        let root = shown.root_ca.unwrap();
        assert_eq!(
            (root.ca_cert.as_ref(), root.join_tokens.unwrap().worker.as_str()),
            (&b"cert"[..], "w")
        );
        assert!(root.root_rotation.is_some(), "that a rotation goes on is public");

        let spec = SecretSpec { data: key(), ..Default::default() };
        assert!(!contains(&secret(Secret { spec: Some(spec), ..Default::default() }), b"hunter2"));
    }

    #[test]
    fn a_cluster_shows_the_defaults_that_it_uses() {
        let plain = cluster(&Cluster::default());
        assert_eq!(plain.default_address_pool, ["10.0.0.0/8"]);
        assert_eq!((plain.subnet_size, plain.vxlanudp_port), (24, 4789));
        let own = cluster(&Cluster {
            default_address_pool: vec!["10.9.0.0/16".into()],
            subnet_size: 26,
            vxlanudp_port: 4790,
            ..Default::default()
        });
        assert_eq!(own.default_address_pool, ["10.9.0.0/16"]);
        assert_eq!((own.subnet_size, own.vxlanudp_port), (26, 4790));
    }
}
