//! What waits, by what it waits for: when something becomes free, nothing is looked at but those that it may help.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use skep_proto::ids::NetworkId;

use super::{pass::Item, waits::Need};

/// Items that could not be given what they need.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_need: BTreeMap<Need, BTreeSet<Item>>,
    needs: HashMap<Item, Need>,
}

impl Waiting {
    /// The item waits, for this.
    pub fn insert(&mut self, item: Item, need: Need) {
        self.remove(&item);
        self.by_need.entry(need).or_default().insert(item);
        self.needs.insert(item, need);
    }

    /// The item waits no more.
    pub fn remove(&mut self, item: &Item) {
        let Some(need) = self.needs.remove(item) else { return };
        if let Some(items) = self.by_need.get_mut(&need) {
            items.remove(item);
            if items.is_empty() {
                self.by_need.remove(&need);
            }
        }
    }

    /// What is waited for that is an address of the network.
    pub fn of_network(&self, network: NetworkId) -> Vec<Need> {
        let of_network = |need: &&Need| match need {
            Need::Address(id, _) | Need::NamedAddress(id, _) => *id == network,
            _ => false,
        };
        self.by_need.keys().filter(of_network).copied().collect()
    }

    /// Takes out those that wait for this, as many as it can help.
    pub fn take(&mut self, need: &Need, max: usize) -> Vec<Item> {
        let Some(items) = self.by_need.get(need) else { return Vec::new() };
        let items: Vec<Item> = items.iter().copied().take(max).collect();
        items.iter().for_each(|item| self.remove(item));
        items
    }
}
