//! Networks and their addresses.

use ipnet::IpNet;
use skep_proto::swarmkit::{
    IpamConfig, NetworkSpec, ipam_config::AddressFamily, network_spec::ConfigFrom,
};

use super::{
    Checked, Invalid, annotations::dns_name, at_most, driver, ensure, known, refuse, required,
    shown,
};

/// The label on the networks that the managers make for the nodes' own `bridge` and `host`.
pub const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";
/// The label on networks for the managers' own use. Old clusters have it on their ingress network.
pub const INTERNAL_LABEL: &str = "com.docker.swarm.internal";
/// Names that every engine has a network of its own under.
const PREDEFINED_NAMES: [&str; 3] = ["bridge", "host", "none"];
/// The longest spec of a network: every task's attachment carries it.
const NETWORK_BYTES_MAX: usize = 128 * 1024;

/// The spec of a network that is to be created.
pub fn network_spec(spec: &Option<NetworkSpec>) -> Checked<&NetworkSpec> {
    let spec = required(spec, "the network's spec")?;
    let annotations = dns_name(&spec.annotations, "network")?;
    for label in [PREDEFINED_LABEL, INTERNAL_LABEL] {
        if annotations.labels.contains_key(label) {
            return Err(Invalid::Forbidden(format!(
                "label {label} is for internally created networks and cannot be applied by users"
            )));
        }
    }
    if PREDEFINED_NAMES.contains(&annotations.name.as_str()) {
        return Err(Invalid::Forbidden(format!(
            "{} is the name of a predefined network; choose another name",
            annotations.name
        )));
    }
    at_most(spec, NETWORK_BYTES_MAX, "the network's spec")?;
    if spec.ingress {
        ingress(spec)?;
    }
    driver(spec.driver_config.as_ref(), "network")?;
    if let Some(ConfigFrom::Network(source)) = &spec.config_from {
        let name = driver_name(spec);
        ensure(!source.is_empty(), || "network: config_from names no network".into())?;
        ensure(!matches!(name, "" | "overlay"), || {
            format!(
                "network: config_from goes with a node-local driver, such as macvlan; the driver is {}",
                shown(name)
            )
        })?;
        ensure(spec.ipam.as_ref().is_none_or(|ipam| ipam.configs.is_empty()), || {
            "network: addresses come from the network that config_from names; leave the ipam configs out".into()
        })?;
    }
    if let Some(ipam) = &spec.ipam {
        driver(ipam.driver.as_ref(), "ipam")?;
        let ipam_driver = ipam.driver.as_ref().map_or("", |driver| &driver.name);
        // SwarmKit's words: it looks for a plugin of that name.
        ensure(matches!(ipam_driver, "" | "default"), || {
            format!("error during lookup of plugin {}", shown(ipam_driver))
        })?;
        ipam.configs.iter().try_for_each(ipam_config)?;
        apart(&ipam.configs)?;
    }
    Ok(spec)
}

/// The driver's name; empty for the default, which is overlay.
fn driver_name(spec: &NetworkSpec) -> &str {
    spec.driver_config.as_ref().map_or("", |driver| &driver.name)
}

fn ingress(spec: &NetworkSpec) -> Checked {
    let name = driver_name(spec);
    if !matches!(name, "" | "overlay") {
        return Err(Invalid::Unsupported(
            "only overlay driver is currently supported for ingress network".into(),
        ));
    }
    ensure(!spec.attachable, || "ingress network cannot be attachable".into())?;
    ensure(!spec.internal, || {
        "ingress network cannot be internal: published ports come in by it".into()
    })?;
    ensure(spec.config_from.is_none(), || {
        "ingress network cannot take its config from another".into()
    })
}

