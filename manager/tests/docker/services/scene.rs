//! Three managers, engines that are their workers, and what tests do to services on them: small verbs, each of which ends
//! when its effect is to be seen.
//!
//! What the managers say and what the engines do is looked at separately: [`Scene::tasks`] and [`Scene::containers`].

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use skep_proto::{
    skep::{
        ExplainRequest, ExplainResponse, PlacementExplanation, explain_request::Subject,
        scheduling_client::SchedulingClient,
    },
    swarmkit::{
        CreateServiceRequest, GetServiceRequest, ListTasksRequest, Node, NodeSpec,
        RemoveServiceRequest, Service, Task, TaskState, UpdateClusterRequest, UpdateNodeRequest,
        UpdateServiceRequest, list_tasks_request, node_spec::Availability, node_status::State,
    },
};
use skep_testkit::{docker_hosts::DockerHost, skepd_process::Skepd};
use tokio::task::block_in_place;

use super::spec::{IMAGE, Spec};
use crate::support::{self, ENGINE_LIMIT, MANAGERS, PLAIN, Swarm, cluster_object, docker, node_of};

/// The label that engines put on the containers of a service.
pub const SERVICE_LABEL: &str = "com.docker.swarm.service.id";

pub struct Scene {
    pub swarm: Swarm,
    /// The place of the manager that is asked: a follower at first.
    asked: usize,
    /// Services that were removed and may have left something.
    leaving: Mutex<Vec<String>>,
}

impl Scene {
    /// So many engines, all of them workers that have the image. Nothing where engines cannot run.
    pub async fn new(engines: usize) -> Option<Scene> {
        Scene::with(&vec![PLAIN; engines]).await
    }

    /// As [`new`](Self::new), an engine for each list of arguments of `dockerd`.
    pub async fn with(engines: &[&[&str]]) -> Option<Scene> {
        let scene = Scene::with_none_joined(engines).await?;
        for engine in scene.engines() {
            scene.join(engine).await;
        }
        Some(scene)
    }

    /// As [`with`](Self::with), and no engine has joined.
    pub async fn with_none_joined(engines: &[&[&str]]) -> Option<Scene> {
        let swarm = support::swarm_with(engines).await?;
        let (_, asked) = swarm.leader_and_follower().await;
        Some(Scene { swarm, asked, leaving: Mutex::default() })
    }

    /// Gives an engine the image and has it join as a worker.
    pub async fn join(&self, engine: &DockerHost) -> Node {
        block_in_place(|| engine.import_busybox(IMAGE)).unwrap();
        self.swarm.join(engine, self.manager()).await
    }

    /// Kills the manager that leads, and gives its place.
    pub async fn kill_leader(&mut self) -> usize {
        let leader = self.swarm.cluster.leader().await.unwrap();
        self.swarm.cluster.managers[leader].kill();
        leader
    }

    /// Starts a manager again, and waits until all nodes are ready.
    pub async fn revive(&mut self, manager: usize) {
        self.swarm.cluster.managers[manager].restart().await.unwrap();
        let nodes = MANAGERS + self.engines().len();
        self.manager().wait_until_ready(nodes, MANAGERS).await.unwrap();
    }

    /// A manager that runs.
    pub fn manager(&self) -> &Skepd {
        let managers = &self.swarm.cluster.managers;
        let from_asked = managers.iter().cycle().skip(self.asked).take(managers.len());
        from_asked.into_iter().find(|manager| manager.pid().is_some()).expect("a manager runs")
    }

    pub fn engines(&self) -> &[DockerHost] {
        self.swarm.engines.hosts()
    }

    pub fn engine(&self, place: usize) -> &DockerHost {
        self.swarm.engine(place)
    }

    /// Looks until it is satisfied; the error says what is there instead.
    pub async fn wait<T>(&self, what: &str, probe: impl AsyncFn(&Scene) -> Result<T, String>) -> T {
        let probe = async |_: &Skepd| probe(self).await;
        self.manager().wait_for(what, ENGINE_LIMIT, probe).await.unwrap()
    }

