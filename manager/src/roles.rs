//! The role manager: makes each node's role follow the desired one, and takes demoted managers, and those whose node was
//! removed, out of the raft group.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::FutureExt;
use skep_proto::{
    ids::NodeId,
    swarmkit::{Node, NodeRole},
};
use skep_store::{Commit, Event, Kind, Selector, Store, StoreError, Tables};
use tokio::time::{sleep, timeout};

use crate::group::{Group, MemberState};

/// How long the group may take to remove a member before this pass gives up on it (SwarmKit's limit).
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before what could not be done is tried again (SwarmKit's interval).
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// What is to be done next for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It has the role that it should have.
    Nothing,
    /// It becomes a manager.
    Promote,
    /// It leaves the raft group; its role follows on a later pass.
    RemoveMember(u64),
    /// It is this manager: another must lead first, and goes on.
    HandOver,
    /// It becomes a worker: it is no member any more.
    Demote,
    /// Its removal would lose the quorum: later, perhaps.
    Wait,
}

/// Manages roles for as long as this manager leads. Never returns; safe to drop: the next leader goes on.
pub async fn run(store: Store, group: Arc<dyn Group>) {
    RoleManager { store, group, pending: BTreeSet::new() }.work().await;
}

struct RoleManager {
    store: Store,
    group: Arc<dyn Group>,
    /// Nodes whose role is not the desired one.
    pending: BTreeSet<NodeId>,
}

impl RoleManager {
    async fn work(mut self) {
        loop {
            let (view, mut watcher) = self.store.watch(Selector::kinds(&[Kind::Node]));
            self.pending = view.all::<Node>().filter_map(differing).collect();
            drop(view);
            let mut evicting = true;
            loop {
                // Polled before looking, so that a change in between is not missed.
                let group = self.group.clone();
                let mut group_changed = group.changed().fuse();
                let _ = (&mut group_changed).now_or_never();
                if evicting {
                    evicting = !self.evict().await;
                }
                for node in self.pending.clone() {
                    if self.reconcile(node).await {
                        self.pending.remove(&node);
                    }
                }
                let waiting = evicting || !self.pending.is_empty();
                tokio::select! {
                    commit = watcher.next() => match commit {
                        Ok(commit) => evicting |= self.take_up(&commit),
                        // Fell behind: begin again from a view.
                        Err(_) => break,
                    },
                    () = &mut group_changed, if waiting => {}
                    () = sleep(RETRY_INTERVAL), if waiting => {}
                }
            }
        }
    }

    /// Takes note of what changed; says whether a node was removed.
    fn take_up(&mut self, commit: &Commit) -> bool {
        let mut removed = false;
        for event in &commit.events {
            let Event::Node(change) = event else { continue };
            match &change.new {
                Some(node) => self.pending.extend(differing(node)),
                None => {
                    self.pending.remove(&change.id.into());
                    removed = true;
                }
            }
        }
        removed
    }

    /// Removes members whose node object is gone. Says whether none is left.
    async fn evict(&self) -> bool {
        let orphans = orphans(&self.group.members(), self.group.own_raft_id(), &self.store.view());
        let mut all = true;
        for member in orphans {
            tracing::info!(node = member.node_id, "the node was removed: it leaves the raft group");
            all &= self.remove(member.raft_id).await;
        }
        all
    }

    /// Does what is next for a node; says whether nothing is left to do.
    async fn reconcile(&self, id: NodeId) -> bool {
        let view = self.store.view();
        let Some(node) = view.get::<Node>(&id).cloned() else { return true };
        drop(view);
        let members = self.group.members();
        let member = members.iter().find(|m| m.node_id == node.id);
        let own = self.group.own_raft_id();
        match next_step(&node, member, own, |raft_id| self.group.check_removal(raft_id).is_ok()) {
            Step::Nothing => true,
            Step::Promote => self.set_role(id, NodeRole::Manager).await,
            Step::Demote => self.set_role(id, NodeRole::Worker).await,
            Step::RemoveMember(raft_id) => {
                self.remove(raft_id).await;
                false
            }
            Step::HandOver => {
                tracing::info!("this manager is demoted: another is to lead");
                if let Err(error) = self.group.transfer(None).await {
                    tracing::warn!(%error, "leadership was not handed over; trying again");
                }
                false
            }
            Step::Wait => {
                tracing::debug!(node = %id, "cannot demote now: the managers would lose the quorum");
                false
            }
        }
    }

    async fn remove(&self, raft_id: u64) -> bool {
        match timeout(REMOVAL_TIMEOUT, self.group.remove(raft_id)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(raft_id, %error, "the member was not removed; trying again");
                false
            }
            Err(_) => {
                tracing::debug!(raft_id, "removing the member takes too long; trying again");
                false
            }
        }
    }

    /// Writes the role, if it is still the desired one. Says whether it is done.
    async fn set_role(&self, id: NodeId, role: NodeRole) -> bool {
        let written = self
            .store
            .update(|tx| {
                let wanted = |node: &&Arc<Node>| {
                    node.spec.as_ref().is_some_and(|spec| spec.desired_role() == role)
                };
                if tx.get::<Node>(&id).filter(wanted).is_some() {
                    tx.modify::<Node>(&id, |node| node.role = role.into())?;
                }
                Ok::<(), StoreError>(())
            })
            .await;
        if let Err(error) = &written {
            tracing::warn!(node = %id, %error, "the node's role was not recorded; trying again");
        }
        written.is_ok()
    }
}

/// The node's id, if its role is not the desired one.
fn differing(node: &Arc<Node>) -> Option<NodeId> {
    let desired = node.spec.as_ref().map_or(NodeRole::Worker, |spec| spec.desired_role());
    (node.role() != desired).then(|| node.id.parse().ok()).flatten()
}

/// What is next for a node. `removable` says whether the group would keep its quorum without a member.
fn next_step(
    node: &Node,
    member: Option<&MemberState>,
    own_raft_id: u64,
    removable: impl FnOnce(u64) -> bool,
) -> Step {
    let desired = node.spec.as_ref().map_or(NodeRole::Worker, |spec| spec.desired_role());
    match (node.role(), desired, member) {
        (NodeRole::Worker, NodeRole::Manager, _) => Step::Promote,
        (NodeRole::Manager, NodeRole::Worker, None) => Step::Demote,
        (NodeRole::Manager, NodeRole::Worker, Some(member)) => {
            if !removable(member.raft_id) {
                Step::Wait
            } else if member.raft_id == own_raft_id {
                Step::HandOver
            } else {
                Step::RemoveMember(member.raft_id)
            }
        }
        _ => Step::Nothing,
    }
}

/// Members of the group without a node object; never this manager, which others have to remove.
fn orphans(members: &[MemberState], own_raft_id: u64, tables: &Tables) -> Vec<MemberState> {
    let orphan = |m: &&MemberState| {
        m.raft_id != own_raft_id && tables.get_text::<Node>(&m.node_id).is_none()
    };
    members.iter().filter(orphan).cloned().collect()
}

#[cfg(test)]
mod tests;
