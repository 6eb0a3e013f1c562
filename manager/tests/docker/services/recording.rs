//! What happened to a service, change by change: its tasks as the managers commit them, its containers as the engines report
//! them. Nothing between two changes is missed, which asking now and then would.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use skep_proto::swarmkit::{
    SelectBy, Service, Task, TaskState, WatchActionKind, WatchMessage, WatchRequest,
    object::Object, select_by::By, update_status::UpdateState, watch_request::WatchEntry,
};
use skep_testkit::docker_hosts::DockerHost;
use tonic::Streaming;

use super::scene::{SERVICE_LABEL, Scene, describe, state};
use crate::support::{ENGINE_LIMIT, docker};

/// The store's changes of one service, from a moment at which nothing happens to it.
pub struct Recording {
    commits: Streaming<WatchMessage>,
    began: SystemTime,
    tasks: BTreeMap<String, Task>,
    service: Option<Service>,
    /// The least and the most tasks that ran after any commit.
    pub least: usize,
    pub most: usize,
    /// New tasks in the order in which they came: when, and when they ran.
    turns: BTreeMap<String, (SystemTime, Option<SystemTime>)>,
}

impl Recording {
    /// Records from now on.
    pub async fn begin(scene: &Scene, service: &str) -> Recording {
        let entry = |kind: &str, by: By| WatchEntry {
            kind: kind.to_owned(),
            action: WatchActionKind::WatchActionCreate as i32
                | WatchActionKind::WatchActionUpdate as i32
                | WatchActionKind::WatchActionRemove as i32,
            filters: vec![SelectBy { by: Some(by) }],
        };
        let entries = vec![
            entry("task", By::ServiceId(service.to_owned())),
            entry("service", By::Id(service.to_owned())),
        ];
        let request = WatchRequest { entries, ..Default::default() };
        let mut commits = scene.manager().watch_client().watch(request).await.unwrap().into_inner();
        commits.message().await.unwrap().expect("it says that it stands");
        let tasks = scene.tasks(service).await.unwrap();
        let tasks: BTreeMap<_, _> = tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
        let count = count_running(&tasks);
        Recording {
            commits,
            began: SystemTime::now(),
            tasks,
            service: None,
            least: count,
            most: count,
            turns: BTreeMap::new(),
        }
    }

    /// Records until the service's update is in this state, and gives the service.
    pub async fn until(&mut self, wanted: UpdateState) -> Service {
        let described = format!("the update to be {wanted:?}");
        self.until_it(&described, |recording| {
            recording.service.clone().filter(|service| update_state(service) == wanted)
        })
        .await
    }

    /// Records until this finds what it looks for.
    pub async fn until_it<T>(&mut self, what: &str, look: impl Fn(&Recording) -> Option<T>) -> T {
        let found = tokio::time::timeout(ENGINE_LIMIT, async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                let commit = self.commits.message().await.unwrap().expect("the watch goes on");
                self.take(commit);
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => {
                let tasks: Vec<Task> = self.tasks.values().cloned().collect();
                let status = self.service.as_ref().and_then(|s| s.update_status.clone());
                panic!("{what}: not in time; {status:?} {}", describe(&tasks))
            }
        }
    }

    /// The tasks that came since it began, as they are now.
    pub fn newcomers(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| self.turns.contains_key(&task.id))
    }

    /// At most so many places were in change at a time: from when the new task was made until it ran and the delay was over.
    pub fn keeps(&self, parallelism: usize, delay: Duration) {
        let mut turns: Vec<_> = self.turns.values().copied().collect();
        turns.sort();
        for (began, _) in &turns {
            let busy = |(other, ran): &&(SystemTime, Option<SystemTime>)| {
                other <= began && ran.is_none_or(|ran| ran + delay > *began)
            };
            let in_change = turns.iter().filter(busy).count();
            assert!(in_change <= parallelism, "{in_change} places in change: {turns:#?}");
        }
    }

    /// How many places got new tasks.
    pub fn places(&self) -> usize {
        self.newcomers().map(|task| task.slot).collect::<BTreeSet<_>>().len()
    }

    /// How many new tasks there were.
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    fn take(&mut self, commit: WatchMessage) {
        for event in commit.events {
            let removed = event.action() == WatchActionKind::WatchActionRemove;
            match event.object.and_then(|object| object.object) {
                Some(Object::Service(service)) => self.service = Some(service),
                Some(Object::Task(task)) if removed => {
                    self.tasks.remove(&task.id);
                }
                Some(Object::Task(task)) => {
                    self.note_turn(&task);
                    self.tasks.insert(task.id.clone(), task);
                }
                _ => {}
            }
        }
        let count = count_running(&self.tasks);
        self.least = self.least.min(count);
        self.most = self.most.max(count);
    }

    fn note_turn(&mut self, task: &Task) {
        let created = task.meta.as_ref().and_then(|meta| meta.created_at);
        let created = SystemTime::try_from(created.unwrap_or_default()).unwrap();
        if created < self.began {
            return;
        }
        let (_, ran) = self.turns.entry(task.id.clone()).or_insert((created, None));
        if state(task) >= TaskState::Running && ran.is_none() {
            let applied = task.status.as_ref().and_then(|status| status.applied_at);
            *ran = applied.and_then(|applied| applied.try_into().ok());
        }
    }

    /// What the containers of the service did meanwhile, in order, on all engines together.
    pub fn containers(&self, scene: &Scene, service: &str) -> Vec<Happening> {
        let mut all: Vec<Happening> = scene
            .engines()
            .iter()
            .filter(|engine| engine.pid().is_some())
            .flat_map(|engine| happenings(engine, service, self.began))
            .collect();
        all.sort_by_key(|happening| happening.at);
        all
    }
}

fn count_running(tasks: &BTreeMap<String, Task>) -> usize {
    tasks.values().filter(|task| state(task) == TaskState::Running).count()
}

/// How a service's update stands.
pub fn update_state(service: &Service) -> UpdateState {
    service.update_status.as_ref().map_or(UpdateState::Unknown, |status| status.state())
}

/// A container began or ended.
#[derive(Clone, Debug)]
pub struct Happening {
    pub at: SystemTime,
    /// Whether it runs now.
    pub starts: bool,
}

/// The least and the most containers that ran at any time, where `count` ran at first.
pub fn least_and_most(happenings: &[Happening], count: usize) -> (usize, usize) {
    let (mut least, mut most, mut now) = (count, count, count);
    for happening in happenings {
        now = if happening.starts { now + 1 } else { now - 1 };
        (least, most) = (least.min(now), most.max(now));
    }
    (least, most)
}

/// The beginnings and ends of a service's containers on an engine since then.
pub fn happenings(engine: &DockerHost, service: &str, since: SystemTime) -> Vec<Happening> {
    let (since, until) = (seconds(since), seconds(SystemTime::now()));
    let label = format!("label={SERVICE_LABEL}={service}");
    let listed = docker(
        engine,
        &[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "type=container",
            "--filter",
            "event=start",
            "--filter",
            "event=die",
            "--filter",
            &label,
            "--format",
            "{{json .}}",
        ],
    );
    let listed = listed.unwrap();
    let read = |line: &str| -> Option<Happening> {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(Happening {
            at: UNIX_EPOCH + Duration::from_nanos(event["timeNano"].as_u64()?),
            starts: event["Action"].as_str()? == "start",
        })
    };
    listed.lines().map(|line| read(line).unwrap_or_else(|| panic!("no event: {line}"))).collect()
}

fn seconds(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
