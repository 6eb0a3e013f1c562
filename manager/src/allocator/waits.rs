//! Why something cannot be had now, in words for people, and what has to happen first, for who tries again.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use skep_proto::ids::{NetworkId, ServiceId};

use super::{
    ipam::{Family, IpamError},
    ports,
    vxlan::VxlanError,
};

/// Why something cannot be had now. The text goes into the status of tasks, so it says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waits {
    /// Another service holds a port that this one names.
    #[error("port {port} is already in use ({protocol}, by service {holder})")]
    PortTaken {
        /// The port.
        port: u32,
        /// Its protocol's name.
        protocol: &'static str,
        /// Its protocol's number.
        protocol_number: i32,
        /// Who holds it.
        holder: ServiceId,
    },
    /// None of the ports that the cluster chooses from is free.
    #[error(
        "all ports from {min} to {max} are in use ({protocol}): name another, or publish fewer",
        min = ports::DYNAMIC_PORT_MIN,
        max = ports::DYNAMIC_PORT_MAX
    )]
    PortsExhausted {
        /// The protocol's name.
        protocol: &'static str,
    },
    /// Ports are to be published, but the network that they come in by was removed.
    #[error(
        "the service publishes ports in ingress mode, and the cluster has no ingress network: create one"
    )]
    NoIngressNetwork,
    /// The network is not there.
    #[error("network {target} does not exist: create it, or update the service")]
    NoSuchNetwork {
        /// What the spec names.
        target: String,
    },
    /// Nobody here can make networks of this kind.
    #[error(
        "network {network}: the driver {driver} is not one that these managers give addresses for; use overlay, or one \
         that nodes set up by themselves (bridge, host, macvlan, ipvlan)"
    )]
    UnknownDriver {
        /// The network's name.
        network: String,
        /// What its spec names.
        driver: String,
    },
    /// Addresses are to come from elsewhere.
    #[error(
        "network {network}: the IPAM driver {driver} is not one that these managers have; leave it out, or name default"
    )]
    UnknownIpam {
        /// The network's name.
        network: String,
        /// What its spec names.
        driver: String,
    },
    /// A part of the network's spec is not an address, a subnet or a number.
    #[error(
        "network {network}: {what} {text:?} cannot be read; create it anew with one that can, or with none"
    )]
    Unreadable {
        /// The network's name.
        network: String,
        /// Which part.
        what: &'static str,
        /// What it says.
        text: String,
    },
    /// An attachment asks for something that is no address.
    #[error("network {network}: {text:?} is not an address; write it as 10.1.2.3 or leave it out")]
    NotAnAddress {
        /// The network's name.
        network: String,
        /// What it says.
        text: String,
    },
    /// There is no address, or no subnet.
    #[error("{}", named(&**source, network))]
    Addresses {
        /// The network's name.
        network: String,
        /// What is missing.
        source: Box<IpamError>,
    },
    /// The network would be full from the start.
    #[error("network {network}: {subnet} has no address beside the gateway; choose a larger one")]
    NoRoom {
        /// The network's name.
        network: String,
        /// The subnet, or its range.
        subnet: IpNet,
    },
    /// There is no VXLAN id, or it is another network's.
    #[error("{}", named(source, network))]
    Vxlan {
        /// The network's name.
        network: String,
        /// What is missing.
        source: VxlanError,
    },
    /// What it needs is a network that itself has to wait.
    #[error("{why}")]
    Network {
        /// The network.
        id: NetworkId,
        /// What that waits for.
        why: Box<Waits>,
    },
}

/// What has to happen before it is of any use to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Need {
    /// Some address of the network and family becomes free; each helps one.
    Address(NetworkId, Family),
    /// This very address becomes free.
    NamedAddress(NetworkId, IpAddr),
    /// The network is created, or given its addresses.
    Network(NetworkId),
    /// Some network goes: what it held of the address space and of the VXLAN ids is free.
    AnyNetworkGone,
    /// There is an ingress network.
    Ingress,
    /// The port of the protocol becomes free.
    Port(i32, u32),
    /// Some port becomes free.
    AnyPort,
    /// The service is given what it needs, or needs something else.
    Service(ServiceId),
}

impl Waits {
    /// What would help, each by itself. None if nothing does but another spec, which makes another object of it.
    pub(super) fn needs(&self) -> Vec<Need> {
        let need = match self {
            Waits::PortTaken { port, protocol_number, .. } => Need::Port(*protocol_number, *port),
            Waits::PortsExhausted { .. } => Need::AnyPort,
            Waits::NoIngressNetwork => Need::Ingress,
            Waits::NoSuchNetwork { target } => {
                return target.parse().map(Need::Network).into_iter().collect();
            }
            Waits::Network { id, .. } => Need::Network(*id),
            Waits::Addresses { source, .. } => return of_ipam(source),
            Waits::Vxlan { .. } => Need::AnyNetworkGone,
            Waits::UnknownDriver { .. }
            | Waits::UnknownIpam { .. }
            | Waits::Unreadable { .. }
            | Waits::NotAnAddress { .. }
            | Waits::NoRoom { .. } => return Vec::new(),
        };
        vec![need]
    }
}

fn of_ipam(error: &IpamError) -> Vec<Need> {
    match error {
        IpamError::PoolExhausted { network, subnets, .. } => {
            let families: BTreeSet<Family> = subnets.iter().map(Family::of).collect();
            families.into_iter().map(|family| Need::Address(*network, family)).collect()
        }
        IpamError::AddressInUse { network, address, .. } => {
            vec![Need::NamedAddress(*network, *address)]
        }
        IpamError::DefaultPoolsExhausted { .. } | IpamError::Overlap { .. } => {
            vec![Need::AnyNetworkGone]
        }
        IpamError::UnknownNetwork { network } => vec![Need::Network(*network)],
        _ => Vec::new(),
    }
}

/// The text with the network's name in place of its id, which nobody remembers.
fn named(source: &impl ToString, name: &str) -> String {
    let text = source.to_string();
    let rest = text.strip_prefix("network ").and_then(|rest| rest.split_once([':', ' ']));
    match rest {
        Some((id, _)) if !name.is_empty() => text.replacen(id, name, 1),
        _ => text,
    }
}
