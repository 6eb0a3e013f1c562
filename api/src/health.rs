//! The health service: whether this manager serves, by name. A leader asks a joiner and a candidate.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use skep_proto::swarmkit::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};
use tonic::{Request, Response, Status, async_trait};

/// Asked by other managers before they let this one join, and before they vote for it: serving from the moment that
/// the remote listener is up, before this manager is a member.
pub const RAFT: &str = "Raft";
/// The manager as a whole.
pub const OVERALL: &str = "";
/// Asked on the control socket.
pub const CONTROL_API: &str = "ControlAPI";

/// The state of one listener's health names. All clones are the same state.
#[derive(Clone, Debug)]
pub struct Health {
    serving: Arc<RwLock<BTreeMap<&'static str, bool>>>,
}

impl Health {
    /// For the remote listener: `"Raft"` and `""`, both serving.
    pub fn remote() -> Self {
        Self::of([(RAFT, true), (OVERALL, true)])
    }

    /// For the control socket: `"ControlAPI"`, serving.
    pub fn local() -> Self {
        Self::of([(CONTROL_API, true)])
    }

    fn of<const N: usize>(names: [(&'static str, bool); N]) -> Self {
        Self { serving: Arc::new(RwLock::new(names.into())) }
    }

    /// Says that a name serves, or does not.
    pub fn set(&self, name: &'static str, serving: bool) {
        self.serving.write().insert(name, serving);
    }

    /// The service.
    pub fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }
}

#[async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let serving = self.serving.read().get(name.as_str()).copied();
        let status = match serving {
            Some(true) => ServingStatus::Serving,
            Some(false) => ServingStatus::NotServing,
            None => return Err(Status::not_found(format!("unknown service {name:?}"))),
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}