    /// Creates a service and gives its id.
    pub async fn create(&self, spec: &Spec) -> String {
        let request = CreateServiceRequest { spec: Some(spec.0.clone()) };
        let created = self.manager().control_client().create_service(request).await.unwrap();
        created.into_inner().service.unwrap().id
    }

    /// Gives a service another spec.
    pub async fn update(&self, service: &str, spec: &Spec) {
        self.wait("the service to be updated", async |scene| {
            let now = scene.service(service).await?;
            let request = UpdateServiceRequest {
                service_id: now.id,
                service_version: now.meta.and_then(|meta| meta.version),
                spec: Some(spec.0.clone()),
                ..Default::default()
            };
            let mut control = scene.manager().control_client();
            control.update_service(request).await.map(drop).map_err(|s| s.to_string())
        })
        .await;
    }

    /// Removes a service, and waits until its tasks and containers are gone.
    pub async fn remove(&self, service: &str) {
        self.remove_all(&[service]).await;
    }

    /// Removes services, and waits until their tasks and containers are gone.
    pub async fn remove_all(&self, services: &[&str]) {
        for service in services {
            self.let_go(service).await;
        }
        self.wait_gone().await;
    }

    /// Removes a service, and goes on while it goes.
    pub async fn let_go(&self, service: &str) {
        let request = RemoveServiceRequest { service_id: service.to_owned() };
        self.manager().control_client().remove_service(request).await.unwrap();
        self.leaving.lock().unwrap().push(service.to_owned());
    }

    /// Waits until the tasks and containers of all services that were let go are gone.
    pub async fn wait_gone(&self) {
        let services = std::mem::take(&mut *self.leaving.lock().unwrap());
        self.wait("services to be gone", async |scene| {
            for service in &services {
                let tasks = scene.tasks(service).await?.len();
                let containers: usize = scene.containers_on_each(service)?.iter().sum();
                if tasks + containers > 0 {
                    return Err(format!("{tasks} tasks and {containers} containers are left"));
                }
            }
            Ok(())
        })
        .await;
    }

    pub async fn service(&self, service: &str) -> Result<Service, String> {
        let request = GetServiceRequest { service_id: service.to_owned(), ..Default::default() };
        let got = self.manager().control_client().get_service(request).await;
        let got = got.map_err(|status| status.to_string())?.into_inner();
        got.service.ok_or_else(|| "the reply has no service".to_owned())
    }

    /// All tasks of a service that managers keep, those that have ended too.
    pub async fn tasks(&self, service: &str) -> Result<Vec<Task>, String> {
        let service_ids = vec![service.to_owned()];
        let filters = Some(list_tasks_request::Filters { service_ids, ..Default::default() });
        let listed = self.manager().control_client().list_tasks(ListTasksRequest { filters }).await;
        listed.map(|listed| listed.into_inner().tasks).map_err(|status| status.to_string())
    }

