//! A node of a cluster: an agent always, a manager while its certificate says so.
//!
//! The node follows its certificate. When a renewal brings another role, the manager is started or stopped; when the
//! raft group has removed this member, its log is deleted; when the cluster no longer knows the node, it ends.

mod address;
mod agent;
mod enter;
mod error;
mod files;
mod identity;
mod join_group;
mod lock;
pub mod machine;
mod manager;
mod raft_admin;
mod raft_group;
mod remote;
mod run;
mod services;
mod supervise;
mod timing;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use skep_agent::Remotes;
use skep_ca::{Identity, JoinToken, KeyFile, Role, SecurityConfig, UnlockKey};
use skep_proto::skep::{GetKeysResponse, GetStatusResponse, ManagerPeer};
use tokio::sync::watch;

pub use enter::NodeTask;
pub use error::{NodeError, chain};
pub use files::{FolderLock, NodeFiles};
pub use manager::Manager;

use crate::{allocator::ipam::DefaultPools, leader::defaults};

/// Managers that a join remembers at most.
const REMOTES_MAX: usize = 64;

/// What a founder decides about its cluster.
#[derive(Clone, Debug)]
pub struct FoundOptions {
    /// Seal every manager's key with an unlock key.
    pub autolock: bool,
    /// Pools that networks without a subnet are cut from.
    pub default_address_pool: Vec<String>,
    /// Prefix length of a network cut from the pools.
    pub subnet_size: u32,
    /// UDP port of the traffic between nodes in networks that span them; 0: Docker's default.
    pub data_path_port: u32,
    /// How long node certificates live.
    pub node_cert_expiry: Duration,
    /// How often workers report.
    pub heartbeat_period: Duration,
    /// The raft group ticks as SwarmKit does, so that stock managers can be members.
    pub swarmkit_compatible: bool,
    /// Log entries between two snapshots.
    pub snapshot_interval: u64,
}

impl Default for FoundOptions {
    fn default() -> FoundOptions {
        FoundOptions {
            autolock: false,
            default_address_pool: Vec::new(),
            subnet_size: 0,
            data_path_port: 0,
            node_cert_expiry: defaults::NODE_CERT_EXPIRY,
            heartbeat_period: defaults::HEARTBEAT_PERIOD,
            swarmkit_compatible: false,
            snapshot_interval: defaults::SNAPSHOT_INTERVAL,
        }
    }
}

/// The shortest life of a node certificate (SwarmKit's).
const NODE_CERT_EXPIRY_MIN: Duration = Duration::from_secs(3600);
/// Ports that engines take for the traffic between nodes.
const DATA_PATH_PORTS: std::ops::RangeInclusive<u32> = 1024..=49151;
/// Address pools that a founder may name at most.
const ADDRESS_POOLS_MAX: usize = 64;

impl FoundOptions {
    /// Checks what a founder asks for; the error says what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.node_cert_expiry < NODE_CERT_EXPIRY_MIN {
            return Err("the certificate expiry must be one hour at least".to_owned());
        }
        if self.default_address_pool.len() > ADDRESS_POOLS_MAX {
            return Err(format!("at most {ADDRESS_POOLS_MAX} default address pools can be given"));
        }
        let mut pools: Vec<ipnet::IpNet> = Vec::new();
        for text in &self.default_address_pool {
            let pool: ipnet::IpNet = text.parse().map_err(|_| {
                format!("default address pool {text:?} is not a subnet such as 10.20.0.0/16")
            })?;
            if let Some(other) = pools.iter().find(|p| p.contains(&pool) || pool.contains(*p)) {
                return Err(format!("default address pools {other} and {pool} overlap"));
            }
            if self.subnet_size != 0 && self.subnet_size < u32::from(pool.prefix_len()) {
                return Err(format!(
                    "a subnet size of {} does not fit into the default address pool {pool}",
                    self.subnet_size
                ));
            }
            pools.push(pool);
        }
        if self.subnet_size != 0 && !(1..=30).contains(&self.subnet_size) {
            return Err("the subnet size must be a prefix length between 1 and 30".to_owned());
        }
        DefaultPools::parse(&self.default_address_pool, self.subnet_size)
            .map_err(|error| error.to_string())?;
        if self.data_path_port != 0 && !DATA_PATH_PORTS.contains(&self.data_path_port) {
            return Err(format!(
                "the data path port must be between {} and {}",
                DATA_PATH_PORTS.start(),
                DATA_PATH_PORTS.end()
            ));
        }
        Ok(())
    }
}

