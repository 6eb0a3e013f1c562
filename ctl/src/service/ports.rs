//! Published ports: `8080:80/tcp`, `8080-8082:80-82` and `published=8080,target=80,protocol=tcp,mode=host`.

use std::ops::RangeInclusive;

use skep_proto::swarmkit::{
    PortConfig,
    port_config::{Protocol, PublishMode},
};

use super::words::csv_fields;

/// The ports that one text publishes: several where it names a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Published(pub Vec<PortConfig>);

/// Published ports from their short or long text.
pub fn parse(text: &str) -> Result<Published, String> {
    if text.contains('=') { long(text).map(|port| Published(vec![port])) } else { short(text) }
}

/// Which published ports are meant: those of some ports of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortKey {
    ports: Vec<(u32, Protocol)>,
    /// None: in either mode.
    mode: Option<PublishMode>,
}

impl PortKey {
    /// Whether `port` is meant, whatever its number outside.
    pub fn names(&self, port: &PortConfig) -> bool {
        self.ports.contains(&(port.target_port, port.protocol()))
            && self.mode.is_none_or(|mode| mode == port.publish_mode())
    }
}

/// The container's ports in a text such as `80`, `53/udp`, or any text that publishes them. One that says in which mode
/// means only what is published so.
pub fn key(text: &str) -> Result<PortKey, String> {
    let Published(ports) = parse(text)?;
    let mode = ports.first().filter(|_| text.contains("mode=")).map(PortConfig::publish_mode);
    Ok(PortKey { ports: ports.iter().map(|p| (p.target_port, p.protocol())).collect(), mode })
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

fn short(text: &str) -> Result<Published, String> {
    let (ports, of) = text.split_once('/').unwrap_or((text, "tcp"));
    let of = protocol(of)?;
    let (published, targets) = match ports.split_once(':') {
        Some((_, more)) if more.contains(':') => {
            return Err(
                "a published port belongs to all addresses of a node: leave the address out".into(),
            );
        }
        Some((published, target)) => (Some(range(published)?), range(target)?),
        // The swarm chooses.
        None => (None, range(ports)?),
    };
    let port = |published_port, target_port| PortConfig {
        protocol: of.into(),
        target_port,
        published_port,
        ..PortConfig::default()
    };
    let count = |range: &RangeInclusive<u32>| range.end() - range.start();
    let all = match published {
        None => targets.map(|target| port(0, target)).collect(),
        // One port of the container under several numbers.
        Some(published) if count(&targets) == 0 => {
            published.map(|number| port(number, *targets.start())).collect()
        }
        Some(published) if count(&published) == count(&targets) => {
            published.zip(targets).map(|(number, target)| port(number, target)).collect()
        }
        Some(_) => return Err(format!("'{ports}': both ranges must be of one length")),
    };
    Ok(Published(all))
}

/// `80` or `80-82`.
fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("'{text}' is no range: it ends before it begins"));
    }
    Ok(first..=last)
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

    fn all_shown(text: &str) -> Result<String, String> {
        let Published(ports) = parse(text)?;
        Ok(ports.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn both_forms_say_the_same() {
        for (text, expected) in [
            ("8080:80", "*:8080->80/tcp"),
            ("53:53/udp", "*:53->53/udp"),
            ("80", "*:0->80/tcp"),
            ("published=8080,target=80,protocol=sctp,mode=host", "*:8080->80/sctp"),
            ("target=80", "*:0->80/tcp"),
            ("80-81/udp", "*:0->80/udp *:0->81/udp"),
            ("8080-8081:80-81", "*:8080->80/tcp *:8081->81/tcp"),
            ("8080-8082:80", "*:8080->80/tcp *:8081->80/tcp *:8082->80/tcp"),
        ] {
            assert_eq!(all_shown(text).as_deref(), Ok(expected), "{text}");
        }
        let mode = |text: &str| parse(text).unwrap().0[0].publish_mode();
        assert_eq!(mode("mode=host,target=1"), PublishMode::Host);
        assert_eq!(mode("mode=ingress,target=1"), PublishMode::Ingress);
        assert_eq!(mode("1"), PublishMode::Ingress);
    }

    #[test]
    fn a_port_is_removed_by_the_containers_number() {
        let Published(ports) = parse("published=5353,target=53,protocol=udp,mode=host").unwrap();
        for (text, expected) in [
            ("53/udp", true),
            ("50-60/udp", true),
            ("5353:53/udp", true),
            ("target=53,protocol=udp,mode=host", true),
            ("target=53,protocol=udp", true),
            ("target=53,protocol=udp,mode=ingress", false),
            ("53", false),
            ("5353/udp", false),
        ] {
            assert_eq!(key(text).unwrap().names(&ports[0]), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "http",
            "0",
            "70000:80",
            "80/icmp",
            "published=80",
            "target=80,mode=x",
            "81-80",
            "8080-8082:80-81",
            "127.0.0.1:8080:80",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
