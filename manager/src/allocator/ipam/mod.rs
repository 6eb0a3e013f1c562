//! Every address of the cluster at one moment: which subnets a network has, and who holds which address in them. Pure: it
//! knows no store and no clock, and changes only by the calls of its owner, who keeps it in step with what is stored.
//!
//! Addresses are given out serially, as SwarmKit's allocator does: the next free one after the last, so that an address that
//! became free rests for as long as possible while others may still remember whose it was. Every step takes a look-up or
//! two in an ordered map, whether a subnet is empty, full or in fragments, and memory follows what is in use, not the size
//! of the subnet (`runs.rs` says how).

mod bits;
mod error;
mod pools;
mod runs;
pub(super) mod serial;
mod subnet;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};

pub use self::{
    bits::Family,
    error::{IpamError, PoolsError},
    pools::DefaultPools,
};
use self::{pools::Space, subnet::Addresses};

/// Who holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The subnet's gateway.
    Gateway,
    /// Nobody in the cluster: the network's spec keeps it out of use.
    Reserved,
    /// A service, as its virtual address.
    Service(ServiceId),
    /// A task.
    Task(TaskId),
    /// A node, for its load balancer in the network.
    Node(NodeId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Gateway => f.write_str("the gateway"),
            Owner::Reserved => f.write_str("a reservation of the network's spec"),
            Owner::Service(id) => write!(f, "service {id}"),
            Owner::Task(id) => write!(f, "task {id}"),
            Owner::Node(id) => write!(f, "node {id}"),
        }
    }
}

/// What a network asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// The subnet; a free block of the default pools without it.
    pub subnet: Option<IpNet>,
    /// The part of the subnet that addresses are given out from; all of it without one. One that is asked for by name may
    /// lie outside.
    pub range: Option<IpNet>,
    /// The gateway; the first free address without it.
    pub gateway: Option<IpAddr>,
    /// Addresses that nobody gets.
    pub reserved: Vec<IpAddr>,
}

/// What a network got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet.
    pub net: IpNet,
    /// The part of it that addresses are given out from, if that is not all.
    pub range: Option<IpNet>,
    /// The address of its gateway.
    pub gateway: IpAddr,
}

/// How full a subnet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetUsage {
    /// The subnet.
    pub subnet: Subnet,
    /// How many addresses of the range, or of the subnet if it has none, can be held.
    pub total: u128,
    /// How many of these are held, by the gateway and reservations too.
    pub used: u128,
    /// How many are left.
    pub free: u128,
}

/// The addresses of all networks.
#[derive(Debug)]
pub struct Ipam {
    space: Space,
    networks: BTreeMap<NetworkId, Vec<Addresses>>,
}

impl Ipam {
    /// No networks yet. Those that name no subnet will get one of these pools.
    pub fn new(pools: DefaultPools) -> Ipam {
        Ipam { space: Space::new(pools), networks: BTreeMap::new() }
    }

    /// Gives a network its subnets: those that it asks for, and for a request without a subnet, or no request at all, the
    /// next free block of the default pools. No two subnets overlap, of whatever networks. To tell it what a network got
    /// from an earlier leader, ask for just that. On an error nothing has changed.
    pub fn add_network(
        &mut self,
        network: NetworkId,
        requests: &[SubnetRequest],
    ) -> Result<Vec<Subnet>, IpamError> {
        if self.networks.contains_key(&network) {
            return Err(IpamError::HasSubnets { network });
        }
        let any = [SubnetRequest::default()];
        let requests = if requests.is_empty() { &any } else { requests };
        let mut inserted = Vec::new();
        let made = self.subnets_for(network, requests, &mut inserted);
        match made {
            Ok(made) => {
                let subnets = made.iter().map(|addresses| addresses.subnet).collect();
                self.networks.insert(network, made);
                Ok(subnets)
            }
            Err(error) => {
                inserted.iter().for_each(|net| self.space.remove(net));
                Err(error)
            }
        }
    }

    /// Takes a network away with all addresses that are held in it. Does nothing if it is not known.
    pub fn remove_network(&mut self, network: &NetworkId) {
        for addresses in self.networks.remove(network).unwrap_or_default() {
            self.space.remove(&addresses.subnet.net);
        }
    }

    /// Gives `owner` the next free address of the network: of the family, or without one of the first subnet that has an
    /// address left, whatever its family. It comes with the prefix length of its subnet, `10.0.1.5/24`.
    pub fn assign(
        &mut self,
        network: &NetworkId,
        owner: Owner,
        family: Option<Family>,
    ) -> Result<IpNet, IpamError> {
        let wanted = |addresses: &Addresses| family.is_none_or(|f| f == addresses.family());
        let subnets = known_mut(&mut self.networks, network)?;
        let mut found = subnets.iter_mut().filter(|addresses| wanted(addresses));
        if let Some(address) = found.find_map(|addresses| addresses.assign(owner)) {
            return Ok(address);
        }
        let full: Vec<&Addresses> = subnets.iter().filter(|a| wanted(a)).collect();
        match family {
            Some(family) if full.is_empty() => {
                Err(IpamError::NoSuchFamily { network: *network, family })
            }
            _ => Err(IpamError::PoolExhausted {
                network: *network,
                total: full.iter().fold(0, |sum, a| sum.saturating_add(a.usage().total)),
                subnets: full.iter().map(|addresses| addresses.pool()).collect(),
            }),
        }
    }

