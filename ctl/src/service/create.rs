//! `skep service create`: from options to a spec.

use std::time::Duration;

use clap::ValueEnum;
use skep_proto::swarmkit::{
    Annotations, Config, ConfigReference, ContainerSpec, CreateServiceRequest, EndpointSpec,
    GlobalJob, GlobalService, Mount, Network, NetworkAttachmentConfig, Placement, PortConfig,
    ReplicatedJob, ReplicatedService, ResourceRequirements, Resources, RestartPolicy, Secret,
    SecretReference, ServiceSpec, TaskSpec, UpdateConfig, config_reference,
    endpoint_spec::ResolutionMode,
    restart_policy::RestartCondition,
    secret_reference, service_spec, task_spec,
    update_config::{FailureAction, UpdateOrder},
};

use super::{
    mounts::{self, Given},
    ports,
    quantities::{memory_bytes, nano_cpus},
};
use crate::{
    commands::Session,
    connect::Connection,
    errors::Failure,
    input::{pairs, wire_duration},
    objects::Stored as _,
    resolve::resolve,
};

/// Store a service. Its spec is checked and stored for now; a later release schedules its tasks.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// A config that the container gets: NAME or source=NAME,target=PATH,mode=0444
    #[arg(long, value_name = "CONFIG", value_parser = mounts::given)]
    config: Vec<Given>,
    /// Only nodes of which this holds, such as node.role==worker
    #[arg(long, value_name = "EXPRESSION")]
    constraint: Vec<String>,
    /// Add a label to the containers
    #[arg(long, value_name = "KEY=VALUE")]
    container_label: Vec<String>,
    /// How the service's name resolves
    #[arg(long, default_value = "vip")]
    endpoint_mode: EndpointMode,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The containers' host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run a small init process in the containers
    #[arg(long)]
    init: bool,
    /// Add a label to the service
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// No more processors than this, such as 0.5
    #[arg(long, value_name = "NUMBER", value_parser = nano_cpus)]
    limit_cpu: Option<i64>,
    /// No more memory than this, such as 512m
    #[arg(long, value_name = "BYTES", value_parser = memory_bytes)]
    limit_memory: Option<i64>,
    /// How many tasks of a job run at once [default: all]
    #[arg(long, value_name = "NUMBER")]
    max_concurrent: Option<u64>,
    /// What the swarm keeps running
    #[arg(long, default_value = "replicated")]
    mode: Mode,
    /// A mount: type=bind|volume|tmpfs,source=…,target=…,readonly
    #[arg(long, value_name = "MOUNT", value_parser = mounts::mount)]
    mount: Vec<Mount>,
    /// The service's name [default: a random one]
    #[arg(long)]
    name: Option<String>,
    /// Attach to a network
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// Publish a port: TARGET, PUBLISHED:TARGET or PUBLISHED:TARGET/udp, or published=…,target=…,protocol=…,mode=ingress|host
    #[arg(short, long, value_name = "PORT", value_parser = ports::parse)]
    publish: Vec<PortConfig>,
    /// The containers cannot write their root file system
    #[arg(long)]
    read_only: bool,
    /// Number of tasks; of a job, how many are to complete [default: 1]
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u64>,
    /// No more tasks than this on one node
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    replicas_max_per_node: u64,
    /// Processors that a node must have free
    #[arg(long, value_name = "NUMBER", value_parser = nano_cpus)]
    reserve_cpu: Option<i64>,
    /// Memory that a node must have free
    #[arg(long, value_name = "BYTES", value_parser = memory_bytes)]
    reserve_memory: Option<i64>,
    /// When a task is started again
    #[arg(long)]
    restart_condition: Option<Condition>,
    /// Time before a task is started again
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    restart_delay: Option<Duration>,
    /// How often a task is started again before giving up
    #[arg(long, value_name = "NUMBER")]
    restart_max_attempts: Option<u64>,
    /// The time in which those attempts count
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    restart_window: Option<Duration>,
    /// A secret that the container gets: NAME or source=NAME,target=PATH,mode=0400
    #[arg(long, value_name = "SECRET", value_parser = mounts::given)]
    secret: Vec<Given>,
    /// Time that a container has to stop before it is killed
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    stop_grace_period: Option<Duration>,
    /// The signal that stops a container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Give the containers a terminal
    #[arg(short, long)]
    tty: bool,
    /// Time between the updates of two batches of tasks
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    update_delay: Option<Duration>,
    /// What to do when an update fails
    #[arg(long)]
    update_failure_action: Option<OnFailure>,
    /// Whether an update starts the new task or stops the old one first
    #[arg(long)]
    update_order: Option<Order>,
    /// Number of tasks that are updated at once; 0: all
    #[arg(long, value_name = "NUMBER")]
    update_parallelism: Option<u64>,
    /// The user in the containers, USER or USER:GROUP
    #[arg(short, long)]
    user: Option<String>,
    /// The working directory in the containers
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The image that the containers run
    image: String,
    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A number of tasks
    Replicated,
    /// A task on each node
    Global,
    /// Tasks that are to complete
    ReplicatedJob,
    /// A task that is to complete on each node
    GlobalJob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EndpointMode {
    /// To one virtual address
    Vip,
    /// To the addresses of the tasks
    Dnsrr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Condition {
    None,
    OnFailure,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    Pause,
    Continue,
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    StopFirst,
    StartFirst,
}

impl Create {
    /// Stores the service and prints its id.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let spec = self.spec(&session.connection).await?;
        let doing = format!("create service {}", self.image);
        let request = session.connection.request(CreateServiceRequest { spec: Some(spec) });
        let reply = session.connection.control().create_service(request).await;
        let service = reply.map_err(Failure::call(doing.clone()))?.into_inner().service;
        let service = service.ok_or(Failure::Incomplete { doing, missing: "service" })?;
        session.output.line(&service.id)?;
        eprintln!("{} is stored; a later release schedules its tasks.", service.name());
        Ok(())
    }

    async fn spec(&self, connection: &Connection) -> Result<ServiceSpec, Failure> {
        Ok(ServiceSpec {
            annotations: Some(Annotations {
                name: self.name.clone().unwrap_or_else(random_name),
                labels: pairs(&self.label),
                ..Annotations::default()
            }),
            task: Some(self.task(connection).await?),
            mode: Some(self.mode()?),
            update: self.update(),
            rollback: None,
            networks: Vec::new(),
            endpoint: Some(EndpointSpec {
                mode: match self.endpoint_mode {
                    EndpointMode::Vip => ResolutionMode::Vip,
                    EndpointMode::Dnsrr => ResolutionMode::Dnsrr,
                }
                .into(),
                ports: self.publish.clone(),
            }),
        })
    }

    fn mode(&self) -> Result<service_spec::Mode, Failure> {
        let counted = matches!(self.mode, Mode::Replicated | Mode::ReplicatedJob);
        if self.replicas.is_some() && !counted {
            return Err(Failure::Usage("--replicas is for replicated modes only".into()));
        }
        if self.max_concurrent.is_some() && self.mode != Mode::ReplicatedJob {
            return Err(Failure::Usage("--max-concurrent is for replicated-job only".into()));
        }
        let replicas = self.replicas.unwrap_or(1);
        Ok(match self.mode {
            Mode::Replicated => service_spec::Mode::Replicated(ReplicatedService { replicas }),
            Mode::Global => service_spec::Mode::Global(GlobalService {}),
            Mode::ReplicatedJob => service_spec::Mode::ReplicatedJob(ReplicatedJob {
                max_concurrent: self.max_concurrent.unwrap_or(replicas),
                total_completions: replicas,
            }),
            Mode::GlobalJob => service_spec::Mode::GlobalJob(GlobalJob {}),
        })
    }

    async fn task(&self, connection: &Connection) -> Result<TaskSpec, Failure> {
        let mut networks = Vec::new();
        for given in &self.network {
            let network: Network = resolve(connection, given).await?;
            let target = network.id;
            networks.push(NetworkAttachmentConfig { target, ..NetworkAttachmentConfig::default() });
        }
        Ok(TaskSpec {
            runtime: Some(task_spec::Runtime::Container(self.container(connection).await?)),
            resources: self.resources(),
            restart: self.restart(),
            placement: Some(Placement {
                constraints: self.constraint.clone(),
                max_replicas: self.replicas_max_per_node,
                ..Placement::default()
            }),
            networks,
            ..TaskSpec::default()
        })
    }

    async fn container(&self, connection: &Connection) -> Result<ContainerSpec, Failure> {
        let mut secrets = Vec::new();
        for Given { source, file } in &self.secret {
            let secret: Secret = resolve(connection, source).await?;
            secrets.push(SecretReference {
                secret_name: secret.name().to_owned(),
                secret_id: secret.id,
                target: Some(secret_reference::Target::File(file.clone())),
            });
        }
        let mut configs = Vec::new();
        for Given { source, file } in &self.config {
            let config: Config = resolve(connection, source).await?;
            configs.push(ConfigReference {
                config_name: config.name().to_owned(),
                config_id: config.id,
                target: Some(config_reference::Target::File(file.clone())),
            });
        }
        Ok(ContainerSpec {
            image: self.image.clone(),
            labels: pairs(&self.container_label),
            // Docker's word: what follows the image are arguments; the command is the image's.
            args: self.command.clone(),
            hostname: self.hostname.clone().unwrap_or_default(),
            env: self.env.clone(),
            dir: self.workdir.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            init: self.init.then_some(true),
            tty: self.tty,
            read_only: self.read_only,
            stop_signal: self.stop_signal.clone().unwrap_or_default(),
            stop_grace_period: self.stop_grace_period.map(wire_duration),
            mounts: self.mount.clone(),
            secrets,
            configs,
            ..ContainerSpec::default()
        })
    }

    fn resources(&self) -> Option<ResourceRequirements> {
        let amount = |cpus: Option<i64>, memory: Option<i64>| {
            (cpus.is_some() || memory.is_some()).then(|| Resources {
                nano_cpus: cpus.unwrap_or_default(),
                memory_bytes: memory.unwrap_or_default(),
                generic: Vec::new(),
            })
        };
        let limits = amount(self.limit_cpu, self.limit_memory);
        let reservations = amount(self.reserve_cpu, self.reserve_memory);
        (limits.is_some() || reservations.is_some()).then(|| ResourceRequirements {
            limits,
            reservations,
            ..ResourceRequirements::default()
        })
    }

    fn restart(&self) -> Option<RestartPolicy> {
        let asked = self.restart_condition.is_some()
            || self.restart_delay.is_some()
            || self.restart_max_attempts.is_some()
            || self.restart_window.is_some();
        asked.then(|| RestartPolicy {
            condition: match self.restart_condition {
                Some(Condition::None) => RestartCondition::None,
                Some(Condition::OnFailure) => RestartCondition::OnFailure,
                Some(Condition::Any) | None => RestartCondition::Any,
            }
            .into(),
            delay: self.restart_delay.map(wire_duration),
            max_attempts: self.restart_max_attempts.unwrap_or_default(),
            window: self.restart_window.map(wire_duration),
        })
    }

    fn update(&self) -> Option<UpdateConfig> {
        let asked = self.update_delay.is_some()
            || self.update_failure_action.is_some()
            || self.update_order.is_some()
            || self.update_parallelism.is_some();
        asked.then(|| UpdateConfig {
            parallelism: self.update_parallelism.unwrap_or(1),
            delay: self.update_delay.map(wire_duration),
            failure_action: match self.update_failure_action {
                Some(OnFailure::Pause) | None => FailureAction::Pause,
                Some(OnFailure::Continue) => FailureAction::Continue,
                Some(OnFailure::Rollback) => FailureAction::Rollback,
            }
            .into(),
            order: match self.update_order {
                Some(Order::StopFirst) | None => UpdateOrder::StopFirst,
                Some(Order::StartFirst) => UpdateOrder::StartFirst,
            }
            .into(),
            ..UpdateConfig::default()
        })
    }
}

/// A name for a service that was given none: the beginning of a random id.
fn random_name() -> String {
    const NAME_LEN: usize = 12;
    let id = skep_proto::ids::Id::random(&mut rand::rng());
    format!("service-{}", &id.as_str()[..NAME_LEN])
}
