//! Leadership as the state machine sees it: epochs, the caught-up gate, proposals and their tickets.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::{
    StateRole,
    eraftpb::{Entry, MessageType},
};

use super::{Core, Event, view};
use crate::{Epoch, PROPOSAL_BYTES_MAX, Refusal, Ticket, wire};

/// Append messages that a round of proposals fills per follower at most; the rest goes when they answer.
const APPENDS_PER_ROUND_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Lead {
    role: StateRole,
    term: u64,
    /// The last index when this member was elected; it acts as leader once that is applied.
    gate: u64,
    /// The state machine was told that this member leads, and not that it follows since.
    announced: bool,
    epoch: Option<Epoch>,
    last_epoch: u64,
    /// Proposals on their way, in order of index.
    tickets: VecDeque<(u64, Ticket)>,
    /// The node is stopping: no epoch is opened any more.
    pub closing: bool,
}

impl Lead {
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    pub fn in_flight(&self) -> usize {
        self.tickets.len()
    }

    /// The ticket of the entry that has just committed, if it was proposed here and leadership was not lost since.
    pub fn take_ticket(&mut self, index: u64) -> Option<Ticket> {
        while let Some((at, ticket)) = self.tickets.front().copied() {
            if at > index {
                return None;
            }
            self.tickets.pop_front();
            if at == index {
                return Some(ticket);
            }
        }
        None
    }
}

impl Core {
    /// The epoch that is open.
    pub fn epoch(&self) -> Option<Epoch> {
        self.lead.epoch
    }

    /// Proposes entries under the open epoch, in order. What cannot be taken is refused, and everything after it.
    pub fn propose(&mut self, proposals: impl IntoIterator<Item = (Ticket, Bytes)>) {
        let mut proposals = proposals.into_iter();
        if self.lead.epoch.is_none() || self.ended {
            let why = if self.is_leader() { Refusal::StaleEpoch } else { Refusal::NotLeader };
            self.out.events.extend(proposals.map(|(ticket, _)| Event::Refused(ticket, why)));
            return;
        }
        let mut taken = Vec::new();
        let mut entries = Vec::new();
        let mut bytes = self.raw.raft.uncommitted_size();
        let mut refusal = None;
        for (ticket, data) in proposals.by_ref() {
            let size = data.len();
            if size > PROPOSAL_BYTES_MAX {
                let bytes_max = PROPOSAL_BYTES_MAX;
                refusal = Some((ticket, Refusal::TooLarge { bytes: size, bytes_max }));
            } else if bytes > 0 && bytes + size > self.config.uncommitted_bytes_max as usize {
                refusal = Some((ticket, Refusal::Busy));
            } else {
                bytes += size;
                taken.push(ticket);
                entries.push(Entry { data, ..Entry::default() });
                continue;
            }
            break;
        }
        self.propose_entries(taken, entries, &mut refusal);
        if let Some((ticket, why)) = refusal {
            self.out.events.push(Event::Refused(ticket, why));
            let rest = proposals.map(|(ticket, _)| Event::Refused(ticket, Refusal::StaleEpoch));
            self.out.events.extend(rest);
            self.end_epoch(Refusal::StaleEpoch);
        }
    }

    fn propose_entries(
        &mut self,
        taken: Vec<Ticket>,
        entries: Vec<Entry>,
        refusal: &mut Option<(Ticket, Refusal)>,
    ) {
        let Some(first_ticket) = taken.first().copied() else { return };
        let first = self.raw.raft.raft_log.last_index() + 1;
        let mut message = Core::message(MessageType::MsgPropose);
        message.set_entries(entries.into());
        match self.step_local(message) {
            Ok(()) => self.lead.tickets.extend((first..).zip(taken)),
            Err(error) => {
                tracing::debug!("raft did not take a proposal: {error}");
                let rest = taken.into_iter().skip(1);
                let rest = rest.map(|ticket| Event::Refused(ticket, Refusal::StaleEpoch));
                self.out.events.push(Event::Refused(first_ticket, Refusal::Busy));
                self.out.events.extend(rest);
                match refusal {
                    Some((_, why)) => *why = Refusal::StaleEpoch,
                    None => self.end_epoch(Refusal::StaleEpoch),
                }
            }
        }
        self.fill_appends();
    }

