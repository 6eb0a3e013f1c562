//! A running manager: raft node, store, both listeners' services, and the control loops while it leads.
//!
//! ```text
//!   remote listener ─ door ─┐                    ┌─ control loops (leader only)
//!                           ├─ services ─ store ─┤
//!   control socket ── door ─┘      └──── raft ───┘
//! ```

use std::{path::PathBuf, sync::Arc, time::Duration};

use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use skep_api::{ChannelPool, Door, GrpcTransport, Health, RaftServices, Surroundings};
use skep_ca::{Clock, KeyFile, SecurityConfig};
use skep_proto::{
    skep::GetRaftStatusResponse,
    swarmkit::{Cluster, LeaveRequest, RaftMember, raft_membership_client::RaftMembershipClient},
};
use skep_raft::{
    Config as RaftConfig, Keyring, Member, NodeHandle, Start, Timing,
    storage::{FileLog, FileLogConfig, RealDisk},
};
use skep_store::{Store, View};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use super::{
    NodeError,
    error::chain,
    identity::{NodeIdentity, RaftLeader, StoreBlacklist},
    join_group,
    machine::{Machine, RaftProposer},
    raft_admin::RaftAdminService,
    raft_group::RaftGroup,
    remote::{LateLeader, LateServices, Remote},
    run::{Following, run},
};
use crate::{
    group::Group,
    leader::{self, LeaderContext, defaults::ClusterSeed},
    rendezvous,
};

/// What a manager needs of the node that it is part of.
pub struct ManagerConfig {
    /// The node's identity.
    pub security: SecurityConfig,
    /// Certificate and key on disk; also holds the keys of the raft log.
    pub key_file: KeyFile,
    /// The keys of the raft log.
    pub keyring: Keyring,
    /// The time of day.
    pub clock: Clock,
    /// Folder of the raft log.
    pub raft_dir: PathBuf,
    /// The remote listener, bound.
    pub remote: Remote,
    /// `host:port` for the others; a joiner may leave the host unspecified, the leader then fills it in.
    pub advertise: String,
    /// Whether a founder is offered tasks.
    pub availability: skep_proto::swarmkit::node_spec::Availability,
}

/// How a manager comes to be.
pub enum ManagerStart {
    /// Founds the cluster.
    Found(Box<ClusterSeed>),
    /// Asks one of these managers to be admitted to the raft group.
    Join(Vec<String>),
    /// As `Join`, for a member whose log is lost: what it voted for and acknowledged is forgotten, so its raft id must not
    /// come back. It gives the old one up and gets another.
    Rejoin(Vec<String>),
    /// Goes on with its raft log.
    Restart,
    /// Goes on with its raft log, alone.
    ForceNewCluster,
}

/// Why a manager ended.
#[derive(Debug)]
pub enum ManagerExit {
    /// It was asked to stop.
    Stopped,
    /// It was removed from the raft group.
    Removed,
    /// It cannot go on; the text says why.
    Failed(String),
}

/// How long the first leader of a new cluster may take to write the first objects.
const FOUND_TIME_MAX: Duration = Duration::from_secs(20);
/// How long a joiner may wait for the cluster object: a snapshot of a large cluster has to arrive.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(120);

/// How long leaving the raft group may take.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(10);

/// A running manager.
pub struct Manager {
    raft: NodeHandle,
    store: Store,
    security: SecurityConfig,
    admin: RaftAdminService,
    local: Door<Routes>,
    pool: ChannelPool,
    shared: leader::Shared,
}

/// The task behind a [`Manager`].
pub struct ManagerTask {
    task: JoinHandle<ManagerExit>,
    stop: CancellationToken,
}

impl ManagerTask {
    /// Resolves when the manager has ended. May be called again only if it was dropped before it resolved.
    pub async fn ended(&mut self) -> ManagerExit {
        match (&mut self.task).await {
            Ok(exit) => exit,
            Err(error) => ManagerExit::Failed(format!("the manager's task failed: {error}")),
        }
    }

