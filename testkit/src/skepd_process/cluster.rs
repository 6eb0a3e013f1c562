//! Several managers that form a cluster.

use std::path::Path;

use super::{Skepd, SkepdError, SkepdOptions};
use crate::wait;

/// A cluster of managers, each a process of its own.
pub struct SkepdCluster {
    /// The managers, in the order in which they joined.
    pub managers: Vec<Skepd>,
}

impl SkepdCluster {
    /// Starts `count` managers on loopback and forms a cluster of them: the first founds it, the others join with the
    /// manager token. Returns when all are ready.
    pub async fn form(program: &Path, count: usize) -> Result<SkepdCluster, SkepdError> {
        let options = |n: usize| SkepdOptions::new(program, format!("manager-{n}"));
        SkepdCluster::form_with((1..=count).map(options)).await
    }

    /// As [`form`](Self::form), each manager started in its own way.
    pub async fn form_with(
        options: impl IntoIterator<Item = SkepdOptions>,
    ) -> Result<SkepdCluster, SkepdError> {
        let mut managers: Vec<Skepd> = Vec::new();
        let mut token = String::new();
        for options in options {
            let manager = Skepd::start(options).await?;
            match managers.first() {
                None => token = manager.init().await?.manager_join_token,
                Some(first) => {
                    manager.join(first, &token).await?;
                }
            }
            managers.push(manager);
        }
        let cluster = SkepdCluster { managers };
        if let Some(first) = cluster.managers.first() {
            let count = cluster.managers.len();
            first.wait_until_ready(count, count).await?;
        }
        Ok(cluster)
    }

    /// The place in `managers` of the one that says it leads and accepts writes; waits for one.
    pub async fn leader(&self) -> Result<usize, wait::NotInTime> {
        wait::until("a leader", super::SETTLE_LIMIT, async || {
            for (place, manager) in self.managers.iter().enumerate() {
                if manager.pid().is_some() && manager.status().await.is_ok_and(|s| s.is_leader) {
                    return Ok(place);
                }
            }
            Err("nobody says that it leads")
        })
        .await
    }
}
