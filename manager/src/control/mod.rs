//! The Control service: the operator's view of the cluster's objects, with the validation of what comes in.
//!
//! One file per kind of object. A method checks its request ([`validate`]), then runs one transaction in which everything
//! that it decided on is asked again: whether names and ports are free, references exist, nothing uses what is removed.
//! So a failed call leaves nothing behind, and two calls cannot both win. Reads wait for a read barrier of the raft group,
//! so they see every write that was acknowledged before. Replies carry no secret (`redact`).
//!
//! Only the leader serves these methods; on other managers the door passes the calls on.

mod ca_change;
mod cluster;
mod config;
pub mod errors;
mod extension;
mod filters;
mod network;
mod node;
pub(crate) mod redact;
mod resource;
mod rpc;
mod secret;
mod service;
mod task;
#[cfg(test)]
mod tests;
mod usage;
pub mod validate;
mod volume;

use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngCore;
use skep_proto::{
    ids::Id,
    swarmkit::{Meta, Version},
};
use skep_store::{Object, Store, Tables, Tx, View};

pub use ca_change::{CaChange, CaChangeError};
use errors::ControlError;
pub(crate) use network::{is_ingress as is_ingress_network, needs_ingress};
pub(crate) use service::prospective;
pub(crate) use usage::alive;

use crate::group::Group;

/// The Control service. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct ControlService {
    store: Store,
    group: Arc<dyn Group>,
    ca: Arc<dyn CaChange>,
    rng: Arc<Mutex<Box<dyn RngCore + Send>>>,
}

impl ControlService {
    /// A service over the store and the raft group. `ca` decides about new roots; ids of new objects come from `rng`.
    /// Times of objects are those of the store's clock.
    pub fn new(
        store: Store,
        group: Arc<dyn Group>,
        ca: Arc<dyn CaChange>,
        rng: impl RngCore + Send + 'static,
    ) -> ControlService {
        ControlService { store, group, ca, rng: Arc::new(Mutex::new(Box::new(rng))) }
    }

    /// A view that holds every write acknowledged before the call.
    async fn read(&self) -> Result<View, ControlError> {
        self.group.read_barrier().await?;
        Ok(self.store.view())
    }

    /// Runs one transaction. When the future is dropped the write may still happen.
    async fn write<R>(
        &self,
        transaction: impl FnOnce(&mut Tx) -> Result<R, ControlError>,
    ) -> Result<R, ControlError> {
        self.store.update(transaction).await.map_err(ControlError::from)
    }

    /// An id for a new object.
    fn new_id(&self) -> String {
        Id::random(&mut *self.rng.lock()).to_string()
    }
}

/// The object with this id, which the request must name.
fn wanted<'a, T: Object>(tables: &'a Tables, id: &str) -> Result<&'a Arc<T>, ControlError> {
    if id.is_empty() {
        return Err(ControlError::argument(format!("the id of the {} must be provided", T::KIND)));
    }
    tables.get_text::<T>(id).ok_or_else(|| ControlError::not_found(T::KIND, id))
}

/// The typed id of a stored object.
fn id_of<T: Object>(object: &T) -> Result<T::Id, ControlError> {
    let id = object.id().parse::<Id>();
    id.map(T::Id::from).map_err(|_| ControlError::not_found(T::KIND, object.id()))
}

/// A copy of the object with this id that carries the version which the client read, so that the store refuses it when the
/// object has changed since.
fn at_version<T: Object>(
    tables: &Tables,
    id: &str,
    version: Option<Version>,
) -> Result<T, ControlError> {
    let mut object = T::clone(wanted(tables, id)?);
    let Some(version) = version else {
        return Err(ControlError::argument(format!(
            "the version of the {} must be provided: the one that the change is based on",
            T::KIND
        )));
    };
    object.set_meta(Meta { version: Some(version), ..object.meta().copied().unwrap_or_default() });
    Ok(object)
}
