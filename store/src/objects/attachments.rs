//! Attachments of tasks and nodes carry the whole network: objects with equal networks hold them in common.

use skep_proto::{shared::Shared, swarmkit::NetworkAttachment};

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
