//! What the fake daemon knows, and how it answers. As far as the commands can tell, it follows the rules of the control
//! interface: versions are checked, names are unique, what is not there is not found.

use std::collections::BTreeMap;

use skep_proto::{
    skep::{
        DaemonState, ExplainRequest, ExplainResponse, GetKeysRequest, GetKeysResponse,
        GetRaftStatusRequest, GetRaftStatusResponse, GetStatusRequest, GetStatusResponse,
        InitRequest, InitResponse, JoinRequest, JoinResponse, LeaveRequest, LeaveResponse,
        ManagerPeer, PlanRequest, PlanResponse, TransferLeadershipRequest,
        TransferLeadershipResponse, UnlockRequest, UnlockResponse,
    },
    swarmkit::*,
};
use tonic::Status;

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
    /// The requests of the daemon's own services, as they came.
    pub joined_with: Option<JoinRequest>,
    pub founded_with: Option<InitRequest>,
    pub unlocked_with: Option<UnlockRequest>,
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

    pub(super) fn refusal(&self, method: &str) -> Option<Status> {
        let own = ["GetStatus", "Init", "Join", "Leave", "Unlock"].contains(&method);
        if !own && self.status.state() != DaemonState::Active {
            return Some(Status::unimplemented(""));
        }
        self.refusals.get(method).cloned()
    }

    pub(super) fn watched(&mut self, request: &WatchRequest) -> Result<Vec<WatchMessage>, Status> {
        assert!(request.entries.iter().all(|e| e.action == 7), "creates, updates and removals");
        if self.watches_refused > 0 {
            self.watches_refused -= 1;
            return Err(Status::unavailable("the manager is on its way"));
        }
        let established = WatchMessage::default();
        Ok(std::iter::once(established).chain(self.events.clone()).collect())
    }

    pub(super) fn subscribed(
        &mut self,
        request: SubscribeLogsRequest,
    ) -> Vec<Result<SubscribeLogsMessage, Status>> {
        self.logs_asked.push(request);
        if self.logs.is_empty() { Vec::new() } else { self.logs.remove(0) }
    }

    fn new_id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    fn check_version(
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

/// A manager.
pub fn manager(id: &str, hostname: &str, leader: bool) -> Node {
    let mut node = worker(id, hostname);
    let addr = format!("10.0.0.{}:2377", id.trim_start_matches(char::is_alphabetic));
    node.spec.as_mut().unwrap().set_desired_role(NodeRole::Manager);
    node.set_role(NodeRole::Manager);
    node.manager_status = Some(ManagerStatus {
        leader,
        addr,
        reachability: raft_member_status::Reachability::Reachable.into(),
        ..ManagerStatus::default()
    });
    node
}

/// A worker.
pub fn worker(id: &str, hostname: &str) -> Node {
    Node {
        id: id.into(),
        meta: meta(5),
        spec: Some(NodeSpec::default()),
        description: Some(NodeDescription {
            hostname: hostname.into(),
            platform: Some(Platform { architecture: "x86_64".into(), os: "linux".into() }),
            engine: Some(EngineDescription {
                engine_version: "20.10.24".into(),
                ..Default::default()
            }),
            tls_info: Some(NodeTlsInfo { trust_root: "ROOT ONE\n".into(), ..Default::default() }),
            ..NodeDescription::default()
        }),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            addr: "10.0.0.9".into(),
            ..NodeStatus::default()
        }),
        ..Node::default()
    }
}

