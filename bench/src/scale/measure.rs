//! One measurement: workers join, services are created, and the clock runs until all their tasks do.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::Serialize;
use skep_proto::swarmkit::{
    Annotations, ContainerSpec, CreateServiceRequest, EndpointSpec, ListClustersRequest,
    ListNodesRequest, ListServiceStatusesRequest, NetworkAttachmentConfig, ReplicatedService,
    ServiceSpec, TaskSpec, UpdateNodeRequest, control_client::ControlClient,
    endpoint_spec::ResolutionMode, node_spec::Availability, service_spec::Mode, task_spec::Runtime,
};
use tonic::{Status, transport::Channel};

use super::{networks, worker_process::WorkerProcess, workers::Orders};
use crate::{
    manager::Manager,
    process::{cpu_time, peak_resident_bytes},
    statistics::quantile,
    target::Target,
};

/// How often the workers are asked how many tasks run, and then the managers: a tenth of the shortest measurement.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// After the workers have joined, until the load: what a join leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(2);
/// How often draining the managers is tried.
const DRAIN_ATTEMPTS: u32 = 20;
/// The image that simulated workers run as told.
const IMAGE: &str = "sim:run";

/// A load.
pub struct Load {
    /// Simulated workers.
    pub nodes: usize,
    /// Tasks over all services.
    pub tasks: usize,
    /// Services.
    pub services: usize,
    /// Overlay networks that the services attach to in turn; 0: they attach to none.
    pub networks: usize,
    /// What tasks do.
    pub script: String,
    /// How long it may take.
    pub limit: Duration,
    /// The number of the round.
    pub round: u32,
}

/// What one measurement gave.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The target's name.
    pub target: String,
    /// The number of the round.
    pub round: u32,
    /// Simulated workers.
    pub nodes: usize,
    /// Tasks that were asked for.
    pub tasks: usize,
    /// Services that shared them.
    pub services: usize,
    /// Overlay networks that the services were attached to in turn.
    pub networks: usize,
    /// Tasks that the managers showed as RUNNING at the end.
    pub running: usize,
    /// From the first call to the answer of the last one that created a service.
    pub created_seconds: f64,
    /// From the first call until a manager heard that the first task runs.
    pub first_seconds: f64,
    /// The same for half of them.
    pub p50_seconds: f64,
    /// The same for 99 of 100.
    pub p99_seconds: f64,
    /// From the first call until the managers showed all as RUNNING, or the limit.
    pub all_seconds: f64,
    /// Each manager.
    pub managers: Vec<Usage>,
    /// The process of all workers.
    pub workers: Usage,
    /// When a manager heard of each task that it runs, in seconds since the first call; at most a thousand of them.
    pub curve: Vec<f64>,
}

/// What a process used.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// CPU time under the load.
    pub cpu_seconds: f64,
    /// The most memory that it had resident up to the end.
    pub peak_bytes: u64,
    /// The same before the load.
    pub peak_bytes_before: u64,
}

impl Measured {
    /// Tasks a second.
    pub fn per_second(&self) -> f64 {
        self.running as f64 / self.all_seconds
    }

    /// CPU time of all managers for one task, in microseconds.
    pub fn manager_cpu_us(&self) -> f64 {
        let all: f64 = self.managers.iter().map(|manager| manager.cpu_seconds).sum();
        all * 1e6 / self.running.max(1) as f64
    }

    /// CPU time of the workers for one task, in microseconds.
    pub fn worker_cpu_us(&self) -> f64 {
        self.workers.cpu_seconds * 1e6 / self.running.max(1) as f64
    }

    /// The most memory of the largest manager, in MiB.
    pub fn peak_mib(&self) -> f64 {
        let peak = self.managers.iter().map(|manager| manager.peak_bytes).max();
        peak.unwrap_or(0) as f64 / f64::from(1 << 20)
    }

