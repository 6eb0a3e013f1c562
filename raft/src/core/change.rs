//! Changes of membership, one at a time: admit, re-admit, remove.
//!
//! A change goes through: its turn; for a joiner the dial-back; the rules, checked on the membership of that moment;
//! the log; applied. Only a leader that is caught up makes changes.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::Rng as _;

use super::{Answer, Core, Event, RequestId, view};
use crate::{
    Joined, Member, MembershipError, MembershipRuleError, ProbeError, RaftId,
    conf_change::ConfChange, membership::check_removal,
};

/// Changes that wait for their turn at most: more than a group has members makes no sense.
const WAITING_MAX: usize = 16;

/// Members of a group at most. Every write waits for a majority, so groups are of three, five or seven; this only
/// keeps a runaway script from taking the group down.
const MEMBERS_MAX: usize = 64;

/// A change that takes longer than this many election timeouts is answered with "timed out"; it may still happen.
/// SwarmKit's is 5 s and two election timeouts of 10 s; the dial-back alone may take 5 s.
const TIMEOUT_ELECTIONS: u64 = 10;

/// A node id or an address at most; node ids have 25 characters, host names 253.
const NAME_BYTES_MAX: usize = 512;

#[derive(Clone, Debug)]
enum Wanted {
    Join { node_id: String, addr: String },
    Remove(RaftId),
}

#[derive(Debug)]
struct Change {
    request: RequestId,
    wanted: Wanted,
    since_tick: u64,
    /// The requester was told that it timed out.
    abandoned: bool,
}

#[derive(Debug)]
enum Phase {
    /// The joiner is being dialled.
    Probing,
    /// In the log, not yet applied.
    Proposed { index: u64, term: u64, raft_id: RaftId },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Changes {
    waiting: VecDeque<Change>,
    current: Option<(Change, Phase)>,
}

impl Core {
    /// Asks for a manager to be admitted.
    pub fn join(&mut self, request: RequestId, node_id: String, addr: String) {
        self.change(request, Wanted::Join { node_id, addr });
    }

    /// Asks for a member to be removed.
    pub fn remove(&mut self, request: RequestId, raft_id: RaftId) {
        self.change(request, Wanted::Remove(raft_id));
    }

    fn change(&mut self, request: RequestId, wanted: Wanted) {
        let change = Change { request, wanted, since_tick: self.ticks, abandoned: false };
        if self.lead.epoch().is_none() {
            self.refuse(&change, MembershipError::NotLeader);
        } else if self.changes.waiting.len() >= WAITING_MAX {
            self.refuse(&change, MembershipError::ChangeInProgress);
        } else {
            self.changes.waiting.push_back(change);
        }
    }

    /// The dial-back of a joiner is done.
    pub fn probed(&mut self, request: RequestId, outcome: Result<(), ProbeError>) {
        let Some((change, Phase::Probing)) = self.changes.current.take_if(|(change, phase)| {
            change.request == request && matches!(phase, Phase::Probing)
        }) else {
            return;
        };
        let Wanted::Join { node_id, addr } = change.wanted.clone() else { return };
        match outcome {
            Err(source) => self.refuse(&change, MembershipError::Unhealthy { addr, source }),
            Ok(()) => self.admit(change, node_id, addr),
        }
    }

    /// Begins the next change, if none is under way.
    pub(super) fn begin_change(&mut self) {
        while self.changes.current.is_none() {
            let Some(change) = self.changes.waiting.pop_front() else { return };
            if self.lead.epoch().is_none() {
                self.refuse(&change, MembershipError::NotLeader);
                continue;
            }
            match change.wanted.clone() {
                Wanted::Join { node_id, addr } => {
                    if node_id.len() > NAME_BYTES_MAX || addr.len() > NAME_BYTES_MAX {
                        let source = ProbeError("the node id or the address is too long".into());
                        self.refuse(&change, MembershipError::Unhealthy { addr, source });
                        continue;
                    }
                    self.out.events.push(Event::Probe { request: change.request, addr });
                    self.changes.current = Some((change, Phase::Probing));
                }
                Wanted::Remove(raft_id) => match check_removal(&view::status(self), raft_id) {
                    Ok(()) => self.put_into_log(change, ConfChange::Remove(raft_id), raft_id),
                    Err(error) => self.refuse(&change, error),
                },
            }
        }
    }

