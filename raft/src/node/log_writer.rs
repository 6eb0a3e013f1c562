//! The log writer: one thread that makes all calls into the log store.
//!
//! It takes whatever waits for it in one go and merges batches that follow each other into one: that is the group
//! commit. Its queue is bounded and never waited for: the core hands out only so much before it hears back.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, KeyId, Keyring, LogStore, RotateError, Sizes, Snapshot, SnapshotMeta, StagedSnapshot,
    StorageError,
    core::{Envelope, WRITES_IN_FLIGHT_MAX},
};

/// Waiting work at most: all the core's writes, and a few of each of the rest (a snapshot to read per member).
const QUEUE_MAX: usize = WRITES_IN_FLIGHT_MAX + 128;

/// Batches are merged up to so many entry bytes, so that one write does not hold up what is done already.
const MERGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Something for the log store to do.
pub enum Work {
    Append {
        number: u64,
        batch: Batch,
    },
    SaveSnapshot(StagedSnapshot),
    /// Reads the newest snapshot to complete this message.
    ReadSnapshot(Box<Envelope>),
    Compact(u64),
    Rotate {
        keys: Keyring,
        reply: oneshot::Sender<Result<(), RotateError>>,
    },
}

/// What the log store has done.
pub enum Done {
    Persisted {
        number: u64,
        sizes: Sizes,
    },
    SnapshotSaved {
        meta: SnapshotMeta,
        sizes: Sizes,
    },
    /// It was not wanted any more.
    SnapshotDropped,
    SnapshotRead {
        envelope: Box<Envelope>,
        snapshot: Option<Snapshot>,
    },
    /// Which keys are in use after a compaction or a change of keys.
    Keys {
        in_use: BTreeSet<KeyId>,
        sizes: Sizes,
        rotated: Option<Rotated>,
    },
    /// Final: the thread has ended.
    Failed(StorageError),
}

/// Why work was not taken.
pub enum NotTaken {
    /// Too much waits; here it is again.
    Full(Box<Work>),
    /// The thread has ended; why is among its answers.
    Ended,
}

/// Whom to tell how a change of keys went.
pub type Rotated = (oneshot::Sender<Result<(), RotateError>>, Result<(), RotateError>);

/// The way to the log writer. When it is dropped the thread finishes what waits, closes the log store and ends.
pub struct LogWriter {
    queue: SyncSender<Work>,
}

impl LogWriter {
    /// Gives work to the thread, or gives it back when the queue is full or the thread has ended.
    pub fn give(&self, work: Work) -> Result<(), NotTaken> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(work) => NotTaken::Full(Box::new(work)),
            TrySendError::Disconnected(_) => NotTaken::Ended,
        })
    }
}

/// The queue of a thread that is about to run [`run`].
pub fn queue() -> (LogWriter, Receiver<Work>) {
    let (queue, work) = sync_channel(QUEUE_MAX);
    (LogWriter { queue }, work)
}

/// The thread's work, until the writer is dropped or the store fails.
pub fn run(mut store: impl LogStore, queue: Receiver<Work>, done: mpsc::Sender<Done>) {
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(work) = next.take() {
            let outcome = match work {
                Work::Append { number, batch } => {
                    let mut merged = Merged { number, batch };
                    next = merged.take_more(&queue);
                    append(&mut store, merged)
                }
                other => perform(&mut store, other),
            };
            let failed = outcome.is_err();
            let answer = outcome.unwrap_or_else(Done::Failed);
            // The node has gone: nobody waits for anything any more.
            if done.blocking_send(answer).is_err() || failed {
                return;
            }
        }
    }
}

fn append(store: &mut impl LogStore, merged: Merged) -> Result<Done, StorageError> {
    store.append(&merged.batch)?;
    Ok(Done::Persisted { number: merged.number, sizes: store.sizes() })
}

