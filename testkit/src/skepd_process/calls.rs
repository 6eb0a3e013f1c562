//! What tests ask a daemon to do through its control socket, and what they wait for.

use std::time::Duration;

use skep_proto::{
    skep::{
        DaemonState, GetKeysRequest, GetKeysResponse, GetStatusRequest, GetStatusResponse,
        InitRequest, InitResponse, JoinRequest, JoinResponse, daemon_client::DaemonClient,
        raft_admin_client::RaftAdminClient,
    },
    swarmkit::{
        ListNodesRequest, Node, control_client::ControlClient, node_status,
        watch_client::WatchClient,
    },
};
use tonic::{Request, Status, transport::Channel};

use super::{SETTLE_LIMIT, Skepd, SkepdError};

/// The deadline of one call to the control socket.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The deadline of a call that only looks.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

impl Skepd {
    /// A channel to its control socket, which connects again after a restart.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The cluster's objects.
    pub fn control_client(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// The daemon's life.
    pub fn daemon_client(&self) -> DaemonClient<Channel> {
        DaemonClient::new(self.channel())
    }

    /// The raft group.
    pub fn raft_client(&self) -> RaftAdminClient<Channel> {
        RaftAdminClient::new(self.channel())
    }

    /// The watch.
    pub fn watch_client(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// What the daemon says that it is.
    pub async fn status(&self) -> Result<GetStatusResponse, Status> {
        let request = request(GetStatusRequest {}, LOOK_LIMIT);
        Ok(self.daemon_client().get_status(request).await?.into_inner())
    }

    /// The tokens and the unlock key.
    pub async fn keys(&self) -> Result<GetKeysResponse, SkepdError> {
        let reply = self.daemon_client().get_keys(request(GetKeysRequest {}, CALL_LIMIT)).await;
        Ok(reply.map_err(|s| self.refused("show its keys", s))?.into_inner())
    }

    /// Founds a cluster, and waits until it accepts writes.
    pub async fn init(&self) -> Result<InitResponse, SkepdError> {
        self.init_with(InitRequest::default()).await
    }

    /// As [`init`](Self::init), with settings.
    pub async fn init_with(&self, settings: InitRequest) -> Result<InitResponse, SkepdError> {
        let reply = self.daemon_client().init(request(settings, CALL_LIMIT)).await;
        let reply = reply.map_err(|s| self.refused("found a cluster", s))?.into_inner();
        self.wait_until_active().await?;
        Ok(reply)
    }

    /// Joins the cluster of `remote` with a token, and waits until it is a member.
    pub async fn join(&self, remote: &Skepd, token: &str) -> Result<JoinResponse, SkepdError> {
        self.join_with(JoinRequest {
            remote_addrs: vec![remote.addr.to_string()],
            token: token.to_owned(),
            ..JoinRequest::default()
        })
        .await
    }

    /// As [`join`](Self::join), with settings.
    pub async fn join_with(&self, settings: JoinRequest) -> Result<JoinResponse, SkepdError> {
        let reply = self.daemon_client().join(request(settings, SETTLE_LIMIT)).await;
        let reply = reply.map_err(|s| self.refused("join a cluster", s))?.into_inner();
        self.wait_until_active().await?;
        Ok(reply)
    }

    /// Waits until the daemon is an active member of a cluster.
    pub async fn wait_until_active(&self) -> Result<GetStatusResponse, SkepdError> {
        self.wait_for("to be active", SETTLE_LIMIT, async |skepd| {
            let status = skepd.status().await.map_err(|s| s.to_string())?;
            if status.state() == DaemonState::Active {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Waits until `count` nodes are ready, `managers` of them managers, one of those the leader.
    pub async fn wait_until_ready(
        &self,
        count: usize,
        managers: usize,
    ) -> Result<Vec<Node>, SkepdError> {
        self.wait_for("to see the nodes ready", SETTLE_LIMIT, async |skepd| {
            let nodes = skepd.nodes().await.map_err(|s| s.to_string())?;
            let ready = nodes.iter().filter(|n| is_ready(n)).count();
            let members = nodes.iter().filter(|n| n.manager_status.is_some()).count();
            let leaders = nodes.iter().filter(|n| leads(n)).count();
            if (nodes.len(), ready, members, leaders) == (count, count, managers, 1) {
                Ok(nodes)
            } else {
                Err(format!(
                    "{} nodes, {ready} ready, {members} managers, {leaders} leaders",
                    nodes.len()
                ))
            }
        })
        .await
    }

    /// The nodes of the cluster.
    pub async fn nodes(&self) -> Result<Vec<Node>, Status> {
        let request = request(ListNodesRequest::default(), LOOK_LIMIT);
        Ok(self.control_client().list_nodes(request).await?.into_inner().nodes)
    }

    fn refused(&self, doing: &'static str, source: Status) -> SkepdError {
        SkepdError::Refused { name: self.name().to_owned(), doing, source: Box::new(source) }
    }
}

fn request<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn is_ready(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|s| s.state() == node_status::State::Ready)
}

fn leads(node: &Node) -> bool {
    node.manager_status.as_ref().is_some_and(|m| m.leader)
}
