//! Which part of the address space is whose: the subnets of all networks, and the default pools that a network gets a
//! block of when it does not name a subnet.

use std::collections::BTreeMap;

use ipnet::IpNet;
use skep_proto::ids::NetworkId;

use super::{
    Family, PoolsError,
    bits::{bounds, net_at},
    runs::Runs,
};

/// The pool of a cluster that names none.
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// The prefix length of the blocks of a cluster that names none.
const DEFAULT_SUBNET_PREFIX: u8 = 24;
/// The smallest blocks: with a gateway and an address for a task.
const SUBNET_PREFIX_MAX_V4: u8 = 30;
/// Likewise: the first address of an IPv6 subnet is not given out either.
const SUBNET_PREFIX_MAX_V6: u8 = 126;

/// The default address pools of a cluster, and how large a block of them a network gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultPools {
    pools: Vec<IpNet>,
    subnet_prefix: u8,
}

impl Default for DefaultPools {
    fn default() -> DefaultPools {
        DefaultPools::parse(&[], 0).expect("the built-in pool is valid")
    }
}

impl DefaultPools {
    /// Pools that are apart from each other, to be cut in blocks with this prefix length.
    pub fn new(pools: Vec<IpNet>, subnet_prefix: u8) -> Result<DefaultPools, PoolsError> {
        if pools.is_empty() {
            return Err(PoolsError::Empty);
        }
        let pools: Vec<IpNet> = pools.iter().map(IpNet::trunc).collect();
        for pool in &pools {
            let max = match Family::of(pool) {
                Family::V4 => SUBNET_PREFIX_MAX_V4,
                Family::V6 => SUBNET_PREFIX_MAX_V6,
            };
            if subnet_prefix > max {
                let prefix = subnet_prefix.into();
                return Err(PoolsError::BlocksTooSmall { pool: *pool, prefix, max });
            }
            if subnet_prefix < pool.prefix_len() {
                return Err(PoolsError::PoolTooSmall { pool: *pool, prefix: subnet_prefix });
            }
        }
        for (at, one) in pools.iter().enumerate() {
            if let Some(other) = pools[..at].iter().find(|other| overlap(one, other)) {
                return Err(PoolsError::Overlap { one: *other, other: *one });
            }
        }
        Ok(DefaultPools { pools, subnet_prefix })
    }

    /// As a cluster has them: no pools stand for 10.0.0.0/8, and a size of 0 for 24.
    pub fn parse(pools: &[String], subnet_size: u32) -> Result<DefaultPools, PoolsError> {
        let parse =
            |text: &str| text.parse().map_err(|_| PoolsError::Invalid { text: text.to_owned() });
        let pools = match pools {
            [] => vec![parse(DEFAULT_POOL)?],
            pools => pools.iter().map(|text| parse(text)).collect::<Result<Vec<IpNet>, _>>()?,
        };
        let prefix = match subnet_size {
            0 => DEFAULT_SUBNET_PREFIX,
            // Too large a number for a prefix is refused as the largest one is.
            size => u8::try_from(size).unwrap_or(u8::MAX),
        };
        DefaultPools::new(pools, prefix)
    }

    /// The pools.
    pub fn pools(&self) -> &[IpNet] {
        &self.pools
    }

    /// The prefix length of the blocks.
    pub fn subnet_prefix(&self) -> u8 {
        self.subnet_prefix
    }
}

/// The subnets of all networks. No two overlap.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) pools: DefaultPools,
    /// For each pool the numbers of the blocks that some subnet reaches into.
    blocks: Vec<Runs>,
    /// By the first address.
    subnets: BTreeMap<(Family, u128), (IpNet, NetworkId)>,
    /// The pool, by its place, and the number of the block that was given out last.
    last_block: Option<(usize, u128)>,
}

impl Space {
    pub fn new(pools: DefaultPools) -> Space {
        let blocks = vec![Runs::default(); pools.pools.len()];
        Space { pools, blocks, subnets: BTreeMap::new(), last_block: None }
    }

    /// The subnet that this one overlaps, and its network.
    pub fn overlapping(&self, net: &IpNet) -> Option<(IpNet, NetworkId)> {
        let family = Family::of(net);
        // They do not overlap, so if any overlaps this one, then the last one that begins before its end.
        let before = ..=(family, bounds(net).1);
        let (at, (other, network)) = self.subnets.range(before).next_back()?;
        (at.0 == family && overlap(net, other)).then_some((*other, *network))
    }

