//! The Watch service: a live stream of what the store commits.
//!
//! Every manager serves it from its own copy of the store, so a follower's stream may lag behind the leader's. A stream
//! begins with an empty message: what is committed after it is in the stream. Then there is one message for each commit
//! that has selected events, with the version by which a client resumes. Secrets are blanked as the Control service does.
//!
//! A client that does not keep up is not waited for and not buffered for without bound: the store's watcher gives up, and
//! the stream ends with an error that says where to resume.

mod message;
mod selector;

use std::{collections::VecDeque, pin::Pin};

use futures::{Stream, StreamExt, stream};
use skep_proto::swarmkit::{WatchMessage, WatchRequest, watch_server::Watch};
use skep_store::{ResumeError, Store, Watcher};
use tonic::{Request, Response, Status};

/// The Watch service.
#[derive(Clone)]
pub struct WatchService {
    store: Store,
}

impl WatchService {
    /// A service over this manager's store.
    pub fn new(store: Store) -> WatchService {
        WatchService { store }
    }
}

/// A stream of messages; ends only with an error, or when the client goes.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = WatchStream;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<WatchStream>, Status> {
        let request = request.into_inner();
        let selector = selector::selector(&request.entries)?;
        let (version, watcher) = match request.resume_from {
            Some(from) => {
                let watcher = self.store.watch_from(from.index, selector).map_err(cannot_resume)?;
                (from.index, watcher)
            }
            None => {
                let (view, watcher) = self.store.watch(selector);
                (view.version(), watcher)
            }
        };
        let watching = Watching {
            watcher,
            version,
            old: request.include_old_object,
            waiting: VecDeque::new(),
        };
        let established = stream::once(async { Ok(WatchMessage::default()) });
        let messages = stream::unfold(Some(watching), |watching| async {
            let mut watching = watching?;
            Some(match watching.next().await {
                Ok(message) => (Ok(message), Some(watching)),
                Err(status) => (Err(status), None),
            })
        });
        Ok(Response::new(Box::pin(established.chain(messages))))
    }
}

struct Watching {
    watcher: Watcher,
    /// Of the last commit that was sent whole.
    version: u64,
    old: bool,
    /// The rest of a commit that is too large for one message.
    waiting: VecDeque<WatchMessage>,
}

impl Watching {
    async fn next(&mut self) -> Result<WatchMessage, Status> {
        if self.waiting.is_empty() {
            let commit = self.watcher.next().await.map_err(|lagged| {
                Status::aborted(format!(
                    "{lagged} (or resume from version {}, while it is still kept)",
                    self.version
                ))
            })?;
            self.waiting = message::messages(&commit, self.old);
        }
        let message = self.waiting.pop_front().unwrap_or_default();
        if let Some(version) = &message.version {
            self.version = version.index;
        }
        Ok(message)
    }
}

fn cannot_resume(error: ResumeError) -> Status {
    match error {
        ResumeError::Compacted { .. } => {
            Status::out_of_range(format!("{error}; list the objects, and watch without a version"))
        }
        ResumeError::Ahead { .. } => {
            Status::unavailable(format!("{error}; try again, or ask another manager"))
        }
    }
}

#[cfg(test)]
mod tests;
