//! The orchestrator: sees to it that each service has the tasks that its spec asks for. It creates tasks, replaces those that
//! end, moves a service to a new spec step by step, and deletes what nobody needs any more.
//!
//! Where tasks run is the scheduler's; what they do, the workers'. All of them meet in the store alone: a task's observed
//! state and its desired state are the protocol.

mod act;
mod board;
mod change;
mod dirty;
mod foresee;
mod mind;
mod moment;
mod nodes;
mod observe;
mod plan;
mod reaper;
mod replicated;
mod restart;
mod run;
mod slot;
pub mod task;
mod update;
mod work;

use rand::{SeedableRng as _, rngs::StdRng};
use skep_ca::Clock;
use skep_store::Store;

use self::run::{Orchestrator, RETRY_DELAY};
pub(crate) use self::{
    foresee::{Fate, foresee},
    nodes::is_member,
};
use crate::allocator::Book;

/// Orchestrates services for as long as this manager leads. Never returns; safe to drop: the next leader goes on from what
/// the store holds.
///
/// `book` is what the allocator of this leadership works with too.
pub async fn run(store: Store, book: Book, clock: Clock, mut rng: StdRng) {
    loop {
        let rng = StdRng::from_rng(&mut rng);
        let lost = Orchestrator::new(store.clone(), book.clone(), clock.clone(), rng).work().await;
        tracing::debug!(%lost, "the orchestrator begins anew");
        clock.sleep(RETRY_DELAY).await;
    }
}

#[cfg(test)]
mod tests;
