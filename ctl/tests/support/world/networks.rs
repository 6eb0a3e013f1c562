//! What is said of networks: who uses them, and whether what was given out agrees.

use skep_proto::skep::{
    NetworkCheckRequest, NetworkCheckResponse, NetworkUsage, NetworkUsageRequest,
    NetworkUsageResponse,
};
use tonic::Status;

use super::{World, any};

pub fn network_usage(
    world: &mut World,
    request: NetworkUsageRequest,
) -> Result<NetworkUsageResponse, Status> {
    let asked = world.networks.iter().filter(|n| any(&request.network_ids, |id| *id == n.id));
    let usage = |id: &String| {
        let nothing = NetworkUsage { network_id: id.clone(), ..NetworkUsage::default() };
        let mut usage = world.usages.get(id).cloned().unwrap_or(nothing);
        if !request.holders {
            usage.holders.clear();
        }
        usage
    };
    Ok(NetworkUsageResponse { networks: asked.map(|network| usage(&network.id)).collect() })
}

pub fn network_check(
    world: &mut World,
    _: NetworkCheckRequest,
) -> Result<NetworkCheckResponse, Status> {
    Ok(match world.checks.len() {
        0 => NetworkCheckResponse::default(),
        1 => world.checks[0].clone(),
        _ => world.checks.remove(0),
    })
}
