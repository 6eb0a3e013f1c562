//! What a running manager does until it ends: the control loops while it leads, the cluster's settings always.

use std::sync::Arc;

use skep_api::ChannelPool;
use skep_ca::KeyFile;
use skep_proto::ids::ClusterId;
use skep_raft::{NodeHandle, StopReason};
use skep_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    address, error::chain, identity::NodeIdentity, lock, machine::Leadership, manager::ManagerExit,
    timing,
};
use crate::leader::{self, LeaderContext};

/// What every manager does, whether it leads or not: it follows the cluster's settings.
pub struct Following {
    /// The raft node.
    pub raft: NodeHandle,
    /// The objects, the cluster's settings among them.
    pub store: Store,
    /// Certificate and key on disk.
    pub key_file: KeyFile,
    /// Connections to the other managers.
    pub pool: ChannelPool,
    /// What the door knows of this node.
    pub identity: Arc<NodeIdentity>,
    /// `host:port` for the others.
    pub advertise: String,
    /// The cluster.
    pub cluster_id: ClusterId,
}

impl Following {
    async fn run(&self) {
        tokio::join!(
            timing::follow(&self.store, &self.raft),
            lock::follow(&self.store, &self.raft, &self.key_file, self.cluster_id),
            address::follow(&self.raft, &self.pool, &self.identity, &self.advertise),
        );
    }
}

/// Runs the control loops while this manager leads, and what every manager does beside them, until it ends.
pub async fn run(
    following: Following,
    context: LeaderContext,
    mut leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
) -> ManagerExit {
    let raft = following.raft.clone();
    let leading = async {
        loop {
            let leads = *leadership.borrow_and_update();
            match leads {
                None => {
                    if leadership.changed().await.is_err() {
                        return;
                    }
                }
                Some(_) => {
                    info!("this manager leads the cluster");
                    let lost = async {
                        // The same leadership goes on while the number stays.
                        let _ = leadership.wait_for(|now| *now != leads).await;
                    };
                    tokio::select! {
                        () = lost => {}
                        () = leader::lead(context.clone()) => warn!("the control loops ended early"),
                    }
                    info!("this manager no longer leads the cluster");
                }
            }
        }
    };
    let ended = raft.stopped();
    let reason = tokio::select! {
        reason = ended => reason,
        () = stop.cancelled() => hand_over(&raft).await,
        () = async { tokio::join!(following.run(), leading); } => raft.stopped().await,
    };
    stop.cancel();
    match reason {
        StopReason::Asked => ManagerExit::Stopped,
        StopReason::Removed => ManagerExit::Removed,
        other => ManagerExit::Failed(chain(&other)),
    }
}

/// Stops the raft node; a leader hands leadership over first.
async fn hand_over(raft: &NodeHandle) -> StopReason {
    let led = raft.status().leads();
    let reason = raft.stop(true).await;
    if led {
        let status = raft.status();
        match status.leader.filter(|leader| *leader != status.own) {
            Some(leader) => info!(%leader, "leadership is handed over"),
            None => warn!("nobody took leadership over before this manager stopped"),
        }
    }
    reason
}
