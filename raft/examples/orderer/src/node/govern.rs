//! On the leader: brings raft's members into line with what the chain says, one step at a time.

use std::sync::Arc;
use std::time::Duration;

use skep_raft::{Membership, RaftId};
use skep_raft_peers::GroupError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::around::{Around, Waiter};
use super::links::Links;
use crate::core::consenters::Step;
use crate::core::orderer::Orderer;
use crate::machine::Shared;

/// How long the chain waits for an orderer that was added and does not join, or one that cannot be removed: nothing is ordered
/// meanwhile. It asks several times a second, so it is not there.
const STEP_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a step that is not made yet is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Runs for as long as the process.
pub async fn run(
    shared: Arc<Shared<Waiter, Around>>,
    links: Arc<Links>,
    leader_changes: Arc<AtomicU64>,
) -> Result<(), Status> {
    let group = links.group()?;
    let mut status = group.node().watch_status();
    let mut members = Arc::new(Membership::default());
    let mut leader: Option<RaftId> = None;
    let mut trying: Option<(Step, Instant)> = None;
    loop {
        let now = status.borrow_and_update().clone();
        if !Arc::ptr_eq(&members, &now.members) {
            members = now.members.clone();
            let members = Membership::clone(&members);
            shared.act(|orderer| orderer.members(members));
        }
        if now.leader.is_some() && now.leader != leader {
            leader = now.leader;
            leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        let step = now.leads().then(|| shared.look(Orderer::step)).flatten();
        let Some(step) = step else {
            trying = None;
            tokio::select! {
                changed = status.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = shared.around.governor.notified() => {}
            }
            continue;
        };
        let since = match &trying {
            Some((same, since)) if *same == step => *since,
            _ => Instant::now(),
        };
        trying = Some((step.clone(), since));
        let refused = match &step {
            Step::Admit(_) => None,
            Step::Remove(id) => match group.remove(id).await {
                Ok(()) | Err(GroupError::Unknown(_)) => None,
                Err(GroupError::Refused(why)) => Some(why),
                Err(GroupError::Unavailable(why)) => {
                    tracing::debug!("orderer {id} is not removed yet: {why}");
                    None
                }
            },
        };
        let late = since.elapsed() > STEP_TIME_MAX;
        if let Some(why) = refused.or(late.then(|| "it took too long".to_owned())) {
            tracing::warn!("takes back {step:?}: {why}");
            shared.act(|orderer| orderer.take_back(&step));
            trying = None;
        }
        // Raft's word of it comes sooner, mostly.
        if timeout(AGAIN, status.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return Ok(());
        }
        if !now.leads() {
            sleep(AGAIN).await;
        }
    }
}
