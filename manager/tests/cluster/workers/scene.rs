//! Three managers, a fleet of workers with a witness, and one service on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use skep_agent::{
    fleet::{Fleet, FleetOptions},
    simulated::{Invariants, Stop},
};
use skep_ca::{PeerName, connect};
use skep_proto::swarmkit::{
    Annotations, ContainerSpec, CreateServiceRequest, GetServiceRequest, HeartbeatRequest,
    ListServiceStatusesRequest, ListTasksRequest, ReplicatedService, Service, ServiceSpec, Task,
    TaskSpec, TaskState, UpdateConfig, UpdateServiceRequest, control_client::ControlClient,
    dispatcher_client::DispatcherClient, list_tasks_request, node_spec::Availability,
    service_spec::Mode, task_spec::Runtime, update_status::UpdateState,
};
use skep_testkit::{
    skepd_process::{SETTLE_LIMIT, Skepd, SkepdCluster},
    wait,
};
use tonic::{Status, transport::Channel};

use crate::support::{cluster, update_node};

const MANAGERS: usize = 3;
/// Each operation may take this long, an election, the return of all workers and a busy machine included.
const OPERATION_LIMIT: Duration = Duration::from_secs(120);
/// Starting takes a moment, not the same for all, so that operations have a middle.
const SCRIPT: &str = "start=400ms,stop=100ms,jitter=0.5";
const IMAGE: &str = "example/web:1";
/// Tasks that an update replaces at the same time.
const PARALLELISM: u64 = 4;

pub struct Scene {
    pub fleet: Fleet,
    cluster: SkepdCluster,
    rules: Arc<Invariants>,
    service_id: String,
    image: String,
    killed: Option<usize>,
}

impl Scene {
    /// The service runs with so many tasks when this returns.
    pub async fn new(workers: usize, tasks: usize) -> Scene {
        let cluster = cluster(MANAGERS).await;
        let first = &cluster.managers[0];
        for node in first.nodes().await.unwrap() {
            let drained = update_node(first, &node.id, |spec| {
                spec.set_availability(Availability::Drain);
            });
            drained.await.unwrap();
        }
        let rules = Arc::new(Invariants::default());
        let token = first.keys().await.unwrap().worker_join_token.parse().unwrap();
        let addrs = cluster.managers.iter().map(|m| m.addr().to_string()).collect();
        let options = FleetOptions { witness: rules.clone(), ..FleetOptions::new(addrs, token) };
        let fleet = Fleet::join(options, workers).await.unwrap();
        fleet.wait_until_registered(SETTLE_LIMIT).await.unwrap();
        let request = CreateServiceRequest { spec: Some(spec(tasks)) };
        let created = first.control_client().create_service(request).await.unwrap();
        let service_id = created.into_inner().service.unwrap().id;
        let image = IMAGE.to_owned();
        let scene = Scene { fleet, cluster, rules, service_id, image, killed: None };
        scene.settle(tasks).await;
        scene
    }

    /// Tasks that run, as their nodes know.
    pub fn running(&self) -> usize {
        self.fleet.count(TaskState::Running)
    }

    /// Those of them that run this image.
    pub fn running_image(&self, image: &str) -> usize {
        let tasks = self.fleet.workers().iter().flat_map(|worker| worker.node().tasks());
        tasks.filter(|(task, state)| *state == TaskState::Running && task.image == image).count()
    }

    /// The image that the service has.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Who was told to stop since the last call.
    pub fn take_stops(&self) -> Vec<Stop> {
        self.rules.take_stops()
    }

    pub async fn scale(&self, tasks: usize) {
        let replicas = tasks as u64;
        self.update(|spec| spec.mode = Some(Mode::Replicated(ReplicatedService { replicas })))
            .await;
    }

    pub async fn update_image(&mut self, image: &str) {
        self.update(|spec| {
            if let Some(Runtime::Container(container)) =
                &mut spec.task.as_mut().expect("the spec has a task").runtime
            {
                container.image = image.to_owned();
            }
        })
        .await;
        self.image = image.to_owned();
    }

    pub async fn availability(&self, node_id: &str, availability: Availability) {
        let asked = async || {
            let change = |spec: &mut skep_proto::swarmkit::NodeSpec| {
                spec.set_availability(availability);
            };
            update_node(self.survivor(), node_id, change).await
        };
        wait::until("a node to be changed", SETTLE_LIMIT, asked).await.unwrap();
    }

    /// Waits until the workers are as wanted.
    pub async fn wait_until(&self, what: &str, wanted: impl Fn(&Scene) -> bool) {
        let look = async || if wanted(self) { Ok(()) } else { Err("not so") };
        wait::until(what, OPERATION_LIMIT, look).await.unwrap();
    }

    /// Kills the leader as soon as `done` says that so large a share of the operation is done.
    pub async fn kill_leader_at(&mut self, share: f64, done: impl Fn(&Scene) -> f64) {
        let scene = &*self;
        let phase = async || match done(scene) {
            found if found >= share => Ok(()),
            found => Err(format!("{found:.2} of it is done")),
        };
        wait::until("the phase", OPERATION_LIMIT, phase).await.unwrap();
        let leader = self.cluster.leader().await.unwrap();
        self.cluster.managers[leader].kill();
        self.killed = Some(leader);
    }

    /// Starts the manager again that was killed, and waits until all nodes are ready.
    pub async fn revive(&mut self) {
        if let Some(killed) = self.killed.take() {
            self.cluster.managers[killed].restart().await.unwrap();
        }
        let all = MANAGERS + self.fleet.workers().len();
        self.cluster.managers[0].wait_until_ready(all, MANAGERS).await.unwrap();
    }

