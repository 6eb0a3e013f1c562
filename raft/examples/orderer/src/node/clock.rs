//! Closes the open block when its time is up.

use std::future::pending;
use std::sync::Arc;

use tokio::time::sleep_until;

use super::around::{Around, Waiter};
use crate::core::orderer::Orderer;
use crate::machine::Shared;

/// Runs for as long as the process.
pub async fn run(shared: Arc<Shared<Waiter, Around>>) {
    // A block whose time is up and that finds no room is closed when there is room; trying again would be of no use.
    let mut tried = None;
    loop {
        let deadline = shared.look(Orderer::deadline);
        let due = async {
            match deadline {
                Some(deadline) if tried != Some(deadline) => {
                    sleep_until(shared.around.instant(deadline)).await;
                }
                _ => pending().await,
            }
        };
        tokio::select! {
            () = due => {
                tried = deadline;
                let now = shared.around.now();
                shared.act(|orderer| orderer.tick(now));
            }
            () = shared.around.clock.notified() => {}
        }
    }
}
