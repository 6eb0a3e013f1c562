//! `skep swarm update`.

use std::time::Duration;

use skep_proto::swarmkit::{ClusterSpec, ExternalCa, KeyRotation};

use super::{ca::external_ca, unlock_key};
use crate::{
    cluster::{cluster, update_cluster},
    commands::Session,
    errors::Failure,
    input::wire_duration,
};

/// Change the swarm's settings.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Update {
    /// Lock managers, so that a restarted one waits for the unlock key, or do not
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    autolock: Option<bool>,
    /// How long node certificates are valid
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    cert_expiry: Option<Duration>,
    /// How often nodes say that they live
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    dispatcher_heartbeat: Option<Duration>,
    /// Signers outside of the swarm: protocol=cfssl,url=URL[,cacert=FILE]
    #[arg(long, value_name = "SPEC")]
    external_ca: Vec<String>,
    /// Number of snapshots to keep beside the newest
    #[arg(long, value_name = "NUMBER")]
    max_snapshots: Option<u64>,
    /// Number of log entries between two snapshots at least; more when the entries are small beside the snapshot
    #[arg(long, value_name = "ENTRIES")]
    snapshot_interval: Option<u64>,
    /// Number of finished tasks to remember for each slot of a service
    #[arg(long, value_name = "NUMBER")]
    task_history_limit: Option<i64>,
}

impl Update {
    /// Makes the changes.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let external =
            self.external_ca.iter().map(|s| external_ca(s)).collect::<Result<Vec<_>, _>>()?;
        let before = cluster(connection).await?;
        let encryption = before.spec.and_then(|s| s.encryption_config).unwrap_or_default();
        let locks = self.autolock == Some(true) && !encryption.auto_lock_managers;

        update_cluster(connection, KeyRotation::default(), |spec| self.apply(spec, &external))
            .await?;
        output.line("Swarm updated.")?;
        if locks {
            let key = unlock_key::changed(connection, "").await?;
            output.line("")?;
            unlock_key::print_instructions(output, &key)?;
        }
        Ok(())
    }

    fn apply(&self, spec: &mut ClusterSpec, external: &[ExternalCa]) {
        if let Some(lock) = self.autolock {
            spec.encryption_config.get_or_insert_default().auto_lock_managers = lock;
        }
        if let Some(expiry) = self.cert_expiry {
            let config = spec.ca_config.get_or_insert_default();
            config.node_cert_expiry = Some(wire_duration(expiry));
        }
        if !external.is_empty() {
            spec.ca_config.get_or_insert_default().external_cas = external.to_vec();
        }
        if let Some(period) = self.dispatcher_heartbeat {
            let config = spec.dispatcher.get_or_insert_default();
            config.heartbeat_period = Some(wire_duration(period));
        }
        if let Some(limit) = self.task_history_limit {
            spec.orchestration.get_or_insert_default().task_history_retention_limit = limit;
        }
        if let Some(kept) = self.max_snapshots {
            spec.raft.get_or_insert_default().keep_old_snapshots = kept;
        }
        if let Some(entries) = self.snapshot_interval {
            spec.raft.get_or_insert_default().snapshot_interval = entries;
        }
    }
}