fn meta(index: u64) -> Option<Meta> {
    let at = |seconds| Some(skep_proto::prost_types::Timestamp { seconds, nanos: 0 });
    Some(Meta {
        version: Some(Version { index }),
        created_at: at(1_700_000_000),
        updated_at: at(1_700_000_060),
    })
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

fn tokens(keys: &GetKeysResponse) -> JoinTokens {
    JoinTokens { worker: keys.worker_join_token.clone(), manager: keys.manager_join_token.clone() }
}

pub fn get_status(world: &mut World, _: GetStatusRequest) -> Result<GetStatusResponse, Status> {
    Ok(world.status.clone())
}

pub fn init(world: &mut World, request: InitRequest) -> Result<InitResponse, Status> {
    if world.status.state() != DaemonState::Inactive {
        return Err(Status::failed_precondition("this node is already part of a swarm"));
    }
    let unlock_key = if request.autolock { "SWMKEY-1-key" } else { "" }.to_owned();
    world.founded_with = Some(request);
    let active = World::active();
    world.status = active.status;
    Ok(InitResponse {
        node_id: world.status.node_id.clone(),
        cluster_id: world.status.cluster_id.clone(),
        worker_join_token: active.keys.worker_join_token,
        manager_join_token: active.keys.manager_join_token,
        unlock_key,
    })
}

pub fn join(world: &mut World, request: JoinRequest) -> Result<JoinResponse, Status> {
    let role = match request.token.as_str() {
        "SWMTKN-1-worker" => "swarm-worker",
        "SWMTKN-1-manager" => "swarm-manager",
        _ => {
            return Err(Status::invalid_argument(
                "A valid join token is necessary to join this cluster",
            ));
        }
    };
    world.joined_with = Some(request);
    Ok(JoinResponse { node_id: "node2".into(), cluster_id: "cluster1".into(), role: role.into() })
}

pub fn leave(_: &mut World, request: LeaveRequest) -> Result<LeaveResponse, Status> {
    match request.force {
        true => Ok(LeaveResponse {}),
        false => Err(Status::failed_precondition("this is the last manager; use --force")),
    }
}

pub fn unlock(world: &mut World, request: UnlockRequest) -> Result<UnlockResponse, Status> {
    let good = request.unlock_key == "SWMKEY-1-key";
    world.unlocked_with = Some(request);
    if good { Ok(UnlockResponse {}) } else { Err(Status::invalid_argument("invalid key")) }
}

pub fn get_keys(world: &mut World, _: GetKeysRequest) -> Result<GetKeysResponse, Status> {
    Ok(world.keys.clone())
}

pub fn get_raft_status(
    world: &mut World,
    _: GetRaftStatusRequest,
) -> Result<GetRaftStatusResponse, Status> {
    Ok(world.raft.clone())
}

pub fn transfer_leadership(
    world: &mut World,
    request: TransferLeadershipRequest,
) -> Result<TransferLeadershipResponse, Status> {
    let wanted = |n: &&Node| request.target.is_empty() && n.id != "node1" || n.id == request.target;
    let target =
        world.nodes.iter().find(wanted).ok_or_else(|| Status::not_found("no such member"))?;
    Ok(TransferLeadershipResponse { leader_node_id: target.id.clone() })
}

pub fn list_clusters(
    world: &mut World,
    _: ListClustersRequest,
) -> Result<ListClustersResponse, Status> {
    if world.rotation_looks > 0 {
        world.rotation_looks -= 1;
        if world.rotation_looks == 0 {
            let ca = world.cluster.root_ca.as_mut().unwrap();
            ca.root_rotation = None;
            ca.ca_cert = "ROOT TWO\n".into();
        }
    }
    Ok(ListClustersResponse { clusters: vec![world.cluster.clone()] })
}

pub fn update_cluster(
    world: &mut World,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Status> {
    let mut meta = world.cluster.meta.take();
    let checked = world.check_version(&mut meta, request.cluster_version);
    world.cluster.meta = meta;
    checked?;
    let spec = request.spec.unwrap_or_default();
    let old = world.cluster.spec.replace(spec.clone()).unwrap_or_default();
    let rotation = request.rotation.unwrap_or_default();
    let ca = world.cluster.root_ca.as_mut().unwrap();
    if rotation.worker_join_token {
        world.keys.worker_join_token.push_str("-new");
    }
    if rotation.manager_join_token {
        world.keys.manager_join_token.push_str("-new");
    }
    let locks = spec.encryption_config.unwrap_or_default().auto_lock_managers;
    let locked = old.encryption_config.unwrap_or_default().auto_lock_managers;
    if rotation.manager_unlock_key || locks && !locked {
        world.keys.unlock_key.push_str("SWMKEY-1-new");
    }
    ca.join_tokens = Some(tokens(&world.keys));
    let turns = |spec: &ClusterSpec| spec.ca_config.as_ref().map_or(0, |c| c.force_rotate);
    if turns(&spec) != turns(&old) {
        ca.root_rotation = Some(RootRotation::default());
    }
    Ok(UpdateClusterResponse { cluster: Some(world.cluster.clone()) })
}

pub fn update_node(
    world: &mut World,
    request: UpdateNodeRequest,
) -> Result<UpdateNodeResponse, Status> {
    let place = world.nodes.iter().position(|n| n.id == request.node_id);
    let place = place.ok_or_else(|| Status::not_found("node not found"))?;
    let mut meta = world.nodes[place].meta.take();
    let checked = world.check_version(&mut meta, request.node_version);
    world.nodes[place].meta = meta;
    checked?;
    world.nodes[place].spec = request.spec;
    Ok(UpdateNodeResponse { node: Some(world.nodes[place].clone()) })
}

pub fn remove_node(
    world: &mut World,
    request: RemoveNodeRequest,
) -> Result<RemoveNodeResponse, Status> {
    let node = world.nodes.iter().find(|n| n.id == request.node_id);
    let node = node.ok_or_else(|| Status::not_found("node not found"))?;
    if node.status.as_ref().unwrap().state() == node_status::State::Ready && !request.force {
        let text = format!("node {} is not down and can't be removed", node.id);
        return Err(Status::failed_precondition(text));
    }
    world.nodes.retain(|n| n.id != request.node_id);
    Ok(RemoveNodeResponse {})
}

pub fn get_node(world: &mut World, request: GetNodeRequest) -> Result<GetNodeResponse, Status> {
    let node = world.nodes.iter().find(|n| n.id == request.node_id).cloned();
    let node =
        node.ok_or_else(|| Status::not_found(format!("node {} not found", request.node_id)))?;
    Ok(GetNodeResponse { node: Some(node) })
}

pub fn list_nodes(
    world: &mut World,
    request: ListNodesRequest,
) -> Result<ListNodesResponse, Status> {
    let wanted = request.filters.unwrap_or_default();
    let chosen = |node: &&Node| {
        let hostname = &node.description.as_ref().unwrap().hostname;
        let role = node.spec.as_ref().unwrap().desired_role;
        any(&wanted.names, |n| n == hostname)
            && any(&wanted.name_prefixes, |n| hostname.starts_with(n.as_str()))
            && any(&wanted.id_prefixes, |i| node.id.starts_with(i.as_str()))
            && any(&wanted.roles, |r| *r == role)
    };
    Ok(ListNodesResponse { nodes: world.nodes.iter().filter(chosen).cloned().collect() })
}

pub fn list_tasks(
    world: &mut World,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, Status> {
    let wanted = request.filters.unwrap_or_default();
    let chosen = |task: &&Task| {
        any(&wanted.node_ids, |n| *n == task.node_id)
            && any(&wanted.service_ids, |s| *s == task.service_id)
            && any(&wanted.id_prefixes, |i| task.id.starts_with(i.as_str()))
            && any(&wanted.desired_states, |s| *s == task.desired_state)
    };
    Ok(ListTasksResponse { tasks: world.tasks.iter().filter(chosen).cloned().collect() })
}

/// Stores a service whose tasks run at once.
pub fn run_service(
    world: &mut World,
    request: CreateServiceRequest,
) -> Result<CreateServiceResponse, Status> {
    let reply = create_service(world, request)?;
    world.services.last_mut().unwrap().spec_version = Some(Version::default());
    world.run_tasks(&reply.service.as_ref().unwrap().id);
    Ok(reply)
}

pub fn update_service(
    world: &mut World,
    request: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Status> {
    let place = world.services.iter().position(|s| s.id == request.service_id);
    let place = place.ok_or_else(|| Status::not_found("service not found"))?;
    let mut meta = world.services[place].meta.take();
    let checked = world.check_version(&mut meta, request.service_version);
    world.services[place].meta = meta;
    checked?;
    let service = &mut world.services[place];
    if request.rollback() == update_service_request::Rollback::Previous {
        if service.previous_spec.is_none() {
            let text = format!("service {} does not have a previous spec", service.id);
            return Err(Status::failed_precondition(text));
        }
        std::mem::swap(&mut service.spec, &mut service.previous_spec);
        service.previous_spec = None;
        service.update_status = Some(UpdateStatus {
            state: update_status::UpdateState::RollbackCompleted.into(),
            message: "rollback completed".into(),
            ..UpdateStatus::default()
        });
    } else {
        service.previous_spec = std::mem::replace(&mut service.spec, request.spec);
        service.update_status = None;
    }
    service.spec_version = request.service_version;
    let reply = UpdateServiceResponse { service: Some(service.clone()) };
    world.run_tasks(&request.service_id);
    if let Some(status) = world.next_update_ends_as.take() {
        world.services[place].update_status = Some(status);
    }
    Ok(reply)
}

impl World {
    /// Makes the tasks of a service be what its spec says, on the second node if there is one.
    fn run_tasks(&mut self, id: &str) {
        let service = self.services.iter().find(|s| s.id == id).unwrap();
        let spec = service.spec.clone().unwrap();
        let Some(service_spec::Mode::Replicated(replicated)) = &spec.mode else { return };
        let task = |slot| Task {
            id: format!("{id}-task{slot}"),
            service_id: id.to_owned(),
            slot,
            node_id: self.nodes.last().unwrap().id.clone(),
            spec: spec.task.clone(),
            spec_version: service.spec_version,
            status: Some(TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() }),
            desired_state: TaskState::Running.into(),
            ..Task::default()
        };
        let tasks: Vec<Task> = (1..=replicated.replicas).map(task).collect();
        self.tasks.retain(|task| task.service_id != id);
        self.tasks.extend(tasks);
    }
}

pub fn explain(world: &mut World, request: ExplainRequest) -> Result<ExplainResponse, Status> {
    world.explained = Some(request);
    Ok(world.explanation.clone())
}

pub fn plan(world: &mut World, request: PlanRequest) -> Result<PlanResponse, Status> {
    assert!(request.spec.is_some());
    world.plan.clone().ok_or_else(|| Status::unimplemented("skep.v1.Scheduling"))
}

pub fn list_service_statuses(
    world: &mut World,
    request: ListServiceStatusesRequest,
) -> Result<ListServiceStatusesResponse, Status> {
    let status = |service_id: String| list_service_statuses_response::ServiceStatus {
        running_tasks: world.tasks.iter().filter(|t| t.service_id == service_id).count() as u64,
        service_id,
        ..Default::default()
    };
    Ok(ListServiceStatusesResponse { statuses: request.services.into_iter().map(status).collect() })
}

/// No wishes: anything; else one of them.
fn any<T>(wishes: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wishes.is_empty() || wishes.iter().any(fits)
}

macro_rules! stored {
    ($kind:literal, $table:ident: $object:ident, $one:ident, blank: $blank:expr,
     $create:ident($create_q:ident) -> $create_a:ident,
     $get:ident($get_q:ident { $id:ident }) -> $get_a:ident,
     $list:ident($list_q:ident, $filters:ident) -> $list_a:ident,
     $remove:ident($remove_q:ident) -> $remove_a:ident) => {
        pub fn $create(world: &mut World, request: $create_q) -> Result<$create_a, Status> {
            let name =
                |o: &$object| o.spec.as_ref().unwrap().annotations.as_ref().unwrap().name.clone();
            let id = world.new_id($kind);
            #[allow(clippy::needless_update, reason = "some of the objects have more fields")]
            let object = $object { id, meta: meta(20), spec: request.spec, ..Default::default() };
            if world.$table.iter().any(|o| name(o) == name(&object)) {
                let text = format!(
                    "rpc error: name conflicts with an existing object: {} {}",
                    $kind,
                    name(&object)
                );
                return Err(Status::already_exists(text));
            }
            world.$table.push(object.clone());
            Ok($create_a { $one: Some(object) })
        }

        pub fn $get(world: &mut World, request: $get_q) -> Result<$get_a, Status> {
            let found = world.$table.iter().find(|o| o.id == request.$id).cloned();
            let mut object = found.ok_or_else(|| Status::not_found("not found"))?;
            let blank: fn(&mut $object) = $blank;
            blank(&mut object);
            Ok($get_a { $one: Some(object) })
        }

        pub fn $list(world: &mut World, request: $list_q) -> Result<$list_a, Status> {
            let wanted: $filters::Filters = request.filters.unwrap_or_default();
            let chosen = |o: &&$object| {
                let annotations = o.spec.as_ref().unwrap().annotations.clone().unwrap_or_default();
                any(&wanted.names, |n| *n == annotations.name)
                    && any(&wanted.name_prefixes, |n| annotations.name.starts_with(n.as_str()))
                    && any(&wanted.id_prefixes, |i| o.id.starts_with(i.as_str()))
            };
            Ok($list_a { $table: world.$table.iter().filter(chosen).cloned().collect() })
        }

        pub fn $remove(world: &mut World, request: $remove_q) -> Result<$remove_a, Status> {
            world.$table.retain(|o| o.id != request.$id);
            Ok($remove_a {})
        }
    };
}

stored!("secret", secrets: Secret, secret, blank: |secret| secret.spec.as_mut().unwrap().data.clear(),
    create_secret(CreateSecretRequest) -> CreateSecretResponse,
    get_secret(GetSecretRequest { secret_id }) -> GetSecretResponse,
    list_secrets(ListSecretsRequest, list_secrets_request) -> ListSecretsResponse,
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse);
stored!("config", configs: Config, config, blank: |_| {},
    create_config(CreateConfigRequest) -> CreateConfigResponse,
    get_config(GetConfigRequest { config_id }) -> GetConfigResponse,
    list_configs(ListConfigsRequest, list_configs_request) -> ListConfigsResponse,
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse);
stored!("network", networks: Network, network, blank: |_| {},
    create_network(CreateNetworkRequest) -> CreateNetworkResponse,
    get_network(GetNetworkRequest { network_id }) -> GetNetworkResponse,
    list_networks(ListNetworksRequest, list_networks_request) -> ListNetworksResponse,
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse);
stored!("service", services: Service, service, blank: |_| {},
    create_service(CreateServiceRequest) -> CreateServiceResponse,
    get_service(GetServiceRequest { service_id }) -> GetServiceResponse,
    list_services(ListServicesRequest, list_services_request) -> ListServicesResponse,
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse);
