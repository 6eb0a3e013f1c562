//! Services whose tasks are real containers on stock engines.

use std::collections::BTreeMap;

use skep_proto::swarmkit::{
    Annotations, ContainerSpec, CreateSecretRequest, CreateServiceRequest, FileTarget,
    GetServiceRequest, ListTasksRequest, RemoveServiceRequest, ReplicatedService, RestartPolicy,
    SecretReference, SecretSpec, ServiceSpec, Task, TaskSpec, TaskState, UpdateServiceRequest,
    restart_policy::RestartCondition, secret_reference, service_spec, task_spec,
};
use skep_testkit::{docker_hosts::DockerHost, skepd_process::Skepd};

use crate::support::{ENGINE_LIMIT, Swarm, docker, swarm};

const IMAGE: &str = "skep-test:1";
const PASSWORD: &str = "correct horse";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_is_mended_and_goes() {
    let Some(swarm) = swarm(2).await else { return };
    let (_, follower) = swarm.leader_and_follower().await;
    let manager = &swarm.cluster.managers[follower];
    for engine in swarm.engines.hosts() {
        tokio::task::block_in_place(|| engine.import_busybox(IMAGE)).unwrap();
        swarm.join(engine, manager).await;
    }
    let spec = spec(manager, 4).await;
    let request = CreateServiceRequest { spec: Some(spec.clone()) };
    let created = manager.control_client().create_service(request).await.unwrap();
    let service = created.into_inner().service.unwrap();
    assert_eq!(running_on_each(&swarm, manager, 4).await, [2, 2], "they are not spread");

    // The secret is there, for its user alone.
    let engine = swarm.engine(0);
    let container = containers(engine).into_iter().next().unwrap();
    let read = docker(engine, &["exec", &container, "cat", "/run/secrets/password"]).unwrap();
    assert_eq!(read, PASSWORD);
    let listed =
        docker(engine, &["exec", &container, "ls", "-l", "/run/secrets/password"]).unwrap();
    assert!(listed.starts_with("-r--------"), "{listed}");

    // A container that dies is replaced.
    docker(engine, &["kill", &container]).unwrap();
    manager
        .wait_for("the container to be replaced", ENGINE_LIMIT, async |manager| {
            let all = tasks(manager).await?;
            let failed = all.iter().filter(|task| state(task) == TaskState::Failed).count();
            let running = running(&all).count();
            let now = containers(engine);
            if failed == 1 && running == 4 && !now.contains(&container) {
                Ok(())
            } else {
                Err(format!("{failed} failed, {running} running; {now:?}"))
            }
        })
        .await
        .unwrap();

    // More of them.
    let more = ServiceSpec { mode: replicas(6), ..spec };
    let mut control = manager.control_client();
    let get = GetServiceRequest { service_id: service.id.clone(), ..Default::default() };
    let now = control.get_service(get).await.unwrap().into_inner().service.unwrap();
    let request = UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: now.meta.unwrap().version,
        spec: Some(more),
        ..Default::default()
    };
    control.update_service(request).await.unwrap();
    assert_eq!(running_on_each(&swarm, manager, 6).await, [3, 3], "they are not spread");

    // It goes, and its containers with it.
    let request = RemoveServiceRequest { service_id: service.id };
    control.remove_service(request).await.unwrap();
    manager
        .wait_for("everything to be gone", ENGINE_LIMIT, async |manager| {
            let tasks = tasks(manager).await?.len();
            let containers: usize = swarm.engines.hosts().iter().map(|e| containers(e).len()).sum();
            if tasks + containers == 0 {
                Ok(())
            } else {
                Err(format!("{tasks} tasks and {containers} containers are left"))
            }
        })
        .await
        .unwrap();
}

/// A service that sleeps, with a secret.
async fn spec(manager: &Skepd, count: u64) -> ServiceSpec {
    let secret = SecretSpec {
        annotations: named("password"),
        data: PASSWORD.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let request = CreateSecretRequest { spec: Some(secret) };
    let created = manager.control_client().create_secret(request).await.unwrap();
    let target = FileTarget {
        name: "password".to_owned(),
        uid: "0".to_owned(),
        gid: "0".to_owned(),
        mode: 0o400,
    };
    let reference = SecretReference {
        secret_id: created.into_inner().secret.unwrap().id,
        secret_name: "password".to_owned(),
        target: Some(secret_reference::Target::File(target)),
    };
    let container = ContainerSpec {
        image: IMAGE.to_owned(),
        command: vec!["sleep".to_owned(), "3600".to_owned()],
        secrets: vec![reference],
        stop_grace_period: Some(Default::default()),
        ..Default::default()
    };
    let restart = RestartPolicy {
        condition: RestartCondition::Any.into(),
        delay: Some(Default::default()),
        ..Default::default()
    };
    let task = TaskSpec {
        runtime: Some(task_spec::Runtime::Container(container)),
        restart: Some(restart),
        ..Default::default()
    };
    ServiceSpec {
        annotations: named("sleepers"),
        task: Some(task),
        mode: replicas(count),
        ..Default::default()
    }
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.to_owned(), ..Default::default() })
}

fn replicas(replicas: u64) -> Option<service_spec::Mode> {
    Some(service_spec::Mode::Replicated(ReplicatedService { replicas }))
}

async fn tasks(manager: &Skepd) -> Result<Vec<Task>, String> {
    let listed = manager.control_client().list_tasks(ListTasksRequest::default()).await;
    listed.map(|listed| listed.into_inner().tasks).map_err(|status| status.to_string())
}

fn state(task: &Task) -> TaskState {
    task.status.as_ref().map_or(TaskState::New, |status| status.state())
}

fn running(tasks: &[Task]) -> impl Iterator<Item = &Task> {
    tasks.iter().filter(|task| {
        state(task) == TaskState::Running && task.desired_state() == TaskState::Running
    })
}

/// Waits until so many tasks run, and the engines have a container for each; gives how many each engine has.
async fn running_on_each(swarm: &Swarm, manager: &Skepd, count: usize) -> Vec<usize> {
    manager
        .wait_for("the tasks to run", ENGINE_LIMIT, async |manager| {
            let all = tasks(manager).await?;
            let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
            running(&all).for_each(|task| *on_node.entry(&task.node_id).or_default() += 1);
            let on_engine: Vec<_> =
                swarm.engines.hosts().iter().map(|engine| containers(engine).len()).collect();
            let said: usize = on_node.values().sum();
            if said == count && on_engine.iter().sum::<usize>() == count {
                Ok(on_engine)
            } else {
                let seen = all.iter().map(|task| (task.slot, state(task), task.status.clone()));
                Err(format!("{on_engine:?} containers; {:?}", seen.collect::<Vec<_>>()))
            }
        })
        .await
        .unwrap()
}

/// The running containers of an engine.
fn containers(engine: &DockerHost) -> Vec<String> {
    let listed = docker(engine, &["ps", "--quiet", "--no-trunc"]).unwrap();
    listed.lines().map(str::to_owned).collect()
}
