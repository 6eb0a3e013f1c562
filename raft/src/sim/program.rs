//! What is replicated, and who uses it: implement [`Program`] to run a state machine of your own in the simulation.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;

use super::invariants::{Ledger, Violation};
use super::node::Place;
use crate::node::proposals::{Proposal, Proposals};
use crate::{Epoch, ReadError, Refusal, StateMachine, Ticket};

/// A state machine together with its clients.
///
/// The rules: no clock, no threads, no random source but the one given; every proposal's bytes are unique in a history (put the place,
/// the life and a number into them), because that is how the simulation knows a proposal again.
pub trait Program {
    /// The replica that runs on each member.
    type Machine: StateMachine;

    /// A fresh, empty replica at a place. Proposals go through `host`.
    fn machine(&mut self, host: Host) -> Self::Machine;

    /// Lets the clients go on. Called every few virtual milliseconds, while faults happen and while the group heals.
    fn turn(&mut self, turn: &mut Turn<'_, Self::Machine>);

    /// A read barrier that a turn asked for is done; `machine` is the replica at that moment. A barrier whose member
    /// goes away is never heard of again.
    fn read_done(
        &mut self,
        read: ReadToken,
        outcome: Result<u64, ReadError>,
        machine: &mut Self::Machine,
        now_ms: u64,
    );

    /// The member at `host`'s place has ended in this life; its replica is about to be dropped.
    fn gone(&mut self, host: &Host, machine: Self::Machine);

    /// Faults have ended: clients may finish what they do and begin little new.
    fn calm(&mut self) {}

    /// Whether the clients have seen, since [`calm`](Self::calm), that the group serves again. The group has not healed before.
    fn content(&self) -> bool {
        true
    }

    /// What watchers saw since the last call, in order.
    fn watched(&mut self) -> Vec<Watched> {
        Vec::new()
    }

    /// The last word, once the group has healed: histories of clients, what replicas hold.
    ///
    /// # Errors
    /// What does not hold.
    fn check(
        &mut self,
        machines: &mut dyn Iterator<Item = &mut Self::Machine>,
    ) -> Result<(), Violation>;
}

/// What a watcher went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A watcher (numbered by the program, each number once) began with a view that holds everything up to this index.
    Began {
        /// Its number.
        watcher: u64,
        /// What the view holds.
        index: u64,
    },
    /// It was shown the commit at this index.
    Saw {
        /// Its number.
        watcher: u64,
        /// The commit.
        index: u64,
    },
}

/// A read barrier in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// Where a replica runs, and its way to propose.
#[derive(Clone)]
pub struct Host {
    /// The place, from 0.
    pub place: usize,
    /// Counts the lives of all members.
    pub life: u32,
    pub(super) proposals: Arc<Proposals>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl Host {
    /// As [`NodeHandle::propose`](crate::NodeHandle::propose).
    ///
    /// # Errors
    /// As there.
    pub fn propose(&self, epoch: Epoch, ticket: Ticket, data: Bytes) -> Result<(), Refusal> {
        let outcome = self.proposals.push(epoch, Proposal { ticket, data: data.clone() });
        self.ledger.lock().proposed(self.life, epoch, ticket, &data, outcome.is_ok());
        outcome
    }
}

/// A moment for clients to act.
pub struct Turn<'a, M> {
    /// Virtual time.
    pub now_ms: u64,
    /// Randomness of the clients' own.
    pub rng: &'a mut StdRng,
    pub(super) places: &'a mut [Place<M>],
    pub(super) reads: &'a mut Vec<(usize, ReadToken)>,
    pub(super) next_read: &'a mut u64,
}

impl<M: StateMachine> Turn<'_, M> {
    /// Where a member runs right now.
    pub fn up(&self) -> Vec<usize> {
        let places = self.places.iter().enumerate();
        places.filter(|(_, place)| place.running().is_some()).map(|(number, _)| number).collect()
    }

    /// The replica at a place, if a member runs there.
    pub fn machine(&mut self, place: usize) -> Option<&mut M> {
        self.places.get_mut(place)?.running_mut().map(|running| &mut running.machine)
    }

    /// Asks the member at a place for a read barrier; [`Program::read_done`] hears of it.
    pub fn read(&mut self, place: usize) -> ReadToken {
        *self.next_read += 1;
        let token = ReadToken(*self.next_read);
        self.reads.push((place, token));
        token
    }
}
