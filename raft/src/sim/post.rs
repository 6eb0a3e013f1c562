//! Messages on their way, and the word of what became of them: what a transport does.

use rand::Rng;
use skep_proto::raftpb;

use super::event::{Happening, Word};
use super::invariants::Violation;
use super::node::addr;
use super::program::Program;
use super::world::World;
use crate::RaftId;
use crate::door::{self, Verdict};

impl<P: Program> World<P> {
    pub(super) fn place_at(&self, address: &str) -> Option<usize> {
        (0..self.places.len()).find(|n| addr(*n, self.places[*n].address) == address)
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        from_life: u32,
        address: &str,
        message: raftpb::Message,
    ) -> Result<(), Violation> {
        let (to_id, from_id) = (RaftId(message.to()), RaftId(message.from()));
        let snapshot = message.r#type() == raftpb::MessageType::MsgSnap;
        let (kind, term, index) = (message.r#type(), message.term(), message.index());
        let listening = self.place_at(address).filter(|n| self.places[*n].running().is_some());
        let Some(place) = listening else {
            self.word(None, from, from_life, Word::Unreachable(to_id));
            if snapshot {
                self.word(None, from, from_life, Word::Snapshot(to_id, false));
            }
            return Ok(());
        };
        self.note(format_args!("{from} to {place} {kind:?} term {term} index {index}"));
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        if member.core.membership().is_removed(from_id) {
            self.word(Some(place), from, from_life, Word::Removed);
            return Ok(());
        }
        match door::check(message, member.core.own()) {
            Ok(Verdict::Take(message)) => member.core.step(message),
            Ok(Verdict::Drop) => {}
            Err(what) => {
                let detail =
                    format!("place {from} sent {place} a {kind:?} that is refused: {what}");
                return Err(Violation::new("messages", detail));
            }
        }
        self.word(Some(place), from, from_life, Word::Reachable(to_id));
        if snapshot {
            self.word(Some(place), from, from_life, Word::Snapshot(to_id, true));
        }
        self.round(place)
    }

    /// Word goes back to the sender of a message: from the receiver, if it is to come through the network, or from its own
    /// transport, which has waited in vain.
    fn word(&mut self, receiver: Option<usize>, place: usize, life: u32, word: Word) {
        let delay = match receiver {
            Some(receiver) => self.arrivals(receiver, place).first().copied(),
            None => Some(self.rng.random_range(1..100)),
        };
        match (delay, word) {
            (Some(delay), word) => self.queue.after(delay, Happening::Report { place, life, word }),
            // The sender never learns that its snapshot arrived, and must take it for lost after a while.
            (None, Word::Snapshot(to, _)) => {
                let word = Word::Snapshot(to, false);
                self.queue.after(1_000, Happening::Report { place, life, word });
            }
            (None, _) => {}
        }
    }

    pub(super) fn report(&mut self, place: usize, life: u32, word: Word) -> Result<(), Violation> {
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        match word {
            Word::Unreachable(to) => member.core.report_unreachable(to),
            Word::Reachable(to) => member.core.report_reachable(to),
            Word::Snapshot(to, delivered) => member.core.report_snapshot(to, delivered),
            Word::Removed => member.core.report_removed(),
        }
        self.round(place)
    }

    pub(super) fn send(
        &mut self,
        from: usize,
        from_life: u32,
        address: &str,
        message: raftpb::Message,
        extra_ms: u64,
    ) {
        let to_id = RaftId(message.to());
        let snapshot = message.r#type() == raftpb::MessageType::MsgSnap;
        let target = self.place_at(address).or_else(|| self.resolve(from, to_id));
        let arrivals = target.map_or_else(Vec::new, |to| self.arrivals(from, to));
        if arrivals.is_empty() {
            self.word(None, from, from_life, Word::Unreachable(to_id));
            if snapshot {
                self.word(None, from, from_life, Word::Snapshot(to_id, false));
            }
        }
        for delay in arrivals {
            let addr = target.map_or_else(String::new, |to| addr(to, self.places[to].address));
            let message = Box::new(message.clone());
            let arrive = Happening::Arrive { from, from_life, addr, message };
            self.queue.after(delay + extra_ms, arrive);
        }
    }

    /// A transport that finds nobody at an address asks another member where the peer is now: a member that is behind
    /// has an old address in its own membership, and would never hear of the new one.
    fn resolve(&self, from: usize, to: RaftId) -> Option<usize> {
        let now_ms = self.queue.now_ms;
        let reachable = |other: &usize| {
            *other != from
                && self.network.open(from, *other, now_ms)
                && self.network.open(*other, from, now_ms)
        };
        (0..self.places.len()).filter(reachable).find_map(|other| {
            let member = self.places[other].running()?;
            self.place_at(&member.core.membership().get(to)?.addr)
        })
    }
}