    /// Waits until exactly so many tasks run, and checks what must hold then and what must have held all along.
    pub async fn settle(&self, tasks: usize) {
        let counted = async || {
            let statuses = {
                let services = vec![self.service_id.clone()];
                let request = ListServiceStatusesRequest { services };
                self.control().list_service_statuses(request).await
            };
            let statuses = statuses.map_err(|status| status.to_string())?.into_inner().statuses;
            let of = statuses.first().ok_or("the service has no status")?;
            let counts = (self.running(), of.running_tasks as usize, of.desired_tasks as usize);
            match counts {
                // What is about to be stopped is counted as well, so each slot is looked at.
                found if found == (tasks, tasks, tasks) => self.slots_run().await,
                found => Err(format!(
                    "{} tasks run on the workers, managers see {} of {}, {:?}",
                    found.0,
                    found.1,
                    found.2,
                    self.rules.broken()
                )),
            }
        };
        wait::until("all tasks to run", OPERATION_LIMIT, counted).await.unwrap();
        self.check_slots(tasks).await;
        self.check_sessions().await;
        assert_eq!(self.rules.broken(), [""; 0]);
    }

    pub async fn wait_until_updated(&self, state: UpdateState) {
        let updated = async || {
            let service = self.service().await.map_err(|status| status.to_string())?;
            match service.update_status {
                Some(status) if status.state() == state => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        wait::until("the update to end", OPERATION_LIMIT, updated).await.unwrap();
    }

    async fn wanted(&self) -> Result<Vec<Task>, Status> {
        let mut tasks = self.tasks().await?;
        tasks.retain(|task| task.desired_state() <= TaskState::Running);
        Ok(tasks)
    }

    /// Whether every task that the managers want runs.
    async fn slots_run(&self) -> Result<(), String> {
        let wanted = self.wanted().await.map_err(|status| status.to_string())?;
        let state = |task: &Task| task.status.as_ref().map(|s| s.state());
        match wanted.iter().find(|task| state(task) != Some(TaskState::Running)) {
            None => Ok(()),
            Some(task) => Err(format!("the task of slot {} is {:?}", task.slot, state(task))),
        }
    }

    /// The managers want one task in each slot, and it runs.
    async fn check_slots(&self, count: usize) {
        let wanted = self.wanted().await.unwrap();
        let slots: BTreeSet<u64> = wanted.iter().map(|task| task.slot).collect();
        assert_eq!((wanted.len(), slots.len()), (count, count), "{slots:?}");
        self.slots_run().await.unwrap();
    }

    /// Of the sessions that a node has had, only the last is one.
    async fn check_sessions(&self) {
        let present: BTreeMap<String, Option<String>> = self
            .fleet
            .workers()
            .iter()
            .map(|w| (w.id().to_owned(), w.watch().borrow().session_id.clone()))
            .collect();
        let leader = &self.cluster.managers[self.cluster.leader().await.unwrap()];
        for (node, sessions) in self.rules.sessions() {
            let worker = self.fleet.worker_of(&node).expect("it is one of the fleet");
            let tls = worker.security().client_config();
            let dial = connect::Dial::new(tls, PeerName::Manager);
            let channel = dial.connect(&leader.addr().to_string()).await.unwrap();
            let mut client = DispatcherClient::new(channel);
            for session_id in sessions {
                if present[&node].as_ref() == Some(&session_id) {
                    continue;
                }
                let answer = client.heartbeat(HeartbeatRequest { session_id }).await;
                let refused = answer.map(|_| "is answered").map_err(|status| status.code());
                assert!(refused.is_err(), "node {node}: a session that is over {refused:?}");
            }
        }
    }

    async fn update(&self, change: impl Fn(&mut ServiceSpec)) {
        let asked = async || -> Result<(), Status> {
            let service = self.service().await?;
            let mut spec = service.spec.unwrap_or_default();
            change(&mut spec);
            let request = UpdateServiceRequest {
                service_id: service.id,
                service_version: service.meta.and_then(|meta| meta.version),
                spec: Some(spec),
                ..Default::default()
            };
            self.control().update_service(request).await.map(drop)
        };
        wait::until("the service to be updated", SETTLE_LIMIT, asked).await.unwrap();
    }

    async fn service(&self) -> Result<Service, Status> {
        let service_id = self.service_id.clone();
        let request = GetServiceRequest { service_id, ..Default::default() };
        let reply = self.control().get_service(request).await?.into_inner();
        reply.service.ok_or_else(|| Status::not_found("the reply has no service"))
    }

    async fn tasks(&self) -> Result<Vec<Task>, Status> {
        let service_ids = vec![self.service_id.clone()];
        let filters = Some(list_tasks_request::Filters { service_ids, ..Default::default() });
        let reply = self.control().list_tasks(ListTasksRequest { filters }).await?;
        Ok(reply.into_inner().tasks)
    }

    fn control(&self) -> ControlClient<Channel> {
        self.survivor().control_client()
    }

    /// A manager that runs.
    fn survivor(&self) -> &Skepd {
        let running = self.cluster.managers.iter().find(|manager| manager.pid().is_some());
        running.expect("only one manager is killed at a time")
    }
}

fn spec(tasks: usize) -> ServiceSpec {
    let container = ContainerSpec {
        image: IMAGE.into(),
        labels: [("skep.sim".to_owned(), SCRIPT.to_owned())].into(),
        ..Default::default()
    };
    ServiceSpec {
        annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
        task: Some(
            TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }.into(),
        ),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: tasks as u64 })),
        update: Some(UpdateConfig {
            parallelism: PARALLELISM,
            monitor: Some(Duration::from_millis(200).try_into().expect("it is short")),
            ..Default::default()
        }),
        ..Default::default()
    }
}