    /// Asks it to hand over and stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for ManagerTask {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Manager {
    /// Brings a manager up: listens, gets into the raft group, and serves. Returns when the raft node runs; see
    /// [`ready`](Self::ready) for when the cluster's objects are here.
    pub async fn start(
        config: ManagerConfig,
        start: ManagerStart,
    ) -> Result<(Arc<Manager>, ManagerTask), NodeError> {
        let stop = CancellationToken::new();
        // Whatever was started ends when this function does not come to its end.
        let guard = stop.clone().drop_guard();
        let ManagerConfig {
            security,
            key_file,
            keyring,
            clock,
            raft_dir,
            remote,
            advertise,
            availability,
        } = config;
        let identity = security.identity();
        let store_clock = clock.clone();
        let store = Store::new(Arc::new(move || store_clock.now()), StdRng::from_os_rng());
        let pool = ChannelPool::new(Arc::new(security.clone()));
        let leader = LateLeader::default();
        let node_identity = Arc::new(NodeIdentity::new(security.clone(), advertise.clone()));
        let around = Surroundings {
            identity: node_identity.clone(),
            blacklist: Arc::new(StoreBlacklist::new(store.clone(), identity.cluster_id)),
            leader: Arc::new(leader.clone()),
            pool: pool.clone(),
        };
        let services = LateServices::new(&Health::remote());
        // The listener stays until leadership is handed over, which takes messages of the other managers.
        let closing = CancellationToken::new();
        let closing_guard = closing.clone().drop_guard();
        let meeting = rendezvous::run(store.clone(), remote.addr.ip());
        tokio::spawn(stop.clone().run_until_cancelled_owned(meeting));
        tokio::spawn(remote.serve(around.clone(), services.clone(), stop.clone(), closing));

        // Connections of its own: heartbeats must not wait behind what is passed on for workers.
        let raft_pool = ChannelPool::new(Arc::new(security.clone()));
        let transport = GrpcTransport::new(raft_pool);
        let raft_services = RaftServices::new();
        let forgets = matches!(start, ManagerStart::Rejoin(_));
        let (timing, seed, raft_start) = match start {
            ManagerStart::Found(seed) => {
                let timing =
                    if seed.swarmkit_compatible { Timing::swarmkit() } else { Timing::fast() };
                let start = Start::Bootstrap {
                    node_id: identity.node_id.to_string(),
                    addr: advertise.clone(),
                };
                (timing, Some(seed), start)
            }
            ManagerStart::Join(remotes) | ManagerStart::Rejoin(remotes) => {
                let joined = match forgets {
                    false => join_group::join(&pool, &remotes, &advertise).await?,
                    true => join_group::join_as_another(&pool, &remotes, &advertise).await?,
                };
                let own = Member {
                    raft_id: joined.raft_id,
                    node_id: identity.node_id.to_string(),
                    addr: joined.own_addr(&advertise),
                };
                (Timing::swarmkit(), None, Start::Join { own, members: joined.members })
            }
            ManagerStart::Restart => (Timing::swarmkit(), None, Start::Restart),
            ManagerStart::ForceNewCluster => {
                (Timing::fast(), None, Start::ForceNewCluster { addr: advertise.clone() })
            }
        };
        // Only now: a join that failed leaves no folder behind that would look like a log.
        let log = open_log(&raft_dir, &keyring)?;
        let proposer = Arc::new(RaftProposer::default());
        let (machine, leadership) = Machine::new(store.clone(), proposer.clone());
        let mut raft_config = RaftConfig::new(timing, rand::rng().next_u64());
        if let Some(seed) = &seed {
            raft_config.snapshot_entries = seed.snapshot_interval;
        }
        let raft =
            skep_raft::start(raft_config, raft_start, log, machine, Arc::new(transport.clone()))
                .await?;
        proposer.connect(raft.clone());
        transport.report_to(Arc::new(raft.clone()));
        raft_services.serve_with(Arc::new(raft.clone()), transport);
        leader.complete(RaftLeader::new(raft.clone()));

        let group: Arc<dyn Group> = Arc::new(RaftGroup::new(raft.clone()));
        let admin = RaftAdminService::new(raft.clone(), store.clone());
        let context = LeaderContext {
            store: store.clone(),
            group: Arc::clone(&group),
            security: security.clone(),
            clock: clock.clone(),
            cluster_id: identity.cluster_id,
            node_id: identity.node_id,
            seed: seed.map(|seed| Arc::new(*seed)),
            availability,
            shared: leader::Shared::new(&store, &group, &security, &clock),
        };
        services.complete(super::services::remote(&context, &raft_services, &admin));
        let local =
            Door::local(around, super::services::local(&context, &admin)).until(stop.clone());
        let pool_of_followers = pool.clone();
        let manager = Arc::new(Manager {
            raft: raft.clone(),
            store: store.clone(),
            security,
            admin,
            local,
            pool,
            shared: context.shared.clone(),
        });
        let following = Following {
            raft,
            store,
            key_file,
            pool: pool_of_followers,
            identity: node_identity,
            advertise,
            cluster_id: identity.cluster_id,
        };
        let running = run(following, context, leadership, stop.clone());
        let task = tokio::spawn(async move {
            let _open = closing_guard;
            let exit = running.await;
            raft_services.stop();
            exit
        });
        guard.disarm();
        Ok((manager, ManagerTask { task, stop }))
    }

