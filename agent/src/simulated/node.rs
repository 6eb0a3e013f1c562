//! A node that simulates: it holds its tasks, and runs them as their scripts say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use futures::stream::BoxStream;
use parking_lot::Mutex;
use skep_ca::Clock;
use skep_proto::{
    ids::TaskId,
    swarmkit::{
        Assignment, AssignmentChange, LogMessage, LogSelector, LogSubscriptionOptions,
        NodeDescription, Task, TaskState, assignment::Item, assignment_change::AssignmentAction,
        update_task_status_request::TaskStatusUpdate,
    },
};
use tokio::{sync::watch, time::Instant};

use super::{
    lines,
    task::{Ran, SimulatedTask, TaskInfo},
    timers::Timers,
    witness::Witness,
};
use crate::{
    executor::{Assignments, Executor},
    reports::Reporter,
};

/// What a simulated node is made of.
pub struct SimulatedNodeConfig {
    /// Its id in the cluster.
    pub node_id: String,
    /// What it says that it is.
    pub description: NodeDescription,
    /// Decides what scripts leave to chance.
    pub seed: u64,
    /// Timestamps of statuses and log lines.
    pub clock: Clock,
    /// Wakes it.
    pub timers: Timers,
    /// Sees what it is told and what it does.
    pub witness: Arc<dyn Witness>,
}

/// A node that simulates.
pub struct SimulatedNode {
    config: SimulatedNodeConfig,
    this: Weak<SimulatedNode>,
    state: Mutex<State>,
    /// Counts the tasks that came.
    arrivals: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, SimulatedTask>,
    held: Held,
    reporter: Option<Reporter>,
}

/// Ids of the secrets and configs that are here. Nothing reads their contents, so they are not kept.
pub(super) type Held = BTreeSet<String>;

impl SimulatedNode {
    /// A node without tasks.
    pub fn new(config: SimulatedNodeConfig) -> Arc<SimulatedNode> {
        Arc::new_cyclic(|this| SimulatedNode {
            config,
            this: this.clone(),
            state: Mutex::default(),
            arrivals: watch::Sender::default(),
        })
    }

    /// Its id in the cluster.
    pub fn id(&self) -> &str {
        &self.config.node_id
    }

    /// Its tasks and their states; ended ones too until the managers take them away.
    pub fn tasks(&self) -> Vec<(Arc<TaskInfo>, TaskState)> {
        let state = self.state.lock();
        state.tasks.values().map(|t| (t.info.clone(), t.lifecycle.state())).collect()
    }

    /// How many of its tasks are in this state.
    pub fn count(&self, state: TaskState) -> usize {
        let all = self.state.lock();
        all.tasks.values().filter(|task| task.lifecycle.state() == state).count()
    }

    /// Ids of the secrets and configs that it has been given for its tasks.
    pub fn held(&self) -> Vec<String> {
        self.state.lock().held.iter().cloned().collect()
    }

