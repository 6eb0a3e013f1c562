//! Published ports: `8080:80/tcp` and `published=8080,target=80,protocol=tcp,mode=host`.

use skep_proto::swarmkit::{
    PortConfig,
    port_config::{Protocol, PublishMode},
};

use super::words::csv_fields;

/// A published port from its short or long text.
pub fn parse(text: &str) -> Result<PortConfig, String> {
    if text.contains('=') { long(text) } else { short(text) }
}

/// Which published ports are meant: those of one port of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortKey {
    target_port: u32,
    protocol: Protocol,
}

impl PortKey {
    /// Whether `port` is meant, however it is published.
    pub fn names(&self, port: &PortConfig) -> bool {
        (port.target_port, port.protocol()) == (self.target_port, self.protocol)
    }
}

/// The container's port in a text such as `80`, `53/udp`, or any text that publishes it.
pub fn key(text: &str) -> Result<PortKey, String> {
    let port = parse(text)?;
    Ok(PortKey { target_port: port.target_port, protocol: port.protocol() })
}

/// A port as a listing shows it.
pub fn shown(port: &PortConfig) -> String {
    let protocol = match port.protocol() {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    format!("*:{}->{}/{protocol}", port.published_port, port.target_port)
}

fn short(text: &str) -> Result<PortConfig, String> {
    let (ports, of) = text.split_once('/').unwrap_or((text, "tcp"));
    let (published, target) = match ports.split_once(':') {
        Some((published, target)) => (number(published)?, number(target)?),
        // Zero: the swarm chooses.
        None => (0, number(ports)?),
    };
    Ok(PortConfig {
        protocol: protocol(of)?.into(),
        target_port: target,
        published_port: published,
        ..PortConfig::default()
    })
}

fn long(text: &str) -> Result<PortConfig, String> {
    let mut port = PortConfig::default();
    for field in csv_fields(text)? {
        match field.split_once('=') {
            Some(("name", value)) => port.name = value.into(),
            Some(("target", value)) => port.target_port = number(value)?,
            Some(("published", value)) => port.published_port = number(value)?,
            Some(("protocol", value)) => port.set_protocol(protocol(value)?),
            Some(("mode", "host")) => port.set_publish_mode(PublishMode::Host),
            Some(("mode", "ingress")) => port.set_publish_mode(PublishMode::Ingress),
            _ => {
                return Err(format!(
                    "'{field}' is none of target, published, protocol, mode, name"
                ));
            }
        }
    }
    if port.target_port == 0 {
        return Err("target=PORT is missing".into());
    }
    Ok(port)
}

fn number(text: &str) -> Result<u32, String> {
    let port: Result<u16, _> = text.parse();
    port.ok().filter(|p| *p > 0).map(u32::from).ok_or_else(|| format!("'{text}' is no port"))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("'{text}' is none of tcp, udp, sctp")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let table = [
            ("8080:80", "*:8080->80/tcp"),
            ("53:53/udp", "*:53->53/udp"),
            ("80", "*:0->80/tcp"),
            ("published=8080,target=80,protocol=sctp,mode=host", "*:8080->80/sctp"),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).as_ref().map(shown).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(parse("mode=host,target=1").unwrap().publish_mode(), PublishMode::Host);
    }

    #[test]
    fn a_port_is_removed_by_the_containers_number() {
        let udp = parse("published=5353,target=53,protocol=udp,mode=host").unwrap();
        assert!(key("53/udp").unwrap().names(&udp));
        assert!(key("5353:53/udp").unwrap().names(&udp));
        assert!(!key("53").unwrap().names(&udp) && !key("5353/udp").unwrap().names(&udp));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", "http", "0", "70000:80", "80/icmp", "published=80", "target=80,mode=x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
