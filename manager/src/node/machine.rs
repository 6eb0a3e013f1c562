//! Where raft and the store meet: committed entries go into the store, the store's transactions into the log.
//!
//! Nothing is decided here; each call of one side becomes a call of the other. Leadership is told on to whoever starts
//! and stops the control loops.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use skep_proto::swarmkit::{ClusterSnapshot, RaftMember};
use skep_raft::{
    ApplyError, Committed, Epoch, Member, Membership, NodeHandle, RaftId, Refusal, RestoreError,
    SnapshotContents, SnapshotWriter, StateMachine, Ticket,
};
use skep_store::{LogEntry, Proposer, Store, Tables};
use tokio::sync::watch;

use super::timing;

/// Counts the leaderships of this manager: a new number each time it starts to lead, `None` while it does not.
pub type Leadership = Option<u64>;

/// The store as raft's state machine.
pub struct Machine {
    store: Store,
    proposer: Arc<dyn Proposer>,
    leadership: watch::Sender<Leadership>,
    leaderships: u64,
}

/// The log as the store's way out. Knows its raft node only once that has started, which is before it can lead.
#[derive(Default)]
pub struct RaftProposer {
    raft: OnceLock<NodeHandle>,
}

impl RaftProposer {
    /// Names the raft node; the first call counts.
    pub fn connect(&self, raft: NodeHandle) {
        let _ = self.raft.set(raft);
    }
}

impl Proposer for RaftProposer {
    fn propose(&self, epoch: u64, ticket: u64, entry: Bytes) -> Result<(), skep_store::Refusal> {
        let raft = self.raft.get().ok_or(skep_store::Refusal::NotLeader)?;
        raft.propose(Epoch(epoch), Ticket(ticket), entry).map_err(refusal)
    }

    fn packs(&self, tables: &Tables) -> bool {
        timing::is_fast(tables)
    }
}

/// Raft's reason in the store's words.
pub fn refusal(why: Refusal) -> skep_store::Refusal {
    match why {
        Refusal::NotLeader => skep_store::Refusal::NotLeader,
        Refusal::StaleEpoch => skep_store::Refusal::StaleEpoch,
        Refusal::TooLarge { .. } => skep_store::Refusal::TooLarge,
        Refusal::Busy => skep_store::Refusal::Busy,
        Refusal::ShuttingDown => skep_store::Refusal::ShuttingDown,
    }
}

impl Machine {
    /// A state machine over this store, whose proposals go out through `proposer`.
    pub fn new(
        store: Store,
        proposer: Arc<dyn Proposer>,
    ) -> (Machine, watch::Receiver<Leadership>) {
        let (leadership, followed) = watch::channel(None);
        (Machine { store, proposer, leadership, leaderships: 0 }, followed)
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        let entries = entries.into_iter().map(|entry| LogEntry {
            index: entry.index,
            ticket: entry.ticket.map(|ticket| ticket.0),
            data: entry.data,
        });
        self.store.apply_all(entries).map_err(ApplyError::new)
    }

    fn refused(&mut self, ticket: Ticket, why: Refusal) {
        self.store.refused(ticket.0, refusal(why));
    }

    fn leading(&mut self, epoch: Epoch, commit_index: u64) {
        self.store.lead(epoch.0, commit_index, self.proposer.clone());
        // A new epoch of the same leadership changes nothing for the control loops.
        if self.leadership.borrow().is_none() {
            self.leaderships += 1;
            self.leadership.send_replace(Some(self.leaderships));
        }
    }

    fn following(&mut self) {
        self.store.follow();
        self.leadership.send_if_modified(|leads| leads.take().is_some());
    }

    fn snapshot(&self) -> SnapshotWriter {
        let capture = self.store.snapshot();
        Box::new(move |membership| {
            let snapshot = capture.measure(&to_wire(membership));
            Ok(SnapshotContents::new(snapshot.bytes(), move |out| snapshot.write_to(out)))
        })
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let membership = self.store.restore(index, &data).map_err(RestoreError::new)?;
        Ok(from_wire(membership))
    }
}

fn to_wire(membership: &Membership) -> ClusterSnapshot {
    let member = |member: &Member| RaftMember {
        raft_id: member.raft_id.0,
        node_id: member.node_id.clone(),
        addr: member.addr.clone(),
        status: None,
    };
    ClusterSnapshot {
        members: membership.members().map(member).collect(),
        removed: membership.removed().map(|raft_id| raft_id.0).collect(),
    }
}

fn from_wire(snapshot: ClusterSnapshot) -> Membership {
    let member = |member: RaftMember| Member {
        raft_id: RaftId(member.raft_id),
        node_id: member.node_id,
        addr: member.addr,
    };
    Membership::new(
        snapshot.members.into_iter().map(member),
        snapshot.removed.into_iter().map(RaftId),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_membership_survives_its_wire_form() {
        let member = |id: u64| Member {
            raft_id: RaftId(id),
            node_id: format!("node{id}"),
            addr: format!("192.0.2.{id}:2377"),
        };
        let membership = Membership::new([member(1), member(2)], [RaftId(7), RaftId(9)]);
        assert_eq!(from_wire(to_wire(&membership)), membership);
    }
}
