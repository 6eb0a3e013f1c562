//! The cluster's own spec.

use std::time::Duration;

use skep_proto::swarmkit::{ClusterSpec, ExternalCa, external_ca::CaProtocol};

use super::{
    Checked, annotations::unnamed, at_most, driver, duration::non_negative, ensure, known,
    required, shown,
};

/// The name that the cluster object has, and keeps.
const CLUSTER_NAME: &str = "default";
/// Nodes renew at half of a certificate's life; shorter ones would keep the signer busy and outlive no outage.
const CERTIFICATE_EXPIRY_MIN: Duration = Duration::from_secs(60 * 60);
/// Every manager reads the cluster object on many paths.
const CLUSTER_SPEC_BYTES_MAX: usize = 256 * 1024;
/// As many external CAs as are ever tried in a row.
const EXTERNAL_CAS_MAX: usize = 16;

/// The spec of the cluster. A new root is judged where the rotation starts.
pub fn cluster_spec(spec: &Option<ClusterSpec>) -> Checked<&ClusterSpec> {
    let spec = required(spec, "the cluster's spec")?;
    let name = spec.annotations.as_ref().map_or("", |a| a.name.as_str());
    ensure(name == CLUSTER_NAME, || {
        format!(
            "modification of cluster name is not allowed: it is {CLUSTER_NAME:?}, not {}",
            shown(name)
        )
    })?;
    unnamed(spec.annotations.as_ref(), "cluster")?;
    at_most(spec, CLUSTER_SPEC_BYTES_MAX, "the cluster's spec")?;
    if let Some(ca) = &spec.ca_config {
        if let Some(expiry) = non_negative(ca.node_cert_expiry.as_ref(), "node certificate expiry")?
        {
            ensure(expiry >= CERTIFICATE_EXPIRY_MIN, || {
                format!("minimum certificate expiry time is 1h, this is {} s", expiry.as_secs())
            })?;
        }
        ensure(ca.external_cas.len() <= EXTERNAL_CAS_MAX, || {
            format!(
                "{} external CAs; at most {EXTERNAL_CAS_MAX} are allowed",
                ca.external_cas.len()
            )
        })?;
        ca.external_cas.iter().try_for_each(external_ca)?;
    }
    let heartbeat = spec.dispatcher.as_ref().and_then(|d| d.heartbeat_period.as_ref());
    if let Some(period) = non_negative(heartbeat, "heartbeat period")? {
        ensure(!period.is_zero(), || {
            "heartbeat period must be more than 0; leave it out for the default".into()
        })?;
    }
    if let Some(defaults) = &spec.task_defaults {
        driver(defaults.log_driver.as_ref(), "default log driver")?;
    }
    if let Some(raft) = &spec.raft {
        let (heartbeat, election) = (raft.heartbeat_tick, raft.election_tick);
        ensure(heartbeat == 0 || election == 0 || heartbeat < election, || {
            format!(
                "raft: the election tick ({election}) must be greater than the heartbeat tick ({heartbeat})"
            )
        })?;
    }
    Ok(spec)
}

fn external_ca(ca: &ExternalCa) -> Checked {
    known::<CaProtocol>(ca.protocol, "external CA protocol")?;
    let host = ca.url.strip_prefix("https://").or_else(|| ca.url.strip_prefix("http://"));
    ensure(host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')), || {
        format!("external CA: invalid URL {}; write https://host[:port]/path", shown(&ca.url))
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::{
        prost_types,
        swarmkit::{Annotations, CaConfig, DispatcherConfig, Driver, RaftConfig, TaskDefaults},
    };

    use super::super::says;
    use super::*;

    fn named(name: &str) -> ClusterSpec {
        let annotations = Some(Annotations { name: name.into(), ..Default::default() });
        ClusterSpec { annotations, ..Default::default() }
    }

    #[test]
    fn the_spec_of_a_cluster_is_in_range() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let expiry = |s| ClusterSpec {
            ca_config: Some(CaConfig { node_cert_expiry: seconds(s), ..Default::default() }),
            ..named("default")
        };
        let external = |url: &str| ClusterSpec {
            ca_config: Some(CaConfig {
                external_cas: vec![ExternalCa { url: url.into(), ..Default::default() }],
                ..Default::default()
            }),
            ..named("default")
        };
        let heartbeat = |s| ClusterSpec {
            dispatcher: Some(DispatcherConfig { heartbeat_period: seconds(s) }),
            ..named("default")
        };
        let ticks = |heartbeat_tick, election_tick| ClusterSpec {
            raft: Some(RaftConfig { heartbeat_tick, election_tick, ..Default::default() }),
            ..named("default")
        };
        let log = ClusterSpec {
            task_defaults: Some(TaskDefaults { log_driver: Some(Driver::default()) }),
            ..named("default")
        };
        for (spec, expected) in [
            (named("default"), "ok"),
            (
                named("other"),
                "modification of cluster name is not allowed: it is \"default\", not \"other\"",
            ),
            (
                ClusterSpec::default(),
                "modification of cluster name is not allowed: it is \"default\", not \"\"",
            ),
            (expiry(3600), "ok"),
            (expiry(3599), "minimum certificate expiry time is 1h, this is 3599 s"),
            (expiry(-3600), "node certificate expiry cannot be negative"),
            (
                expiry(i64::MAX),
                "node certificate expiry of 9223372036854775807 s is too long; at most 292 years are allowed",
            ),
            (heartbeat(5), "ok"),
            (heartbeat(0), "heartbeat period must be more than 0; leave it out for the default"),
            (heartbeat(-1), "heartbeat period cannot be negative"),
            (external("https://ca.example.com/sign"), "ok"),
            (external("ca"), "external CA: invalid URL \"ca\"; write https://host[:port]/path"),
            (
                external("https://"),
                "external CA: invalid URL \"https://\"; write https://host[:port]/path",
            ),
            (ticks(1, 10), "ok"),
            (
                ticks(10, 10),
                "raft: the election tick (10) must be greater than the heartbeat tick (10)",
            ),
            (
                log,
                "default log driver: a driver was given without a name; name it or leave the driver out",
            ),
        ] {
            assert_eq!(says(cluster_spec(&Some(spec))), expected);
        }
        assert_eq!(says(cluster_spec(&None)), "the cluster's spec is missing");
    }
}
