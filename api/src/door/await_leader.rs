//! Waiting for a leader, as long as there is hope and the caller's deadline allows.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use crate::leader::{Leader, LeaderRoute};

/// What a caller is told when too few managers are up. Users and their scripts look for it: SwarmKit's words.
pub const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are online. \
     Make sure more than half of the managers are online.";

/// After this many ticks of a second without a leader an election that succeeds is not what is missing: twice the
/// longest election takes less.
const LOST_QUORUM_TICKS: u32 = 10;

/// How often the leader is asked for again without a sign of a change; SwarmKit's figure.
const POLL: Duration = Duration::from_secs(1);

/// The leader once there is one: [`Leader::Local`] or [`Leader::Remote`].
///
/// Fails with `UNAVAILABLE` and [`NO_LEADER`] when there has been none for too long, and with `DEADLINE_EXCEEDED` at
/// the deadline. Safe to drop.
pub(super) async fn await_leader(
    route: &dyn LeaderRoute,
    until: Instant,
) -> Result<Leader, Status> {
    loop {
        // Made before the question, so that no change falls between the two.
        let changed = route.changed();
        match route.leader() {
            Leader::Unknown { for_ticks } if for_ticks > LOST_QUORUM_TICKS => {
                return Err(Status::unavailable(NO_LEADER));
            }
            Leader::Unknown { .. } => {}
            known => return Ok(known),
        }
        if Instant::now() >= until {
            return Err(Status::deadline_exceeded(
                "no manager was elected leader before the deadline; try again",
            ));
        }
        let next = until.min(Instant::now() + POLL);
        let _ = tokio::time::timeout_at(next, changed).await;
    }
}
