//! VXLAN ids: the number by which the nodes tell the traffic of one subnet from that of another. Pure.
//!
//! Each subnet of a network that spans nodes has one, kept in the option `com.docker.network.driver.overlay.vxlanid_list` of
//! the network's driver state. They are given out serially, as Docker's overlay manager does: nodes may not have taken down a
//! tunnel yet whose id became free.

use std::collections::BTreeMap;

use skep_proto::ids::NetworkId;

use super::ipam::serial::Serial;

/// The first id that is given out. Smaller ones are left to VLANs and people, as Docker does.
pub const VXLAN_ID_MIN: u32 = 4096;
/// The last one: an id has 24 bits (RFC 7348).
pub const VXLAN_ID_MAX: u32 = (1 << 24) - 1;

/// Why an id cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VxlanError {
    /// All are in use.
    #[error(
        "network {network}: all VXLAN ids from {VXLAN_ID_MIN} to {VXLAN_ID_MAX} are in use; remove a network"
    )]
    Exhausted {
        /// The network that asked.
        network: NetworkId,
    },
    /// Another network holds it.
    #[error(
        "network {network}: VXLAN id {id} is in use by network {holder}; name another, or none"
    )]
    InUse {
        /// The network that asked.
        network: NetworkId,
        /// The id.
        id: u32,
        /// Who holds it.
        holder: NetworkId,
    },
    /// It is no id, or none for networks of the swarm.
    #[error(
        "network {network}: VXLAN id {id} is not one from {VXLAN_ID_MIN} to {VXLAN_ID_MAX}; name another, or none"
    )]
    OutOfRange {
        /// The network that asked.
        network: NetworkId,
        /// The number.
        id: u32,
    },
}

/// The ids of all networks.
#[derive(Debug)]
pub struct VxlanIds {
    serial: Serial,
    held: BTreeMap<u32, NetworkId>,
}

impl Default for VxlanIds {
    fn default() -> VxlanIds {
        let serial = Serial::new(VXLAN_ID_MIN.into(), VXLAN_ID_MAX.into());
        VxlanIds { serial, held: BTreeMap::new() }
    }
}

impl VxlanIds {
    /// The next free id after the last one that was given out.
    pub fn assign(&mut self, network: NetworkId) -> Result<u32, VxlanError> {
        let number = self.serial.give().ok_or(VxlanError::Exhausted { network })?;
        // Within the bounds of an id.
        let id = number as u32;
        self.held.insert(id, network);
        Ok(id)
    }

    /// A given id; again, if the network holds it already.
    pub fn claim(&mut self, network: NetworkId, id: u32) -> Result<(), VxlanError> {
        if !(VXLAN_ID_MIN..=VXLAN_ID_MAX).contains(&id) {
            return Err(VxlanError::OutOfRange { network, id });
        }
        match self.held.get(&id) {
            Some(holder) if *holder == network => Ok(()),
            Some(holder) => Err(VxlanError::InUse { network, id, holder: *holder }),
            None => {
                self.serial.take_back(id.into());
                self.held.insert(id, network);
                Ok(())
            }
        }
    }

    /// Makes an id free, if the network holds it, and says whether that was so.
    pub fn release(&mut self, network: NetworkId, id: u32) -> bool {
        self.held.get(&id) == Some(&network) && {
            self.held.remove(&id);
            self.serial.release(id.into())
        }
    }

    /// Who holds an id.
    pub fn owner(&self, id: u32) -> Option<NetworkId> {
        self.held.get(&id).copied()
    }

    /// All that is held, by id.
    pub fn held(&self) -> impl Iterator<Item = (u32, NetworkId)> + '_ {
        self.held.iter().map(|(id, network)| (*id, *network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NetworkId {
        name.parse().unwrap()
    }

    #[test]
    fn ids_are_given_one_after_the_other_and_held_by_one_network() {
        let mut ids = VxlanIds::default();
        let shown = |result: Result<u32, VxlanError>| match result {
            Ok(id) => id.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown(ids.assign(id("a"))), "4096");
        assert_eq!(shown(ids.assign(id("a"))), "4097");
        for (network, asked, expected) in [
            ("a", 4097, "4097"),
            ("b", 4097, "network b: VXLAN id 4097 is in use by network a; name another, or none"),
            ("b", 4098, "4098"),
            ("b", VXLAN_ID_MAX, "16777215"),
            (
                "b",
                4095,
                "network b: VXLAN id 4095 is not one from 4096 to 16777215; name another, or none",
            ),
            (
                "b",
                1 << 24,
                "network b: VXLAN id 16777216 is not one from 4096 to 16777215; name another, or none",
            ),
        ] {
            let result = ids.claim(id(network), asked).map(|()| asked);
            assert_eq!(shown(result), expected);
        }
        // Freed, and not given again before the others.
        assert!(!ids.release(id("b"), 4096) && ids.release(id("a"), 4096));
        assert!(!ids.release(id("a"), 4096));
        assert_eq!(shown(ids.assign(id("c"))), "4099");
        assert_eq!(ids.owner(4099), Some(id("c")));
        let held: Vec<_> = ids.held().map(|(id, network)| format!("{id}{network}")).collect();
        assert_eq!(held.join(" "), "4097a 4098b 4099c 16777215b");
    }

    #[test]
    fn a_new_leader_goes_on_behind_what_is_held() {
        let mut ids = VxlanIds::default();
        ids.claim(id("a"), 5000).unwrap();
        ids.claim(id("b"), 4100).unwrap();
        assert_eq!(ids.assign(id("c")), Ok(5001));
        // At the end it begins again.
        let mut ids = VxlanIds::default();
        ids.claim(id("a"), VXLAN_ID_MAX).unwrap();
        assert_eq!(ids.assign(id("b")), Ok(VXLAN_ID_MIN));
    }

    #[test]
    fn when_all_are_in_use_a_network_is_told() {
        let mut ids = VxlanIds { serial: Serial::new(4096, 4098), ..Default::default() };
        for expected in [4096, 4097, 4098] {
            assert_eq!(ids.assign(id("a")), Ok(expected));
        }
        assert_eq!(
            ids.assign(id("b")).unwrap_err().to_string(),
            "network b: all VXLAN ids from 4096 to 16777215 are in use; remove a network"
        );
        assert!(ids.release(id("a"), 4097));
        assert_eq!(ids.assign(id("b")), Ok(4097));
    }
}
