//! `skep.v1.Daemon`: what operators ask of one daemon. Thin: requests into options, errors
//! into codes.

use std::time::Duration;

use skep_ca::UnlockKey;
use skep_proto::{
    prost_types,
    skep::{
        DaemonState, GetKeysRequest, GetKeysResponse, GetStatusRequest, GetStatusResponse,
        InitRequest, InitResponse, JoinRequest, JoinResponse, LeaveRequest, LeaveResponse,
        UnlockRequest, UnlockResponse, daemon_server,
    },
    swarmkit::node_spec,
};
use tonic::{Request, Response, Status};

use super::{Daemon, DaemonError, InitOptions, JoinOptions, State};
use crate::{config::check_host_port, node::FoundOptions};

/// Managers that a join may name at most: more is a mistake.
const JOIN_REMOTES_MAX: usize = 64;

impl From<DaemonError> for Status {
    fn from(error: DaemonError) -> Status {
        let text = error.to_string();
        match error {
            DaemonError::AlreadyInSwarm
            | DaemonError::NotInSwarm
            | DaemonError::Locked
            | DaemonError::NotLocked
            | DaemonError::LeaveManager { .. } => Status::failed_precondition(text),
            DaemonError::InvalidUnlockKey | DaemonError::InvalidArgument(_) => {
                Status::invalid_argument(text)
            }
            DaemonError::Node(error) => error.into(),
            DaemonError::Unavailable => Status::unavailable(text),
        }
    }
}

/// Serves `skep.v1.Daemon`.
pub struct DaemonService {
    daemon: Daemon,
}

impl DaemonService {
    /// For one daemon.
    pub fn new(daemon: Daemon) -> DaemonService {
        DaemonService { daemon }
    }
}

fn availability(text: &str) -> Result<Option<node_spec::Availability>, Status> {
    match text {
        "" => Ok(None),
        "active" => Ok(Some(node_spec::Availability::Active)),
        "pause" => Ok(Some(node_spec::Availability::Pause)),
        "drain" => Ok(Some(node_spec::Availability::Drain)),
        _ => Err(Status::invalid_argument(format!(
            "availability {text:?} is not known: use active, pause or drain"
        ))),
    }
}

fn advertise(text: String) -> Result<Option<String>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    check_host_port(&text).map_err(|error| {
        Status::invalid_argument(format!("advertise address {text:?}: {error}"))
    })?;
    Ok(Some(text))
}

fn duration(name: &str, value: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let Some(value) = value else { return Ok(None) };
    match Duration::try_from(value) {
        Ok(duration) if duration.is_zero() => Ok(None),
        Ok(duration) => Ok(Some(duration)),
        Err(_) => Err(Status::invalid_argument(format!("{name} must not be negative"))),
    }
}

#[tonic::async_trait]
impl daemon_server::Daemon for DaemonService {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let config = self.daemon.config();
        let mut response = GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: config.hostname.clone(),
            listen_addr: config.listen.to_string(),
            advertise_addr: config.advertise.clone().unwrap_or_default(),
            ..Default::default()
        };
        let state = match self.daemon.state() {
            State::Inactive { reason } => {
                response.error = reason.unwrap_or_default();
                DaemonState::Inactive
            }
            State::Pending => DaemonState::Pending,
            State::Locked => DaemonState::Locked,
            State::Failed(error) => {
                response.error = error;
                DaemonState::Error
            }
            State::Active(node) => {
                node.describe(&mut response);
                DaemonState::Active
            }
        };
        response.set_state(state);
        Ok(Response::new(response))
    }

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let request = request.into_inner();
        let defaults = FoundOptions::default();
        let cluster = FoundOptions {
            autolock: request.autolock,
            default_address_pool: request.default_address_pool,
            subnet_size: request.subnet_size,
            data_path_port: request.data_path_port,
            node_cert_expiry: duration("node_cert_expiry", request.node_cert_expiry)?
                .unwrap_or(defaults.node_cert_expiry),
            heartbeat_period: duration("heartbeat_period", request.heartbeat_period)?
                .unwrap_or(defaults.heartbeat_period),
            swarmkit_compatible: request.swarmkit_compatible_raft,
            snapshot_interval: match request.snapshot_interval {
                0 => defaults.snapshot_interval,
                entries => entries,
            },
        };
        cluster.check().map_err(Status::invalid_argument)?;
        let options = InitOptions {
            advertise: advertise(request.advertise_addr)?,
            force_new_cluster: request.force_new_cluster,
            availability: availability(&request.availability)?,
            cluster,
        };
        let node = self.daemon.init(options).await?;
        let keys = node.keys().await?;
        Ok(Response::new(InitResponse {
            node_id: node.identity().node_id.to_string(),
            cluster_id: node.identity().cluster_id.to_string(),
            worker_join_token: keys.worker_join_token,
            manager_join_token: keys.manager_join_token,
            unlock_key: keys.unlock_key,
        }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        if request.remote_addrs.is_empty() || request.remote_addrs.len() > JOIN_REMOTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a join needs the addresses of 1 to {JOIN_REMOTES_MAX} managers"
            )));
        }
        for addr in &request.remote_addrs {
            check_host_port(addr).map_err(|error| {
                Status::invalid_argument(format!("manager address {addr:?}: {error}"))
            })?;
        }
        let options = JoinOptions {
            remotes: request.remote_addrs,
            token: request.token,
            advertise: advertise(request.advertise_addr)?,
            availability: availability(&request.availability)?,
        };
        let node = self.daemon.join(options).await?;
        let identity = node.identity();
        Ok(Response::new(JoinResponse {
            node_id: identity.node_id.to_string(),
            cluster_id: identity.cluster_id.to_string(),
            role: identity.role.organizational_unit().into(),
        }))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        self.daemon.leave(request.into_inner().force).await?;
        Ok(Response::new(LeaveResponse {}))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let key: UnlockKey = request
            .into_inner()
            .unlock_key
            .trim()
            .parse()
            .map_err(|_| Status::from(DaemonError::InvalidUnlockKey))?;
        self.daemon.unlock(key).await?;
        Ok(Response::new(UnlockResponse {}))
    }

    async fn get_keys(
        &self,
        _: Request<GetKeysRequest>,
    ) -> Result<Response<GetKeysResponse>, Status> {
        match self.daemon.state() {
            State::Active(node) => Ok(Response::new(node.keys().await?)),
            State::Locked => Err(DaemonError::Locked.into()),
            _ => Err(DaemonError::NotInSwarm.into()),
        }
    }
}