    /// Raft sends one append per follower and round; a round may hold more than fits into one.
    fn fill_appends(&mut self) {
        let raft = &mut self.raw.raft;
        let own = raft.id;
        let mut peers: Vec<u64> = raft.prs().iter().map(|(id, _)| *id).collect();
        peers.retain(|id| *id != own);
        for peer in peers {
            for _ in 0..APPENDS_PER_ROUND_MAX {
                let last = raft.raft_log.last_index();
                let Some(progress) = raft.prs().get(peer) else { break };
                let streaming = progress.state == raft::ProgressState::Replicate;
                if !streaming || progress.is_paused() || progress.next_idx > last {
                    break;
                }
                raft.send_append(peer);
            }
        }
    }

    /// Ends the open epoch because a proposal after everything given to [`propose`](Self::propose) was refused
    /// elsewhere.
    pub fn break_epoch(&mut self) {
        self.end_epoch(Refusal::StaleEpoch);
    }

    /// How many proposals are on their way.
    pub fn in_flight(&self) -> usize {
        self.lead.in_flight()
    }

    /// Opens no epoch any more: the node is stopping.
    pub fn close(&mut self) {
        self.lead.closing = true;
        self.end_epoch(Refusal::ShuttingDown);
    }

    pub(super) fn end_epoch(&mut self, why: Refusal) {
        if self.lead.epoch.take().is_some() {
            self.out.events.push(Event::EpochEnded(why));
        }
    }

    /// A new epoch opens when this member leads, has applied everything up to its election, and nothing of the
    /// epoch before is on its way any more.
    pub(super) fn open_epoch_if_possible(&mut self) {
        let applied = self.raw.raft.raft_log.applied;
        let possible = self.lead.role == StateRole::Leader
            && self.is_leader()
            && self.lead.epoch.is_none()
            && !self.lead.closing
            && self.transfer.is_none()
            && self.lead.tickets.is_empty()
            && applied >= self.lead.gate;
        if possible {
            self.lead.last_epoch += 1;
            let epoch = Epoch(self.lead.last_epoch);
            self.lead.epoch = Some(epoch);
            self.lead.announced = true;
            self.out.events.push(Event::Leading(epoch, applied));
        }
    }

    /// Takes note of raft's role at each Ready.
    pub(super) fn follow_role(&mut self) {
        let raft = &self.raw.raft;
        let (role, term) = (raft.state, raft.term);
        if (role, term) == (self.lead.role, self.lead.term) {
            return;
        }
        if self.lead.role != role {
            let leader = crate::RaftId(raft.leader_id);
            tracing::info!(role = ?view::role(role), term, %leader, "raft role changed");
        }
        if self.lead.role == StateRole::Leader {
            self.lost_leadership();
        }
        self.lead.role = role;
        self.lead.term = term;
        self.commit_word.forget();
        if role == StateRole::Leader {
            self.lead.gate = self.raw.raft.raft_log.last_index();
            self.peers.all_heard(self.membership.members().map(|member| member.raft_id));
        }
    }

    fn lost_leadership(&mut self) {
        self.lead.tickets.clear();
        self.end_epoch(Refusal::NotLeader);
        if std::mem::take(&mut self.lead.announced) {
            self.out.events.push(Event::Following);
        }
        self.changes_lost_leadership();
    }

    /// Appends a conf change; gives its index.
    pub(super) fn append_conf_change(&mut self, data: Bytes) -> Option<u64> {
        // Raft would put an empty entry in its place.
        if self.raw.raft.has_pending_conf() {
            return None;
        }
        let index = self.raw.raft.raft_log.last_index() + 1;
        let entry = crate::Entry { index, term: 0, kind: crate::EntryKind::ConfChange, data };
        let mut message = Core::message(MessageType::MsgPropose);
        message.set_entries(vec![wire::entry_to_raft(entry)].into());
        self.step_local(message).ok().map(|()| index)
    }
}
