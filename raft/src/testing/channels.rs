//! A transport between nodes of one process: messages go straight into the other node's handle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use skep_proto::raftpb;

use crate::{Member, Membership, NodeHandle, ProbeError, RaftId, Transport};

/// See the module. Each node has its own [`Wire`] into it.
#[derive(Clone, Default)]
pub struct Channels {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<RaftId, NodeHandle>,
    /// Members that nothing reaches and nothing leaves.
    cut: BTreeSet<RaftId>,
}

impl Channels {
    /// A node's end.
    pub fn wire(&self) -> Arc<Wire> {
        Arc::new(Wire { channels: self.clone() })
    }

    /// A node can be reached from now on.
    pub fn connect(&self, node: NodeHandle) {
        self.inner.lock().nodes.insert(node.own(), node);
    }

    /// A node is gone.
    pub fn disconnect(&self, raft_id: RaftId) {
        self.inner.lock().nodes.remove(&raft_id);
    }
}

/// A node's end of the [`Channels`].
pub struct Wire {
    channels: Channels,
}

impl Transport for Wire {
    fn send(&self, to: &Member, message: raftpb::Message) {
        let from = RaftId(message.from());
        let (sender, receiver) = {
            let inner = self.channels.inner.lock();
            let cut = inner.cut.contains(&from) || inner.cut.contains(&to.raft_id);
            let receiver = inner.nodes.get(&to.raft_id).filter(|_| !cut).cloned();
            (inner.nodes.get(&from).cloned(), receiver)
        };
        let snapshot = message.r#type() == raftpb::MessageType::MsgSnap;
        let delivered = receiver.is_some_and(|receiver| receiver.step(message).is_ok());
        if let Some(sender) = sender {
            if snapshot {
                sender.report_snapshot(to.raft_id, delivered);
            }
            if !delivered {
                sender.report_unreachable(to.raft_id);
            }
        }
    }

    fn members_changed(&self, _members: &Membership, _own: RaftId) {}

    fn probe(&self, addr: &str) -> BoxFuture<'static, Result<(), ProbeError>> {
        let healthy = !addr.starts_with("unhealthy");
        Box::pin(async move {
            healthy.then_some(()).ok_or_else(|| ProbeError("connection refused".to_owned()))
        })
    }
}
