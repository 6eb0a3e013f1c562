//! Attachments of tasks and nodes carry the whole network: objects with equal networks hold them in common.

use std::cell::LazyCell;

use prost::{DecodeError, Message as _};
use skep_proto::{
    shared::Shared,
    swarmkit::{Network, NetworkAttachment},
};

use crate::fields::{Field, next_field};

/// Number of the field of an attachment that has its network.
const NETWORK: u32 = 1;

/// Lets attachments hold the networks that the object's earlier attachments hold, or else those of another object which
/// probably has the same, where they are equal. Attachments come in the order of the spec, so they are compared place by
/// place.
pub(super) fn share<'a>(
    own: &mut [NetworkAttachment],
    old: Option<&'a [NetworkAttachment]>,
    other: impl FnOnce() -> Option<&'a [NetworkAttachment]>,
) {
    let rest = match old {
        Some(old) => common(own, old),
        None => own.len(),
    };
    if rest > 0
        && let Some(other) = other()
    {
        common(own, other);
    }
}

/// Decodes an object's attachments. A network that is byte for byte one of those that [`share`] would find is not even decoded.
pub(super) fn decode<'a>(
    encoded: &[&[u8]],
    old: Option<&'a [NetworkAttachment]>,
    other: impl FnOnce() -> Option<&'a [NetworkAttachment]>,
) -> Result<Vec<NetworkAttachment>, DecodeError> {
    let other = LazyCell::new(other);
    let known = |place: usize, network: &[u8]| {
        let is_it = |known: &&'a Shared<Network>| Shared::encoded(known) == network;
        let at_place =
            |all: &'a [NetworkAttachment]| all.get(place)?.network.as_ref().filter(is_it);
        old.and_then(at_place).or_else(|| other.and_then(at_place)).cloned()
    };
    let attachment = |(place, encoded): (usize, &&[u8])| {
        let Some((mut attachment, network)) = without_network(encoded)? else {
            return NetworkAttachment::decode(*encoded);
        };
        let network = known(place, network).map_or_else(|| Shared::from_encoded(network), Ok)?;
        attachment.network = Some(network);
        Ok(attachment)
    };
    encoded.iter().enumerate().map(attachment).collect()
}

/// An encoded attachment without its network, and the network. None if it is not there exactly once.
fn without_network(encoded: &[u8]) -> Result<Option<(NetworkAttachment, &[u8])>, DecodeError> {
    let (mut rest, mut found) = (encoded, None);
    loop {
        let start = encoded.len() - rest.len();
        let Some((tag, field)) = next_field(&mut rest)? else { break };
        if let (NETWORK, Field::Delimited(network)) = (tag, field)
            && found.replace((&encoded[..start], network, rest)).is_some()
        {
            return Ok(None);
        }
    }
    let Some((before, network, after)) = found else { return Ok(None) };
    let mut attachment = NetworkAttachment::decode(before)?;
    attachment.merge(after)?;
    Ok(Some((attachment, network)))
}

/// Gives how many attachments have nothing in common with the known ones.
fn common(own: &mut [NetworkAttachment], known: &[NetworkAttachment]) -> usize {
    let mut rest = own.len();
    for (own, known) in own.iter_mut().zip(known) {
        let (Some(own), Some(known)) = (&mut own.network, &known.network) else { continue };
        if Shared::is_same(own, known) {
            rest -= 1;
        } else if own == known {
            *own = known.clone();
            rest -= 1;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Driver, Meta, Network, Task, TaskStatus, Version};

    use super::*;
    use crate::Tables;

    fn attachment(network: &str, address: &str) -> NetworkAttachment {
        let driver_state = Some(Driver { name: "overlay".into(), ..Default::default() });
        let network = Network { id: network.into(), driver_state, ..Default::default() };
        let addresses = vec![address.to_owned()];
        NetworkAttachment { network: Some(network.into()), addresses, ..Default::default() }
    }

    fn task(id: &str, service: &str, networks: &[&str]) -> Task {
        let networks = networks.iter().map(|network| attachment(network, id)).collect();
        Task { id: id.into(), service_id: service.into(), networks, ..Default::default() }
    }

    fn is_same(tables: &Tables, one: &str, other: &str) -> bool {
        let network = |id: &str| {
            let task = tables.get_text::<Task>(id).unwrap();
            task.networks.last().unwrap().network.clone().unwrap()
        };
        Shared::is_same(&network(one), &network(other))
    }

    #[test]
    fn tasks_of_a_service_hold_one_network_however_they_came() {
        let mut tables = Tables::default();
        for id in ["a", "b"] {
            tables.create(task(id, "s", &["ingress", "front"])).unwrap();
        }
        tables.create(task("c", "s", &["ingress", "back"])).unwrap();
        tables.create(task("d", "t", &["ingress", "front"])).unwrap();
        assert!(is_same(&tables, "a", "b"));
        assert!(!is_same(&tables, "a", "c"), "another network");
        assert!(!is_same(&tables, "a", "d"), "nobody looks through all services");
        // A report of its state comes with a copy of everything.
        let status = Some(TaskStatus { message: "runs".into(), ..Default::default() });
        let meta = Some(Meta { version: Some(Version { index: 2 }), ..Default::default() });
        let again = Task { status, meta, ..task("d", "t", &["ingress", "front"]) };
        let before = tables.get_text::<Task>("d").unwrap().clone();
        tables.update(again).unwrap();
        let after = tables.get_text::<Task>("d").unwrap();
        let network = |task: &Task| task.networks[1].network.clone().unwrap();
        assert!(Shared::is_same(&network(&before), &network(after)));
    }
}
