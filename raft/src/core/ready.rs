//! Turning raft's Readys into outputs.

use raft::{StateRole, eraftpb::MessageType};

use super::{Campaign, Core, Output};
use crate::{Batch, RaftId, door::PeerMessage, wire};

impl Core {
    /// What is to be done now. Empty when there is nothing, or when too many writes are on their way and one has to
    /// be reported first.
    pub fn ready(&mut self) -> Output {
        while !self.ended {
            self.advance_transfer();
            self.begin_read();
            self.begin_change();
            self.campaign_if_wanted();
            if !self.writes.has_room() || !self.raw.has_ready() {
                break;
            }
            self.advance();
        }
        if !self.ended {
            self.open_epoch_if_possible();
            self.take_snapshot_if_due();
        }
        std::mem::take(&mut self.out)
    }

    /// A message of a peer.
    pub fn step(&mut self, message: PeerMessage) {
        let message = message.into_inner();
        if self.ended {
            return;
        }
        if let Err(why) = self.guard(&message) {
            let (from, kind) = (message.from, message.get_msg_type());
            tracing::warn!(from = %RaftId(from), ?kind, "raft message refused: {why}");
            return;
        }
        if self.locate(RaftId(message.from)).is_some() {
            self.peers.heard(RaftId(message.from));
        }
        if let Err(error) = self.raw.step(message) {
            tracing::debug!("raft did not take a message: {error}");
        }
        self.settle();
    }

    /// One Ready.
    fn advance(&mut self) {
        let mut ready = self.raw.ready();
        self.settle();
        self.follow_role();
        for state in ready.take_read_states() {
            self.read_confirmed(&state.request_ctx, state.index);
        }
        // A leader may send before it persists; raft gives a follower's messages as persisted ones.
        for message in ready.take_messages() {
            self.send(message);
        }
        let messages = ready.take_persisted_messages();
        let batch = Batch {
            snapshot: (!ready.snapshot().is_empty())
                .then(|| wire::snapshot_from_raft(ready.snapshot())),
            hard_state: ready.hs().map(wire::hard_state_from_raft),
            entries: ready.entries().iter().map(wire::entry_from_raft).collect(),
        };
        if let Some(snapshot) = &batch.snapshot {
            self.install(snapshot);
        }
        self.raw.mut_store().append(ready.entries());
        let committed = ready.take_committed_entries();
        let (number, must_write) = (ready.number(), ready.must_sync());
        self.raw.advance_append_async(ready);
        self.write(number, batch, must_write, messages);
        self.apply(committed);
    }

    fn campaign_if_wanted(&mut self) {
        let raft = &self.raw.raft;
        if self.campaign == Campaign::No || !self.campaign_would_run() {
            return;
        }
        let alone = raft.prs().is_singleton();
        let wanted = self.campaign == Campaign::Wanted || alone;
        self.campaign = Campaign::No;
        if wanted && raft.promotable() && raft.state != StateRole::Leader {
            if let Err(error) = self.raw.campaign() {
                self.fault("cannot campaign", &error);
            }
            self.settle();
        }
    }

    /// Everything known to be committed is applied (raft does not campaign over an unapplied conf change), and
    /// everything is durable.
    fn campaign_would_run(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        !self.writes.installing() && self.all_persisted() && log.applied == log.committed
    }

    /// Follows nobody, in the present term.
    pub(super) fn forget_leader(&mut self) {
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft::INVALID_ID);
        self.settle();
    }

    pub(super) fn message(kind: MessageType) -> raft::eraftpb::Message {
        let mut message = raft::eraftpb::Message::default();
        message.set_msg_type(kind);
        message
    }
}
