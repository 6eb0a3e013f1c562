//! Which ports are published in ingress mode by whom, and which ones a service gets. Pure.
//!
//! An ingress port is bound on every node, so it belongs to one service of the cluster. Ports published in host mode are
//! bound where a task runs and are not given out here; they are only kept clear of.

use std::collections::{HashMap, HashSet};

use skep_proto::{
    ids::ServiceId,
    swarmkit::{
        EndpointSpec, PortConfig, Service,
        port_config::{Protocol, PublishMode},
    },
};
use skep_store::Tables;

use super::Waits;

/// The first port that a service gets which leaves the choice to the cluster (SwarmKit's range).
pub const DYNAMIC_PORT_MIN: u32 = 30_000;
/// The last one.
pub const DYNAMIC_PORT_MAX: u32 = 32_767;

/// A protocol's number and a port.
type Port = (i32, u32);

/// The ports of all services at one moment.
#[derive(Debug, Default)]
pub struct PortTable {
    /// Ingress ports that services hold.
    held: HashMap<Port, ServiceId>,
    /// Ports that specs name, in either mode: what the cluster chooses keeps clear of them.
    named: HashSet<Port>,
}

/// Where the search for a free port begins, by protocol: after the one that was given out last, so that a port that
/// became free rests for as long as possible.
#[derive(Debug, Default)]
pub struct Cursor {
    last: HashMap<i32, u32>,
}

impl PortTable {
    /// What the services of the store hold and name.
    pub fn of(tables: &Tables) -> PortTable {
        let mut table = PortTable::default();
        for service in tables.all::<Service>() {
            let Ok(id) = service.id.parse() else { continue };
            let spec = service.spec.iter().filter_map(|spec| spec.endpoint.as_ref());
            table.named.extend(spec.flat_map(|spec| &spec.ports).filter_map(fixed));
            let given = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
            for port in given.filter(|port| is_ingress(port)).filter_map(fixed) {
                table.held.entry(port).or_insert(id);
            }
        }
        table
    }

    /// The ports of a service by its spec: those that it names, if nobody else holds them, and for the others the ones
    /// that it `had` for the same target, or else free ones. What it holds and no longer needs becomes free. On an error the
    /// table is as it was.
    pub fn assign(
        &mut self,
        service: ServiceId,
        spec: &EndpointSpec,
        had: &[PortConfig],
        cursor: &mut Cursor,
    ) -> Result<Vec<PortConfig>, Waits> {
        for port in spec.ports.iter().filter(|port| is_ingress(port)).filter_map(fixed) {
            if let Some(holder) = self.held.get(&port).filter(|holder| **holder != service) {
                return Err(Waits::PortTaken {
                    port: port.1,
                    protocol: protocol(port.0),
                    protocol_number: port.0,
                    holder: *holder,
                });
            }
        }
        let named: HashSet<Port> = spec.ports.iter().filter_map(fixed).collect();
        let mut kept: Vec<&PortConfig> = had
            .iter()
            .filter(|port| is_ingress(port))
            .filter(|port| fixed(port).is_some_and(|port| !named.contains(&port)))
            .collect();
        let mut taken: HashSet<Port> = named.clone();
        let mut ports = spec.ports.clone();
        let open = |port: &PortConfig| is_ingress(port) && port.published_port == 0;
        for port in ports.iter_mut().filter(|port| open(port)) {
            let same =
                |old: &&PortConfig| PortConfig { published_port: 0, ..(*old).clone() } == *port;
            let Some(at) = kept.iter().position(same) else { continue };
            let old = kept.remove(at);
            let mine = |key: &Port| self.held.get(key).is_none_or(|holder| *holder == service);
            if let Some(key) = fixed(old).filter(mine) {
                port.published_port = key.1;
                taken.insert(key);
            }
        }
        let before = cursor.last.clone();
        for port in ports.iter_mut().filter(|port| open(port)) {
            let Some(free) = self.next_free(service, port.protocol, &taken, cursor) else {
                cursor.last = before;
                return Err(Waits::PortsExhausted { protocol: protocol(port.protocol) });
            };
            port.published_port = free;
            taken.insert((port.protocol, free));
        }
        self.held.retain(|_, holder| *holder != service);
        let ingress = ports.iter().filter(|port| is_ingress(port)).filter_map(fixed);
        self.held.extend(ingress.map(|port| (port, service)));
        self.named.extend(named);
        Ok(ports)
    }

