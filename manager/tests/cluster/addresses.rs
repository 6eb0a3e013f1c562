//! The leader is killed while it gives addresses to the tasks of a service: whenever that is, the next one gives none twice
//! and loses none.

use std::{collections::BTreeSet, time::Duration};

use skep_agent::fleet::{Fleet, FleetOptions};
use skep_proto::swarmkit::{
    Annotations, ContainerSpec, CreateNetworkRequest, CreateServiceRequest, Driver,
    GetServiceRequest, IpamConfig, IpamOptions, ListNetworksRequest, ListTasksRequest, Network,
    NetworkAttachmentConfig, NetworkSpec, RemoveServiceRequest, ReplicatedService, Service,
    ServiceSpec, Task, TaskSpec, TaskState, UpdateServiceRequest, service_spec::Mode,
    task_spec::Runtime,
};
use skep_testkit::{
    skepd_process::{SETTLE_LIMIT, Skepd, SkepdCluster},
    wait,
};

use crate::support::cluster;

const MANAGERS: usize = 3;
const WORKERS: usize = 4;
const TASKS: usize = 20;
const SUBNET: &str = "10.99.0.0/27";
/// What the subnet has for tasks: 30 without its first and its last, the gateway's, the service's, and one for each worker.
const FOR_TASKS: usize = 30 - 2 - WORKERS;
/// An election, the return of the workers and a busy machine included.
const LIMIT: Duration = Duration::from_secs(120);
/// The leader is killed at once after the service was created, or when this many of its tasks have an address.
const PHASES: [usize; 4] = [0, 1, TASKS / 2, TASKS];

#[tokio::test(flavor = "multi_thread")]
async fn no_address_is_given_twice_or_lost_whenever_the_leader_is_killed() {
    let mut scene = Scene::new().await;
    for phase in PHASES {
        let service = scene.create().await;
        scene.wait_addressed(&service, phase).await;
        let leader = scene.cluster.leader().await.unwrap();
        scene.cluster.managers[leader].kill();
        let before = scene.wait_running(&service, TASKS).await;
        // If one were lost, the rest would not be enough.
        scene.scale(&service, FOR_TASKS).await;
        let after = scene.wait_running(&service, FOR_TASKS).await;
        assert!(after.is_superset(&before), "{phase}: addresses of running tasks changed");
        scene.remove(&service).await;
        scene.cluster.managers[leader].restart().await.unwrap();
        let all = MANAGERS + WORKERS;
        scene.cluster.managers[leader].wait_until_ready(all, MANAGERS).await.unwrap();
    }
}

struct Scene {
    cluster: SkepdCluster,
    network: String,
    _fleet: Fleet,
}

impl Scene {
    async fn new() -> Scene {
        let cluster = cluster(MANAGERS).await;
        let first = &cluster.managers[0];
        let token = first.keys().await.unwrap().worker_join_token.parse().unwrap();
        let addrs = cluster.managers.iter().map(|m| m.addr().to_string()).collect();
        let fleet = Fleet::join(FleetOptions::new(addrs, token), WORKERS).await.unwrap();
        fleet.wait_until_registered(SETTLE_LIMIT).await.unwrap();
        let request = CreateNetworkRequest { spec: Some(network_spec()) };
        let created = first.control_client().create_network(request).await.unwrap();
        let network = created.into_inner().network.unwrap().id;
        Scene { cluster, network, _fleet: fleet }
    }

    async fn create(&self) -> String {
        let request = CreateServiceRequest { spec: Some(service_spec(&self.network, TASKS)) };
        let created = self.survivor().control_client().create_service(request).await.unwrap();
        created.into_inner().service.unwrap().id
    }

    /// Waits until so many tasks have an address.
    async fn wait_addressed(&self, service: &str, count: usize) {
        self.wait(&format!("{count} tasks with an address"), async || {
            let tasks = self.tasks(service).await?;
            let addressed = tasks.iter().filter(|task| !addresses(task).is_empty()).count();
            if addressed >= count { Ok(()) } else { Err(format!("{addressed}")) }
        })
        .await;
    }