    /// In short.
    pub fn line(&self) -> String {
        format!(
            "{:>8} {:>5} workers {:>3} networks {:>6} of {} tasks in {:.2} s: {:.0}/s",
            self.target,
            self.nodes,
            self.networks,
            self.running,
            self.tasks,
            self.all_seconds,
            self.per_second()
        )
    }
}

/// Measures one load on one target.
pub async fn measure(target: &Target, load: &Load) -> anyhow::Result<Measured> {
    let socket = target.sockets.first().context("the target has no socket")?;
    let mut control = Manager::open(socket, 1).await?.control();
    let orders = prepare(&mut control, load.nodes).await?;
    // Every task, every service, and every node for its load balancer, could be in one network.
    let addresses = load.tasks + load.services + load.nodes;
    let networks = networks::create(&mut control, load.networks, addresses).await?;
    let mut workers = tokio::task::spawn_blocking(move || WorkerProcess::start(&orders)).await??;
    tokio::time::sleep(SETTLE).await;

    let before = usage(&target.pids)?;
    let workers_before = usage(&[workers.pid()])?;
    let (start, start_wall) = (Instant::now(), SystemTime::now());
    let services = create(&mut control, load, &networks).await?;
    let created_seconds = start.elapsed().as_secs_f64();
    let running = wait(&mut control, &mut workers, &services, load, start).await?;
    let all_seconds = start.elapsed().as_secs_f64();
    let managers = usage(&target.pids)?;
    let workers_after = usage(&[workers.pid()])?;

    let origin = start_wall.duration_since(UNIX_EPOCH)?.as_micros() as f64;
    let times: Vec<f64> =
        workers.times()?.into_iter().map(|time| (time as f64 - origin) / 1e6).collect();
    let at = |share| quantile(&times, share).unwrap_or(f64::NAN);
    let measured = Measured {
        target: target.name.clone(),
        round: load.round,
        nodes: load.nodes,
        tasks: load.tasks,
        services: services.len(),
        networks: networks.len(),
        running,
        created_seconds,
        first_seconds: at(0.0),
        p50_seconds: at(0.5),
        p99_seconds: at(0.99),
        all_seconds,
        managers: between(before, managers),
        workers: between(workers_before, workers_after).remove(0),
        curve: thinned(&times),
    };
    remove(&mut control, services).await?;
    networks::remove(&mut control, networks).await?;
    Ok(measured)
}

