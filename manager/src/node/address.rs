//! A manager that is reached elsewhere than before tells the group: it asks the leader to be let in again, which keeps
//! its raft id and changes its address.

use std::{net::IpAddr, sync::Arc, time::Duration};

use skep_api::ChannelPool;
use skep_raft::{NodeHandle, Status};
use tracing::{info, warn};

use super::{identity::NodeIdentity, join_group};

/// Pause before a change of address that did not succeed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Whether the host of an address says where to connect. The leader replaces one that does not by the address that the
/// request came from.
fn is_specific(addr: &str) -> bool {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn own_addr(status: &Status) -> Option<&str> {
    status.members.get(status.own).map(|member| member.addr.as_str())
}

/// Keeps the group's idea of this manager's address and the manager's own the same, for as long as it is polled.
pub async fn follow(
    raft: &NodeHandle,
    pool: &ChannelPool,
    identity: &NodeIdentity,
    advertise: &str,
) {
    let mut status = raft.watch_status();
    loop {
        let differs = |status: &Arc<Status>| own_addr(status).is_some_and(|addr| addr != advertise);
        let Ok(now) = status.wait_for(differs).await.map(|status| Arc::clone(&status)) else {
            return;
        };
        if !is_specific(advertise) {
            // The group knows better, and it may learn anew.
            identity.set_addr(own_addr(&now).unwrap_or(advertise).to_owned());
            if status.changed().await.is_err() {
                return;
            }
            continue;
        }
        match announce(raft, pool, &now, advertise).await {
            Ok(()) => info!(addr = advertise, "the group reaches this manager at another address"),
            Err(error) => {
                warn!(addr = advertise, %error, "the group does not know this manager's address yet");
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn announce(
    raft: &NodeHandle,
    pool: &ChannelPool,
    status: &Status,
    advertise: &str,
) -> Result<(), String> {
    let own = status.members.get(status.own).ok_or("this manager is no member")?;
    if status.leads() {
        let joined = raft.join(own.node_id.clone(), advertise.to_owned()).await;
        return joined.map(drop).map_err(|error| error.to_string());
    }
    // Any of them passes it on. The leader may be unknown here just because it dials the old address.
    let others = status.members.members().filter(|member| member.raft_id != status.own);
    let others: Vec<_> = others.map(|member| member.addr.clone()).collect();
    if others.is_empty() {
        return Err("this manager does not lead yet".to_owned());
    }
    let joined = join_group::join(pool, &others, advertise).await;
    joined.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_host_is_no_address() {
        for (addr, expected) in [
            ("192.0.2.1:2377", true),
            ("manager:2377", true),
            ("0.0.0.0:2377", false),
            ("[::]:2377", false),
            ("[2001:db8::1]:2377", true),
        ] {
            assert_eq!(is_specific(addr), expected, "{addr}");
        }
    }
}
