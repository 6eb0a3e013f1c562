//! Answers that are computed from the cluster's state: from a view that is up to date, off the async threads, and few at
//! a time.

use std::sync::Arc;

use skep_store::{Store, View};
use tokio::sync::Semaphore;
use tonic::{Response, Status};

use crate::{control::errors::ControlError, group::Group};

/// Computes the answers of one service. Cheap to clone; all clones share the room.
#[derive(Clone)]
pub struct Answers {
    store: Store,
    group: Arc<dyn Group>,
    room: Arc<Semaphore>,
}

impl Answers {
    /// Over the store and the raft group; no more than `at_once_max` answers are computed at a time, others wait.
    pub fn new(store: Store, group: Arc<dyn Group>, at_once_max: usize) -> Answers {
        Answers { store, group, room: Arc::new(Semaphore::new(at_once_max)) }
    }

    /// An answer from a view that holds every write acknowledged before the call. When the future is dropped nobody learns of
    /// an answer that is being computed; nothing else is lost.
    pub async fn answer<R: Send + 'static>(
        &self,
        compute: impl FnOnce(View) -> Result<R, ControlError> + Send + 'static,
    ) -> Result<Response<R>, Status> {
        self.group.read_barrier().await.map_err(ControlError::from)?;
        let closed = |_| Status::unavailable("this manager is stopping");
        let turn = self.room.clone().acquire_owned().await.map_err(closed)?;
        let view = self.store.view();
        let computing = tokio::task::spawn_blocking(move || {
            // Held here, so that a caller who goes away makes no room for one more.
            let _turn = turn;
            compute(view)
        });
        let answer = computing.await.map_err(|error| {
            Status::internal(format!("the answer could not be computed: {error}"))
        })?;
        Ok(Response::new(answer?))
    }
}
