//! The managers that this node knows, and how well each has served it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use skep_proto::swarmkit::WeightedPeer;
use tokio::sync::watch;

/// Weight of a manager that served well, and, negative, of one that failed. The list that managers send uses the same.
pub const OBSERVED_WEIGHT: i64 = 10;
/// Bound of every weight, so that one long-lived manager does not become the only one ever chosen.
const WEIGHT_MAX: i64 = 1 << 8;
/// More managers than any raft group has; a longer list is cut.
const REMOTES_MAX: usize = 64;

/// A manager that may be dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remote {
    /// Its node id; empty for an address that an operator gave.
    pub node_id: String,
    /// `host:port`.
    pub addr: String,
}

/// The known managers, each with a weight that follows experience: half of it is the last observation, half the past.
#[derive(Debug)]
pub struct Remotes {
    known: Mutex<Known>,
    changed: watch::Sender<Vec<Remote>>,
}

#[derive(Debug)]
struct Known {
    weights: BTreeMap<Remote, i64>,
    rng: StdRng,
}

impl Remotes {
    /// These managers, all alike. `seed` decides which one is chosen when.
    pub fn new(remotes: impl IntoIterator<Item = Remote>, seed: u64) -> Remotes {
        let weights: BTreeMap<_, _> =
            remotes.into_iter().take(REMOTES_MAX).map(|r| (r, OBSERVED_WEIGHT)).collect();
        let changed = watch::Sender::new(weights.keys().cloned().collect());
        Remotes { known: Mutex::new(Known { weights, rng: StdRng::seed_from_u64(seed) }), changed }
    }

    /// All managers, in the order of their node ids, and each later list of them.
    pub fn watch(&self) -> watch::Receiver<Vec<Remote>> {
        self.changed.subscribe()
    }

    /// Replaces the managers by those that a manager named. The ones that stay keep half of what was observed; an
    /// empty list is no list, and changes nothing.
    pub fn replace(&self, managers: &[WeightedPeer]) {
        let named: Vec<_> = managers
            .iter()
            .filter_map(|m| Some((m.peer.as_ref()?, m.weight)))
            .filter(|(peer, _)| !peer.addr.is_empty())
            .take(REMOTES_MAX)
            .map(|(p, weight)| {
                (Remote { node_id: p.node_id.clone(), addr: p.addr.clone() }, weight)
            })
            .collect();
        if named.is_empty() {
            return;
        }
        let mut known = self.known.lock();
        let old = std::mem::take(&mut known.weights);
        known.weights = named
            .into_iter()
            .map(|(remote, weight)| {
                let weight = smoothed(old.get(&remote).copied(), weight);
                (remote, weight)
            })
            .collect();
        let list: Vec<_> = known.weights.keys().cloned().collect();
        drop(known);
        self.changed.send_if_modified(|current| {
            let differs = *current != list;
            if differs {
                *current = list;
            }
            differs
        });
    }

    /// Takes note that a manager served well, or failed. One that is not known stays unknown.
    pub fn observe(&self, remote: &Remote, served: bool) {
        if let Some(weight) = self.known.lock().weights.get_mut(remote) {
            let observed = if served { OBSERVED_WEIGHT } else { -OBSERVED_WEIGHT };
            *weight = smoothed(Some(*weight), observed);
        }
    }

    /// A manager to dial, at random; the better it served the likelier. One that only failed keeps a small chance.
    pub fn choose(&self) -> Option<Remote> {
        let mut known = self.known.lock();
        let Known { weights, rng } = &mut *known;
        let lots = |weight: &i64| u64::try_from((*weight).max(0)).unwrap_or(0) + 1;
        let total: u64 = weights.values().map(lots).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = rng.random_range(0..total);
        for (remote, weight) in weights.iter() {
            match drawn.checked_sub(lots(weight)) {
                Some(rest) => drawn = rest,
                None => return Some(remote.clone()),
            }
        }
        None
    }
}

fn smoothed(old: Option<i64>, observed: i64) -> i64 {
    let observed = observed.clamp(-WEIGHT_MAX, WEIGHT_MAX);
    old.map_or(observed, |old| (old + observed) / 2).clamp(-WEIGHT_MAX, WEIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::Peer;

    use super::*;

    fn remote(id: &str) -> Remote {
        Remote { node_id: id.into(), addr: format!("{id}:2377") }
    }

    fn peers(ids: &[&str]) -> Vec<WeightedPeer> {
        ids.iter()
            .map(|id| WeightedPeer {
                peer: Some(Peer { node_id: (*id).into(), addr: format!("{id}:2377") }),
                weight: 10,
            })
            .collect()
    }

    fn chosen(remotes: &Remotes, id: &str) -> usize {
        (0..1_000).filter(|_| remotes.choose() == Some(remote(id))).count()
    }

    #[test]
    fn a_manager_that_fails_is_chosen_rarely_until_it_serves_again() {
        let remotes = Remotes::new(["a", "b"].map(remote), 1);
        assert!((400..600).contains(&chosen(&remotes, "a")));
        for _ in 0..5 {
            remotes.observe(&remote("a"), false);
        }
        assert!((40..130).contains(&chosen(&remotes, "a")), "1 of 12");
        for _ in 0..5 {
            remotes.observe(&remote("a"), true);
        }
        assert!((400..600).contains(&chosen(&remotes, "a")));
    }

    #[test]
    fn the_list_of_a_manager_replaces_the_known_one() {
        let remotes = Remotes::new(["a", "b"].map(remote), 1);
        let mut list = remotes.watch();
        remotes.replace(&peers(&["b", "c"]));
        assert_eq!(*list.borrow_and_update(), ["b", "c"].map(remote));
        assert_eq!(chosen(&remotes, "a"), 0);
        remotes.replace(&peers(&["c", "b"]));
        assert!(!list.has_changed().unwrap(), "the same managers");
        remotes.replace(&[]);
        assert_eq!(*list.borrow(), ["b", "c"].map(remote), "nobody would be left to ask");
        remotes.observe(&remote("a"), true);
        assert_eq!(
            chosen(&remotes, "a"),
            0,
            "a manager that left does not come back by being used"
        );
    }

    #[test]
    fn nobody_known_means_nobody_chosen() {
        assert_eq!(Remotes::new([], 1).choose(), None);
    }
}
