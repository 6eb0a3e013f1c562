//! The workers' interface: sessions, heartbeats, what is assigned to a node and what it reports; and which nodes live.
//!
//! The service answers for as long as [`run`] runs, which is while this manager leads; at other times every call is told
//! that the dispatcher is stopped. What is decided is decided in pure modules: `liveness` (who is lost), `node_state`
//! (what becomes of a node object), `message` (what a session is told), `assignment_set` (what a node is to run),
//! `status_reports` (what is believed of a report), `timing` (how long). The rest moves their values.
//!
//! Costs: an idle node costs its heartbeat, which only moves a deadline in memory. A change of an object is looked at once,
//! by `fan_out`, and put down for the one session that it concerns (`follower`); what a wave changes there goes into few
//! messages (`assigned`). Single containers wait until their node knows its load balancer (`held`). Nodes that register at
//! the same time share log entries.

#[cfg(test)]
mod agent_tests;
mod assigned;
mod assignment_set;
#[cfg(test)]
mod assignment_tests;
mod dependencies;
mod fan_out;
mod follower;
mod held;
mod leadership;
mod liveness;
mod liveness_loop;
mod message;
mod metrics;
mod node_state;
mod node_writes;
mod report_writes;
mod service;
mod sessions;
mod status_reports;
mod streams;
#[cfg(test)]
mod tests;
mod timing;
mod wave;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use skep_proto::ids::NodeId;
use skep_store::Store;
use tokio::{sync::Notify, time::timeout};
use tonic::Status;

pub use self::metrics::DispatcherMetrics;
pub(crate) use self::service::calling_node;
use self::{leadership::Leadership, timing::BEGIN_WITHIN};
use crate::group::Group;

/// What the dispatcher works with.
#[derive(Clone)]
pub struct DispatcherConfig {
    /// The objects.
    pub store: Store,
    /// The managers, and the proof that this one leads.
    pub group: Arc<dyn Group>,
    /// This manager's node: what it writes of reports carries its name.
    pub node_id: NodeId,
    /// Decides session ids and the jitter of periods.
    pub seed: u64,
    /// What is counted.
    pub metrics: DispatcherMetrics,
}

/// The Dispatcher service. Cheap to clone; clones are one dispatcher. Expects the [`skep_api::Caller`] of each request
/// in its extensions.
#[derive(Clone)]
pub struct DispatcherService {
    shared: Arc<Shared>,
}

struct Shared {
    config: DispatcherConfig,
    leadership: ArcSwapOption<Leadership>,
    /// A leadership began.
    began: Notify,
}

impl DispatcherService {
    /// A dispatcher that is stopped until [`run`] runs.
    pub fn new(config: DispatcherConfig) -> DispatcherService {
        let leadership = ArcSwapOption::empty();
        DispatcherService { shared: Arc::new(Shared { config, leadership, began: Notify::new() }) }
    }

    /// What it counts.
    pub fn metrics(&self) -> &DispatcherMetrics {
        &self.shared.config.metrics
    }

    /// How many nodes are in session with this manager.
    pub fn session_count(&self) -> usize {
        self.shared.leadership.load().as_ref().map_or(0, |leadership| leadership.sessions.len())
    }

    fn leadership(&self) -> Result<Arc<Leadership>, Status> {
        let leadership = self.shared.leadership.load_full();
        leadership.ok_or_else(|| Status::aborted("dispatcher is stopped"))
    }

    /// As [`leadership`](Self::leadership), for a node that may have come a moment before a new leader serves it: it would
    /// back off for longer than that.
    async fn leadership_soon(&self) -> Result<Arc<Leadership>, Status> {
        let begins = async {
            loop {
                let began = self.shared.began.notified();
                tokio::pin!(began);
                began.as_mut().enable();
                if let Ok(leadership) = self.leadership() {
                    return leadership;
                }
                began.await;
            }
        };
        match timeout(BEGIN_WITHIN, begins).await {
            Ok(leadership) => Ok(leadership),
            Err(_) => self.leadership(),
        }
    }
}

/// Serves nodes while this manager leads: to be started once it leads and has applied everything up to its election, one
/// at a time. Never returns. When it is dropped all sessions end, and their nodes are told to look for another manager.
///
/// Nothing is recorded of them then: the next leader finds out within seconds which nodes are there, and two writes for
/// each node at every change of leader would tell nobody more.
pub async fn run(dispatcher: DispatcherService) {
    let (leadership, queue) = Leadership::begin(&dispatcher.shared.config);
    let serving = Serving { dispatcher, leadership };
    let leadership = &*serving.leadership;
    serving.dispatcher.shared.leadership.store(Some(serving.leadership.clone()));
    serving.dispatcher.shared.began.notify_waiters();
    tokio::join!(
        node_writes::run(leadership, queue),
        report_writes::run(leadership),
        fan_out::store_changes(leadership),
        fan_out::membership_changes(leadership),
        liveness_loop::sweep(leadership),
        liveness_loop::record_unknown(leadership),
    );
}

/// Ends the sessions when the loops do, however that comes about.
struct Serving {
    dispatcher: DispatcherService,
    leadership: Arc<Leadership>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.dispatcher.shared.leadership.store(None);
        self.leadership.end();
    }
}
