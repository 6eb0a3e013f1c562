//! Specs of services, put together word by word.

use skep_proto::swarmkit::{
    Annotations, ContainerSpec, GlobalService, ReplicatedService, RestartPolicy, SecretReference,
    ServiceSpec, TaskSpec, restart_policy::RestartCondition, service_spec::Mode,
    task_spec::Runtime,
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

    /// With this secret.
    pub fn secret(mut self, secret: SecretReference) -> Spec {
        self.container().secrets.push(secret);
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