    /// Waits until the cluster's objects are here.
    pub async fn ready(&self, founder: bool) -> Result<(), NodeError> {
        let (limit, what, hint) = if founder {
            (FOUND_TIME_MAX, "the first write of the new cluster", "see the daemon's log")
        } else {
            (
                CATCH_UP_TIME_MAX,
                "receiving the cluster's state from the leader",
                "check that the other managers can reach this one at the address it advertises",
            )
        };
        let (view, mut watcher) =
            self.store.watch(skep_store::Selector::kinds(&[skep_store::Kind::Cluster]));
        let here = |view: &View| view.count::<Cluster>() > 0;
        let arrives = async {
            if here(&view) {
                return Ok(());
            }
            drop(view);
            loop {
                match watcher.next().await {
                    Ok(_) if here(&self.store.view()) => return Ok(()),
                    Ok(_) => {}
                    // Too many changes at once: look for oneself.
                    Err(_) if here(&self.store.view()) => return Ok(()),
                    Err(_) => {
                        watcher = self
                            .store
                            .watch(skep_store::Selector::kinds(&[skep_store::Kind::Cluster]))
                            .1
                    }
                }
            }
        };
        tokio::select! {
            result = tokio::time::timeout(limit, arrives) => {
                result.unwrap_or(Err(NodeError::TimedOut { what, seconds: limit.as_secs(), hint }))
            }
            reason = self.raft.stopped() => Err(NodeError::Ended(chain(&reason))),
        }
    }

    /// What answers on the control socket.
    pub fn local_service(&self) -> Door<Routes> {
        self.local.clone()
    }

    /// What is committed now.
    pub fn view(&self) -> View {
        self.store.view()
    }

    /// The raft group as this manager sees it.
    pub fn raft_status(&self) -> GetRaftStatusResponse {
        self.admin.status()
    }

    /// What works only while this manager leads.
    pub fn shared(&self) -> &leader::Shared {
        &self.shared
    }

    /// The raft node.
    pub fn raft(&self) -> &NodeHandle {
        &self.raft
    }

    /// Connections to the other managers.
    pub fn pool(&self) -> &ChannelPool {
        &self.pool
    }

    /// The cluster object.
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.store.view().get::<Cluster>(&self.security.identity().cluster_id).cloned()
    }

    /// Where the other members of the group are reached.
    pub fn other_managers(&self) -> Vec<String> {
        let status = self.raft.status();
        let others = status.members.members().filter(|member| member.raft_id != status.own);
        others.map(|member| member.addr.clone()).collect()
    }

    /// The address that the group knows this manager by.
    pub fn advertised_addr(&self) -> Option<String> {
        let status = self.raft.status();
        status.members.get(status.own).map(|member| member.addr.clone())
    }

    /// Returns once this manager's store holds every write that was acknowledged before the call.
    pub async fn read_barrier(&self) -> Result<(), NodeError> {
        match self.raft.read_barrier().await {
            Ok(_) => Ok(()),
            Err(error) => Err(NodeError::NoQuorum(error.to_string())),
        }
    }

    /// Gives up this manager's place in the raft group, as far as the others can be reached and the quorum allows.
    pub async fn say_goodbye(&self) {
        let status = self.raft.status();
        if status.members.len() <= 1 {
            return;
        }
        let leaving = async {
            if self.leads() {
                self.raft.transfer(None).await.map_err(|error| error.to_string())?;
            }
            let mut last = "no other manager is known".to_owned();
            for addr in self.other_managers() {
                let channel = self.pool.get(&addr).map_err(|error| error.to_string())?;
                let node = RaftMember { raft_id: status.own.0, ..Default::default() };
                let request = LeaveRequest { node: Some(node) };
                match RaftMembershipClient::new(channel).leave(request).await {
                    Ok(_) => return Ok(()),
                    Err(status) => last = format!("{addr}: {}", status.message()),
                }
            }
            Err(last)
        };
        match tokio::time::timeout(GOODBYE_TIME_MAX, leaving).await {
            Ok(Ok(())) => info!("this manager has left the raft group"),
            Ok(Err(reason)) => warn!(
                reason,
                "the raft group was not left: its other managers still count this one"
            ),
            Err(_) => warn!(
                "the raft group was not left in time: its other managers still count this one"
            ),
        }
    }

    /// Whether this manager leads.
    pub fn leads(&self) -> bool {
        self.raft.status().leads()
    }
}

fn open_log(raft_dir: &std::path::Path, keyring: &Keyring) -> Result<FileLog, NodeError> {
    let disk = RealDisk::open(raft_dir).map_err(|error| NodeError::Files {
        path: raft_dir.display().to_string(),
        reason: format!("the raft folder cannot be opened: {error}"),
    })?;
    Ok(FileLog::new(Arc::new(disk), keyring, FileLogConfig::default()))
}
