//! A log of one: commits every proposal at once. For tests of what is built on the store, and for tools without a group.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{LogEntry, Proposer, Refusal, Store};

/// More than the store lets in flight.
const QUEUE_MAX: usize = 10_000;

/// A group of one manager. The store leads until this is dropped.
pub struct Solo {
    store: Store,
    task: JoinHandle<()>,
}

struct Queue(mpsc::Sender<(u64, Bytes)>);

impl Proposer for Queue {
    fn propose(&self, _epoch: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal> {
        self.0.try_send((ticket, entry)).map_err(|_| Refusal::Busy)
    }
}

/// Makes the store lead alone, with everything that it proposes committed in order by a task of this runtime.
pub fn lead_alone(store: &Store) -> Solo {
    let (sender, mut receiver) = mpsc::channel(QUEUE_MAX);
    let index = AtomicU64::new(store.view().version());
    store.lead(1, index.load(Ordering::Relaxed), Arc::new(Queue(sender)));
    let applying = store.clone();
    let task = tokio::spawn(async move {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, QUEUE_MAX).await > 0 {
            let entries = batch.drain(..).map(|(ticket, data)| LogEntry {
                index: index.fetch_add(1, Ordering::Relaxed) + 1,
                ticket: Some(ticket),
                data,
            });
            if let Err(error) = applying.apply_all(entries) {
                tracing::error!(%error, "the store refused its own entry");
                applying.follow();
                return;
            }
        }
    });
    Solo { store: store.clone(), task }
}

impl Drop for Solo {
    fn drop(&mut self) {
        self.task.abort();
        self.store.follow();
    }
}