    fn admit(&mut self, change: Change, node_id: String, addr: String) {
        let present = self.membership.by_node(&node_id).cloned();
        match present {
            Some(member) if member.addr == addr => {
                let members = self.membership.members().cloned().collect();
                let joined = Joined { raft_id: member.raft_id, members };
                self.answer(&change, Answer::Join(Ok(joined)));
            }
            Some(member) => {
                let member = Member { addr, ..member };
                let raft_id = member.raft_id;
                self.put_into_log(change, ConfChange::Update(member), raft_id);
            }
            None if self.membership.len() >= MEMBERS_MAX => {
                self.refuse(&change, MembershipError::Full(MEMBERS_MAX));
            }
            None => {
                let raft_id = self.unused_raft_id();
                let member = Member { raft_id, node_id, addr };
                self.put_into_log(change, ConfChange::Add(member), raft_id);
            }
        }
    }

    fn unused_raft_id(&mut self) -> RaftId {
        loop {
            let raft_id = random_raft_id(&mut self.rng);
            if self.membership.get(raft_id).is_none() && !self.membership.is_removed(raft_id) {
                return raft_id;
            }
        }
    }

    fn put_into_log(&mut self, change: Change, conf_change: ConfChange, raft_id: RaftId) {
        if self.lead.epoch().is_none() {
            return self.refuse(&change, MembershipError::NotLeader);
        }
        let data: Bytes = conf_change.encode(self.rng.random());
        let term = self.raw.raft.term;
        match self.append_conf_change(data) {
            Some(index) => {
                self.changes.current = Some((change, Phase::Proposed { index, term, raft_id }));
            }
            None => self.refuse(&change, MembershipError::ChangeInProgress),
        }
    }

    /// A conf change was applied: perhaps the one under way.
    pub(super) fn change_applied(
        &mut self,
        at: u64,
        at_term: u64,
        outcome: Result<(), MembershipRuleError>,
    ) {
        let ours = |(_, phase): &mut (Change, Phase)| matches!(phase, Phase::Proposed { index, term, .. } if (*index, *term) == (at, at_term));
        let Some((change, Phase::Proposed { raft_id, .. })) = self.changes.current.take_if(ours)
        else {
            return;
        };
        if let Err(error) = outcome {
            return self.refuse(&change, error.into());
        }
        let answer = match change.wanted {
            Wanted::Join { .. } => {
                let members = self.membership.members().cloned().collect();
                Answer::Join(Ok(Joined { raft_id, members }))
            }
            Wanted::Remove(_) => Answer::Remove(Ok(())),
        };
        self.answer(&change, answer);
    }

    pub(super) fn changes_lost_leadership(&mut self) {
        if let Some((change, phase)) = self.changes.current.take() {
            let error = match phase {
                Phase::Probing => MembershipError::NotLeader,
                Phase::Proposed { .. } => MembershipError::UnknownOutcome,
            };
            self.refuse(&change, error);
        }
        for change in std::mem::take(&mut self.changes.waiting) {
            self.refuse(&change, MembershipError::NotLeader);
        }
    }

    /// What has waited too long for its turn or its dial-back ends; what is in the log keeps its place there, since
    /// the next change must wait for it, but its requester is told.
    pub(super) fn tick_changes(&mut self) {
        let limit = TIMEOUT_ELECTIONS * u64::from(self.config.timing.election_ticks);
        let now = self.ticks;
        let late = |change: &Change| now - change.since_tick > limit;
        while self.changes.waiting.front().is_some_and(late) {
            let Some(change) = self.changes.waiting.pop_front() else { break };
            self.refuse(&change, MembershipError::ChangeInProgress);
        }
        let probing =
            |(change, phase): &mut (Change, Phase)| matches!(phase, Phase::Probing) && late(change);
        if let Some((change, _)) = self.changes.current.take_if(probing) {
            self.refuse(&change, MembershipError::TimedOut);
        }
        if let Some((mut change, phase)) = self.changes.current.take() {
            if late(&change) && !change.abandoned {
                self.refuse(&change, MembershipError::TimedOut);
                change.abandoned = true;
            }
            self.changes.current = Some((change, phase));
        }
    }

    fn refuse(&mut self, change: &Change, error: MembershipError) {
        let answer = match change.wanted {
            Wanted::Join { .. } => Answer::Join(Err(error)),
            Wanted::Remove(_) => Answer::Remove(Err(error)),
        };
        self.answer(change, answer);
    }

    fn answer(&mut self, change: &Change, answer: Answer) {
        if !change.abandoned {
            self.out.events.push(Event::Answer(change.request, answer));
        }
    }
}

/// 63 random bits, never zero, as SwarmKit draws them.
pub fn random_raft_id(rng: &mut impl rand::Rng) -> RaftId {
    RaftId(rng.random_range(1..=i64::MAX as u64))
}
