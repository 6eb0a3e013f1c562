//! The operator: lets members in, takes them out, moves them, hands leadership over, and does not give up.

use rand::Rng;

use super::event::Happening;
use super::node::{Asked, Place, Running, State, addr, node_id};
use super::program::Program;
use super::world::World;
use crate::core::Answer;
use crate::storage::sim_disk::SimDisk;
use crate::{Joined, RaftId, Role};

/// A request without an answer is made again after so long.
const PATIENCE_MS: u64 = 4_000;
/// How often the operator looks.
const LOOKS_EVERY_MS: u64 = 150;
/// Members move no more often than this.
const MOVES_EVERY_MS: u64 = 3_000;
/// After so long, what was committed is known to be so on the disks of those who have applied it.
const KNOWN_AFTER_MS: u64 = 2_000;
/// Members at most: with more the same happens, only slower.
const MEMBERS_MAX: usize = 5;
/// Members at least, when some are taken out at will.
const MEMBERS_MIN: usize = 3;

/// Something the operator is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One more member.
    Grow,
    /// One less.
    Shrink,
    /// This one is to go.
    Remove(RaftId),
    /// The member at this place gets another address.
    Move(usize),
    /// Somebody else is to lead.
    Transfer,
    /// The place is to be let in (again).
    Admit(usize),
}

/// What the operator is at.
#[derive(Debug, Default)]
pub struct Operator {
    pub orders: Vec<Order>,
    asked_ms: Option<u64>,
    moved_ms: u64,
    removed_ms: u64,
}

impl<P: Program> World<P> {
    /// Gives an order; orders that cannot be carried out now are dropped.
    pub(super) fn order(&mut self, order: Order) {
        let admitting = self.admitting().is_some();
        let order = match order {
            Order::Grow => {
                let empty = self.places.iter().position(|p| matches!(p.state, State::Empty));
                match empty {
                    Some(place) if !admitting && self.members() < MEMBERS_MAX => {
                        self.prepare_joiner(place);
                        Order::Admit(place)
                    }
                    _ => return,
                }
            }
            Order::Shrink => {
                let removing = self.operator.orders.iter().any(|o| matches!(o, Order::Remove(_)));
                if admitting || removing || self.members() <= MEMBERS_MIN {
                    return;
                }
                let ids: Vec<_> = self.places.iter().filter_map(|place| place.raft_id).collect();
                Order::Remove(ids[self.rng.random_range(0..ids.len())])
            }
            Order::Move(place) => {
                let changing = self.operator.orders.iter().any(|o| !matches!(o, Order::Transfer));
                if changing || self.members() < MEMBERS_MIN || !self.addresses_are_known() {
                    return;
                }
                self.operator.moved_ms = self.queue.now_ms;
                self.kill(place);
                self.places[place].address += 1;
                self.queue.after(50, Happening::Start { place });
                Order::Admit(place)
            }
            other => other,
        };
        self.operator.orders.push(order);
    }

    fn admitting(&self) -> Option<usize> {
        self.operator.orders.iter().find_map(|order| match order {
            Order::Admit(place) => Some(*place),
            _ => None,
        })
    }

    /// Members whose state is on some disk; who was removed and has not heard of it is none.
    fn members(&self) -> usize {
        let newest = self.invariants.memberships.newest();
        let is_member = |id: RaftId| newest.is_some_and(|newest| newest.get(id).is_some());
        self.places.iter().filter(|place| place.raft_id.is_some_and(is_member)).count()
    }

    /// Whether everybody knows where everybody is, for good. A member that moves cannot be answered before a leader was told where
    /// it is, so the others must be able to elect one without it, and must not forget where they are themselves: what a member
    /// knows to be committed may be lost when it crashes within a tick.
    fn addresses_are_known(&self) -> bool {
        let knows = |member: &Running<P::Machine>| {
            member.core.membership().members().all(|known| self.place_at(&known.addr).is_some())
        };
        let known = |place: &Place<P::Machine>| {
            place.raft_id.is_none() || place.running().is_some_and(knows)
        };
        self.queue.now_ms >= self.operator.moved_ms + MOVES_EVERY_MS
            && self.places.iter().all(known)
    }

    /// Only when nothing is being changed, and everybody has known for a while who the members are. Raft counts the voters that a
    /// member has applied: should the survivors forget in a crash that a removal was committed, they would count the
    /// removed one, and with a second disk lost there would be no quorum any more.
    pub(super) fn may_lose_a_disk(&self) -> bool {
        let changing = self.operator.orders.iter().any(|o| !matches!(o, Order::Transfer));
        let newest = self.invariants.memberships.newest();
        let knows = |place: &Place<P::Machine>| {
            place.running().is_some_and(|m| Some(&**m.core.membership()) == newest)
        };
        !changing
            && self.members() >= MEMBERS_MIN
            && newest.is_some_and(|newest| newest.len() == self.members())
            && self.queue.now_ms >= self.operator.removed_ms + KNOWN_AFTER_MS
            && self.places.iter().filter(|place| place.raft_id.is_some()).all(knows)
    }

