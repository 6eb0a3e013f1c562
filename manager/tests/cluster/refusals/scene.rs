//! Two managers, and workers whose certificates are real and whose agents are the tests themselves.

use std::fmt::Debug;

use skep_agent::{
    description,
    fleet::{Fleet, FleetOptions},
};
use skep_ca::{PeerName, SecurityConfig, connect};
use skep_proto::swarmkit::{
    Annotations, Cluster, Config, ConfigReference, ConfigSpec, ContainerSpec, CreateConfigRequest,
    CreateSecretRequest, CreateServiceRequest, FileTarget, HeartbeatRequest, ListClustersRequest,
    ListConfigsRequest, ListNetworksRequest, ListSecretsRequest, ListServicesRequest,
    ListTasksRequest, Network, Node, Placement, ReplicatedService, Secret, SecretReference,
    SecretSpec, Service, ServiceSpec, SessionMessage, SessionRequest, Task, TaskSpec, TaskState,
    TaskStatus, UpdateTaskStatusRequest, config_reference, control_client::ControlClient,
    dispatcher_client::DispatcherClient, list_tasks_request, log_broker_client::LogBrokerClient,
    secret_reference, service_spec::Mode, task_spec::Runtime,
    update_task_status_request::TaskStatusUpdate,
};
use skep_testkit::{
    skepd_process::{SETTLE_LIMIT, SkepdCluster},
    wait,
};
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status, Streaming, transport::Channel};

use crate::support::cluster;

/// One that leads, and one that passes calls on to it.
const MANAGERS: usize = 2;
/// One that tries what it may not, one that it is tried on, and one more.
const WORKERS: usize = 3;

pub struct Scene {
    cluster: SkepdCluster,
    leader: usize,
    fleet: Fleet,
}

/// Everything that is stored, as an operator sees it.
#[derive(Debug, PartialEq)]
pub struct Stored {
    nodes: Vec<Node>,
    tasks: Vec<Task>,
    services: Vec<Service>,
    secrets: Vec<Secret>,
    configs: Vec<Config>,
    networks: Vec<Network>,
    clusters: Vec<Cluster>,
}

impl Scene {
    /// The workers have joined, and no agent of theirs runs.
    pub async fn new() -> Scene {
        let cluster = cluster(MANAGERS).await;
        let leader = cluster.leader().await.unwrap();
        let token = cluster.managers[leader].keys().await.unwrap().worker_join_token;
        let addrs = cluster.managers.iter().map(|m| m.addr().to_string()).collect();
        let options = FleetOptions::new(addrs, token.parse().unwrap());
        let fleet = Fleet::join(options, WORKERS).await.unwrap();
        fleet.wait_until_registered(SETTLE_LIMIT).await.unwrap();
        for worker in fleet.workers() {
            worker.disconnect();
        }
        Scene { cluster, leader, fleet }
    }

    /// The identity of a worker.
    pub fn security(&self, worker: usize) -> &SecurityConfig {
        self.fleet.workers()[worker].security()
    }

