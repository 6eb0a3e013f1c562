//! Dialling back: is there a healthy manager of this cluster at an address? TLS shows the cluster, the health service
//! the rest.

use std::time::Duration;

use skep_proto::swarmkit::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use skep_raft::ProbeError;

use crate::{health, pool::ChannelPool};

/// How long the check may take; SwarmKit's figure for a joiner.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks that `"Raft"` is served at `addr`. Safe to drop.
pub async fn probe(pool: ChannelPool, addr: String) -> Result<(), ProbeError> {
    let failed = |what: String| ProbeError(format!("health check of {addr} failed: {what}"));
    let channel = pool.get(&addr).map_err(|error| failed(error.to_string()))?;
    let mut client = HealthClient::new(channel);
    let request = HealthCheckRequest { service: health::RAFT.to_owned() };
    let outcome = tokio::time::timeout(PROBE_TIMEOUT, client.check(request)).await;
    let answer = match outcome {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return Err(failed(status.to_string())),
        Err(_) => return Err(failed(format!("no answer within {PROBE_TIMEOUT:?}"))),
    };
    match answer.status() {
        ServingStatus::Serving => Ok(()),
        other => Err(failed(format!("it says {}", other.as_str_name()))),
    }
}
