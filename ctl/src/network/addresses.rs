//! The subnets of a new network, from options that name ranges, gateways and addresses apart from the subnets that they
//! belong to: as in Docker, each goes to the subnet that it lies in.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_proto::swarmkit::{IpamConfig, ipam_config::AddressFamily};

/// What was given, each in its own text.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AddressOptions {
    /// An address of a subnet that no container gets, and a name for it
    #[arg(long, value_name = "NAME=ADDR", value_parser = auxiliary)]
    aux_address: Vec<(String, IpAddr)>,
    /// The gateway of a subnet
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    gateway: Vec<IpAddr>,
    /// The part of a subnet that containers get addresses from
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    ip_range: Vec<IpNet>,
    /// Subnets of the network [default: one of the swarm's address pools]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    subnet: Vec<IpNet>,
}

impl AddressOptions {
    /// A config for each subnet, in their order; or what does not fit.
    pub fn configs(&self) -> Result<Vec<IpamConfig>, String> {
        for (number, subnet) in self.subnet.iter().enumerate() {
            let overlaps = |other: &&IpNet| other.contains(subnet) || subnet.contains(*other);
            if let Some(other) = self.subnet[..number].iter().find(overlaps) {
                return Err(format!("--subnet {subnet} overlaps {other}"));
            }
        }
        let mut configs: Vec<IpamConfig> = self.subnet.iter().map(config).collect();
        for range in &self.ip_range {
            let own = self.place(|subnet| subnet.contains(range), "--ip-range", range)?;
            put(&mut configs[own].range, range, "--ip-range", &self.subnet[own])?;
        }
        for gateway in &self.gateway {
            let own = self.place(|subnet| subnet.contains(gateway), "--gateway", gateway)?;
            put(&mut configs[own].gateway, gateway, "--gateway", &self.subnet[own])?;
        }
        for (name, address) in &self.aux_address {
            let own = self.place(|subnet| subnet.contains(address), "--aux-address", address)?;
            let reserved = &mut configs[own].reserved;
            if let Some(other) = reserved.insert(name.clone(), address.to_string()) {
                return Err(format!("--aux-address {name}: it is {other} and {address}"));
            }
        }
        Ok(configs)
    }

    /// Which subnet it lies in.
    fn place(
        &self,
        lies_in: impl Fn(&IpNet) -> bool,
        option: &str,
        value: &impl ToString,
    ) -> Result<usize, String> {
        let found = self.subnet.iter().position(lies_in);
        found.ok_or_else(|| format!("{option} {}: it lies in no --subnet", value.to_string()))
    }
}

fn config(subnet: &IpNet) -> IpamConfig {
    let family = match subnet {
        IpNet::V4(_) => AddressFamily::Ipv4,
        IpNet::V6(_) => AddressFamily::Ipv6,
    };
    IpamConfig { family: family.into(), subnet: subnet.to_string(), ..IpamConfig::default() }
}

fn put(
    place: &mut String,
    value: &impl ToString,
    option: &str,
    subnet: &IpNet,
) -> Result<(), String> {
    let value = value.to_string();
    if !place.is_empty() {
        return Err(format!("{option}: subnet {subnet} can have one, not {place} and {value}"));
    }
    *place = value;
    Ok(())
}

/// A name and its address.
fn auxiliary(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("write NAME=ADDR, such as router=10.1.0.9")?;
    let address = address.parse().map_err(|_| format!("'{address}' is no IP address"))?;
    Ok((name.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "SUBNET RANGE GATEWAY {AUX}" for each subnet, or what does not fit.
    fn shown(subnets: &str, ranges: &str, gateways: &str, aux: &[&str]) -> String {
        fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &str) -> Vec<T> {
            texts.split_whitespace().map(|text| text.parse().unwrap()).collect()
        }
        let given = AddressOptions {
            aux_address: aux.iter().map(|text| auxiliary(text).unwrap()).collect(),
            gateway: all(gateways),
            ip_range: all(ranges),
            subnet: all(subnets),
        };
        let config = |c: &IpamConfig| {
            format!("{} {} {} {:?}", c.subnet, c.range, c.gateway, c.reserved.values())
        };
        match given.configs() {
            Ok(configs) => configs.iter().map(config).collect::<Vec<_>>().join("; "),
            Err(why) => why,
        }
    }

    #[test]
    fn each_option_goes_to_the_subnet_that_it_lies_in() {
        let two = "10.1.0.0/16 10.2.0.0/16";
        for (subnets, ranges, gateways, aux, expected) in [
            ("", "", "", &[][..], ""),
            ("10.1.0.0/16", "", "", &[], "10.1.0.0/16   []"),
            (
                two,
                "10.2.3.0/24",
                "10.2.0.1 10.1.0.1",
                &["router=10.1.0.9"],
                "10.1.0.0/16  10.1.0.1 [\"10.1.0.9\"]; 10.2.0.0/16 10.2.3.0/24 10.2.0.1 []",
            ),
            (
                "fd00::/64 10.1.0.0/16",
                "",
                "fd00::1",
                &[],
                "fd00::/64  fd00::1 []; 10.1.0.0/16   []",
            ),
            ("", "", "10.1.0.1", &[], "--gateway 10.1.0.1: it lies in no --subnet"),
            (two, "10.3.0.0/24", "", &[], "--ip-range 10.3.0.0/24: it lies in no --subnet"),
            (two, "", "", &["a=10.3.0.1"], "--aux-address 10.3.0.1: it lies in no --subnet"),
            (
                two,
                "",
                "10.1.0.1 10.1.0.2",
                &[],
                "--gateway: subnet 10.1.0.0/16 can have one, not 10.1.0.1 and 10.1.0.2",
            ),
            (
                two,
                "",
                "",
                &["a=10.1.0.2", "a=10.1.0.3"],
                "--aux-address a: it is 10.1.0.2 and 10.1.0.3",
            ),
            ("10.1.0.0/16 10.1.2.0/24", "", "", &[], "--subnet 10.1.2.0/24 overlaps 10.1.0.0/16"),
        ] {
            assert_eq!(shown(subnets, ranges, gateways, aux), expected, "{subnets}");
        }
        assert!(auxiliary("10.1.0.1").is_err() && auxiliary("router=x").is_err());
    }
}
