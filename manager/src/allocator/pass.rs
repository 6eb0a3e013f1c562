//! Writes what was decided, many objects in one proposal, each decided on inside its transaction.

use skep_proto::{
    ids::{NetworkId, NodeId, ServiceId, TaskId},
    swarmkit::{Network, Service, Task},
};
use skep_store::{Refusal, Store, StoreError, Tx, UpdateError};

use super::{
    Waits,
    book::{Book, Ledger},
    decide::{is_new, service_of, stopped, waiting},
    give::{Giver, NotGiven},
    ports::PortTable,
    waits::Need,
};

/// One object to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Copy)]
pub(super) enum Item {
    Network(NetworkId),
    Service(ServiceId),
    Node(NodeId),
    Task(TaskId),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has what it needs, or needs nothing any more.
    Done,
    /// Something is missing, and any of these would help; nothing but another spec if there are none.
    Waits(Vec<Need>),
    /// Something that its service needs is missing, which waits for it.
    Behind(ServiceId),
    /// The store did not take it for now.
    Again,
}

/// One pass over some items.
pub(super) struct Allocation {
    store: Store,
    book: Book,
    /// The ports of all services, as the transaction sees them that is under way.
    ports: Option<PortTable>,
}

/// An object to look at, with what is to be known of it.
pub(super) struct Work {
    pub item: Item,
    /// Of a node: the networks that its tasks use.
    pub used: Vec<NetworkId>,
}

impl Allocation {
    pub fn new(store: Store, book: Book) -> Allocation {
        Allocation { store, book, ports: None }
    }

    /// Decides on every item and writes it.
    pub async fn write(mut self, work: Vec<Work>) -> Vec<(Item, Outcome)> {
        let store = self.store.clone();
        let results = store.batch(work.iter(), |tx, work| self.part(tx, work)).await;
        let mut outcomes = Vec::with_capacity(work.len());
        for (work, result) in work.iter().zip(results) {
            let item = work.item;
            let result = match result {
                // Too large for a part of a batch, but perhaps not for an entry of its own.
                Err(UpdateError::Refused(Refusal::TooLarge)) => {
                    self.ports = None;
                    store.update(|tx| self.part(tx, work)).await
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

    fn part(&mut self, tx: &mut Tx, work: &Work) -> Result<Outcome, StoreError> {
        if tx.changes() == 0 {
            // Perhaps a new transaction, and others wrote in between.
            self.ports = None;
        }
        let mut ledger = self.book.open(tx);
        let mut giver = Giver { tx, ledger: &mut ledger, ports: &mut self.ports };
        let result = match work.item {
            Item::Network(id) => network(&mut giver, id),
            Item::Service(id) => service(&mut giver, id),
            Item::Node(id) => node(&mut giver, id, &work.used),
            Item::Task(id) => task(&mut giver, id),
        };
        if result.is_err() {
            self.ports = None;
        }
        result
    }
}

/// What came of giving something.
fn outcome<T>(given: Result<T, NotGiven>, what: &str) -> Result<Outcome, StoreError> {
    match given {
        Ok(_) => Ok(Outcome::Done),
        Err(NotGiven::Waits(waits)) => {
            tracing::warn!("{what} has to wait: {waits}");
            Ok(Outcome::Waits(waits.needs()))
        }
        Err(NotGiven::Store(error)) => Err(error),
    }
}

fn network(giver: &mut Giver<'_>, id: NetworkId) -> Result<Outcome, StoreError> {
    if giver.tx.get::<Network>(&id).is_none() {
        return Ok(Outcome::Done);
    }
    match giver.network(id.as_str()) {
        // The network itself waits for what its users do not know of.
        Err(NotGiven::Waits(Waits::Network { why, .. })) => {
            outcome::<()>(Err(NotGiven::Waits(*why)), &format!("network {id}"))
        }
        given => outcome(given, &format!("network {id}")),
    }
}

fn service(giver: &mut Giver<'_>, id: ServiceId) -> Result<Outcome, StoreError> {
    let Some(service) = giver.tx.get::<Service>(&id).cloned() else { return Ok(Outcome::Done) };
    outcome(giver.service(service), &format!("service {id}"))
}

fn node(giver: &mut Giver<'_>, id: NodeId, used: &[NetworkId]) -> Result<Outcome, StoreError> {
    let waits = giver.node(id, used)?;
    for waits in &waits {
        tracing::warn!("a load balancer of node {id} has to wait: {waits}");
    }
    Ok(match waits.is_empty() {
        true => Outcome::Done,
        false => Outcome::Waits(waits.iter().flat_map(Waits::needs).collect()),
    })
}

fn task(giver: &mut Giver<'_>, id: TaskId) -> Result<Outcome, StoreError> {
    let now = giver.tx.now();
    if let Some(task) = giver.tx.get::<Task>(&id).and_then(|task| stopped(task, now)) {
        giver.tx.update(task)?;
    }
    let Some(task) = giver.tx.get::<Task>(&id).filter(|task| is_new(task)).cloned() else {
        return Ok(Outcome::Done);
    };
    let service = match service_of(giver.tx, &task).cloned() {
        Some(service) => Some(service),
        None if task.service_id.is_empty() => None,
        // Its service was removed: whoever made the task takes it away.
        None => return Ok(Outcome::Done),
    };
    let (given, of_service) = match service.map(|service| giver.service(service)).transpose() {
        Ok(service) => (giver.task(&task, service.as_deref(), now), false),
        Err(error) => (Err(error), true),
    };
    match given {
        Ok(task) => {
            let written = giver.tx.update(task);
            written.inspect_err(|_| giver.ledger.spoil())?;
            Ok(Outcome::Done)
        }
        Err(NotGiven::Waits(waits)) => {
            if let Some(task) = waiting(&task, &waits) {
                giver.tx.update(task)?;
            }
            // The service also says what its tasks get besides the networks of their own specs.
            Ok(match task.service_id.parse() {
                Ok(service) if of_service => Outcome::Behind(service),
                Ok(service) => Outcome::Waits(
                    waits.needs().into_iter().chain([Need::Service(service)]).collect(),
                ),
                Err(_) => Outcome::Waits(waits.needs()),
            })
        }
        Err(NotGiven::Store(error)) => Err(error),
    }
}

/// A task that is about to be created, as it may be written now; see [`create`](super::create).
pub(super) fn admitted(tx: &mut Tx, ledger: &mut Ledger, task: Task) -> Result<Task, StoreError> {
    let now = tx.now();
    let service = match service_of(tx, &task).cloned() {
        // Its ports are chosen by the allocator, which knows those of all services.
        Some(service) if !super::endpoint::has_ports(&service) => return Ok(task),
        Some(service) => Some(service),
        None if task.service_id.is_empty() => None,
        None => return Ok(task),
    };
    let mut giver = Giver { tx, ledger, ports: &mut None };
    let given = match service.map(|service| giver.service(service)).transpose() {
        Ok(service) => giver.task(&task, service.as_deref(), now),
        Err(error) => Err(error),
    };
    match given {
        Ok(pending) => Ok(pending),
        Err(NotGiven::Waits(_)) => Ok(task),
        Err(NotGiven::Store(error)) => Err(error),
    }
}
