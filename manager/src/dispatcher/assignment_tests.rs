//! What a node is told, against an agent that does as engines do: it takes the first set for everything, applies what comes
//! after it, and notices a gap.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skep_proto::{
    ids::TaskId,
    swarmkit::{
        Annotations, AssignmentsMessage, Config, ConfigSpec, ContainerSpec, Secret,
        SecretReference, SecretSpec, Task, TaskSpec, TaskState, TaskStatus, Volume,
        VolumePublishStatus, VolumeSpec, assignment::Item, assignment_change::AssignmentAction,
        assignments_message::Type, config_reference, secret_reference, task_spec::Runtime,
        volume_publish_status::State,
    },
};
use skep_store::{
    Store, StoreError,
    solo::{Solo, lead_alone},
};

use super::{
    assignment_set::AssignmentSet,
    dependencies::{self, Dependency},
    fan_out::concerned,
    follower::{Dirty, Touched},
};

const NODE: &str = "w";

/// What an engine holds.
#[derive(Debug, Default, PartialEq)]
struct Agent {
    last: String,
    tasks: BTreeMap<String, Task>,
    others: BTreeSet<String>,
}

impl Agent {
    fn apply(&mut self, message: AssignmentsMessage) {
        if message.r#type() == Type::Complete {
            *self = Agent::default();
        }
        assert_eq!(message.applies_to, self.last, "a gap");
        let number: u64 = self.last.parse().unwrap_or(0);
        assert_eq!(message.results_in, (number + 1).to_string());
        self.last = message.results_in;
        for change in message.changes {
            let remove = change.action() == AssignmentAction::Remove;
            let item = change.assignment.unwrap().item.unwrap();
            let key = match &item {
                Item::Task(task) if remove => {
                    let bare = Task { id: task.id.clone(), ..Default::default() };
                    assert_eq!(*task, bare, "only the id");
                    assert!(self.tasks.remove(&task.id).is_some(), "removed what is not there");
                    continue;
                }
                Item::Task(task) => {
                    self.tasks.insert(task.id.clone(), task.clone());
                    continue;
                }
                Item::Secret(secret) => format!("secret {}", secret.id),
                Item::Config(config) => format!("config {}", config.id),
                Item::Volume(volume) => format!("volume {}", volume.id),
            };
            match remove {
                true => assert!(self.others.remove(&key), "{key} is not there"),
                false => assert!(self.others.insert(key.clone()), "{key} is there already"),
            }
        }
    }
}

/// A store, the stream of one node, and its agent.
struct Scene {
    store: Store,
    set: AssignmentSet,
    dirty: Dirty,
    agent: Agent,
    _solo: Solo,
}

impl Scene {
    async fn new() -> Scene {
        let store = Store::system();
        let solo = lead_alone(&store);
        for n in 0..3 {
            let named = |name: String| Some(Annotations { name, ..Default::default() });
            let spec = Some(SecretSpec {
                annotations: named(format!("s{n}")),
                data: "x".into(),
                ..Default::default()
            });
            let secret = Secret { id: format!("s{n}"), spec, ..Default::default() };
            let spec =
                Some(ConfigSpec { annotations: named(format!("c{n}")), ..Default::default() });
            let config = Config { id: format!("c{n}"), spec, ..Default::default() };
            store
                .update(|tx| {
                    tx.create(secret)?;
                    tx.create(config).map(drop)
                })
                .await
                .unwrap();
        }
        let set = AssignmentSet::new(NODE.parse().unwrap());
        let mut scene =
            Scene { store, set, dirty: Dirty::default(), agent: Agent::default(), _solo: solo };
        scene.agent.apply(scene.set.complete(&scene.store.view()));
        scene
    }

    /// Makes a change of a task, and puts down whom it concerns as the fan-out does.
    async fn change(&mut self, id: &str, new: Option<Task>) {
        let key: TaskId = id.parse().unwrap();
        let old = self.store.view().get::<Task>(&key).cloned();
        let new = self
            .store
            .update(|tx| {
                Ok::<_, StoreError>(match (tx.get::<Task>(&key).cloned(), new) {
                    (None, None) => None,
                    (None, Some(task)) => Some(tx.create(task)?),
                    (Some(_), None) => tx.remove::<Task>(&key).map(|_| None)?,
                    (Some(stored), Some(task)) => {
                        Some(tx.update(Task { meta: stored.meta, ..task })?)
                    }
                })
            })
            .await
            .unwrap();
        for (node, touched) in concerned(old.as_deref(), new.as_deref()) {
            if node == NODE {
                let entry = self.dirty.tasks.entry(key).or_insert(touched);
                *entry = touched.max(*entry);
            }
        }
    }

