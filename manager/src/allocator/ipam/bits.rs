//! Addresses as numbers, and back.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of a subnet.
    pub fn of(net: &IpNet) -> Family {
        match net {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// The address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The number as an address.
pub(super) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        // All numbers of the family have 32 bits.
        Family::V4 => IpAddr::V4((number as u32).into()),
        Family::V6 => IpAddr::V6(number.into()),
    }
}

/// The first and the last number of a subnet.
pub(super) fn bounds(net: &IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

/// The subnet with this prefix length that begins at a number.
pub(super) fn net_at(family: Family, number: u128, prefix: u8) -> IpNet {
    IpNet::new_assert(address(family, number), prefix)
}

/// The numbers that can be given to somebody: not the first, which is the network's own (in IPv6: any router's), and
/// not the broadcast address. An IPv4 subnet of one or two addresses has neither (RFC 3021).
pub(super) fn usable(net: &IpNet) -> Option<(u128, u128)> {
    let (first, last) = bounds(net);
    match net {
        IpNet::V4(net) if net.prefix_len() >= 31 => Some((first, last)),
        IpNet::V4(_) => Some((first + 1, last - 1)),
        IpNet::V6(_) => (first < last).then_some((first + 1, last)),
    }
}
