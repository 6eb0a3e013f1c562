//! Single containers whose node has to hear of its load balancer first.
//!
//! A node has an address of its own in each overlay network that its tasks use. It hears of it over its session, and of the
//! tasks over another stream; which of the two an engine takes up first is a matter of chance. For the containers of
//! services it waits. A single container that somebody attaches to a network it rejects for good if it lacks the address, and
//! whoever runs that container waits in vain until it gives up, after 20 s. So such a task is held back for a moment.

use std::{collections::HashMap, sync::Arc};

use skep_proto::{
    ids::{NetworkId, TaskId},
    swarmkit::{Node, Task, task_spec::Runtime},
};
use tokio::time::Instant;

use super::{
    sessions::Session,
    timing::{BALANCER_TAKEN_UP, BALANCER_WAIT_MAX},
};
use crate::allocator::overlays;

/// Since when a node has known its load balancers.
#[derive(Debug, Default)]
pub(super) struct Balancers {
    told: HashMap<NetworkId, Instant>,
}

impl Balancers {
    /// The node is told of these now, and of no others.
    pub fn tell(&mut self, node: &Node) {
        let now = Instant::now();
        let networks = node.attachments.iter().filter_map(|a| a.network.as_ref()?.id.parse().ok());
        let told = |id: NetworkId| (id, self.told.get(&id).copied().unwrap_or(now));
        self.told = networks.map(told).collect();
    }

    fn taken_up(&self, network: &NetworkId) -> bool {
        self.told.get(network).is_some_and(|told| told.elapsed() >= BALANCER_TAKEN_UP)
    }
}

/// The tasks that one stream holds back, and since when.
#[derive(Debug)]
pub(super) struct Held {
    session: Arc<Session>,
    since: HashMap<TaskId, Instant>,
}

impl Held {
    /// None yet.
    pub fn new(session: Arc<Session>) -> Held {
        Held { session, since: HashMap::new() }
    }

    /// Whether the node cannot be told of this task yet. It is to be asked again in a moment, and in the end it can: in a network
    /// that is full there is no load balancer to wait for.
    pub fn holds(&mut self, id: TaskId, task: &Task) -> bool {
        let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
        if !matches!(runtime, Some(Runtime::Attachment(_))) {
            return false;
        }
        let balancers = self.session.balancers.lock();
        let ready = overlays(task).all(|network| balancers.taken_up(&network));
        if ready || self.since.entry(id).or_insert_with(Instant::now).elapsed() >= BALANCER_WAIT_MAX
        {
            self.since.remove(&id);
            return false;
        }
        true
    }

    /// Forgets all but these.
    pub fn keep(&mut self, held: impl Fn(&TaskId) -> bool) {
        self.since.retain(|id, _| held(id));
    }
}
