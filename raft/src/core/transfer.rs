//! Handing leadership over.
//!
//! First no new proposals are taken and those under way are let commit, so that their proposers get a certain answer;
//! then raft brings the successor's log up to date and tells it to campaign at once.

use raft::{ProgressState, StateRole};

use super::{Answer, Core, Event, RequestId};
use crate::{RaftId, Refusal, TransferError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Draining,
    HandingOver,
    /// This member leads no more, and waits to hear who does.
    Waiting,
}

/// See the module.
#[derive(Debug)]
pub struct Transfer {
    request: RequestId,
    to: RaftId,
    phase: Phase,
    since_tick: u64,
}

impl Core {
    /// Asks for leadership to be handed to a member, or to the one that is furthest along (of equals the one that has
    /// been reachable for longest).
    pub fn transfer_to(&mut self, request: RequestId, to: Option<RaftId>) {
        let refusal = if !self.is_leader() {
            Some(TransferError::NotLeader)
        } else {
            self.transfer.as_ref().map(|transfer| TransferError::UnderWay(transfer.to))
        };
        let target = match (refusal, to) {
            (Some(error), _) => Err(error),
            (None, Some(to)) if self.can_take_over(to) => Ok(to),
            (None, Some(to)) => Err(TransferError::BadTarget(to)),
            (None, None) => self.successor().ok_or(TransferError::NoTarget),
        };
        match target {
            Err(error) => {
                self.out.events.push(Event::Answer(request, Answer::Transfer(Err(error))));
            }
            Ok(to) => {
                self.end_epoch(Refusal::ShuttingDown);
                let phase = Phase::Draining;
                self.transfer = Some(Transfer { request, to, phase, since_tick: self.ticks });
                self.advance_transfer();
            }
        }
    }

    fn can_take_over(&self, to: RaftId) -> bool {
        to != self.own
            && self.membership.get(to).is_some()
            && self.peers.reachable_ticks(to).is_some()
    }

    fn successor(&self) -> Option<RaftId> {
        let candidates = self.membership.members().map(|member| member.raft_id);
        candidates.filter(|member| self.can_take_over(*member)).max_by_key(|member| {
            let progress = self.raw.raft.prs().get(member.0);
            let streaming = progress.is_some_and(|it| it.state == ProgressState::Replicate);
            let matched = progress.map_or(0, |it| it.matched);
            (streaming, matched, self.peers.reachable_ticks(*member))
        })
    }

    /// Moves a transfer on; called whenever something may have changed.
    pub(super) fn advance_transfer(&mut self) {
        let Some(transfer) = &mut self.transfer else { return };
        let raft = &self.raw.raft;
        if transfer.phase != Phase::Waiting && raft.state != StateRole::Leader {
            transfer.phase = Phase::Waiting;
        }
        match transfer.phase {
            Phase::Draining if self.lead.in_flight() == 0 => {
                transfer.phase = Phase::HandingOver;
                let to = transfer.to.0;
                self.raw.transfer_leader(to);
                self.settle();
            }
            Phase::Waiting if raft.leader_id != raft::INVALID_ID => {
                let leader = RaftId(raft.leader_id);
                self.finish_transfer(Ok(leader));
            }
            Phase::Draining | Phase::HandingOver | Phase::Waiting => {}
        }
    }

    pub(super) fn tick_transfer(&mut self) {
        self.advance_transfer();
        // Raft itself gives up after an election timeout.
        let limit = u64::from(self.config.timing.election_ticks);
        let late = |transfer: &Transfer| self.ticks - transfer.since_tick > limit;
        if let Some(transfer) = self.transfer.as_ref().filter(|transfer| late(transfer)) {
            let to = transfer.to;
            self.raw.raft.abort_leader_transfer();
            self.finish_transfer(Err(TransferError::TimedOut(to)));
        }
    }

    fn finish_transfer(&mut self, outcome: Result<RaftId, TransferError>) {
        if let Some(transfer) = self.transfer.take() {
            self.out.events.push(Event::Answer(transfer.request, Answer::Transfer(outcome)));
        }
    }
}
