//! Writes what was decided, many objects in one proposal, each decided on inside its transaction.

use std::sync::Arc;

use parking_lot::Mutex;
use skep_proto::{
    ids::{NetworkId, ServiceId, TaskId},
    swarmkit::{Network, Service, Task},
};
use skep_store::{Refusal, Store, StoreError, Tables, Tx, UpdateError};

use super::{
    Waits,
    decide::{
        admitted, is_current, is_new, service_of, stopped, waiting, with_driver, with_endpoint,
    },
    ports::{Cursor, PortTable},
};

/// Where the search for free ports goes on; shared by the passes that are in flight.
pub(super) type SharedCursor = Arc<Mutex<Cursor>>;

/// One object to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Network(NetworkId),
    Service(ServiceId),
    Task(TaskId),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has what it needs, or needs nothing any more.
    Done,
    /// Something is missing, and if it is a thing of this service, it is the service's.
    Waits { service: Option<ServiceId> },
    /// The store did not take it for now.
    Again,
}

/// One pass over some items.
pub(super) struct Allocation {
    store: Store,
    cursor: SharedCursor,
    /// The ports of all services, as the transaction sees them that is under way.
    ports: Option<PortTable>,
}

impl Allocation {
    pub fn new(store: Store, cursor: SharedCursor) -> Allocation {
        Allocation { store, cursor, ports: None }
    }

    /// Decides on every item and writes it.
    pub async fn write(mut self, items: Vec<Item>) -> Vec<(Item, Outcome)> {
        let store = self.store.clone();
        let results = store.batch(items.iter(), |tx, item| self.part(tx, *item)).await;
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, result) in items.into_iter().zip(results) {
            let result = match result {
                // Too large for a part of a batch, but perhaps not for an entry of its own.
                Err(UpdateError::Refused(Refusal::TooLarge)) => {
                    self.ports = None;
                    store.update(|tx| self.part(tx, item)).await
                }
                result => result,
            };
            let outcome = match result {
                Ok(outcome) => outcome,
                Err(UpdateError::Refused(Refusal::TooLarge)) => {
                    tracing::error!(
                        ?item,
                        "it is too large to be given what it needs; make its spec smaller"
                    );
                    Outcome::Done
                }
                Err(UpdateError::Refused(_) | UpdateError::Unknown) => Outcome::Again,
                Err(UpdateError::Aborted(error)) => {
                    tracing::error!(?item, %error, "it cannot be given what it needs");
                    Outcome::Done
                }
            };
            outcomes.push((item, outcome));
        }
        outcomes
    }

    fn part(&mut self, tx: &mut Tx, item: Item) -> Result<Outcome, StoreError> {
        if tx.changes() == 0 {
            // Perhaps a new transaction, and others wrote in between.
            self.ports = None;
        }
        let result = match item {
            Item::Network(id) => network(tx, id),
            Item::Service(id) => self.service(tx, id),
            Item::Task(id) => self.task(tx, id),
        };
        if result.is_err() {
            self.ports = None;
        }
        result
    }

    fn service(&mut self, tx: &mut Tx, id: ServiceId) -> Result<Outcome, StoreError> {
        let Some(service) = tx.get::<Service>(&id).cloned() else { return Ok(Outcome::Done) };
        match self.current(tx, service)? {
            Ok(_) => Ok(Outcome::Done),
            Err(waits) => {
                tracing::warn!(service = %id, "the service has to wait: {waits}");
                Ok(Outcome::Waits { service: Some(id) })
            }
        }
    }

    fn task(&mut self, tx: &mut Tx, id: TaskId) -> Result<Outcome, StoreError> {
        if let Some(task) = tx.get::<Task>(&id).and_then(|task| stopped(task, tx.now())) {
            tx.update(task)?;
        }
        let Some(task) = tx.get::<Task>(&id).filter(|task| is_new(task)).cloned() else {
            return Ok(Outcome::Done);
        };
        let service = match service_of(tx, &task).cloned() {
            Some(service) => self.current(tx, service)?.map(Some),
            None if task.service_id.is_empty() => Ok(None),
            // Its service was removed: whoever made the task takes it away.
            None => return Ok(Outcome::Done),
        };
        let admitted =
            service.and_then(|service| admitted(tx, &task, service.as_deref(), tx.now()));
        match admitted {
            Ok(task) => {
                tx.update(task)?;
                Ok(Outcome::Done)
            }
            Err(waits) => {
                if let Some(task) = waiting(&task, &waits) {
                    tx.update(task)?;
                }
                let service = task.service_id.parse().ok().filter(|_| waits.of_service());
                Ok(Outcome::Waits { service })
            }
        }
    }

    /// The service as its spec asks, written if it was not so.
    fn current(
        &mut self,
        tx: &mut Tx,
        service: Arc<Service>,
    ) -> Result<Result<Arc<Service>, Waits>, StoreError> {
        if is_current(&service) {
            return Ok(Ok(service));
        }
        let mut cursor = self.cursor.lock();
        let tables: &Tables = tx;
        match with_endpoint(tables, &service, &mut self.ports, &mut cursor) {
            Ok(service) => tx.update(service).map(Ok),
            Err(waits) => Ok(Err(waits)),
        }
    }
}

fn network(tx: &mut Tx, id: NetworkId) -> Result<Outcome, StoreError> {
    if let Some(network) = tx.get::<Network>(&id).and_then(|network| with_driver(network)) {
        tx.update(network)?;
    }
    Ok(Outcome::Done)
}