    /// The two ways to the leader, as this worker goes them.
    pub async fn doors(&self, worker: usize) -> [(&'static str, Channel); MANAGERS] {
        [
            ("the leader", self.dial(worker, self.leader).await),
            ("another manager", self.dial(worker, 1 - self.leader).await),
        ]
    }

    /// A session of this worker, at the leader.
    pub async fn station(&self, worker: usize) -> Station {
        Station::open(self.dial(worker, self.leader).await, "").await
    }

    /// A session of this worker, by way of the manager that does not lead.
    pub async fn station_passed_on(&self, worker: usize) -> Station {
        Station::open(self.dial(worker, 1 - self.leader).await, "").await
    }

    /// What an operator may.
    pub fn control(&self) -> ControlClient<Channel> {
        self.cluster.managers[self.leader].control_client()
    }

    /// The leader's control socket.
    pub fn control_channel(&self) -> Channel {
        self.cluster.managers[self.leader].channel()
    }

    async fn dial(&self, worker: usize, manager: usize) -> Channel {
        let tls = self.security(worker).client_config();
        let addr = self.cluster.managers[manager].addr().to_string();
        connect::Dial::new(tls, PeerName::Manager).connect(&addr).await.unwrap()
    }

    /// Everything that is stored, but for one task.
    pub async fn stored_but(&self, task_id: &str) -> Stored {
        let mut control = self.control();
        let mut nodes = self.cluster.managers[self.leader].nodes().await.unwrap();
        // What the leader knows of the group is not stored.
        nodes.iter_mut().for_each(|node| node.manager_status = None);
        let mut tasks = listed(control.list_tasks(ListTasksRequest::default()).await).tasks;
        tasks.retain(|task| task.id != task_id);
        Stored {
            nodes,
            tasks,
            services: listed(control.list_services(ListServicesRequest::default()).await).services,
            secrets: listed(control.list_secrets(ListSecretsRequest::default()).await).secrets,
            configs: listed(control.list_configs(ListConfigsRequest::default()).await).configs,
            networks: listed(control.list_networks(ListNetworksRequest::default()).await).networks,
            clusters: listed(control.list_clusters(ListClustersRequest::default()).await).clusters,
        }
    }

    /// A secret of this name.
    pub async fn secret(&self, name: &str) -> SecretReference {
        let spec = SecretSpec {
            annotations: named(name),
            data: name.to_owned().into(),
            ..Default::default()
        };
        let request = CreateSecretRequest { spec: Some(spec) };
        let secret = listed(self.control().create_secret(request).await).secret.unwrap();
        SecretReference {
            secret_id: secret.id,
            secret_name: name.into(),
            target: Some(secret_reference::Target::File(file(name))),
        }
    }

    /// A config of this name.
    pub async fn config(&self, name: &str) -> ConfigReference {
        let spec = ConfigSpec {
            annotations: named(name),
            data: name.to_owned().into(),
            ..Default::default()
        };
        let request = CreateConfigRequest { spec: Some(spec) };
        let config = listed(self.control().create_config(request).await).config.unwrap();
        ConfigReference {
            config_id: config.id,
            config_name: name.into(),
            target: Some(config_reference::Target::File(file(name))),
        }
    }

    /// A service with one task, which only this node may run. Returns once it was told to.
    pub async fn run(&self, name: &str, node_id: &str) -> Task {
        self.run_with(name, node_id, vec![], vec![]).await
    }

    /// As [`run`](Self::run), with a secret and a config.
    pub async fn run_with(
        &self,
        name: &str,
        node_id: &str,
        secrets: Vec<SecretReference>,
        configs: Vec<ConfigReference>,
    ) -> Task {
        let container =
            ContainerSpec { image: "example/web:1".into(), secrets, configs, ..Default::default() };
        let placement =
            Placement { constraints: vec![format!("node.id=={node_id}")], ..Default::default() };
        let spec = ServiceSpec {
            annotations: named(name),
            task: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(container)),
                    placement: Some(placement),
                    ..Default::default()
                }
                .into(),
            ),
            mode: Some(Mode::Replicated(ReplicatedService { replicas: 1 })),
            ..Default::default()
        };
        let request = CreateServiceRequest { spec: Some(spec) };
        let service = listed(self.control().create_service(request).await).service.unwrap();
        wait::until("the task to be assigned", SETTLE_LIMIT, async || {
            let tasks = self.tasks_of(&service.id).await;
            let assigned = tasks.iter().find(|task| task.node_id == node_id);
            assigned.cloned().ok_or_else(|| format!("{tasks:?}"))
        })
        .await
        .unwrap()
    }

    /// The tasks of a service.
    pub async fn tasks_of(&self, service_id: &str) -> Vec<Task> {
        let service_ids = vec![service_id.to_owned()];
        let filters = Some(list_tasks_request::Filters { service_ids, ..Default::default() });
        listed(self.control().list_tasks(ListTasksRequest { filters }).await).tasks
    }
}

/// A worker's session, kept by heartbeats.
pub struct Station {
    pub node_id: String,
    pub session_id: String,
    channel: Channel,
    _session: Streaming<SessionMessage>,
    beating: JoinHandle<()>,
}

impl Station {
    /// Registers, and asks to go on with this session.
    pub async fn open(channel: Channel, session_id: &str) -> Station {
        let mut client = DispatcherClient::new(channel.clone());
        let description = Some(description::described("station", 4, 8 << 30));
        let request = SessionRequest { description, session_id: session_id.to_owned() };
        let mut session = client.session(request).await.unwrap().into_inner();
        let first = session.message().await.unwrap().expect("a first message");
        let session_id = first.session_id;
        let beating = tokio::spawn(beat(client, session_id.clone()));
        let node_id = first.node.unwrap().id;
        Station { node_id, session_id, channel, _session: session, beating }
    }

    pub fn dispatcher(&self) -> DispatcherClient<Channel> {
        DispatcherClient::new(self.channel.clone())
    }

    pub fn logs(&self) -> LogBrokerClient<Channel> {
        LogBrokerClient::new(self.channel.clone())
    }

    /// Says how far a task is.
    pub fn report(&self, task_id: &str, state: TaskState) -> UpdateTaskStatusRequest {
        UpdateTaskStatusRequest {
            session_id: self.session_id.clone(),
            updates: vec![update(task_id, state as i32)],
        }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(mut client: DispatcherClient<Channel>, session_id: String) {
    loop {
        let request = HeartbeatRequest { session_id: session_id.clone() };
        let Ok(answer) = client.heartbeat(request).await else { return };
        let period = answer.into_inner().period.unwrap_or_default();
        tokio::time::sleep(period.try_into().unwrap_or_default()).await;
    }
}

pub fn update(task_id: &str, state: i32) -> TaskStatusUpdate {
    let status = Some(TaskStatus { state, ..Default::default() });
    TaskStatusUpdate { task_id: task_id.to_owned(), status }
}

/// Code and text of a call that is refused.
pub fn refusal<T: Debug>(answer: Result<Response<T>, Status>) -> (Code, String) {
    let status = answer.expect_err("a refusal");
    (status.code(), status.message().to_owned())
}

fn listed<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.to_owned(), ..Default::default() })
}

fn file(name: &str) -> FileTarget {
    FileTarget { name: name.to_owned(), mode: 0o444, ..Default::default() }
}