/// Keeps tasks off the managers, and finds out how workers join.
async fn prepare(control: &mut ControlClient<Channel>, nodes: usize) -> anyhow::Result<Orders> {
    let mut attempt = 1;
    let managers = loop {
        match drain_managers(control).await {
            Ok(managers) => break managers,
            // A node's object may have changed since it was read.
            Err(_) if attempt < DRAIN_ATTEMPTS => attempt += 1,
            Err(status) => return Err(status).context("cannot drain the managers"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    let clusters = control.list_clusters(ListClustersRequest::default()).await?.into_inner();
    let root = clusters.clusters.into_iter().next().and_then(|cluster| cluster.root_ca);
    let token = root.and_then(|root| root.join_tokens).map(|tokens| tokens.worker);
    Ok(Orders { managers, token: token.context("the cluster has no join token")?, nodes })
}

/// Gives the managers' addresses.
async fn drain_managers(control: &mut ControlClient<Channel>) -> Result<Vec<String>, Status> {
    let listed = control.list_nodes(ListNodesRequest::default()).await?.into_inner().nodes;
    let mut managers = Vec::new();
    for node in listed {
        let Some(status) = node.manager_status else { continue };
        managers.push(status.addr);
        let mut spec = node.spec.unwrap_or_default();
        if spec.availability() == Availability::Drain {
            continue;
        }
        spec.set_availability(Availability::Drain);
        let node_version = node.meta.and_then(|meta| meta.version);
        let request = UpdateNodeRequest { node_id: node.id, node_version, spec: Some(spec) };
        control.update_node(request).await?;
    }
    Ok(managers)
}

/// Creates the services and gives their ids.
async fn create(
    control: &mut ControlClient<Channel>,
    load: &Load,
    networks: &[String],
) -> anyhow::Result<Vec<String>> {
    let mut services = Vec::new();
    for number in 0..load.services.min(load.tasks) {
        // The first ones take what does not divide.
        let replicas =
            load.tasks / load.services + usize::from(number < load.tasks % load.services);
        let labels = [("skep.sim".to_owned(), load.script.clone())];
        let container = ContainerSpec {
            image: IMAGE.into(),
            labels: labels.into_iter().filter(|(_, script)| !script.is_empty()).collect(),
            ..Default::default()
        };
        let network = networks
            .get(number % networks.len().max(1))
            .map(|target| NetworkAttachmentConfig { target: target.clone(), ..Default::default() });
        let endpoint = network
            .as_ref()
            .map(|_| EndpointSpec { mode: ResolutionMode::Vip.into(), ..Default::default() });
        let spec = ServiceSpec {
            annotations: Some(Annotations {
                name: format!("scale-{number}"),
                ..Default::default()
            }),
            task: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(container)),
                    networks: network.into_iter().collect(),
                    ..Default::default()
                }
                .into(),
            ),
            endpoint,
            mode: Some(Mode::Replicated(ReplicatedService { replicas: replicas as u64 })),
            ..Default::default()
        };
        let request = CreateServiceRequest { spec: Some(spec) };
        let reply = control.create_service(request).await.context("cannot create a service")?;
        services.extend(reply.into_inner().service.map(|service| service.id));
    }
    Ok(services)
}

/// Waits until all tasks run, first as the workers know, which costs the managers nothing, and then as the managers
/// show. Gives how many run.
async fn wait(
    control: &mut ControlClient<Channel>,
    workers: &mut WorkerProcess,
    services: &[String],
    load: &Load,
    start: Instant,
) -> anyhow::Result<usize> {
    let in_time = || start.elapsed() < load.limit;
    while workers.count()? < load.tasks && in_time() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    loop {
        let running = running(control, services).await?;
        if running >= load.tasks || !in_time() {
            return Ok(running);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn running(
    control: &mut ControlClient<Channel>,
    services: &[String],
) -> anyhow::Result<usize> {
    let request = ListServiceStatusesRequest { services: services.to_vec() };
    let statuses = control.list_service_statuses(request).await?.into_inner().statuses;
    Ok(statuses.iter().map(|status| status.running_tasks).sum::<u64>() as usize)
}

async fn remove(control: &mut ControlClient<Channel>, services: Vec<String>) -> anyhow::Result<()> {
    for service_id in services {
        let request = skep_proto::swarmkit::RemoveServiceRequest { service_id };
        control.remove_service(request).await.context("cannot remove a service")?;
    }
    Ok(())
}

fn usage(pids: &[u32]) -> anyhow::Result<BTreeMap<u32, (f64, u64)>> {
    let of = |pid: &u32| Ok((*pid, (cpu_time(*pid)?.as_secs_f64(), peak_resident_bytes(*pid)?)));
    pids.iter().map(of).collect()
}

fn between(before: BTreeMap<u32, (f64, u64)>, after: BTreeMap<u32, (f64, u64)>) -> Vec<Usage> {
    let pairs = before.into_values().zip(after.into_values());
    pairs
        .map(|((cpu_before, peak_bytes_before), (cpu, peak_bytes))| Usage {
            cpu_seconds: cpu - cpu_before,
            peak_bytes,
            peak_bytes_before,
        })
        .collect()
}

/// At most a thousand of these times, evenly chosen, the last among them.
fn thinned(times: &[f64]) -> Vec<f64> {
    let step = times.len().div_ceil(1_000).max(1);
    let mut few: Vec<f64> = times.iter().rev().step_by(step).copied().collect();
    few.reverse();
    few
}