/// Where to join, with a token that has been read.
#[derive(Clone, Debug)]
pub struct JoinPlan {
    /// `host:port` of managers, tried in order.
    pub remotes: Vec<String>,
    /// The join token.
    pub token: JoinToken,
}

impl JoinPlan {
    /// Reads the token. The error says what is wrong with it.
    pub fn new(remotes: Vec<String>, token: &str) -> Result<JoinPlan, String> {
        if remotes.is_empty() || remotes.len() > REMOTES_MAX {
            return Err(format!("a join needs the addresses of 1 to {REMOTES_MAX} managers"));
        }
        let token = token.trim().parse::<JoinToken>().map_err(|error| error.to_string())?;
        if token.requires_fips() {
            return Err("this is the token of a FIPS cluster, which skepd cannot join".to_owned());
        }
        Ok(JoinPlan { remotes, token })
    }
}

/// How a node comes to be.
pub enum Purpose {
    /// Founds a cluster.
    Found(FoundOptions),
    /// Joins one.
    Join(JoinPlan),
    /// Goes on with its state folder.
    Resume {
        /// Opens a sealed key.
        unlock_key: Option<UnlockKey>,
        /// Drop all other members of the raft group.
        force_new_cluster: bool,
    },
}

/// Why a node ended.
#[derive(Clone, Debug)]
pub enum NodeExit {
    /// It was asked to stop.
    Stopped,
    /// The cluster no longer knows it.
    Removed {
        /// In the cluster's words.
        reason: String,
    },
    /// It cannot go on; the text says why.
    Failed {
        /// Why, and what to do.
        error: String,
    },
}

/// A node of a cluster.
pub struct Node {
    security: SecurityConfig,
    key_file: KeyFile,
    remotes: Arc<Remotes>,
    manager: watch::Receiver<Option<Arc<Manager>>>,
    agent: watch::Receiver<skep_agent::AgentState>,
    advertise: String,
}

impl Node {
    /// Who the node is.
    pub fn identity(&self) -> Identity {
        self.security.identity()
    }

    /// Its certificate, key and roots.
    pub fn security(&self) -> &SecurityConfig {
        &self.security
    }

    /// What the node's key is sealed with on disk, if it is.
    pub fn unlock_key(&self) -> Option<UnlockKey> {
        self.key_file.kek().key
    }