    fn next_free(
        &self,
        service: ServiceId,
        protocol: i32,
        taken: &HashSet<Port>,
        cursor: &mut Cursor,
    ) -> Option<u32> {
        let count = DYNAMIC_PORT_MAX - DYNAMIC_PORT_MIN + 1;
        let last = cursor.last.entry(protocol).or_insert(DYNAMIC_PORT_MAX);
        let free = (1..=count)
            .map(|step| DYNAMIC_PORT_MIN + (*last - DYNAMIC_PORT_MIN + step) % count)
            .find(|port| {
                let key = (protocol, *port);
                let foreign = self.held.get(&key).is_some_and(|holder| *holder != service);
                !foreign && !taken.contains(&key) && !self.named.contains(&key)
            })?;
        *last = free;
        Some(free)
    }
}

/// Whether it is published on every node.
pub fn is_ingress(port: &PortConfig) -> bool {
    port.publish_mode() == PublishMode::Ingress
}

fn fixed(port: &PortConfig) -> Option<Port> {
    (port.published_port != 0).then_some((port.protocol, port.published_port))
}

fn protocol(number: i32) -> &'static str {
    match Protocol::try_from(number) {
        Ok(Protocol::Tcp) => "tcp",
        Ok(Protocol::Udp) => "udp",
        Ok(Protocol::Sctp) => "sctp",
        Err(_) => "unknown protocol",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ServiceId {
        name.parse().unwrap()
    }

    /// "8080:80/udp", ":80" to leave the choice, "8080:80@host".
    fn port(text: &str) -> PortConfig {
        let (text, mode) = match text.strip_suffix("@host") {
            Some(text) => (text, PublishMode::Host),
            None => (text, PublishMode::Ingress),
        };
        let (text, protocol) = match text.strip_suffix("/udp") {
            Some(text) => (text, Protocol::Udp),
            None => (text, Protocol::Tcp),
        };
        let (published, target) = text.split_once(':').unwrap();
        PortConfig {
            protocol: protocol.into(),
            publish_mode: mode.into(),
            published_port: published.parse().unwrap_or(0),
            target_port: target.parse().unwrap(),
            ..Default::default()
        }
    }

    fn spec(ports: &str) -> EndpointSpec {
        EndpointSpec { ports: ports.split_whitespace().map(port).collect(), ..Default::default() }
    }

    fn shown(ports: &[PortConfig]) -> String {
        let ports = ports.iter().map(|p| {
            let host = if is_ingress(p) { "" } else { "@host" };
            format!("{}:{}/{}{host}", p.published_port, p.target_port, protocol(p.protocol))
        });
        ports.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn services_get_the_ports_that_they_name_and_free_ones_in_order() {
        let mut table = PortTable::default();
        let mut cursor = Cursor::default();
        let mut held: BTreeMap<&str, Vec<PortConfig>> = BTreeMap::new();
        for (service, asked, expected) in [
            ("a", ":80 :81", "30000:80/tcp 30001:81/tcp"),
            ("b", "8080:80", "8080:80/tcp"),
            ("c", "8080:80", "port 8080 is already in use (tcp, by service b)"),
            ("c", "8080:80/udp 30003:1 :2 :3", "8080:80/udp 30003:1/tcp 30002:2/tcp 30004:3/tcp"),
            // What it had for the same target stays, whatever else changes.
            ("a", ":81 9000:90", "30001:81/tcp 9000:90/tcp"),
            ("a", ":80 :81", "30005:80/tcp 30001:81/tcp"),
            // Host ports go through as they are, and what is chosen keeps clear of them.
            ("h", "30006:80@host :80@host", "30006:80/tcp@host 0:80/tcp@host"),
            ("d", ":80", "30007:80/tcp"),
            ("b", "", ""),
            ("c", "8080:80", "8080:80/tcp"),
            // One that was chosen is held like one that was named.
            ("b", "30007:1", "port 30007 is already in use (tcp, by service d)"),
            // From chosen to named and back, without a change.
            ("d", "30007:80", "30007:80/tcp"),
            ("d", ":80", "30007:80/tcp"),
            // Twice the same target: both stay.
            ("e", ":80 :80", "30008:80/tcp 30009:80/tcp"),
            ("e", ":80 :80", "30008:80/tcp 30009:80/tcp"),
        ] {
            let had = held.get(service).cloned().unwrap_or_default();
            let result = table.assign(id(service), &spec(asked), &had, &mut cursor);
            let text = match &result {
                Ok(ports) => shown(ports),
                Err(waits) => waits.to_string(),
            };
            assert_eq!(text, expected, "{service} asks for {asked:?}");
            if let Ok(ports) = result {
                held.insert(service, ports);
            }
        }
    }

    #[test]
    fn when_no_port_is_free_a_service_is_told_and_what_it_had_is_kept() {
        let mut table = PortTable::default();
        let mut cursor = Cursor::default();
        let many: Vec<String> =
            (0..=DYNAMIC_PORT_MAX - DYNAMIC_PORT_MIN).map(|n| format!(":{}", n + 1)).collect();
        let all = table.assign(id("a"), &spec(&many.join(" ")), &[], &mut cursor).unwrap();
        let refused = table.assign(id("b"), &spec(":80"), &[], &mut cursor).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "all ports from 30000 to 32767 are in use (tcp): name another, or publish fewer"
        );
        assert!(table.assign(id("b"), &spec(":80/udp"), &[], &mut cursor).is_ok());
        let again = table.assign(id("a"), &spec(&many.join(" ")), &all, &mut cursor).unwrap();
        assert_eq!(again, all);
        table.assign(id("a"), &spec(":7"), &all, &mut cursor).unwrap();
        let given = table.assign(id("b"), &spec(":80"), &[], &mut cursor).unwrap();
        assert_eq!(shown(&given), "30000:80/tcp");
    }

    proptest! {
        #[test]
        fn no_two_services_ever_hold_one_port(
            steps in prop::collection::vec((0..6_u8, prop::collection::vec((0..4_u32, 0..3_u32, any::<bool>()), 0..4)), 1..60)
        ) {
            let mut table = PortTable::default();
            let mut cursor = Cursor::default();
            let mut services: BTreeMap<u8, Vec<PortConfig>> = BTreeMap::new();
            for (service, ports) in steps {
                let text: Vec<String> = ports
                    .iter()
                    .map(|(published, target, udp)| {
                        let published = if *published == 0 { 0 } else { DYNAMIC_PORT_MIN + published };
                        format!("{published}:{}{}", target + 1, if *udp { "/udp" } else { "" })
                    })
                    .collect();
                let mut asked = spec(&text.join(" "));
                let mut seen = HashSet::new();
                asked.ports.retain(|p| p.published_port == 0 || seen.insert((p.protocol, p.published_port)));
                let had = services.get(&service).cloned().unwrap_or_default();
                let name = id(&format!("s{service}"));
                if let Ok(given) = table.assign(name, &asked, &had, &mut cursor) {
                    prop_assert_eq!(given.len(), asked.ports.len());
                    for (asked, given) in asked.ports.iter().zip(&given) {
                        prop_assert!(given.published_port != 0);
                        prop_assert!(asked.published_port == 0 || asked == given);
                    }
                    services.insert(service, given);
                }
                let all: Vec<Port> = services.values().flatten().filter_map(fixed).collect();
                let distinct: HashSet<Port> = all.iter().copied().collect();
                prop_assert_eq!(all.len(), distinct.len());
                prop_assert_eq!(table.held.len(), all.len());
            }
        }
    }
}
