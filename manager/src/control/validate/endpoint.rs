//! Published ports.

use std::collections::HashSet;

use skep_proto::swarmkit::{
    EndpointSpec,
    endpoint_spec::ResolutionMode,
    port_config::{Protocol, PublishMode},
};

use super::{Checked, at_most, ensure, known, refuse};

/// Some 4,000 ports. A service keeps its ports four times over (as they were asked for, now and before, and as they were
/// given out), beside two specs of the largest size, and still has to fit a raft entry; and every task carries them.
const PORTS_BYTES_MAX: usize = 64 * 1024;

/// The endpoint of a service, when there is one. Clashes with other services are found when it is written.
pub(super) fn endpoint_spec(endpoint: Option<&EndpointSpec>) -> Checked {
    let Some(endpoint) = endpoint else { return Ok(()) };
    at_most(endpoint, PORTS_BYTES_MAX, "the list of the service's ports")?;
    let resolution = known::<ResolutionMode>(endpoint.mode, "endpoint mode")?;
    let mut published = HashSet::new();
    for port in &endpoint.ports {
        let protocol = known::<Protocol>(port.protocol, "port protocol")?;
        let mode = known::<PublishMode>(port.publish_mode, "port publish mode")?;
        ensure((1..=65535).contains(&port.target_port), || {
            format!("target port {} is not a port: give 1 to 65535", port.target_port)
        })?;
        ensure(port.published_port <= 65535, || {
            format!(
                "published port {} is not a port: give 1 to 65535, or 0 to have one chosen",
                port.published_port
            )
        })?;
        if resolution == ResolutionMode::Dnsrr && mode == PublishMode::Ingress {
            return refuse(
                "a port published in ingress mode can't be used with the endpoint mode dnsrr; publish it in host \
                 mode, or use the endpoint mode vip",
            );
        }
        if port.published_port != 0 && !published.insert((protocol, port.published_port)) {
            return refuse(format!(
                "port {}/{} is published twice by the service; publish it once",
                port.published_port,
                protocol.as_str_name().to_ascii_lowercase()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::PortConfig;

    use super::super::says;
    use super::*;

    fn port(target_port: u32, published_port: u32) -> PortConfig {
        PortConfig { target_port, published_port, ..Default::default() }
    }

    fn with(mode: ResolutionMode, ports: Vec<PortConfig>) -> String {
        says(endpoint_spec(Some(&EndpointSpec { mode: mode.into(), ports })))
    }

    #[test]
    fn ports_are_in_range_and_published_once() {
        use ResolutionMode::Vip;
        let udp = PortConfig { protocol: Protocol::Udp.into(), ..port(80, 8080) };
        let host = PortConfig { publish_mode: PublishMode::Host.into(), ..port(81, 8080) };
        let strange = PortConfig { protocol: 3, ..port(80, 8080) };
        for (ports, expected) in [
            (vec![], "ok"),
            (vec![port(80, 8080), udp], "ok"),
            (vec![port(80, 0), port(80, 0)], "ok"),
            (vec![port(65535, 65535)], "ok"),
            (
                vec![port(80, 8080), port(81, 8080)],
                "port 8080/tcp is published twice by the service; publish it once",
            ),
            (
                vec![port(80, 8080), host],
                "port 8080/tcp is published twice by the service; publish it once",
            ),
            (vec![port(0, 80)], "target port 0 is not a port: give 1 to 65535"),
            (vec![port(65536, 80)], "target port 65536 is not a port: give 1 to 65535"),
            (
                vec![port(80, u32::MAX)],
                "published port 4294967295 is not a port: give 1 to 65535, or 0 to have one chosen",
            ),
            (vec![strange], "port protocol 3 is not a known value"),
        ] {
            assert_eq!(with(Vip, ports), expected);
        }
    }

    #[test]
    fn round_robin_goes_with_host_ports_only() {
        let host = PortConfig { publish_mode: PublishMode::Host.into(), ..port(80, 8080) };
        assert_eq!(with(ResolutionMode::Dnsrr, vec![host]), "ok");
        assert_eq!(
            with(ResolutionMode::Dnsrr, vec![port(80, 8080)]),
            "a port published in ingress mode can't be used with the endpoint mode dnsrr; publish it in host mode, \
             or use the endpoint mode vip"
        );
    }
}