fn ipam_config(config: &IpamConfig) -> Checked {
    let subnet = subnet(&config.subnet)?;
    let family = known::<AddressFamily>(config.family, "ipam address family")?;
    let other = match family {
        AddressFamily::Unknown => false,
        AddressFamily::Ipv4 => !subnet.addr().is_ipv4(),
        AddressFamily::Ipv6 => !subnet.addr().is_ipv6(),
    };
    ensure(!other, || {
        format!("ipam: subnet {subnet} is not of the family {}", family.as_str_name())
    })?;
    if !config.range.is_empty() {
        let Ok(range) = config.range.parse::<IpNet>() else {
            return refuse(format!(
                "ipam: invalid range {}; write it as 10.1.2.0/24",
                shown(&config.range)
            ));
        };
        ensure(subnet.contains(&range), || {
            format!("ipam: subnet {subnet} does not contain range {range}")
        })?;
    }
    if !config.gateway.is_empty() {
        within(&subnet, &config.gateway, "gateway")?;
    }
    config.reserved.values().try_for_each(|address| within(&subnet, address, "reserved address"))
}

fn subnet(text: &str) -> Checked<IpNet> {
    text.parse::<IpNet>().map(|net| net.trunc()).or_else(|_| {
        refuse(format!("ipam: invalid subnet {}; write it as 10.1.2.0/24", shown(text)))
    })
}

fn within(subnet: &IpNet, address: &str, what: &str) -> Checked {
    match address.parse::<std::net::IpAddr>() {
        Ok(ip) => ensure(subnet.contains(&ip), || {
            format!("ipam: subnet {subnet} does not contain {what} {ip}")
        }),
        Err(_) => {
            refuse(format!("ipam: invalid {what} {}; write an address as 10.1.2.3", shown(address)))
        }
    }
}

