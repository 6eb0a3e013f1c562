//! What the fake daemon knows, and what every answer asks of it.

use std::collections::BTreeMap;

use skep_proto::{
    skep::{
        DaemonState, ExplainRequest, ExplainResponse, GetKeysResponse, GetRaftStatusResponse,
        GetStatusResponse, InitRequest, JoinRequest, ManagerPeer, NetworkCheckResponse,
        NetworkUsage, PlanResponse, UnlockRequest,
    },
    swarmkit::*,
};
use tonic::Status;

use super::samples::{manager, meta, named, tokens};

/// The state behind the socket.
#[derive(Default)]
pub struct World {
    /// What the daemon says that it is.
    pub status: GetStatusResponse,
    /// What it says of raft.
    pub raft: GetRaftStatusResponse,
    /// Tokens and unlock key.
    pub keys: GetKeysResponse,
    pub cluster: Cluster,
    pub nodes: Vec<Node>,
    pub tasks: Vec<Task>,
    pub secrets: Vec<Secret>,
    pub configs: Vec<Config>,
    pub networks: Vec<Network>,
    pub services: Vec<Service>,
    /// What a watch streams before it ends.
    pub events: Vec<WatchMessage>,
    /// How many of the next watches find no manager that could serve them.
    pub watches_refused: usize,
    /// What log streams bring, each until it ends.
    pub logs: Vec<Vec<Result<SubscribeLogsMessage, Status>>>,
    /// What logs were asked for.
    pub logs_asked: Vec<SubscribeLogsRequest>,
    /// What is said of why tasks wait, and of where they would go.
    pub explanation: ExplainResponse,
    pub explained: Option<ExplainRequest>,
    pub plan: Option<PlanResponse>,
    /// What is said of the use of networks, by id; of the others, that nothing uses them.
    pub usages: BTreeMap<String, NetworkUsage>,
    /// What is found when networks are checked, one look after the other; the last one stays.
    pub checks: Vec<NetworkCheckResponse>,
    /// The requests of the daemon's own services, as they came.
    pub joined_with: Option<JoinRequest>,
    pub founded_with: Option<InitRequest>,
    pub unlocked_with: Option<UnlockRequest>,
    /// How many tasks the managers want of each service, where it is not as many as there are.
    pub desired_tasks: Option<u64>,
    /// How many of the next updates find that somebody else was faster.
    pub interference: usize,
    /// What becomes of the next update of a service.
    pub next_update_ends_as: Option<UpdateStatus>,
    /// After how many looks at the cluster a rotation of the root is over.
    pub rotation_looks: usize,
    refusals: BTreeMap<String, Status>,
    next: u32,
}

impl World {
    /// An active manager of a cluster with this node alone.
    pub fn active() -> World {
        let mut world = World::default();
        world.status = GetStatusResponse {
            state: DaemonState::Active.into(),
            version: "0.1.0".into(),
            node_id: "node1".into(),
            cluster_id: "cluster1".into(),
            role: "swarm-manager".into(),
            hostname: "m1".into(),
            listen_addr: "0.0.0.0:2377".into(),
            advertise_addr: "10.0.0.1:2377".into(),
            is_leader: true,
            managers: vec![ManagerPeer { node_id: "node1".into(), addr: "10.0.0.1:2377".into() }],
            certificate_not_after: 1_800_000_000,
            ..GetStatusResponse::default()
        };
        world.keys = GetKeysResponse {
            worker_join_token: "SWMTKN-1-worker".into(),
            manager_join_token: "SWMTKN-1-manager".into(),
            unlock_key: String::new(),
        };
        world.cluster = Cluster {
            id: "cluster1".into(),
            meta: meta(10),
            spec: Some(ClusterSpec {
                annotations: named("default"),
                orchestration: Some(OrchestrationConfig { task_history_retention_limit: 5 }),
                ..ClusterSpec::default()
            }),
            root_ca: Some(RootCa {
                ca_cert: "ROOT ONE\n".into(),
                ca_cert_hash: "sha256:one".into(),
                join_tokens: Some(tokens(&world.keys)),
                ..RootCa::default()
            }),
            default_address_pool: vec!["10.0.0.0/8".into()],
            subnet_size: 24,
            vxlanudp_port: 4789,
            ..Cluster::default()
        };
        world.nodes.push(manager("node1", "m1", true));
        world
    }

    /// A daemon in this state, with nothing else.
    pub fn in_state(state: DaemonState) -> World {
        let mut world = World::default();
        world.status.set_state(state);
        world.status.version = "0.1.0".into();
        world
    }

    /// Makes every call of `method` fail.
    pub fn refuse(&mut self, method: &str, status: Status) {
        self.refusals.insert(method.to_owned(), status);
    }

    pub(in super::super) fn refusal(&self, method: &str) -> Option<Status> {
        let own = ["GetStatus", "Init", "Join", "Leave", "Unlock"].contains(&method);
        if !own && self.status.state() != DaemonState::Active {
            return Some(Status::unimplemented(""));
        }
        self.refusals.get(method).cloned()
    }

    pub(in super::super) fn watched(
        &mut self,
        request: &WatchRequest,
    ) -> Result<Vec<WatchMessage>, Status> {
        assert!(request.entries.iter().all(|e| e.action == 7), "creates, updates and removals");
        if self.watches_refused > 0 {
            self.watches_refused -= 1;
            return Err(Status::unavailable("the manager is on its way"));
        }
        let established = WatchMessage::default();
        Ok(std::iter::once(established).chain(self.events.clone()).collect())
    }

    pub(in super::super) fn subscribed(
        &mut self,
        request: SubscribeLogsRequest,
    ) -> Vec<Result<SubscribeLogsMessage, Status>> {
        self.logs_asked.push(request);
        if self.logs.is_empty() { Vec::new() } else { self.logs.remove(0) }
    }

    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    pub(super) fn check_version(
        &mut self,
        current: &mut Option<Meta>,
        given: Option<Version>,
    ) -> Result<(), Status> {
        let current = current.get_or_insert_default().version.get_or_insert_default();
        if self.interference > 0 {
            self.interference -= 1;
            current.index += 1;
        }
        if given.unwrap_or_default().index != current.index {
            return Err(Status::unknown("update out of sequence"));
        }
        current.index += 1;
        Ok(())
    }
}
