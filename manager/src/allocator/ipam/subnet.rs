//! One subnet: its addresses and who holds them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use skep_proto::ids::NetworkId;

use super::{
    Family, IpamError, Owner, Subnet, SubnetRequest, SubnetUsage,
    bits::{address, bounds, number, usable},
    serial::Serial,
};

/// A subnet of a network.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) subnet: Subnet,
    /// The first and the last that can be held.
    usable: (u128, u128),
    serial: Serial,
    held: BTreeMap<u128, Owner>,
}

impl Addresses {
    /// Makes the subnet that was asked for out of `net`, with its gateway and its reserved addresses.
    pub fn new(
        network: NetworkId,
        net: IpNet,
        request: &SubnetRequest,
    ) -> Result<Addresses, IpamError> {
        let range = request.range.map(|range| range.trunc());
        if let Some(range) = range.filter(|range| !net.contains(range)) {
            return Err(IpamError::RangeOutside { network, range, subnet: net });
        }
        let too_small = |subnet| IpamError::TooSmall { network, subnet };
        let usable = usable(&net).ok_or_else(|| too_small(net))?;
        let (first, last) = range.as_ref().map_or(usable, bounds);
        let (first, last) = (first.max(usable.0), last.min(usable.1));
        if first > last {
            return Err(too_small(range.unwrap_or(net)));
        }
        // A placeholder until the gateway is known.
        let subnet = Subnet { net, range, gateway: net.network() };
        let serial = Serial::new(first, last);
        let mut addresses = Addresses { subnet, usable, serial, held: BTreeMap::new() };
        for reserved in request.reserved.iter().copied() {
            if !net.contains(&reserved) {
                return Err(IpamError::ReservedOutside { network, address: reserved, subnet: net });
            }
            if Some(reserved) != request.gateway {
                addresses.claim(network, Owner::Reserved, reserved)?;
            }
        }
        let gateway = match request.gateway {
            Some(gateway) if !net.contains(&gateway) => {
                return Err(IpamError::GatewayOutside { network, gateway, subnet: net });
            }
            Some(gateway) => addresses.claim(network, Owner::Gateway, gateway)?,
            None => addresses.assign(Owner::Gateway).ok_or_else(|| too_small(net))?,
        };
        addresses.subnet.gateway = gateway.addr();
        Ok(addresses)
    }

    /// The next free address, for `owner`.
    pub fn assign(&mut self, owner: Owner) -> Option<IpNet> {
        let number = self.serial.give()?;
        self.held.insert(number, owner);
        Some(self.with_prefix(address(self.family(), number)))
    }

    /// A given address of the subnet, for `owner`.
    pub fn claim(
        &mut self,
        network: NetworkId,
        owner: Owner,
        address: IpAddr,
    ) -> Result<IpNet, IpamError> {
        let number = number(address);
        if !(self.usable.0..=self.usable.1).contains(&number) {
            return Err(IpamError::NotForHosts { network, address, subnet: self.subnet.net });
        }
        match self.held.get(&number) {
            Some(holder) if *holder == owner => {}
            Some(holder) => {
                return Err(IpamError::AddressInUse { network, address, holder: *holder });
            }
            None => {
                match owner {
                    Owner::Gateway | Owner::Reserved => self.serial.take(number),
                    Owner::Service(_) | Owner::Task(_) | Owner::Node(_) => {
                        self.serial.take_back(number)
                    }
                };
                self.held.insert(number, owner);
            }
        }
        Ok(self.with_prefix(address))
    }

    /// Makes an address free that `owner` holds.
    pub fn release(&mut self, owner: Owner, address: IpAddr) -> bool {
        let number = number(address);
        self.held.get(&number) == Some(&owner) && {
            self.held.remove(&number);
            self.serial.release(number)
        }
    }

    /// Who holds the address.
    pub fn owner(&self, address: IpAddr) -> Option<Owner> {
        self.held.get(&number(address)).copied()
    }

    /// All that is held, by address.
    pub fn held(&self) -> impl Iterator<Item = (IpAddr, Owner)> + '_ {
        self.held.iter().map(|(number, owner)| (address(self.family(), *number), *owner))
    }

    /// How full it is.
    pub fn usage(&self) -> SubnetUsage {
        let (total, used) = (self.serial.total(), self.serial.count());
        SubnetUsage { subnet: self.subnet, total, used, free: total - used }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(&self.subnet.net)
    }

    /// Which of its addresses are given out to who does not name one.
    pub fn pool(&self) -> IpNet {
        self.subnet.range.unwrap_or(self.subnet.net)
    }

    fn with_prefix(&self, address: IpAddr) -> IpNet {
        IpNet::new_assert(address, self.subnet.net.prefix_len())
    }
}