    /// Ends all that runs, as a crash of the machine would: nobody is told. What managers still believe to run fails when
    /// they assign it again.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        for task in std::mem::take(&mut state.tasks).values().filter(|t| !t.lifecycle.ended()) {
            self.config.witness.lost(self, &task.info);
        }
        state.held.clear();
    }

    /// The time of a task has come.
    pub(super) fn wake(&self, id: TaskId, now: Instant) {
        let mut state = self.state.lock();
        self.advance(&mut state, id, now);
    }

    /// Counts the tasks that came, to hear of more.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// The tasks of which there is a log and that a selector names.
    pub(super) fn selected(&self, selector: &LogSelector) -> Vec<TaskId> {
        let all = self.state.lock();
        let named = |task: &&SimulatedTask| {
            selector.task_ids.iter().any(|id| id == task.info.id.as_str())
                || selector.service_ids.contains(&task.info.service_id)
                || selector.node_ids.contains(&self.config.node_id)
        };
        all.tasks.values().filter(named).map(|task| task.info.id).collect()
    }

    /// What a task's log is made from; none when the task is not here.
    pub(super) fn log_of(&self, id: TaskId) -> Option<LogOf> {
        let all = self.state.lock();
        let task = all.tasks.get(&id)?;
        Some(LogOf {
            info: task.info.clone(),
            interval: task.plan.log,
            ran: task.ran,
            ended: task.lifecycle.ended(),
        })
    }

    fn assign_one(&self, state: &mut State, id: TaskId, task: &Task, now: Instant) {
        match state.tasks.get_mut(&id) {
            Some(known) => known.lifecycle.desire(task.desired_state()),
            None => {
                state.tasks.insert(id, SimulatedTask::new(id, task, self.config.seed));
                self.arrivals.send_modify(|count| *count += 1);
            }
        }
        self.advance(state, id, now);
    }

    fn advance(&self, state: &mut State, id: TaskId, now: Instant) {
        let State { tasks, held, reporter } = state;
        let Some(task) = tasks.get_mut(&id) else { return };
        let advanced = task.advance(held, now, self.config.clock.now());
        if let Some(due) = advanced.due {
            self.config.timers.at(due, self.this.clone(), id);
        }
        if let (Some(status), Some(reporter)) = (advanced.status, reporter) {
            self.config.witness.entered(self, &task.info, status.state());
            reporter.report(id, status);
        }
    }

    /// Whatever the managers do not name any more is gone at once.
    fn remove(&self, state: &mut State, id: TaskId) {
        if let Some(task) = state.tasks.remove(&id)
            && !task.lifecycle.ended()
        {
            self.config.witness.dropped(self, &task.info, task.lifecycle.state());
        }
    }
}

impl Executor for SimulatedNode {
    fn describe(&self) -> NodeDescription {
        self.config.description.clone()
    }

    fn assign(&self, assignments: Assignments, reporter: &Reporter) {
        self.config.witness.assigned(self, &assignments);
        let now = Instant::now();
        let mut state = self.state.lock();
        state.reporter.get_or_insert_with(|| reporter.clone());
        let complete = matches!(assignments, Assignments::Complete(_));
        let (Assignments::Complete(changes) | Assignments::Incremental(changes)) = &assignments;
        if complete {
            state.held.clear();
            let named: BTreeSet<TaskId> =
                changes.iter().filter_map(|change| Some(task_of(change)?.0)).collect();
            let gone: Vec<_> =
                state.tasks.keys().filter(|id| !named.contains(id)).copied().collect();
            for id in gone {
                self.remove(&mut state, id);
            }
        }
        // What tasks need comes before them, wherever it stands in the message.
        for change in changes {
            if let Some(id) = dependency_of(change) {
                match change.action() {
                    AssignmentAction::Update => state.held.insert(id.to_owned()),
                    AssignmentAction::Remove => state.held.remove(id),
                };
            }
        }
        for change in changes {
            if let Some((id, task)) = task_of(change) {
                match change.action() {
                    AssignmentAction::Update => self.assign_one(&mut state, id, task, now),
                    AssignmentAction::Remove => self.remove(&mut state, id),
                }
            }
        }
    }

    fn registered(&self, session_id: &str) {
        self.config.witness.registered(self, session_id);
    }

    fn acknowledged(&self, updates: &[TaskStatusUpdate]) {
        self.config.witness.acknowledged(self, updates);
    }

    fn logs(
        &self,
        selector: &LogSelector,
        options: &LogSubscriptionOptions,
    ) -> BoxStream<'static, LogMessage> {
        lines::stream(self.this.clone(), selector.clone(), options)
    }
}

/// What a task's log is made from.
pub(super) struct LogOf {
    pub info: Arc<TaskInfo>,
    pub interval: std::time::Duration,
    pub ran: Option<Ran>,
    pub ended: bool,
}

/// The task that a change is about, if it is about one.
pub(super) fn task_of(change: &AssignmentChange) -> Option<(TaskId, &Task)> {
    match &change.assignment {
        Some(Assignment { item: Some(Item::Task(task)) }) => Some((task.id.parse().ok()?, task)),
        _ => None,
    }
}

fn dependency_of(change: &AssignmentChange) -> Option<&str> {
    match change.assignment.as_ref()?.item.as_ref()? {
        Item::Secret(secret) => Some(&secret.id),
        Item::Config(config) => Some(&config.id),
        Item::Task(_) | Item::Volume(_) => None,
    }
}