    /// Gives the subnet to the network, unless it overlaps another one, which is named then.
    pub fn insert(&mut self, net: IpNet, network: NetworkId) -> Result<(), (IpNet, NetworkId)> {
        if let Some(other) = self.overlapping(&net) {
            return Err(other);
        }
        self.subnets.insert((Family::of(&net), bounds(&net).0), (net, network));
        for at in 0..self.blocks.len() {
            let Some((first, last)) = self.blocks_of(at, &net) else { continue };
            // Several small subnets may share a block, and then it is in already.
            self.blocks[at].insert(first, last);
        }
        Ok(())
    }

    /// Takes the subnet out.
    pub fn remove(&mut self, net: &IpNet) {
        self.subnets.remove(&(Family::of(net), bounds(net).0));
        for at in 0..self.blocks.len() {
            let Some((first, last)) = self.blocks_of(at, net) else { continue };
            // A subnet that is larger than a block had all its blocks for itself.
            if first == last && self.overlapping(&self.block(at, first)).is_some() {
                continue;
            }
            self.blocks[at].remove(first, last);
        }
    }

    /// The next block of the default pools, after the one that was given out last, that no subnet reaches into, and gives it
    /// to the network. So the block of a network that was removed rests while engines still take the network down, as long as
    /// there are others. A new leader begins at the first one.
    pub fn give_block(&mut self, network: NetworkId) -> Option<IpNet> {
        let (pool, after) = self.last_block.map_or((0, 0), |(pool, number)| (pool, number + 1));
        let ahead = (pool..self.blocks.len())
            .find_map(|at| self.free_block(at, if at == pool { after } else { 0 }));
        let (at, number) = ahead.or_else(|| (0..=pool).find_map(|at| self.free_block(at, 0)))?;
        let block = self.block(at, number);
        // It is free by what it was chosen for.
        self.insert(block, network).ok()?;
        self.last_block = Some((at, number));
        Some(block)
    }

    /// The first block of a pool, from this number on, that no subnet reaches into.
    fn free_block(&self, at: usize, from: u128) -> Option<(usize, u128)> {
        let last = self.block_number(at, bounds(&self.pools.pools[at]).1);
        let gap = (from <= last).then(|| self.blocks[at].first_gap(from, last))?;
        gap.map(|number| (at, number))
    }

    /// The first and the last block of a pool that the subnet reaches into.
    fn blocks_of(&self, at: usize, net: &IpNet) -> Option<(u128, u128)> {
        let pool = &self.pools.pools[at];
        if !overlap(pool, net) {
            return None;
        }
        let (first, last) = bounds(net);
        let (pool_first, pool_last) = bounds(pool);
        let first = self.block_number(at, first.max(pool_first));
        Some((first, self.block_number(at, last.min(pool_last))))
    }

    /// The number of the block that the address is in, which is one of the pool.
    fn block_number(&self, at: usize, address: u128) -> u128 {
        let pool = &self.pools.pools[at];
        // Zero if one block is the whole address space.
        (address - bounds(pool).0).checked_shr(self.block_bits(pool)).unwrap_or(0)
    }

    fn block(&self, at: usize, number: u128) -> IpNet {
        let pool = &self.pools.pools[at];
        let offset = number.checked_shl(self.block_bits(pool)).unwrap_or(0);
        net_at(Family::of(pool), bounds(pool).0 + offset, self.pools.subnet_prefix)
    }

