//! Where raft and the store meet: each call of the raft node becomes a call of the store.

use bytes::Bytes;
use skep_raft::{
    ApplyError, Committed, Epoch, Membership, Refusal, RestoreError, SnapshotWriter, StateMachine,
    Ticket,
};

use crate::{command::Command, state::State, store::Store};
use prost::Message as _;

/// The store as raft's state machine.
pub struct Machine {
    store: Store,
}

impl Machine {
    /// Over this store.
    pub fn new(store: Store) -> Machine {
        Machine { store }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        self.store.apply(|state, outcomes, changes| {
            for entry in entries {
                // Every member checked it before it proposed it: one that cannot be read is damage.
                let command = Command::decode(entry.data).map_err(ApplyError::new)?;
                let (outcome, change) = state.apply(entry.index, &command);
                outcomes.extend(entry.ticket.map(|ticket| (ticket, outcome)));
                changes.extend(change);
            }
            Ok(())
        })
    }

    fn refused(&mut self, ticket: Ticket, why: Refusal) {
        self.store.refused(ticket, why);
    }

    fn leading(&mut self, epoch: Epoch, _commit_index: u64) {
        self.store.lead(epoch);
    }

    fn following(&mut self) {
        self.store.follow();
    }

    fn snapshot(&self) -> SnapshotWriter {
        let state = self.store.state();
        Box::new(move |membership| Ok(state.encode(membership).into()))
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let (mut state, membership) = State::decode(data).map_err(RestoreError::new)?;
        // What came after the last command changed nothing here.
        state.revision = index;
        self.store.replace(state);
        Ok(membership)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        command::{Action, Put},
        store::WriteError,
        watch::Told,
    };

    fn put(key: &str, value: &str) -> Bytes {
        let put =
            Put { key: key.to_owned().into(), value: value.to_owned().into(), if_revision: None };
        Command::new(Action::Put(put)).encode_to_vec().into()
    }

    type Proposed = Arc<Mutex<Vec<(Ticket, Bytes)>>>;

    /// A machine whose proposals are collected, to be committed by hand.
    fn machine() -> (Machine, Proposed) {
        let store = Store::default();
        let proposed = Proposed::default();
        let log = proposed.clone();
        store.connect(move |epoch, ticket, data| {
            if epoch != Epoch(1) {
                return Err(Refusal::StaleEpoch);
            }
            log.lock().push((ticket, data));
            Ok(())
        });
        (Machine::new(store), proposed)
    }

    fn committed(index: u64, (ticket, data): (Ticket, Bytes)) -> Committed {
        Committed { index, term: 1, data, ticket: Some(ticket) }
    }

    #[test]
    fn writes_do_not_wait_for_each_other_and_end_in_one_way_each() {
        let (mut machine, proposed) = machine();
        let store = machine.store().clone();
        assert_eq!(store.propose(put("a", "0")).err(), Some(Refusal::NotLeader));
        machine.leading(Epoch(1), 1);
        let mut writes: Vec<_> =
            (1..=4).map(|n| store.propose(put("a", &n.to_string())).unwrap()).collect();
        let mut entries = std::mem::take(&mut *proposed.lock());
        assert_eq!(entries.len(), 4);

        machine
            .apply(vec![committed(2, entries.remove(0)), committed(3, entries.remove(0))])
            .unwrap();
        machine.refused(entries[0].0, Refusal::Busy);
        machine.following();
        let ends: Vec<_> = writes.iter_mut().map(|write| write.try_recv().unwrap()).collect();
        assert_eq!(ends[0].map(|outcome| outcome.revision), Ok(2));
        assert_eq!(ends[1].map(|outcome| outcome.before), Ok(2));
        assert_eq!(ends[2], Err(WriteError::Refused(Refusal::Busy)));
        assert_eq!(ends[3], Err(WriteError::Unknown));
        // It commits after all, under another leader.
        let last = Committed { ticket: None, ..committed(4, entries.remove(1)) };
        machine.apply(vec![last]).unwrap();
        assert_eq!(store.get(b"a").unwrap().value, "4");
    }

    #[test]
    fn after_a_refusal_nothing_is_proposed_until_the_next_epoch() {
        let (mut machine, _) = machine();
        let store = machine.store().clone();
        machine.leading(Epoch(2), 1);
        assert_eq!(store.propose(put("a", "1")).err(), Some(Refusal::StaleEpoch));
        assert!(!store.leads());
        machine.leading(Epoch(1), 1);
        assert!(store.propose(put("a", "1")).is_ok());
    }

    #[tokio::test]
    async fn a_snapshot_replaces_the_state_and_watchers_start_again() {
        let (mut machine, proposed) = machine();
        machine.leading(Epoch(1), 1);
        let store = machine.store().clone();
        let _write = store.propose(put("a", "1")).unwrap();
        let entry = proposed.lock().remove(0);
        machine.apply(vec![committed(2, entry)]).unwrap();
        let bytes = machine.snapshot()(&Membership::default()).unwrap().into_bytes().unwrap();

        let (mut other, _) = self::machine();
        let mut watch = other.store().watch(Bytes::new()).unwrap();
        other.restore(5, bytes).unwrap();
        assert_eq!(watch.next().await, Told::Restart);
        assert_eq!(other.store().get(b"a").unwrap().revision, 2);
        assert_eq!(other.store().state().revision, 5);
        assert!(other.restore(6, Bytes::from_static(b"\xff")).is_err());
        let damaged = Committed { ticket: None, ..committed(6, (Ticket(1), "\u{7f}".into())) };
        assert!(other.apply(vec![damaged]).is_err());
    }
}
