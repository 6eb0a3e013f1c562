//! Why an address, a subnet or a pool cannot be had. The texts go to operators, in the status of tasks and the answers to
//! commands, so they say what to do. They name networks by id: whoever knows the names adds them.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_proto::ids::NetworkId;

use super::{Family, Owner, list};

/// Why a network gets no subnets, or an address cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// All addresses are in use.
    #[error(
        "network {network}: all {total} addresses of {} are in use; remove tasks or services from the network, or create \
         one with a larger subnet",
        list(subnets)
    )]
    PoolExhausted {
        /// The network.
        network: NetworkId,
        /// How many addresses there are.
        total: u128,
        /// Where: subnets, or where a subnet has one, its range.
        subnets: Vec<IpNet>,
    },
    /// No block of the default pools is free.
    #[error(
        "network {network}: no /{prefix} block of the default address pools {} is free; remove a network that is not \
         needed, or name a subnet for this one",
        list(pools)
    )]
    DefaultPoolsExhausted {
        /// The network that asked.
        network: NetworkId,
        /// The prefix length of the blocks.
        prefix: u8,
        /// The pools.
        pools: Vec<IpNet>,
    },
    /// The subnet is not the network's alone.
    #[error(
        "network {network}: subnet {subnet} overlaps {other} of network {holder}; choose another subnet"
    )]
    Overlap {
        /// The network that asked.
        network: NetworkId,
        /// The subnet that it asked for.
        subnet: IpNet,
        /// The subnet that is there already.
        other: IpNet,
        /// Whose that is. May be the same network.
        holder: NetworkId,
    },
    /// The address is held.
    #[error("network {network}: address {address} is in use by {holder}; choose another")]
    AddressInUse {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: Owner,
    },
    /// The address is not one of the network.
    #[error(
        "network {network}: address {address} is not in its subnets; choose one in {}",
        list(subnets)
    )]
    OutsideSubnets {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Its subnets.
        subnets: Vec<IpNet>,
    },
    /// The address stands for the subnet as a whole.
    #[error(
        "network {network}: {address} is the network or broadcast address of {subnet}; choose another"
    )]
    NotForHosts {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// The gateway lies elsewhere.
    #[error(
        "network {network}: gateway {gateway} is not in subnet {subnet}; choose one that is, or leave it out"
    )]
    GatewayOutside {
        /// The network that asked.
        network: NetworkId,
        /// The gateway.
        gateway: IpAddr,
        /// The subnet that it is to serve.
        subnet: IpNet,
    },
    /// The range lies elsewhere.
    #[error(
        "network {network}: range {range} is not in subnet {subnet}; choose one that is, or leave it out"
    )]
    RangeOutside {
        /// The network that asked.
        network: NetworkId,
        /// The range.
        range: IpNet,
        /// The subnet that it is to be a part of.
        subnet: IpNet,
    },
    /// A reserved address lies elsewhere.
    #[error(
        "network {network}: reserved address {address} is not in subnet {subnet}; leave it out"
    )]
    ReservedOutside {
        /// The network that asked.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// There is nothing to give out.
    #[error("network {network}: {subnet} has no address that can be used; choose a larger one")]
    TooSmall {
        /// The network that asked.
        network: NetworkId,
        /// The subnet, or the range.
        subnet: IpNet,
    },
    /// The network has no subnet of the family.
    #[error("network {network} has no {family} subnet; create a network with one")]
    NoSuchFamily {
        /// The network.
        network: NetworkId,
        /// The family that was asked for.
        family: Family,
    },
    /// The network has no subnets here.
    #[error("network {network} is not known here, or has no subnets yet")]
    UnknownNetwork {
        /// The network.
        network: NetworkId,
    },
    /// The network has its subnets.
    #[error("network {network} has its subnets already; remove it first to change them")]
    HasSubnets {
        /// The network.
        network: NetworkId,
    },
}

/// Why addresses cannot be taken from these default pools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolsError {
    /// There are none.
    #[error("no default address pool is given; name one, such as 10.0.0.0/8")]
    Empty,
    /// It is not written as a subnet is.
    #[error("default address pool {text:?} is not a subnet; write it as 10.0.0.0/8")]
    Invalid {
        /// What is written.
        text: String,
    },
    /// Blocks of this size have no use or do not exist.
    #[error(
        "default address pool {pool}: subnets of /{prefix} are too small; choose a subnet size of at most {max}"
    )]
    BlocksTooSmall {
        /// The pool.
        pool: IpNet,
        /// The size that was asked for.
        prefix: u32,
        /// The largest number for that family.
        max: u8,
    },
    /// A pool must hold a whole block.
    #[error(
        "default address pool {pool} is smaller than one /{prefix} subnet; choose a larger pool, or a larger number for \
         the subnet size"
    )]
    PoolTooSmall {
        /// The pool.
        pool: IpNet,
        /// The prefix length of the blocks.
        prefix: u8,
    },
    /// A block would be in two pools.
    #[error("default address pools {one} and {other} overlap; leave one out")]
    Overlap {
        /// A pool.
        one: IpNet,
        /// Another one.
        other: IpNet,
    },
}
