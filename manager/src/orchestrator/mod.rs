//! The orchestrator: sees to it that each service has the tasks that its spec asks for. It creates tasks, replaces those that
//! end, moves a service to a new spec step by step, and deletes what nobody needs any more.
//!
//! Where tasks run is the scheduler's; what they do, the workers'. All of them meet in the store alone: a task's observed
//! state and its desired state are the protocol.

pub mod task;

use rand::rngs::StdRng;
use skep_ca::Clock;
use skep_store::Store;

/// Orchestrates services for as long as this manager leads. Never returns; safe to drop: the next leader goes on from what
/// the store holds.
pub async fn run(_store: Store, _clock: Clock, _rng: StdRng) {
    // No mode of service is orchestrated yet.
    std::future::pending().await
}