    /// Gives `owner` an address of each family that the network has, in the order of its subnets. On an error nothing has
    /// changed but the place where the search goes on.
    pub fn assign_each(
        &mut self,
        network: &NetworkId,
        owner: Owner,
    ) -> Result<Vec<IpNet>, IpamError> {
        let mut families: Vec<Family> = Vec::new();
        for addresses in known(&self.networks, network)? {
            if !families.contains(&addresses.family()) {
                families.push(addresses.family());
            }
        }
        let mut assigned = Vec::with_capacity(families.len());
        for family in families {
            match self.assign(network, owner, Some(family)) {
                Ok(address) => assigned.push(address),
                Err(error) => {
                    for address in assigned {
                        self.release(network, owner, address.addr());
                    }
                    return Err(error);
                }
            }
        }
        Ok(assigned)
    }

    /// Gives `owner` this address, inside the range or not; again, if it holds it already.
    pub fn claim(
        &mut self,
        network: &NetworkId,
        owner: Owner,
        address: IpAddr,
    ) -> Result<IpNet, IpamError> {
        let subnets = known_mut(&mut self.networks, network)?;
        match subnets.iter_mut().find(|addresses| addresses.subnet.net.contains(&address)) {
            Some(addresses) => addresses.claim(*network, owner, address),
            None => Err(IpamError::OutsideSubnets {
                network: *network,
                address,
                subnets: subnets.iter().map(|addresses| addresses.subnet.net).collect(),
            }),
        }
    }

    /// Makes an address free, if `owner` holds it, and says whether that was so.
    pub fn release(&mut self, network: &NetworkId, owner: Owner, address: IpAddr) -> bool {
        let subnets = self.networks.get_mut(network).into_iter().flatten();
        subnets
            .filter(|addresses| addresses.subnet.net.contains(&address))
            .any(|addresses| addresses.release(owner, address))
    }

    /// Who holds an address.
    pub fn owner(&self, network: &NetworkId, address: IpAddr) -> Option<Owner> {
        let subnets = self.networks.get(network)?;
        subnets.iter().find(|a| a.subnet.net.contains(&address))?.owner(address)
    }

    /// The subnets of a network; empty if it is not known.
    pub fn subnets(&self, network: &NetworkId) -> impl Iterator<Item = Subnet> + '_ {
        self.networks.get(network).into_iter().flatten().map(|addresses| addresses.subnet)
    }

    /// How full the subnets of a network are; empty if it is not known.
    pub fn usage(&self, network: &NetworkId) -> Vec<SubnetUsage> {
        self.networks.get(network).into_iter().flatten().map(Addresses::usage).collect()
    }

    /// The networks that have subnets, by id.
    pub fn networks(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.networks.keys().copied()
    }

    /// All that is held in a network, gateways and reservations too, by subnet and address.
    pub fn held(&self, network: &NetworkId) -> impl Iterator<Item = (IpAddr, Owner)> + '_ {
        self.networks.get(network).into_iter().flatten().flat_map(Addresses::held)
    }

    /// Makes the subnets that are asked for, in the order of the requests. `inserted` are those that it has put into the
    /// space, also when it gives up.
    fn subnets_for(
        &mut self,
        network: NetworkId,
        requests: &[SubnetRequest],
        inserted: &mut Vec<IpNet>,
    ) -> Result<Vec<Addresses>, IpamError> {
        // Those that are named come first, so that a block of the pools keeps clear of them.
        for subnet in requests.iter().filter_map(|request| request.subnet) {
            let subnet = subnet.trunc();
            self.space.insert(subnet, network).map_err(|(other, holder)| IpamError::Overlap {
                network,
                subnet,
                other,
                holder,
            })?;
            inserted.push(subnet);
        }
        let mut made = Vec::with_capacity(requests.len());
        for request in requests {
            let net = match request.subnet {
                Some(subnet) => subnet.trunc(),
                None => {
                    let block = self.space.give_block(network).ok_or_else(|| {
                        IpamError::DefaultPoolsExhausted {
                            network,
                            prefix: self.space.pools.subnet_prefix(),
                            pools: self.space.pools.pools().to_vec(),
                        }
                    })?;
                    inserted.push(block);
                    block
                }
            };
            made.push(Addresses::new(network, net, request)?);
        }
        Ok(made)
    }
}

fn known<'a>(
    networks: &'a BTreeMap<NetworkId, Vec<Addresses>>,
    network: &NetworkId,
) -> Result<&'a Vec<Addresses>, IpamError> {
    networks.get(network).ok_or(IpamError::UnknownNetwork { network: *network })
}

fn known_mut<'a>(
    networks: &'a mut BTreeMap<NetworkId, Vec<Addresses>>,
    network: &NetworkId,
) -> Result<&'a mut Vec<Addresses>, IpamError> {
    networks.get_mut(network).ok_or(IpamError::UnknownNetwork { network: *network })
}

/// Subnets in a text: "10.0.1.0/24, 10.0.2.0/24".
fn list(subnets: &[IpNet]) -> String {
    subnets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}