    /// When its certificate ends, in seconds since 1970.
    pub fn certificate_not_after(&self) -> u64 {
        let (_, not_after) = self.security.credentials().validity();
        not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// The manager, while the node is one and it runs.
    pub fn manager(&self) -> Option<Arc<Manager>> {
        self.manager.borrow().clone()
    }

    /// `host:port` that others reach this node by.
    pub fn advertised_addr(&self) -> String {
        let known = self.manager().and_then(|manager| manager.advertised_addr());
        known.unwrap_or_else(|| self.advertise.clone())
    }

    /// Adds what a cluster's node knows to the daemon's status.
    pub fn describe(&self, status: &mut GetStatusResponse) {
        let identity = self.identity();
        status.node_id = identity.node_id.to_string();
        status.cluster_id = identity.cluster_id.to_string();
        status.role = identity.role.organizational_unit().to_owned();
        status.certificate_not_after =
            i64::try_from(self.certificate_not_after()).unwrap_or(i64::MAX);
        match self.manager() {
            Some(manager) => {
                status.is_leader = manager.leads();
                status.advertise_addr = self.advertised_addr();
                let members = manager.raft().status().members.clone();
                let peer = |member: &skep_raft::Member| ManagerPeer {
                    node_id: member.node_id.clone(),
                    addr: member.addr.clone(),
                };
                status.managers = members.members().map(peer).collect();
            }
            None => {
                let peer = |remote: &skep_agent::Remote| ManagerPeer {
                    node_id: remote.node_id.clone(),
                    addr: remote.addr.clone(),
                };
                status.managers = self.remotes.watch().borrow().iter().map(peer).collect();
                if let Some(error) = self.agent.borrow().last_error.clone() {
                    status.error = error;
                }
            }
        }
    }

    /// The cluster's join tokens and unlock key.
    pub async fn keys(&self) -> Result<GetKeysResponse, NodeError> {
        let manager = self.manager().ok_or(NodeError::NotManager)?;
        // A token that was rotated on another manager must not be given out here.
        manager.read_barrier().await?;
        let cluster = manager.cluster().ok_or(NodeError::NotReady)?;
        let tokens = cluster.root_ca.as_ref().and_then(|root| root.join_tokens.clone());
        let tokens = tokens.unwrap_or_default();
        let unlock_key = cluster
            .unlock_keys
            .iter()
            .find(|key| key.subsystem == defaults::UNLOCK_KEY_SUBSYSTEM)
            .and_then(|key| UnlockKey::from_raw(&key.key))
            .map(|key| key.expose().to_string());
        Ok(GetKeysResponse {
            worker_join_token: tokens.worker,
            manager_join_token: tokens.manager,
            unlock_key: unlock_key.unwrap_or_default(),
        })
    }

    /// What leaving would do, if that is more than an operator may have meant; `None` when there is nothing to warn of.
    pub fn why_not_leave(&self) -> Option<String> {
        if self.identity().role != Role::Manager {
            return None;
        }
        let Some(manager) = self.manager() else { return Some(String::new()) };
        let status = manager.raft().status();
        let members = status.members.len();
        if members <= 1 {
            return Some(
                "Removing the last manager erases all current state of the swarm. ".to_owned(),
            );
        }
        let reachable =
            status.members.members().filter(|member| status.reachable(member.raft_id)).count();
        Some(match manager.raft().check_removal(status.own) {
            Err(skep_raft::MembershipError::QuorumLoss { remaining, needed, .. }) => format!(
                "Removing this node leaves {} managers out of {members}; {needed} of the {remaining} remaining ones \
                 have to be reachable. Without a Raft quorum your swarm will be inaccessible. ",
                reachable.saturating_sub(1)
            ),
            _ => "Demote it first (`skep node demote`), so that its place in the quorum is given up. ".to_owned(),
        })
    }

    /// Tells the cluster that this node is leaving for good: a manager hands over and gives up its place in the raft
    /// group, as far as the others can be reached and the quorum allows. Bounded in time; failing is no obstacle.
    pub async fn say_goodbye(&self) {
        if let Some(manager) = self.manager() {
            manager.say_goodbye().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_founder_may_ask_for() {
        let options = |pools: &[&str], size| FoundOptions {
            default_address_pool: pools.iter().map(|&p| p.to_owned()).collect(),
            subnet_size: size,
            ..Default::default()
        };
        let cases = [
            (options(&[], 0), None),
            (options(&["10.20.0.0/16", "10.21.0.0/16"], 24), None),
            (options(&["10.20.0.0"], 0), Some("is not a subnet")),
            (options(&["10.20.0.0/16", "10.20.1.0/24"], 0), Some("overlap")),
            (options(&["10.20.0.0/16"], 8), Some("does not fit")),
            (options(&[], 31), Some("between 1 and 30")),
            (options(&["10.20.0.0/26"], 0), Some("is smaller than one /24 subnet")),
            (FoundOptions { data_path_port: 4790, ..options(&[], 0) }, None),
            (
                FoundOptions { data_path_port: 80, ..options(&[], 0) },
                Some("data path port must be between 1024 and 49151"),
            ),
        ];
        for (options, expected) in cases {
            match (options.check(), expected) {
                (Ok(()), None) => {}
                (Err(text), Some(part)) => assert!(text.contains(part), "{text}"),
                (result, expected) => panic!("{options:?}: {result:?}, expected {expected:?}"),
            }
        }
        let short =
            FoundOptions { node_cert_expiry: Duration::from_secs(60), ..Default::default() };
        assert!(short.check().is_err());
    }

    #[test]
    fn a_join_needs_a_token_that_is_one() {
        assert!(JoinPlan::new(vec!["h:1".into()], "SWMTKN-1-x").is_err());
        assert!(JoinPlan::new(vec![], "SWMTKN-1-x").is_err());
    }
}