    /// Waits until so many tasks run and no others are wanted. Each has one address that nobody else has, whoever that is;
    /// gives the addresses of the tasks.
    async fn wait_running(&self, service: &str, count: usize) -> BTreeSet<String> {
        let running = self
            .wait(&format!("{count} tasks to run"), async || {
                let tasks = self.tasks(service).await?;
                let wanted = |task: &&Task| task.desired_state() <= TaskState::Running;
                let wanted: Vec<Task> = tasks.iter().filter(wanted).cloned().collect();
                let runs = |task: &Task| {
                    task.status.as_ref().map(|s| s.state()) == Some(TaskState::Running)
                };
                let running = wanted.iter().filter(|task| runs(task)).count();
                if (wanted.len(), running) == (count, count) {
                    return Ok(wanted);
                }
                let waiting = wanted.iter().find(|task| !runs(task));
                let status = waiting.and_then(|task| task.status.clone());
                Err(format!("{running} of {} run, {status:?}", wanted.len()))
            })
            .await;
        let mut of_tasks = BTreeSet::new();
        for task in &running {
            let addresses = addresses(task);
            assert_eq!(addresses.len(), 1, "{task:?}");
            for address in addresses {
                assert!(of_tasks.insert(address.clone()), "{address} is given twice");
            }
        }
        let mut others =
            vec![self.network().await.ipam.unwrap().configs[0].gateway.clone() + "/27"];
        let service = self.service(service).await.unwrap();
        let endpoint = service.endpoint.unwrap();
        others.extend(endpoint.virtual_ips.iter().map(|vip| vip.addr.clone()));
        for node in self.survivor().nodes().await.unwrap() {
            let on_it = |a: &skep_proto::swarmkit::NetworkAttachment| {
                a.network.as_ref().is_some_and(|network| network.id == self.network)
            };
            let attachments = node.attachments.into_iter().filter(on_it);
            others.extend(attachments.flat_map(|attachment| attachment.addresses));
        }
        let mut all = of_tasks.clone();
        for address in others {
            assert!(all.insert(address.clone()), "{address} is given twice");
        }
        of_tasks
    }

    async fn scale(&self, id: &str, tasks: usize) {
        self.wait("the service to be updated", async || {
            let service = self.service(id).await?;
            let request = UpdateServiceRequest {
                service_id: service.id,
                service_version: service.meta.and_then(|meta| meta.version),
                spec: Some(service_spec(&self.network, tasks)),
                ..Default::default()
            };
            let updated = self.survivor().control_client().update_service(request).await;
            updated.map(drop).map_err(|status| status.to_string())
        })
        .await;
    }

    async fn remove(&self, id: &str) {
        let request = RemoveServiceRequest { service_id: id.to_owned() };
        self.survivor().control_client().remove_service(request).await.unwrap();
        self.wait("the tasks to be gone", async || match self.tasks(id).await?.len() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        })
        .await;
    }

    async fn service(&self, id: &str) -> Result<Service, String> {
        let request = GetServiceRequest { service_id: id.to_owned(), ..Default::default() };
        let got = self.survivor().control_client().get_service(request).await;
        got.map_err(|status| status.to_string())?
            .into_inner()
            .service
            .ok_or("no service".to_owned())
    }

    async fn tasks(&self, service: &str) -> Result<Vec<Task>, String> {
        let service_ids = vec![service.to_owned()];
        let filters =
            skep_proto::swarmkit::list_tasks_request::Filters { service_ids, ..Default::default() };
        let request = ListTasksRequest { filters: Some(filters) };
        let listed = self.survivor().control_client().list_tasks(request).await;
        listed.map(|listed| listed.into_inner().tasks).map_err(|status| status.to_string())
    }

    async fn network(&self) -> Network {
        let request = ListNetworksRequest::default();
        let listed = self.survivor().control_client().list_networks(request).await;
        let networks = listed.unwrap().into_inner().networks;
        networks.into_iter().find(|network| network.id == self.network).unwrap()
    }

    /// A manager that runs.
    fn survivor(&self) -> &Skepd {
        let running = self.cluster.managers.iter().find(|manager| manager.pid().is_some());
        running.expect("only one manager is killed at a time")
    }

    async fn wait<T>(&self, what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
        wait::until(what, LIMIT, probe).await.unwrap()
    }
}

/// The addresses that a task has.
fn addresses(task: &Task) -> Vec<String> {
    task.networks.iter().flat_map(|attachment| attachment.addresses.clone()).collect()
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.to_owned(), ..Default::default() })
}

fn network_spec() -> NetworkSpec {
    let config = IpamConfig { subnet: SUBNET.to_owned(), ..Default::default() };
    NetworkSpec {
        annotations: named("small"),
        driver_config: Some(Driver { name: "overlay".to_owned(), ..Default::default() }),
        ipam: Some(IpamOptions { driver: None, configs: vec![config] }),
        ..Default::default()
    }
}

fn service_spec(network: &str, tasks: usize) -> ServiceSpec {
    let container = ContainerSpec { image: "example/web:1".into(), ..Default::default() };
    let attachment = NetworkAttachmentConfig { target: network.to_owned(), ..Default::default() };
    let task = TaskSpec {
        runtime: Some(Runtime::Container(container)),
        networks: vec![attachment],
        ..Default::default()
    };
    ServiceSpec {
        annotations: named("web"),
        task: Some(task.into()),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: tasks as u64 })),
        ..Default::default()
    }
}