fn perform(store: &mut impl LogStore, work: Work) -> Result<Done, StorageError> {
    Ok(match work {
        Work::Append { number, batch } => return append(store, Merged { number, batch }),
        Work::SaveSnapshot(staged) => {
            let meta = staged.meta.clone();
            match store.save_snapshot(staged)? {
                true => Done::SnapshotSaved { meta, sizes: store.sizes() },
                false => Done::SnapshotDropped,
            }
        }
        Work::ReadSnapshot(envelope) => {
            let snapshot = store.read_snapshot().unwrap_or_else(|error| {
                tracing::error!("the newest raft snapshot cannot be read: {error}");
                None
            });
            Done::SnapshotRead { envelope, snapshot }
        }
        Work::Compact(through) => {
            store.compact(through)?;
            Done::Keys { in_use: store.keys_in_use(), sizes: store.sizes(), rotated: None }
        }
        Work::Rotate { keys, reply } => {
            let outcome = match store.rotate(keys) {
                // A ring that lacks a key still in use changes nothing.
                Err(error @ StorageError::UnknownKey { .. }) => {
                    Err(RotateError::Refused(error.to_string()))
                }
                other => Ok(other?),
            };
            let rotated = Some((reply, outcome));
            Done::Keys { in_use: store.keys_in_use(), sizes: store.sizes(), rotated }
        }
    })
}

/// Batches merged into one.
struct Merged {
    number: u64,
    batch: Batch,
}

impl Merged {
    /// Takes the batches that wait; gives the first other work, which comes after them.
    fn take_more(&mut self, queue: &Receiver<Work>) -> Option<Work> {
        let mut bytes = entry_bytes(&self.batch);
        while bytes < MERGED_BYTES_MAX {
            match queue.try_recv() {
                Ok(Work::Append { number, batch }) => {
                    bytes += entry_bytes(&batch);
                    self.number = number;
                    merge(&mut self.batch, batch);
                }
                Ok(other) => return Some(other),
                Err(_) => return None,
            }
        }
        None
    }
}

fn entry_bytes(batch: &Batch) -> usize {
    batch.entries.iter().map(|entry| entry.data.len()).sum()
}

/// What two batches come to, the second written after the first.
pub fn merge(first: &mut Batch, second: Batch) {
    if second.hard_state.is_some() {
        first.hard_state = second.hard_state;
    }
    if second.snapshot.is_some() {
        first.snapshot = second.snapshot;
        first.entries.clear();
    }
    if let Some(replaced) = second.entries.first().map(|entry| entry.index) {
        first.entries.retain(|entry| entry.index < replaced);
        first.entries.extend(second.entries);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Entry, EntryKind, HardState};

    fn entries(list: &[(u64, u64)]) -> Vec<Entry> {
        let entry = |(index, term): &(u64, u64)| Entry {
            index: *index,
            term: *term,
            kind: EntryKind::Normal,
            data: Bytes::new(),
        };
        list.iter().map(entry).collect()
    }

    fn snapshot(index: u64) -> Snapshot {
        Snapshot { meta: SnapshotMeta { index, term: 1, voters: vec![] }, data: Bytes::new() }
    }

    #[test]
    fn a_later_batch_replaces_the_tail_that_it_conflicts_with() {
        let mut first = Batch { entries: entries(&[(1, 1), (2, 1), (3, 1)]), ..Batch::default() };
        let state = Some(HardState { term: 2, vote: None, commit: 1 });
        merge(
            &mut first,
            Batch { hard_state: state, entries: entries(&[(2, 2)]), ..Batch::default() },
        );
        assert_eq!(first.entries, entries(&[(1, 1), (2, 2)]));
        assert_eq!(first.hard_state, state);
        merge(&mut first, Batch { entries: entries(&[(3, 2)]), ..Batch::default() });
        assert_eq!(first.entries, entries(&[(1, 1), (2, 2), (3, 2)]));
    }

    #[test]
    fn a_snapshot_replaces_the_log_before_it() {
        let mut first = Batch { entries: entries(&[(1, 1), (2, 1)]), ..Batch::default() };
        let second =
            Batch { snapshot: Some(snapshot(5)), entries: entries(&[(6, 2)]), ..Batch::default() };
        merge(&mut first, second);
        assert_eq!(first.snapshot, Some(snapshot(5)));
        assert_eq!(first.entries, entries(&[(6, 2)]));
    }
}
