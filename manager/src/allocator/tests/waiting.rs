//! Who is woken by what, without a store.

use std::collections::BTreeSet;

use super::*;
use crate::allocator::{ipam::Family, waiting::Waiting};

const NOBODY: [usize; 0] = [];

/// Items wait for an address of a network, by their numbers, and all that is told is told of that.
struct Queue(Waiting);

fn address() -> Need {
    Need::Address("net".parse().unwrap(), Family::V4)
}

fn item(number: usize) -> Item {
    Item::Task(format!("t{number:03}").parse().unwrap())
}

impl Queue {
    fn of(count: usize) -> Queue {
        let mut queue = Queue(Waiting::default());
        let now = queue.0.now();
        (0..count).for_each(|number| queue.0.came_back(item(number), vec![address()], now));
        queue
    }

    /// Which items are woken if so many addresses seem to be free.
    fn woken(&mut self, free: u128) -> Vec<usize> {
        let woken = self.0.wake(|_, _| Some(free));
        woken
            .into_iter()
            .map(|woken| (0..1_000).find(|number| item(*number) == woken).unwrap())
            .collect()
    }

    fn freed(&mut self) {
        self.0.freed(BTreeSet::from([address()]));
    }

    fn came_back(&mut self, number: usize, waits: bool) {
        let now = self.0.now();
        self.0.came_back(item(number), waits.then(address).into_iter().collect(), now);
    }
}

#[test]
fn as_many_are_woken_as_there_seem_to_be_and_at_least_one() {
    let mut queue = Queue::of(9);
    assert_eq!(queue.woken(5), NOBODY, "nothing was freed");
    queue.freed();
    assert_eq!(queue.woken(2), [0, 1]);
    queue.freed();
    assert_eq!(queue.woken(3), [2], "two are being tried");
    queue.freed();
    assert_eq!(queue.woken(0), NOBODY, "three are");
    (0..3).for_each(|number| queue.came_back(number, true));
    assert_eq!(queue.woken(0), NOBODY, "there was none for them");
    queue.freed();
    assert_eq!(queue.woken(0), [0], "it may not be known yet");
}

#[test]
fn whoever_comes_back_without_the_same_wish_wakes_the_next() {
    let mut queue = Queue::of(4);
    queue.freed();
    assert_eq!(queue.woken(1), [0]);
    queue.came_back(0, false);
    assert_eq!(queue.woken(0), [1], "there may be more");
    let now = queue.0.now();
    queue.0.came_back(item(1), vec![Need::AnyPort], now);
    assert_eq!(queue.woken(1), [2], "the other one waits for something else first");
    queue.0.forget(&item(2));
    assert_eq!(queue.woken(1), [3]);
    queue.came_back(3, true);
    assert_eq!(queue.woken(1), NOBODY);
}

#[test]
fn what_became_free_while_an_item_was_looked_at_counts_as_free_after_it() {
    let mut queue = Queue::of(1);
    let before = queue.0.now();
    queue.0.looked_at(&item(0));
    queue.freed();
    assert_eq!(queue.woken(1), NOBODY, "nobody waits");
    queue.0.came_back(item(0), vec![address()], before);
    assert_eq!(queue.woken(1), [0]);
    queue.came_back(0, true);
    assert_eq!(queue.woken(1), NOBODY, "it looked after that");
}

#[test]
fn with_a_network_goes_every_wish_for_its_addresses() {
    let network: NetworkId = "net".parse().unwrap();
    let mut queue = Queue::of(3);
    let before = queue.0.now();
    queue.0.looked_at(&item(2));
    let mut freed = BTreeSet::from([Need::Network(network)]);
    freed.extend(queue.0.of_network(network));
    queue.0.freed(freed);
    assert_eq!(queue.0.wake(|_, _| None), [item(0), item(1)]);
    let named = Need::NamedAddress(network, "10.0.0.7".parse().unwrap());
    queue.0.came_back(item(2), vec![named], before);
    assert_eq!(queue.0.wake(|_, _| None), [item(2)], "it looked at what was there before");
}

#[test]
fn an_item_may_wait_for_any_of_several_things() {
    let mut waiting = Waiting::default();
    let now = waiting.now();
    waiting.came_back(item(0), vec![Need::AnyPort, Need::Ingress], now);
    waiting.freed(BTreeSet::from([Need::Ingress]));
    assert_eq!(waiting.wake(|_, _| None), [item(0)]);
    waiting.freed(BTreeSet::from([Need::AnyPort]));
    assert_eq!(waiting.wake(|_, _| None), [], "it is being tried");
}
