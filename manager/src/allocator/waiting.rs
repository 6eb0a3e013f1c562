//! What waits, by what it waits for: when something becomes free, nothing is looked at but those that it may help.
//!
//! Nobody waits in vain as long as four things hold. Who waits names everything that would help, not one of it. What became
//! free while an item was being looked at counts as free after it. Where one thing helps one of many, as an address does,
//! as many are woken as there seem to be, and at least one: the number is a guess, and the one finds out. And whoever was
//! woken for such a thing, and comes back with anything but the same wish, wakes the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use skep_proto::ids::NetworkId;

use super::{ipam::Family, pass::Item, waits::Need};

/// Counts commits that freed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Items that could not be given what they need.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_need: BTreeMap<Need, BTreeSet<Item>>,
    needs: HashMap<Item, Vec<Need>>,
    /// Needs that something may have been freed for since anybody looked.
    relieved: BTreeSet<Need>,
    /// Items that are tried again since one thing of many became free, and what it was.
    woken: HashMap<Item, Need>,
    now: Moment,
    /// When needs last became free, as long as anybody who looked before may come back.
    freed_at: HashMap<Need, Moment>,
}

impl Waiting {
    /// One commit freed these.
    pub fn freed(&mut self, mut freed: BTreeSet<Need>) {
        if freed.is_empty() {
            return;
        }
        self.now.0 += 1;
        self.freed_at.extend(freed.iter().map(|need| (*need, self.now)));
        self.relieved.append(&mut freed);
    }

    /// Whoever waits for this is to be looked at again.
    pub fn relieve(&mut self, need: Need) {
        self.relieved.insert(need);
    }

    /// The moment, for who begins to look at something.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The item is being looked at, so there is no need to wake it: what becomes free meanwhile is seen when it comes back.
    pub fn looked_at(&mut self, item: &Item) {
        for need in self.needs.remove(item).into_iter().flatten() {
            if let Some(items) = self.by_need.get_mut(&need) {
                items.remove(item);
                if items.is_empty() {
                    self.by_need.remove(&need);
                }
            }
        }
    }

    /// Nothing is being looked at.
    pub fn idle(&mut self) {
        self.freed_at.clear();
    }

    /// The item was looked at since a moment, and waits for any of these; for none of them if it has all that it needs.
    pub fn came_back(&mut self, item: Item, needs: Vec<Need>, since: Moment) {
        self.looked_at(&item);
        if let Some(need) = self.woken.remove(&item)
            && !needs.contains(&need)
        {
            // There may be more, or it left it to others.
            self.relieved.insert(need);
        }
        for need in &needs {
            self.by_need.entry(*need).or_default().insert(item);
            if self.was_freed(need, since) {
                self.relieved.insert(*need);
            }
        }
        if !needs.is_empty() {
            self.needs.insert(item, needs);
        }
    }

    /// The item is not to be looked at any more.
    pub fn forget(&mut self, item: &Item) {
        self.looked_at(item);
        // Another may have what it was woken for.
        self.relieved.extend(self.woken.remove(item));
    }

    /// What is waited for that is an address of the network.
    pub fn of_network(&self, network: NetworkId) -> Vec<Need> {
        let of_network = |need: &&Need| address_of(need) == Some(network);
        self.by_need.keys().filter(of_network).copied().collect()
    }

    /// Takes out those that waited for what became free. `free` says how many addresses of a network and family there seem to
    /// be; none if that is not known, and then everybody is to find out.
    pub fn wake(&mut self, free: impl Fn(&NetworkId, Family) -> Option<u128>) -> Vec<Item> {
        let mut all = Vec::new();
        for need in std::mem::take(&mut self.relieved) {
            let Some(items) = self.by_need.get(&need) else { continue };
            let max = match need {
                Need::Address(network, family) => {
                    let tried = self.woken.values().filter(|woken| **woken == need).count();
                    let free = free(&network, family).unwrap_or(u128::MAX);
                    let free = usize::try_from(free).unwrap_or(usize::MAX);
                    // Of those that are being tried the last one says whether there is more.
                    free.saturating_sub(tried).max(usize::from(tried == 0))
                }
                _ => usize::MAX,
            };
            let items: Vec<Item> = items.iter().copied().take(max).collect();
            for item in items {
                self.looked_at(&item);
                if matches!(need, Need::Address(..)) {
                    self.woken.insert(item, need);
                }
                all.push(item);
            }
        }
        all
    }

    /// Whether somebody who began to look at a moment may have missed that this became free.
    fn was_freed(&self, need: &Need, since: Moment) -> bool {
        let freed = |need: &Need| self.freed_at.get(need).is_some_and(|moment| *moment > since);
        // With the network itself goes the wish for an address of it.
        freed(need) || address_of(need).is_some_and(|network| freed(&Need::Network(network)))
    }
}

/// The network that an address of is needed.
fn address_of(need: &Need) -> Option<NetworkId> {
    match need {
        Need::Address(network, _) | Need::NamedAddress(network, _) => Some(*network),
        _ => None,
    }
}
