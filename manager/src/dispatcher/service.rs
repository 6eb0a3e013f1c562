//! The service behind the door: who calls, is it in session, and on to what answers.

use skep_api::Caller;
use skep_proto::{
    ids::NodeId,
    swarmkit::{
        AssignmentsMessage, AssignmentsRequest, HeartbeatRequest, HeartbeatResponse,
        SessionMessage, SessionRequest, Task, TaskState, TasksMessage, TasksRequest,
        UpdateTaskStatusRequest, UpdateTaskStatusResponse, UpdateVolumeStatusRequest,
        UpdateVolumeStatusResponse, dispatcher_server::Dispatcher,
    },
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    DispatcherService, assigned,
    node_state::NodeChange,
    status_reports::bounded,
    streams::{self, Messages},
};

#[async_trait]
impl Dispatcher for DispatcherService {
    type SessionStream = Messages<SessionMessage>;
    type TasksStream = Messages<TasksMessage>;
    type AssignmentsStream = Messages<AssignmentsMessage>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (node, addr) = calling_node(&request)?;
        let leadership = self.leadership_soon().await?;
        let SessionRequest { description, session_id } = request.into_inner();
        let session = match leadership.sessions.check(&node, &session_id) {
            Ok(session) => {
                leadership.write(node, Some(NodeChange::Ready { description, addr })).await?;
                session
            }
            Err(_) => leadership.register(node, description, addr).await?,
        };
        Ok(Response::new(streams::session(leadership, session)))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let period = self.leadership()?.beat(&node, &request.get_ref().session_id)?;
        let period = period
            .try_into()
            .map_err(|_| Status::internal("the heartbeat period is too long to be sent"))?;
        Ok(Response::new(HeartbeatResponse { period: Some(period) }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let leadership = self.leadership()?;
        let UpdateTaskStatusRequest { session_id, updates } = request.into_inner();
        leadership.sessions.check(&node, &session_id)?;
        let view = leadership.store.view();
        let mut accepted = Vec::with_capacity(updates.len());
        for update in updates {
            let (Ok(id), Some(status)) = (update.task_id.parse(), update.status) else { continue };
            let Some(task) = view.get::<Task>(&id) else { continue };
            if task.node_id != node.as_str() {
                let text = "cannot update a task not assigned this node";
                return Err(Status::permission_denied(text));
            }
            // The loops compare states by their numbers: one that is none would never be overtaken by a true one.
            if TaskState::try_from(status.state).is_err() {
                let text = format!("task {id}: {} is not a state of a task", status.state);
                return Err(Status::invalid_argument(text));
            }
            accepted.push((id, bounded(status)));
        }
        leadership.metrics.statuses.inc_by(accepted.len() as u64);
        let mut reports = leadership.reports.lock();
        for (task, status) in accepted {
            reports.task(task, status);
        }
        drop(reports);
        leadership.reported.notify_one();
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        request: Request<UpdateVolumeStatusRequest>,
    ) -> Result<Response<UpdateVolumeStatusResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let leadership = self.leadership()?;
        let UpdateVolumeStatusRequest { session_id, updates } = request.into_inner();
        leadership.sessions.check(&node, &session_id)?;
        let view = leadership.store.view();
        let mut reports = leadership.reports.lock();
        for update in updates.iter().filter(|update| update.unpublished) {
            let Ok(volume) = update.id.parse() else { continue };
            if view.get::<skep_proto::swarmkit::Volume>(&volume).is_some() {
                reports.unpublished(volume, node);
            }
        }
        drop(reports);
        leadership.reported.notify_one();
        Ok(Response::new(UpdateVolumeStatusResponse {}))
    }

    async fn tasks(
        &self,
        request: Request<TasksRequest>,
    ) -> Result<Response<Self::TasksStream>, Status> {
        let (node, _) = calling_node(&request)?;
        let leadership = self.leadership()?;
        let session = leadership.sessions.check(&node, &request.get_ref().session_id)?;
        Ok(Response::new(assigned::tasks(leadership, session)))
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (node, _) = calling_node(&request)?;
        let leadership = self.leadership()?;
        let session = leadership.sessions.check(&node, &request.get_ref().session_id)?;
        Ok(Response::new(assigned::assignments(leadership, session)))
    }
}

/// The calling node and the IP address that it called from, as the door found them.
pub(crate) fn calling_node<T>(request: &Request<T>) -> Result<(NodeId, String), Status> {
    let caller = request
        .extensions()
        .get::<Caller>()
        .ok_or_else(|| Status::internal("the caller of this method is not known"))?;
    let node = caller.node_id.parse().map_err(|error| {
        Status::permission_denied(format!("the caller's certificate names no node: {error}"))
    })?;
    Ok((node, caller.remote_ip().map(|ip| ip.to_string()).unwrap_or_default()))
}
