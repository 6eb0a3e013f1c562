//! Specs of services, put together word by word.

use std::path::Path;

use skep_proto::swarmkit::{
    Annotations, ConfigReference, ContainerSpec, DiscreteGenericResource, Driver, GenericResource,
    GlobalJob, GlobalService, Mount, NetworkAttachmentConfig, Placement, PlacementPreference,
    Platform, PortConfig, ReplicatedJob, ReplicatedService, Resources, RestartPolicy,
    SecretReference, ServiceSpec, SpreadOver, TaskSpec, UpdateConfig,
    endpoint_spec::ResolutionMode, generic_resource, mount, placement_preference::Preference,
    port_config, restart_policy::RestartCondition, service_spec::Mode, task_spec::Runtime,
};

/// The image that all engines have, with busybox in it.
pub const IMAGE: &str = "skep-test:1";

/// A reservation of memory.
pub fn memory(bytes: i64) -> Resources {
    Resources { memory_bytes: bytes, ..Default::default() }
}

/// A reservation of processors, in billionths.
pub fn cpus(nano: i64) -> Resources {
    Resources { nano_cpus: nano, ..Default::default() }
}

/// A reservation of so many of a kind of things that only some nodes have.
pub fn generic(kind: &str, value: i64) -> Resources {
    let wanted = DiscreteGenericResource { kind: kind.to_owned(), value };
    let resource = Some(generic_resource::Resource::DiscreteResourceSpec(wanted));
    Resources { generic: vec![GenericResource { resource }], ..Default::default() }
}

/// A spec in the making. As it begins: containers that sleep, that die at once when they are told to stop, and that are
/// replaced without delay.
#[derive(Clone)]
pub struct Spec(pub ServiceSpec);

/// A service of so many replicas.
pub fn replicated(name: &str, replicas: u64) -> Spec {
    with_mode(name, Mode::Replicated(ReplicatedService { replicas }))
}

/// A service with a task on every node.
pub fn global(name: &str) -> Spec {
    with_mode(name, Mode::Global(GlobalService {}))
}

/// A job that is to be done so many times, by so many tasks at a time.
pub fn replicated_job(name: &str, total_completions: u64, max_concurrent: u64) -> Spec {
    with_mode(name, Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions }))
}

/// A job that is to be done once on every node.
pub fn global_job(name: &str) -> Spec {
    with_mode(name, Mode::GlobalJob(GlobalJob {}))
}

fn with_mode(name: &str, mode: Mode) -> Spec {
    let container = ContainerSpec {
        image: IMAGE.to_owned(),
        command: vec!["sleep".to_owned(), "3600".to_owned()],
        stop_grace_period: Some(Default::default()),
        ..Default::default()
    };
    let restart = RestartPolicy {
        condition: RestartCondition::Any.into(),
        delay: Some(Default::default()),
        ..Default::default()
    };
    let task = TaskSpec {
        runtime: Some(Runtime::Container(container)),
        restart: Some(restart),
        ..Default::default()
    };
    Spec(ServiceSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        task: Some(task.into()),
        mode: Some(mode),
        ..Default::default()
    })
}

impl Spec {
    /// So many replicas.
    pub fn replicas(mut self, replicas: u64) -> Spec {
        self.0.mode = Some(Mode::Replicated(ReplicatedService { replicas }));
        self
    }

    /// Under another name.
    pub fn named(mut self, name: &str) -> Spec {
        self.0.annotations.get_or_insert_default().name = name.to_owned();
        self
    }

    /// With updates that replace all tasks at once, and do not watch them.
    pub fn updated_at_once(self) -> Spec {
        self.updates(UpdateConfig { monitor: Some(Default::default()), ..Default::default() })
    }

    /// Runs this instead of sleeping.
    pub fn script(mut self, script: &str) -> Spec {
        self.container().command = ["sh", "-c", script].map(str::to_owned).to_vec();
        self
    }

    /// With a variable; its value may name the task or node, as `{{.Task.ID}}` does.
    pub fn env(mut self, name: &str, value: &str) -> Spec {
        self.container().env.push(format!("{name}={value}"));
        self
    }

    /// With a folder of this machine, which is the same for all engines, at `target`.
    pub fn folder(mut self, folder: &Path, target: &str) -> Spec {
        self.container().mounts.push(Mount {
            r#type: mount::Type::Bind.into(),
            source: folder.to_str().expect("the folder's name is UTF-8").to_owned(),
            target: target.to_owned(),
            ..Default::default()
        });
        self
    }