    /// How many bits of an address count within a block.
    fn block_bits(&self, pool: &IpNet) -> u32 {
        u32::from(pool.max_prefix_len() - self.pools.subnet_prefix)
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(pools: &str, size: u32) -> Result<DefaultPools, PoolsError> {
        let pools: Vec<String> = pools.split_whitespace().map(str::to_owned).collect();
        DefaultPools::parse(&pools, size)
    }

    #[test]
    fn pools_hold_whole_blocks_and_are_apart() {
        for (texts, size, expected) in [
            ("", 0, "10.0.0.0/8 in /24"),
            ("10.1.2.3/16 10.3.0.0/16", 26, "10.1.0.0/16 10.3.0.0/16 in /26"),
            ("fd00::/8", 64, "fd00::/8 in /64"),
            ("10.0.0.0/24", 24, "10.0.0.0/24 in /24"),
            ("::/0", 1, "::/0 in /1"),
            (
                "10.0.0.0",
                0,
                "default address pool \"10.0.0.0\" is not a subnet; write it as 10.0.0.0/8",
            ),
            (
                "10.0.0.0/8",
                31,
                "default address pool 10.0.0.0/8: subnets of /31 are too small; choose a subnet size of at most 30",
            ),
            (
                "fd00::/8",
                1000,
                "default address pool fd00::/8: subnets of /255 are too small; choose a subnet size of at most 126",
            ),
            (
                "10.0.0.0/25",
                24,
                "default address pool 10.0.0.0/25 is smaller than one /24 subnet; choose a larger pool, or a larger \
                 number for the subnet size",
            ),
            (
                "10.0.0.0/16 10.1.0.0/16 10.0.0.0/8",
                24,
                "default address pools 10.0.0.0/16 and 10.0.0.0/8 overlap; leave one out",
            ),
        ] {
            let text = match pools(texts, size) {
                Ok(pools) => {
                    let texts: Vec<_> = pools.pools().iter().map(IpNet::to_string).collect();
                    format!("{} in /{}", texts.join(" "), pools.subnet_prefix())
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(text, expected, "{texts} {size}");
        }
        assert_eq!(DefaultPools::new(Vec::new(), 24), Err(PoolsError::Empty));
    }

    /// The next block, which is given back at once.
    fn next(space: &mut Space) -> String {
        let block = space.give_block("n".parse().unwrap());
        block.inspect(|net| space.remove(net)).map_or("none".to_owned(), |net| net.to_string())
    }

    #[test]
    fn the_first_block_that_nobody_reaches_into_is_free() {
        let mut space = Space::new(pools("10.0.0.0/22 10.8.0.0/23", 24).unwrap());
        for (step, free) in [
            ("+10.0.0.0/24", "10.0.1.0/24"),
            // Two that share a block, and one that the pool is a part of only in part.
            ("+10.0.1.64/26", "10.0.2.0/24"),
            ("+10.0.1.128/30", "10.0.2.0/24"),
            ("-10.0.1.64/26", "10.0.2.0/24"),
            ("-10.0.1.128/30", "10.0.1.0/24"),
            ("-10.0.0.0/24", "10.0.0.0/24"),
            ("+10.0.0.0/16", "10.8.0.0/24"),
            ("+10.8.0.0/24", "10.8.1.0/24"),
            ("+10.8.1.255/32", "none"),
            ("+192.168.0.0/16", "none"),
            ("+fd00::/64", "none"),
            ("-10.8.0.0/24", "10.8.0.0/24"),
            ("-10.0.0.0/16", "10.0.0.0/24"),
            ("-192.168.0.0/16", "10.0.0.0/24"),
        ] {
            let (sign, net) = step.split_at(1);
            let net: IpNet = net.parse().unwrap();
            match sign {
                "+" => space.insert(net, "n".parse().unwrap()).unwrap(),
                _ => space.remove(&net),
            }
            space.last_block = None;
            assert_eq!(next(&mut space), free, "after {step}");
        }
    }

    #[test]
    fn a_block_that_became_free_rests_until_the_others_had_their_turn() {
        let mut space = Space::new(pools("10.0.0.0/23 10.8.0.0/23", 24).unwrap());
        let turns: Vec<String> = (0..5).map(|_| next(&mut space)).collect();
        assert_eq!(
            turns,
            ["10.0.0.0/24", "10.0.1.0/24", "10.8.0.0/24", "10.8.1.0/24", "10.0.0.0/24"]
        );
        space.insert("10.0.1.0/24".parse().unwrap(), "n".parse().unwrap()).unwrap();
        assert_eq!(next(&mut space), "10.8.0.0/24");
        space.insert("10.8.1.0/24".parse().unwrap(), "n".parse().unwrap()).unwrap();
        // Behind the last one, and in the pool of the last one again.
        assert_eq!(
            (next(&mut space), next(&mut space)),
            ("10.0.0.0/24".into(), "10.8.0.0/24".into())
        );
    }

    #[test]
    fn pools_of_ipv6_are_as_large_as_they_are() {
        let mut space = Space::new(pools("::/0", 1).unwrap());
        for expected in [Some("::/1"), Some("8000::/1"), None] {
            let block = space.give_block("n".parse().unwrap());
            assert_eq!(block.map(|net| net.to_string()).as_deref(), expected);
        }
        let mut space = Space::new(pools("fd00::/8", 64).unwrap());
        space.insert("fd00::/16".parse().unwrap(), "n".parse().unwrap()).unwrap();
        assert_eq!(next(&mut space), "fd01::/64");
    }
}
