//! Specs of services, put together word by word.

use std::path::Path;

use skep_proto::swarmkit::{
    Annotations, ConfigReference, ContainerSpec, GlobalJob, GlobalService, Mount, ReplicatedJob,
    ReplicatedService, RestartPolicy, SecretReference, ServiceSpec, TaskSpec, UpdateConfig, mount,
    restart_policy::RestartCondition, service_spec::Mode, task_spec::Runtime,
};

/// The image that all engines have, with busybox in it.
pub const IMAGE: &str = "skep-test:1";

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
        task: Some(task),
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

    /// What its tasks are.
    pub fn task(&mut self) -> &mut TaskSpec {
        self.0.task.get_or_insert_default()
    }
}