    /// On nodes for which all of these hold.
    pub fn constraints(mut self, constraints: &[&str]) -> Spec {
        self.placement().constraints = constraints.iter().map(|&c| c.to_owned()).collect();
        self
    }

    /// Spread over the values of a label, such as `node.labels.zone`.
    pub fn spread_over(mut self, label: &str) -> Spec {
        let spread = Preference::Spread(SpreadOver { spread_descriptor: label.to_owned() });
        self.placement().preferences.push(PlacementPreference { preference: Some(spread) });
        self
    }

    /// With no more than so many tasks on a node.
    pub fn max_per_node(mut self, count: u64) -> Spec {
        self.placement().max_replicas = count;
        self
    }

    /// With an image for this platform only.
    pub fn platform(mut self, os: &str, architecture: &str) -> Spec {
        let (os, architecture) = (os.to_owned(), architecture.to_owned());
        self.placement().platforms.push(Platform { os, architecture });
        self
    }

    /// With so much set aside for each task, instead of what was.
    pub fn reserve(mut self, reservations: Resources) -> Spec {
        self.task().resources.get_or_insert_default().reservations = Some(reservations);
        self
    }

    /// With a port of the container published on the node that it runs on.
    pub fn host_port(self, published: u32, target: u32) -> Spec {
        let publish_mode = port_config::PublishMode::Host.into();
        let (published_port, target_port) = (published, target);
        self.port(PortConfig { target_port, published_port, publish_mode, ..Default::default() })
    }

    /// With a port of the container published on every node of the swarm; 0 for one of the manager's choice.
    pub fn ingress_port(self, published: u32, target: u32) -> Spec {
        let (published_port, target_port) = (published, target);
        self.port(PortConfig { target_port, published_port, ..Default::default() })
    }

    /// With a port published in this way.
    pub fn port(mut self, port: PortConfig) -> Spec {
        self.0.endpoint.get_or_insert_default().ports.push(port);
        self
    }

    /// With an address of its own, which its name stands for; also what it is when it does not say so.
    pub fn with_address(mut self) -> Spec {
        self.0.endpoint.get_or_insert_default().mode = ResolutionMode::Vip.into();
        self
    }

    /// Without an address of its own: its name stands for the addresses of its tasks.
    pub fn without_address(mut self) -> Spec {
        self.0.endpoint.get_or_insert_default().mode = ResolutionMode::Dnsrr.into();
        self
    }

    /// With its tasks on this network too.
    pub fn network(self, id: &str) -> Spec {
        self.attached(NetworkAttachmentConfig { target: id.to_owned(), ..Default::default() })
    }

    /// With its tasks on a network in this way.
    pub fn attached(mut self, attachment: NetworkAttachmentConfig) -> Spec {
        self.task().networks.push(attachment);
        self
    }

    /// With its tasks on this network and no other.
    pub fn only_network(mut self, id: &str) -> Spec {
        self.task().networks.clear();
        self.network(id)
    }

    /// With logs that go to this driver.
    pub fn log_driver(mut self, name: &str) -> Spec {
        let name = name.to_owned();
        self.task().log_driver = Some(Driver { name, ..Default::default() });
        self
    }

    /// As an update that runs a job again.
    pub fn again(mut self) -> Spec {
        self.task().force_update += 1;
        self
    }

    /// With this secret.
    pub fn secret(mut self, secret: SecretReference) -> Spec {
        self.container().secrets.push(secret);
        self
    }

    /// With this config.
    pub fn config(mut self, config: ConfigReference) -> Spec {
        self.container().configs.push(config);
        self
    }

    /// Updates go like this.
    pub fn updates(mut self, config: UpdateConfig) -> Spec {
        self.0.update = Some(config);
        self
    }

    /// Containers that ended are replaced under this policy.
    pub fn restarts(mut self, policy: RestartPolicy) -> Spec {
        self.task().restart = Some(policy);
        self
    }

    /// What its containers are.
    pub fn container(&mut self) -> &mut ContainerSpec {
        match &mut self.task().runtime {
            Some(Runtime::Container(container)) => container,
            other => panic!("the spec is of no container: {other:?}"),
        }
    }

    fn placement(&mut self) -> &mut Placement {
        self.task().placement.get_or_insert_default()
    }

    /// What its tasks are.
    pub fn task(&mut self) -> &mut TaskSpec {
        self.0.task.get_or_insert_default()
    }
}