    async fn publish(&mut self, volume: &str, state: State) {
        let status =
            VolumePublishStatus { node_id: NODE.into(), state: state.into(), ..Default::default() };
        let annotations = Some(Annotations { name: volume.into(), ..Default::default() });
        let spec = Some(VolumeSpec { annotations, ..Default::default() });
        let volume =
            Volume { id: volume.into(), spec, publish_status: vec![status], ..Default::default() };
        let id = volume.id.parse().unwrap();
        self.store
            .update(|tx| match tx.get::<Volume>(&id).cloned() {
                None => tx.create(volume).map(drop),
                Some(stored) => tx.update(Volume { meta: stored.meta, ..volume }).map(drop),
            })
            .await
            .unwrap();
        self.dirty.volumes.insert(id);
    }

    /// Sends until nothing is left.
    fn send(&mut self) -> usize {
        let mut messages = 0;
        while !self.dirty.is_empty() {
            if let Some(message) =
                self.set.incremental(&self.store.view(), &mut self.dirty, |_, _| false)
            {
                assert!(!message.changes.is_empty(), "never an empty one");
                self.agent.apply(message);
                messages += 1;
            }
        }
        messages
    }

    /// What the agent must hold by the store alone.
    fn expected(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let view = self.store.view();
        let (mut tasks, mut others) = (BTreeSet::new(), BTreeSet::new());
        for task in view.all::<Task>().filter(|task| task.node_id == NODE) {
            let state = task.status.as_ref().unwrap().state;
            if state >= TaskState::Assigned as i32 {
                tasks.insert(task.id.clone());
            }
            if (TaskState::Assigned as i32..=TaskState::Running as i32).contains(&state) {
                others.extend(dependencies::of_task(task).into_iter().filter_map(|d| match d {
                    Dependency::Secret(id) => {
                        view.get::<Secret>(&id).map(|_| format!("secret {id}"))
                    }
                    Dependency::Config(id) => {
                        view.get::<Config>(&id).map(|_| format!("config {id}"))
                    }
                }));
            }
        }
        for volume in view.all::<Volume>() {
            if volume.publish_status.iter().any(|s| s.state() == State::Published) {
                others.insert(format!("volume {}", volume.id));
            }
        }
        (tasks, others)
    }

    fn check(&self) {
        let held = self.agent.tasks.keys().cloned().collect();
        assert_eq!((held, self.agent.others.clone()), self.expected());
        for task in self.agent.tasks.values() {
            let stored = self.store.view().get_text::<Task>(&task.id).cloned().unwrap();
            // The agent knows its own reports, and everything else as it is stored.
            let seen = Task { status: stored.status.clone(), meta: stored.meta, ..task.clone() };
            assert_eq!(seen, *stored);
        }
    }
}