/// The subnets of one network must not overlap: one address could be given twice.
fn apart(configs: &[IpamConfig]) -> Checked {
    let mut subnets = configs.iter().map(|c| subnet(&c.subnet)).collect::<Checked<Vec<_>>>()?;
    subnets.sort();
    // Sorted by address, a subnet that overlaps any earlier one overlaps its neighbour.
    subnets.windows(2).try_for_each(|pair| {
        ensure(!pair[0].contains(&pair[1]) && !pair[1].contains(&pair[0]), || {
            format!("ipam: subnets {} and {} overlap", pair[0], pair[1])
        })
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Annotations, Driver, IpamOptions};

    use super::super::says;
    use super::*;

    fn named(name: &str) -> NetworkSpec {
        let annotations = Some(Annotations { name: name.into(), ..Default::default() });
        NetworkSpec { annotations, ..Default::default() }
    }

    fn driven(name: &str) -> NetworkSpec {
        let driver_config = Some(Driver { name: name.into(), ..Default::default() });
        NetworkSpec { driver_config, ..named("n") }
    }

    #[test]
    fn networks_have_names_and_drivers() {
        let labelled = |label: &str| {
            let labels = [(label.to_owned(), "true".to_owned())].into();
            let annotations = Some(Annotations { name: "n".into(), labels, ..Default::default() });
            NetworkSpec { annotations, ..Default::default() }
        };
        let from = |driver: &str| NetworkSpec {
            config_from: Some(ConfigFrom::Network("c".into())),
            ..driven(driver)
        };
        for (spec, expected) in [
            (named("n"), "ok"),
            (driven("overlay"), "ok"),
            (driven("macvlan"), "ok"),
            (from("macvlan"), "ok"),
            (
                from("overlay"),
                "network: config_from goes with a node-local driver, such as macvlan; the driver is \"overlay\"",
            ),
            (
                driven(""),
                "network: a driver was given without a name; name it or leave the driver out",
            ),
            (named(""), "network: the name must be provided"),
            (
                named("host"),
                "forbidden: host is the name of a predefined network; choose another name",
            ),
            (
                labelled(PREDEFINED_LABEL),
                "forbidden: label com.docker.swarm.predefined is for internally created networks and cannot be \
                 applied by users",
            ),
        ] {
            assert_eq!(says(network_spec(&Some(spec))), expected);
        }
        assert_eq!(says(network_spec(&None)), "the network's spec is missing");
    }

    #[test]
    fn the_ingress_network_is_an_overlay_for_published_ports_alone() {
        for (spec, expected) in [
            (driven("overlay"), "ok"),
            (named("n"), "ok"),
            (
                driven("macvlan"),
                "unsupported: only overlay driver is currently supported for ingress network",
            ),
            (
                NetworkSpec { attachable: true, ..named("n") },
                "ingress network cannot be attachable",
            ),
            (
                NetworkSpec { internal: true, ..named("n") },
                "ingress network cannot be internal: published ports come in by it",
            ),
        ] {
            assert_eq!(says(network_spec(&Some(NetworkSpec { ingress: true, ..spec }))), expected);
        }
    }

    fn addresses(configs: Vec<IpamConfig>) -> String {
        let ipam = Some(IpamOptions { configs, ..Default::default() });
        says(network_spec(&Some(NetworkSpec { ipam, ..named("n") })))
    }

    fn config(subnet: &str, range: &str, gateway: &str) -> IpamConfig {
        IpamConfig {
            subnet: subnet.into(),
            range: range.into(),
            gateway: gateway.into(),
            ..Default::default()
        }
    }

    #[test]
    fn addresses_lie_inside_their_subnet() {
        for (one, expected) in [
            (config("10.1.0.0/16", "", ""), "ok"),
            (config("10.1.0.0/16", "10.1.2.0/24", "10.1.0.1"), "ok"),
            (config("fd00::/64", "fd00::/80", "fd00::1"), "ok"),
            (config("", "", ""), "ipam: invalid subnet \"\"; write it as 10.1.2.0/24"),
            (
                config("10.1.0.0", "", ""),
                "ipam: invalid subnet \"10.1.0.0\"; write it as 10.1.2.0/24",
            ),
            (
                config("10.1.0.0/33", "", ""),
                "ipam: invalid subnet \"10.1.0.0/33\"; write it as 10.1.2.0/24",
            ),
            (
                config("10.1.0.0/16", "10.2.0.0/24", ""),
                "ipam: subnet 10.1.0.0/16 does not contain range 10.2.0.0/24",
            ),
            (config("10.1.0.0/16", "x", ""), "ipam: invalid range \"x\"; write it as 10.1.2.0/24"),
            (
                config("10.1.0.0/16", "", "10.2.0.1"),
                "ipam: subnet 10.1.0.0/16 does not contain gateway 10.2.0.1",
            ),
            (
                config("10.1.0.0/16", "", "x"),
                "ipam: invalid gateway \"x\"; write an address as 10.1.2.3",
            ),
            (
                IpamConfig { family: 6, ..config("10.1.0.0/16", "", "") },
                "ipam: subnet 10.1.0.0/16 is not of the family IPV6",
            ),
            (
                IpamConfig { family: 5, ..config("10.1.0.0/16", "", "") },
                "ipam address family 5 is not a known value",
            ),
        ] {
            assert_eq!(addresses(vec![one]), expected);
        }
        let reserved = [("router".to_owned(), "10.2.0.1".to_owned())].into();
        assert_eq!(
            addresses(vec![IpamConfig { reserved, ..config("10.1.0.0/16", "", "") }]),
            "ipam: subnet 10.1.0.0/16 does not contain reserved address 10.2.0.1"
        );
    }

    #[test]
    fn subnets_of_one_network_are_apart() {
        let of = |nets: &[&str]| addresses(nets.iter().map(|net| config(net, "", "")).collect());
        assert_eq!(of(&["10.1.0.0/16", "10.2.0.0/16", "fd00::/64"]), "ok");
        assert_eq!(
            of(&["10.1.2.0/24", "10.3.0.0/16", "10.1.0.0/16"]),
            "ipam: subnets 10.1.0.0/16 and 10.1.2.0/24 overlap"
        );
        assert_eq!(
            of(&["10.1.0.0/16", "10.1.0.0/16"]),
            "ipam: subnets 10.1.0.0/16 and 10.1.0.0/16 overlap"
        );
    }
}
