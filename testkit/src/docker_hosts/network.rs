//! One bridge, in a namespace of its own, that the hosts are plugged into; and an address of this process on it.

use std::{net::Ipv4Addr, path::Path, process::Command};

use rand::Rng as _;

use super::{HostsError, janitor::Janitor, run};

/// The subnets are 10.77.1.0/24 to 10.77.250.0/24; a set claims one by making its first namespace.
const SUBNETS: u8 = 250;
/// The last number of the bridge's own address.
const BRIDGE_HOST: u8 = 1;
/// The last number of this process's address.
const LOCAL_HOST: u8 = 254;

/// A subnet with its bridge.
pub struct Subnet {
    number: u8,
    name: String,
    next_host: u8,
}

/// A network namespace with an address on the bridge.
#[derive(Clone, Debug)]
pub struct NetworkHost {
    /// The namespace, as `ip netns` names it.
    pub namespace: String,
    /// The host's address.
    pub addr: Ipv4Addr,
}

impl Subnet {
    /// Claims a free subnet and makes its bridge. The janitor that is given back removes it, and `dir`.
    pub(super) fn claim(dir: &Path) -> Result<(Subnet, Janitor), HostsError> {
        let first = rand::rng().random_range(0..SUBNETS);
        for number in (0..SUBNETS).map(|n| (first + n) % SUBNETS + 1) {
            let name = format!("skt{number}");
            // Making a namespace fails when it is there: so this is the claim.
            if ip(&["netns", "add", &format!("{name}-br")]).is_err() {
                continue;
            }
            let janitor = Janitor::hire(&name, dir)?;
            let subnet = Subnet { number, name, next_host: BRIDGE_HOST + 1 };
            subnet.make_bridge()?;
            return Ok((subnet, janitor));
        }
        Err(HostsError::NoSubnet)
    }

    /// What the names of all its namespaces begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of this process, and of every other in the namespace that it runs in.
    pub fn local_addr(&self) -> Ipv4Addr {
        self.addr(LOCAL_HOST)
    }

    /// A namespace with an address on the bridge and the default route through it.
    pub fn add_host(&mut self) -> Result<NetworkHost, HostsError> {
        let number = self.next_host;
        self.next_host += 1;
        let (bridge, namespace) = (self.bridge_namespace(), format!("{}-{number}", self.name));
        let (plug, addr) = (format!("port{number}"), self.addr(number));
        let inside = |arguments: &[&str]| ip(&[&["-n", &namespace], arguments].concat());
        ip(&["netns", "add", &namespace])?;
        inside(&["link", "add", "eth0", "type", "veth", "peer", "name", &plug, "netns", &bridge])?;
        ip(&["-n", &bridge, "link", "set", &plug, "master", "bridge0", "up"])?;
        inside(&["link", "set", "lo", "up"])?;
        inside(&["address", "add", &format!("{addr}/24"), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["route", "add", "default", "via", &self.addr(BRIDGE_HOST).to_string()])?;
        Ok(NetworkHost { namespace, addr })
    }

    fn make_bridge(&self) -> Result<(), HostsError> {
        let (bridge, local) = (self.bridge_namespace(), self.name.as_str());
        let inside = |arguments: &[&str]| ip(&[&["-n", &bridge], arguments].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&["link", "add", "bridge0", "type", "bridge"])?;
        let addr = format!("{}/24", self.addr(BRIDGE_HOST));
        inside(&["address", "add", &addr, "dev", "bridge0"])?;
        inside(&["link", "set", "bridge0", "up"])?;
        // The end outside goes away with the end in the namespace.
        ip(&["link", "add", local, "type", "veth", "peer", "name", "local", "netns", &bridge])?;
        inside(&["link", "set", "local", "master", "bridge0", "up"])?;
        let addr = format!("{}/24", self.local_addr());
        ip(&["address", "add", &addr, "dev", local])?;
        ip(&["link", "set", local, "up"])
    }

    fn bridge_namespace(&self) -> String {
        format!("{}-br", self.name)
    }

    fn addr(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, host)
    }
}

impl NetworkHost {
    /// A command that runs `program` in the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg("--").arg(program);
        command
    }
}

fn ip(arguments: &[&str]) -> Result<(), HostsError> {
    run(Command::new("ip").args(arguments)).map(drop)
}