fn task(id: &str, node: &str, state: TaskState, secrets: &[u8], configs: &[u8]) -> Task {
    let secret = |n: &u8| SecretReference {
        secret_id: format!("s{n}"),
        target: Some(secret_reference::Target::File(Default::default())),
        ..Default::default()
    };
    let config = |n: &u8| skep_proto::swarmkit::ConfigReference {
        config_id: format!("c{n}"),
        target: Some(config_reference::Target::File(Default::default())),
        ..Default::default()
    };
    let container = ContainerSpec {
        secrets: secrets.iter().map(secret).collect(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    Task {
        id: id.into(),
        node_id: node.into(),
        desired_state: TaskState::Running.into(),
        spec: Some(
            TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }.into(),
        ),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_secret_is_sent_once_and_taken_back_with_its_last_user() {
    use TaskState::*;
    let mut scene = Scene::new().await;
    scene.change("a", Some(task("a", NODE, Assigned, &[0, 1], &[0]))).await;
    scene.send();
    scene.check();
    scene.change("b", Some(task("b", NODE, Assigned, &[1], &[]))).await;
    scene.send();
    scene.check();
    // A report of the node is not sent back, but what only an ended task used goes.
    scene.change("a", Some(task("a", NODE, Running, &[0, 1], &[0]))).await;
    assert_eq!(scene.send(), 0);
    scene.change("a", Some(task("a", NODE, Failed, &[0, 1], &[0]))).await;
    assert_eq!(scene.send(), 1);
    assert_eq!(scene.agent.others, ["secret s1".to_owned()].into());
    assert_eq!(scene.agent.tasks["a"].status.as_ref().unwrap().state(), Assigned);
    // One ends and another begins between two messages: the secret stays.
    scene.change("b", None).await;
    scene.change("c", Some(task("c", NODE, Assigned, &[1], &[]))).await;
    scene.send();
    scene.check();
    scene.change("c", None).await;
    scene.send();
    scene.check();
    assert_eq!(scene.agent.others, BTreeSet::new());
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_with_a_driver_is_left_out() {
    let mut scene = Scene::new().await;
    let driver = Some(skep_proto::swarmkit::Driver::default());
    let annotations = Some(Annotations { name: "s7".into(), ..Default::default() });
    let spec = Some(SecretSpec { annotations, driver, ..Default::default() });
    let secret = Secret { id: "s7".into(), spec, ..Default::default() };
    scene.store.update(|tx| tx.create(secret)).await.unwrap();
    scene.change("a", Some(task("a", NODE, TaskState::Assigned, &[7, 8, 0], &[9]))).await;
    scene.send();
    assert_eq!(scene.agent.others, ["secret s0".to_owned()].into());
    scene.change("a", None).await;
    scene.send();
    assert_eq!(scene.agent.others, BTreeSet::new());
}

#[tokio::test]
async fn a_volume_is_the_nodes_for_as_long_as_it_is_published_there() {
    let mut scene = Scene::new().await;
    for (state, held) in [
        (State::PendingPublish, false),
        (State::Published, true),
        (State::Published, true),
        (State::PendingNodeUnpublish, false),
        (State::PendingUnpublish, false),
    ] {
        scene.publish("v", state).await;
        scene.send();
        assert_eq!(scene.agent.others.contains("volume v"), held, "{state:?}");
    }
}

#[tokio::test]
async fn a_burst_goes_into_messages_of_bounded_size() {
    let mut scene = Scene::new().await;
    for n in 0..2_500 {
        let id = format!("t{n}");
        let task = task(&id, NODE, TaskState::Assigned, &[0], &[]);
        scene.store.update(|tx| tx.create(task)).await.unwrap();
        scene.dirty.tasks.insert(id.parse().unwrap(), Touched::Changed);
    }
    assert_eq!(scene.send(), 3);
    scene.check();
    // Told once more of what was sent: nothing.
    scene.dirty.everything = true;
    assert_eq!(scene.send(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Change {
        task: u8,
        here: bool,
        state: TaskState,
        shutdown: bool,
        secrets: Vec<u8>,
        configs: Vec<u8>,
    },
    Report {
        task: u8,
        state: TaskState,
    },
    Delete {
        task: u8,
    },
    Volume {
        volume: u8,
        state: i32,
    },
    Send,
    FallBehind,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use TaskState::*;
    let states = prop::sample::select(vec![Pending, Assigned, Accepted, Running, Complete, Failed]);
    let some = || prop::collection::vec(0..4_u8, 0..3);
    let step = prop_oneof![
        4 => (0..6_u8, any::<bool>(), states.clone(), any::<bool>(), some(), some()).prop_map(
            |(task, here, state, shutdown, secrets, configs)| Step::Change {
                task, here, state, shutdown, secrets, configs
            }
        ),
        4 => (0..6_u8, states).prop_map(|(task, state)| Step::Report { task, state }),
        2 => (0..6_u8).prop_map(|task| Step::Delete { task }),
        1 => (0..2_u8, 0..4).prop_map(|(volume, state)| Step::Volume { volume, state }),
        4 => Just(Step::Send),
        1 => Just(Step::FallBehind),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

async fn play(steps: Vec<Step>) {
    let mut scene = Scene::new().await;
    // Ids are random: the one of a task that was deleted never comes back.
    let mut deleted = BTreeMap::<u8, usize>::new();
    let id_of = |deleted: &BTreeMap<u8, usize>, n: u8| {
        format!("t{n}-{}", deleted.get(&n).copied().unwrap_or(0))
    };
    for step in steps {
        match step {
            Step::Change { task: n, here, state, shutdown, secrets, configs } => {
                let id = id_of(&deleted, n);
                let stored = scene.store.view().get_text::<Task>(&id).cloned();
                let new = match stored {
                    // Once made, a task keeps its spec, and its node once it has one.
                    Some(stored) => {
                        let mut task = Task::clone(&stored);
                        if task.node_id.is_empty() && here {
                            task.node_id = NODE.into();
                        }
                        if shutdown {
                            task.desired_state = TaskState::Shutdown.into();
                        }
                        advance(&mut task, state);
                        task
                    }
                    None => task(&id, if here { NODE } else { "" }, state, &secrets, &configs),
                };
                scene.change(&id, Some(new)).await;
            }
            Step::Report { task: n, state } => {
                let id = id_of(&deleted, n);
                let stored = scene.store.view().get_text::<Task>(&id).cloned();
                if let Some(stored) = stored {
                    let mut task = Task::clone(&stored);
                    advance(&mut task, state);
                    scene.change(&id, Some(task)).await;
                }
            }
            Step::Delete { task: n } => {
                scene.change(&id_of(&deleted, n), None).await;
                *deleted.entry(n).or_default() += 1;
            }
            Step::Volume { volume, state } => {
                let state = State::try_from(state).unwrap();
                scene.publish(&format!("v{volume}"), state).await;
            }
            Step::Send => {
                scene.send();
                scene.check();
            }
            Step::FallBehind => {
                scene.dirty = Dirty { everything: true, ..Dirty::default() };
            }
            Step::Reopen => {
                scene.set = AssignmentSet::new(NODE.parse().unwrap());
                scene.dirty = Dirty::default();
                let message = scene.set.complete(&scene.store.view());
                scene.agent.apply(message);
                scene.check();
            }
        }
    }
    scene.send();
    scene.check();
}

/// A task's state never goes back.
fn advance(task: &mut Task, state: TaskState) {
    let status = task.status.get_or_insert_default();
    status.state = status.state.max(state.into());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn an_agent_always_holds_exactly_what_the_store_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(steps));
    }
}
