//! Whether candidates can be reached from here, remembered for a moment: an election asks for the same answer several
//! times, and a vote should not wait for a round trip that was just made.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use futures::future::BoxFuture;
use skep_raft::ProbeError;
use tokio::time::Instant;

/// How long a manager that answered counts as reachable: about one election.
pub const SUCCESS_KEPT: Duration = Duration::from_secs(2);
/// How long one that did not answer counts as not reachable: short, for it may just be starting.
pub const FAILURE_KEPT: Duration = Duration::from_millis(250);
/// Addresses remembered at most; only members are asked about.
const REMEMBERED_MAX: usize = 64;

type Probe = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<(), ProbeError>> + Send + Sync>;

pub(super) struct DialBack {
    probe: Probe,
    known: DashMap<String, (Instant, bool)>,
}

impl DialBack {
    pub fn new(probe: Probe) -> Self {
        Self { probe, known: DashMap::new() }
    }

    /// Whether a healthy manager answers at `addr`, now or a moment ago.
    pub async fn reaches(&self, addr: &str) -> bool {
        if let Some(known) = self.remembered(addr) {
            return known;
        }
        let outcome = (self.probe)(addr).await;
        if let Err(error) = &outcome {
            tracing::debug!(addr, "no vote for a manager that cannot be reached: {error}");
        }
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(addr.to_owned(), (Instant::now(), outcome.is_ok()));
        outcome.is_ok()
    }

    /// What is remembered of an address and not out of date.
    pub fn remembered(&self, addr: &str) -> Option<bool> {
        let (at, reached) = *self.known.get(addr)?;
        let kept = if reached { SUCCESS_KEPT } else { FAILURE_KEPT };
        (at.elapsed() < kept).then_some(reached)
    }
}
