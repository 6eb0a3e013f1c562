//! Where Docker Engines meet.
//!
//! Engines that carry overlay networks find each other by a gossip of their own. They join it by dialling the managers that
//! they know from their sessions, on the gossip's port: a stock manager is an engine and takes part in it. We do not, but
//! need not either. Joining is one exchange over one TCP connection, in which the newcomer learns all members by their own
//! addresses. So a manager of ours passes that connection on to an engine, and the two talk as if nobody were in between;
//! what they say is opaque to us, and encrypted with the cluster's keys.
//!
//! An engine that finds none of the managers among the members joins again every minute, so whoever came too early, or was
//! cut off, is with the others soon.

use std::{
    collections::BinaryHeap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rand::seq::SliceRandom as _;
use skep_proto::swarmkit::{Node, NodeRole, node_status::State};
use skep_store::Store;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, info};

/// The port of the engines' gossip; they know no other.
const GOSSIP_PORT: u16 = 7946;
/// Whom newcomers are led to: the oldest engines, in no order. Each of them is led to one of the others, so the engines are
/// all of one gossip, and the state that they hand out is not all handed out by one.
const ANCHORS: usize = 3;
/// Engines that are tried for one newcomer, anchors first: some may be dead and not known to be, and some nodes are none.
const TRIES: usize = 8;
/// The engines are near.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// An exchange is over when both have said what they know: up to a few megabytes in a large swarm.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);
/// Newcomers at once; the others wait. They come a few a second, as each of 1,000 engines does so every minute.
const EXCHANGES_MAX: usize = 64;
/// Pause before listening is tried again.
const BIND_DELAY: Duration = Duration::from_secs(10);
/// Pause after the system had no connection to give, as when all file descriptors are in use.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// Leads engines that dial `own` to others. Never returns; safe to drop: an engine that is not done joins again.
pub async fn run(store: Store, own: IpAddr) {
    let listener = bind(own).await;
    let room = Arc::new(Semaphore::new(EXCHANGES_MAX));
    // Ends with this future what it has begun.
    let mut exchanges = tokio::task::JoinSet::new();
    loop {
        while exchanges.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let (newcomer, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "an engine that joins the gossip was not heard");
                sleep(ACCEPT_DELAY).await;
                continue;
            }
        };
        let hosts = hosts(store.view().all::<Node>().map(Arc::as_ref), peer.ip().to_canonical());
        exchanges.spawn(async move {
            let _permit = permit;
            if let Err(error) = timeout(EXCHANGE_LIMIT, introduce(newcomer, hosts)).await {
                debug!(%peer, %error, "an exchange of gossip took too long");
            }
        });
    }
}

/// Listens as soon as it can. Where an engine of the same machine has the port, whoever dials it is answered all the same.
async fn bind(own: IpAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind((own, GOSSIP_PORT)).await {
            Ok(listener) => return listener,
            Err(error) if !told => {
                told = true;
                info!(
                    %error, addr = %SocketAddr::from((own, GOSSIP_PORT)),
                    "engines cannot join their gossip by way of this manager, which is well if an engine listens there"
                );
            }
            Err(_) => {}
        }
        sleep(BIND_DELAY).await;
    }
}

/// Connects the newcomer with the first of these that answers.
async fn introduce(mut newcomer: TcpStream, hosts: Vec<IpAddr>) {
    for host in hosts {
        let connecting = timeout(CONNECT_LIMIT, TcpStream::connect((host, GOSSIP_PORT))).await;
        match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(mut member) => {
                // Either may break off; the newcomer says so in its log and joins again.
                if let Err(error) = copy_bidirectional(&mut newcomer, &mut member).await {
                    debug!(%host, %error, "an exchange of gossip broke off");
                }
                return;
            }
            Err(error) => debug!(%host, %error, "an engine does not take part in the gossip"),
        }
    }
}

/// Where a newcomer is led, in the order in which it is tried: workers that are ready, the oldest first but for the anchors,
/// whose order is by chance. Managers are left out: the newcomer dials them by itself.
fn hosts<'a>(nodes: impl Iterator<Item = &'a Node>, newcomer: IpAddr) -> Vec<IpAddr> {
    // The oldest of all by way of a heap of a few.
    let mut oldest = BinaryHeap::with_capacity(TRIES + 1);
    for node in nodes {
        let Some(addr) = address(node).filter(|addr| *addr != newcomer) else { continue };
        let created = node.meta.as_ref().and_then(|meta| meta.created_at).unwrap_or_default();
        oldest.push((created.seconds, created.nanos, node.id.as_str(), addr));
        if oldest.len() > TRIES {
            oldest.pop();
        }
    }
    let mut hosts: Vec<IpAddr> =
        oldest.into_sorted_vec().into_iter().map(|(.., addr)| addr).collect();
    let anchors = hosts.len().min(ANCHORS);
    hosts[..anchors].shuffle(&mut rand::rng());
    hosts
}

/// Where a worker is that is ready.
fn address(node: &Node) -> Option<IpAddr> {
    let status = node.status.as_ref().filter(|status| status.state() == State::Ready)?;
    if node.role() != NodeRole::Worker || node.manager_status.is_some() {
        return None;
    }
    status.addr.parse().ok()
}

#[cfg(test)]
mod tests;