    pub(super) fn prepare_joiner(&mut self, number: usize) {
        let place = &mut self.places[number];
        place.incarnation += 1;
        place.address += 1;
        place.state = State::Joining;
        place.disk = SimDisk::new(format!("place{number}"));
        let faults = self.healthy_disk();
        self.places[number].disk.set_faults(faults);
    }

    /// The operator looks at what is to be done and asks whoever seems to lead.
    pub(super) fn operate(&mut self) {
        self.queue.after(LOOKS_EVERY_MS, Happening::Operator);
        self.dismiss();
        let now_ms = self.queue.now_ms;
        if self.operator.asked_ms.is_some_and(|asked| now_ms - asked < PATIENCE_MS) {
            return;
        }
        self.operator.asked_ms = None;
        let Some(order) = self.operator.orders.first().copied() else { return };
        let leads = |place: &Place<P::Machine>| {
            place.running().is_some_and(|running| {
                running.core.epoch().is_some() && running.core.status().role == Role::Leader
            })
        };
        let leaders: Vec<_> = (0..self.places.len()).filter(|n| leads(&self.places[*n])).collect();
        if leaders.is_empty() {
            return;
        }
        let leader = leaders[self.rng.random_range(0..leaders.len())];
        self.note(format_args!("operator asks place {leader}: {order:?}"));
        self.operator.asked_ms = Some(now_ms);
        match order {
            Order::Admit(place) => {
                let incarnation = self.places[place].incarnation;
                let addr = addr(place, self.places[place].address);
                let node_id = node_id(place, incarnation);
                self.ask(leader, Asked::Join { place, incarnation }, |core, request| {
                    core.join(request, node_id, addr);
                });
            }
            Order::Remove(raft_id) => {
                self.ask(leader, Asked::Remove(raft_id), |core, request| {
                    core.remove(request, raft_id);
                });
            }
            Order::Transfer => {
                self.ask(leader, Asked::Transfer, |core, request| core.transfer_to(request, None));
            }
            Order::Grow | Order::Shrink | Order::Move(_) => {
                self.operator.orders.remove(0);
            }
        }
    }

    /// Stops members that were removed before they learned of a group: they know no voters, so they never campaign, and nobody who
    /// could tell them ever hears from them. A manager learns of its removal through its session as well.
    fn dismiss(&mut self) {
        let newest = self.invariants.memberships.newest();
        let stranger = |place: &Place<P::Machine>| {
            place.running().is_some_and(|member| {
                member.core.membership().is_empty()
                    && newest.is_some_and(|newest| newest.is_removed(member.core.own()))
            })
        };
        if let Some(place) = self.places.iter().position(stranger) {
            self.end(place);
            self.places[place].raft_id = None;
            self.places[place].state = State::Empty;
            self.note(format_args!("place {place} is dismissed"));
        }
    }

    /// A leader answers the operator.
    pub(super) fn answered(&mut self, leader: usize, asked: Asked, answer: &Answer) {
        self.note(format_args!("place {leader} answers {asked:?}: {answer:?}"));
        self.operator.asked_ms = None;
        match (asked, answer) {
            (Asked::Join { place, incarnation }, Answer::Join(Ok(joined))) => {
                let now_ms = self.queue.now_ms;
                if self.network.open(leader, place, now_ms) {
                    let joined = joined.clone();
                    self.queue.after(3, Happening::Admitted { place, joined, incarnation });
                }
            }
            (Asked::Remove(raft_id), Answer::Remove(Ok(()))) => {
                self.operator.removed_ms = self.queue.now_ms;
                self.operator.orders.retain(|order| *order != Order::Remove(raft_id));
            }
            (Asked::Remove(raft_id), Answer::Remove(Err(crate::MembershipError::Unknown(_)))) => {
                self.operator.orders.retain(|order| *order != Order::Remove(raft_id));
            }
            // A refused removal of a healthy member is not insisted on, nor is a transfer.
            (Asked::Remove(raft_id), _) => {
                let lives_on = self.places.iter().any(|place| place.raft_id == Some(raft_id));
                if lives_on {
                    self.operator.orders.retain(|order| *order != Order::Remove(raft_id));
                }
            }
            (Asked::Transfer, _) => self.operator.orders.retain(|o| *o != Order::Transfer),
            _ => {}
        }
    }

    /// A joiner hears that it was admitted.
    pub(super) fn admitted(&mut self, place: usize, joined: Joined, incarnation: u32) {
        if self.places[place].incarnation != incarnation {
            return;
        }
        self.operator.orders.retain(|order| *order != Order::Admit(place));
        if matches!(self.places[place].state, State::Joining) {
            self.start_joiner(place, joined);
        } else if self.places[place].raft_id != Some(joined.raft_id) {
            // The member that was to move had been removed, so another was admitted in its name, which nobody will run.
            self.order(Order::Remove(joined.raft_id));
        }
    }

    /// Gives up what need not be: for healing.
    pub(super) fn calm_operator(&mut self) {
        self.operator.orders.retain(|o| matches!(o, Order::Admit(_) | Order::Remove(_)));
    }
}