    /// The running containers of a service on an engine.
    pub fn containers(&self, engine: &DockerHost, service: &str) -> Result<Vec<String>, String> {
        let filter = format!("label={SERVICE_LABEL}={service}");
        let listed = docker(engine, &["ps", "--quiet", "--no-trunc", "--filter", &filter]);
        let listed = listed.map_err(|error| error.to_string())?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// How many running containers of a service each engine has; of one that does not answer, none.
    pub fn containers_on_each(&self, service: &str) -> Result<Vec<usize>, String> {
        let count = |engine: &DockerHost| match engine.answers() {
            true => self.containers(engine, service).map(|containers| containers.len()),
            false => Ok(0),
        };
        self.engines().iter().map(count).collect()
    }

    /// Waits until so many tasks run and no others are wanted, and the engines have a container for each of them and no
    /// more; gives how many each engine has.
    pub async fn wait_running(&self, service: &str, count: usize) -> Vec<usize> {
        self.wait(&format!("{count} tasks to run"), async |scene| {
            let tasks = scene.tasks(service).await?;
            let on_each = scene.containers_on_each(service)?;
            let wanted = tasks.iter().filter(|t| t.desired_state() <= TaskState::Running).count();
            let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
            running(&tasks).for_each(|task| *on_node.entry(&task.node_id).or_default() += 1);
            let sorted = |counts: &mut dyn Iterator<Item = usize>| {
                let mut counts: Vec<_> = counts.filter(|count| *count > 0).collect();
                counts.sort_unstable();
                counts
            };
            let said = sorted(&mut on_node.into_values());
            let found = sorted(&mut on_each.iter().copied());
            if wanted == count && said.iter().sum::<usize>() == count && said == found {
                Ok(on_each)
            } else {
                Err(format!("{on_each:?} containers; {}", describe(&tasks)))
            }
        })
        .await
    }

    /// Kills a container of a service on an engine, and waits until another is in its place on that engine.
    pub async fn kill_one(&self, engine: &DockerHost, service: &str) {
        let before = self.containers(engine, service).unwrap();
        docker(engine, &["kill", &before[0]]).unwrap();
        self.wait("the container to be replaced", async |scene| {
            let now = scene.containers(engine, service)?;
            if now.len() == before.len() && !now.contains(&before[0]) {
                Ok(())
            } else {
                Err(format!("{now:?}; {}", describe(&scene.tasks(service).await?)))
            }
        })
        .await;
    }

    /// Waits until so many tasks are complete and all others have ended; gives the complete ones.
    pub async fn wait_complete(&self, job: &str, count: usize) -> Vec<Task> {
        self.wait(&format!("{count} tasks to be complete"), async |scene| {
            let all = scene.tasks(job).await?;
            let is_wanted = |task: &&Task| task.desired_state() <= TaskState::Complete;
            let ended = |task: &&Task| state(task) >= TaskState::Complete;
            let under_way = all.iter().filter(is_wanted).filter(|task| !ended(task)).count();
            let said = describe(&all);
            let is_complete = |task: &Task| state(task) == TaskState::Complete;
            let complete: Vec<Task> = all.into_iter().filter(is_complete).collect();
            assert!(complete.len() <= count, "more than {count} are complete:{said}");
            if complete.len() == count && under_way == 0 { Ok(complete) } else { Err(said) }
        })
        .await
    }

    /// Waits until something holds.
    pub async fn wait_until(&self, what: &str, wanted: impl Fn() -> bool) {
        self.wait(what, async |_| if wanted() { Ok(()) } else { Err("not yet".into()) }).await;
    }

    /// Waits until the engines have so many running containers of a service each.
    pub async fn wait_containers(&self, service: &str, expected: &[usize]) {
        self.wait("the containers", async |scene| match scene.containers_on_each(service)? {
            found if found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        })
        .await;
    }

    /// Waits until so many tasks look for a node in vain and say so in these words, each of which is a part of it; gives
    /// what [`Explain`](skep_proto::skep::scheduling_client::SchedulingClient::explain) makes of it, node by node.
    pub async fn wait_waiting(
        &self,
        service: &str,
        count: usize,
        words: &[&str],
    ) -> PlacementExplanation {
        let says = |task: &Task| {
            let err = task.status.as_ref().map_or("", |status| &status.err);
            err.starts_with("no suitable node (") && words.iter().all(|word| err.contains(word))
        };
        self.wait(&format!("{count} tasks to wait, and say {words:?}"), async |scene| {
            let tasks = scene.tasks(service).await?;
            let is_wanted = |task: &&Task| task.desired_state() <= TaskState::Complete;
            let waits = |task: &&Task| state(task) == TaskState::Pending;
            let wait: Vec<&Task> = tasks.iter().filter(is_wanted).filter(waits).collect();
            if wait.len() == count && wait.iter().all(|task| says(task)) {
                Ok(())
            } else {
                Err(describe(&tasks))
            }
        })
        .await;
        let explained = self.explain(service).await;
        let waiting: Vec<_> = explained.tasks.iter().filter(|task| task.placement == 1).collect();
        assert_eq!((waiting.len(), explained.placements.len()), (count, 1), "{explained:?}");
        let placement = explained.placements.into_iter().next().expect("there is one");
        for task in waiting {
            assert_eq!(task.err, placement.summary, "the scheduler and the explanation differ");
            assert!(!task.hints.is_empty(), "nothing is said to help: {task:?}");
        }
        assert_eq!(placement.nodes_suitable, 0, "{placement:?}");
        placement
    }

    async fn explain(&self, service: &str) -> ExplainResponse {
        let subject = Some(Subject::ServiceId(service.to_owned()));
        let mut scheduling = SchedulingClient::new(self.manager().channel());
        scheduling.explain(ExplainRequest { subject }).await.unwrap().into_inner()
    }

    /// Waits until a node is in this state.
    pub async fn wait_state(&self, engine: &DockerHost, wanted: State) {
        self.wait(&format!("the node to be {wanted:?}"), async |scene| {
            let node = node_of(scene.manager(), engine).await?;
            match support::state(&node) {
                state if state == wanted => Ok(()),
                _ => Err(format!("{:?}", node.status)),
            }
        })
        .await;
    }

    /// How often nodes are to say that they live; one that misses three in a row is down.
    pub async fn set_heartbeat(&self, period: Duration) {
        self.wait("the cluster to be updated", async |scene| {
            let cluster = cluster_object(scene.manager()).await.map_err(|s| s.to_string())?;
            let mut spec = cluster.spec.unwrap_or_default();
            spec.dispatcher.get_or_insert_default().heartbeat_period = period.try_into().ok();
            let request = UpdateClusterRequest {
                cluster_id: cluster.id,
                cluster_version: cluster.meta.and_then(|meta| meta.version),
                spec: Some(spec),
                rotation: None,
            };
            let mut control = scene.manager().control_client();
            control.update_cluster(request).await.map(drop).map_err(|s| s.to_string())
        })
        .await;
    }

    /// Sets whether an engine takes tasks.
    pub async fn set_availability(&self, engine: &DockerHost, availability: Availability) {
        self.update_node(engine, |spec| spec.set_availability(availability)).await;
    }

    /// Gives an engine's node a label.
    pub async fn label(&self, engine: &DockerHost, label: &str, value: &str) {
        self.update_node(engine, |spec| {
            let labels = &mut spec.annotations.get_or_insert_default().labels;
            labels.insert(label.to_owned(), value.to_owned());
        })
        .await;
    }

    /// Changes the spec of an engine's node.
    pub async fn update_node(&self, engine: &DockerHost, change: impl Fn(&mut NodeSpec)) {
        self.wait("the node to be updated", async |scene| {
            let node = node_of(scene.manager(), engine).await?;
            let mut spec = node.spec.unwrap_or_default();
            change(&mut spec);
            let request = UpdateNodeRequest {
                node_id: node.id,
                node_version: node.meta.and_then(|meta| meta.version),
                spec: Some(spec),
            };
            let mut control = scene.manager().control_client();
            control.update_node(request).await.map(drop).map_err(|s| s.to_string())
        })
        .await;
    }
}

/// What its node says of a task.
pub fn state(task: &Task) -> TaskState {
    task.status.as_ref().map_or(TaskState::New, |status| status.state())
}

/// The tasks that run and should.
pub fn running(tasks: &[Task]) -> impl Iterator<Item = &Task> {
    tasks.iter().filter(|task| {
        state(task) == TaskState::Running && task.desired_state() == TaskState::Running
    })
}

/// Tasks in a line each, for messages.
pub fn describe(tasks: &[Task]) -> String {
    let line = |task: &Task| {
        let err = task.status.as_ref().map_or("", |status| &status.err);
        let (desired, state) = (task.desired_state(), state(task));
        format!(
            "\n  slot {} node '{}': {state:?}, to be {desired:?} {err}",
            task.slot, task.node_id
        )
    };
    tasks.iter().map(line).collect()
}
