//! One simulated task: where it is in its life and its script, and what it says about itself.

use std::{sync::Arc, time::SystemTime};

use skep_proto::{
    ids::TaskId,
    swarmkit::{
        ContainerSpec, ContainerStatus, PortStatus, ResourceType, Task, TaskState, TaskStatus,
        port_config::PublishMode, task_spec::Runtime, task_status::RuntimeStatus,
    },
};
use tokio::time::Instant;

use super::{node::Held, script::Script};
use crate::lifecycle::{Lifecycle, Step, Work, message};

/// Exit code of a container that was stopped: killed by SIGTERM.
const STOPPED_EXIT_CODE: i32 = 143;

/// What is known of a task, apart from its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// The service it belongs to; empty for one without.
    pub service_id: String,
    /// Its service's name.
    pub service_name: String,
    /// Its slot; 0 for tasks of global services.
    pub slot: u64,
    /// The index of its service's spec.
    pub spec_version: u64,
    /// The image of its container.
    pub image: String,
}

/// When a task ran, for its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    pub since: Instant,
    /// The same moment on the wall clock.
    pub since_wall: SystemTime,
    pub until: Option<Instant>,
}

pub(super) struct SimulatedTask {
    pub info: Arc<TaskInfo>,
    pub lifecycle: Lifecycle,
    pub plan: Script,
    pub ran: Option<Ran>,
    /// What it is doing, and when that is done; without a time it does not end by itself.
    doing: Option<(Work, Option<Instant>)>,
    /// Secrets and configs that it cannot start without.
    needs: Vec<String>,
    /// Why it cannot run at all.
    refused: Option<String>,
    ports: Option<PortStatus>,
}

/// What became of a task when it was looked at.
pub(super) struct Advanced {
    /// To be reported; none if nothing changed.
    pub status: Option<TaskStatus>,
    /// When to look again; none: only when something is said about it.
    pub due: Option<Instant>,
}

impl SimulatedTask {
    /// A task as it is assigned to this node for the first time since the node started.
    pub fn new(id: TaskId, task: &Task, seed: u64) -> SimulatedTask {
        let spec = task.spec.as_deref();
        let container = match spec.and_then(|spec| spec.runtime.as_ref()) {
            Some(Runtime::Container(container)) => Some(container),
            _ => None,
        };
        let service = task.service_annotations.as_ref();
        let info = TaskInfo {
            id,
            service_id: task.service_id.clone(),
            service_name: service.map(|a| a.name.clone()).unwrap_or_default(),
            slot: task.slot,
            spec_version: task.spec_version.map_or(0, |version| version.index),
            image: container.map(|c| c.image.clone()).unwrap_or_default(),
        };
        let (plan, refused) = match Script::of(spec) {
            Ok(script) => (script.plan(seed, id), None),
            Err(error) => (Script::default(), Some(error.to_string())),
        };
        let state = task.status.as_ref().map_or(TaskState::New, TaskStatus::state);
        SimulatedTask {
            info: Arc::new(info),
            lifecycle: Lifecycle::new(state, task.desired_state()),
            plan,
            ran: None,
            doing: None,
            needs: needs(task, container),
            refused: refused.or_else(|| lost(state)),
            ports: host_ports(task),
        }
    }

    /// Goes as far as it can now.
    pub fn advance(&mut self, held: &Held, now: Instant, wall: SystemTime) -> Advanced {
        let before = self.lifecycle.state();
        let mut ended = None;
        let due = loop {
            let work = match self.lifecycle.step() {
                Step::Ended | Step::Wait => break None,
                Step::Enter(state) => {
                    self.lifecycle.enter(state);
                    self.doing = None;
                    continue;
                }
                Step::Work(work) => work,
            };
            if work != Work::Stop
                && let Some(refused) = self.refused.take()
            {
                self.lifecycle.failed();
                ended = Some((0, refused));
                continue;
            }
            let due = self.due(work, now);
            if due.is_none_or(|due| due > now) {
                break due;
            }
            self.doing = None;
            ended = self.finish(work, held, now, wall);
        };
        let state = self.lifecycle.state();
        let status = (state != before).then(|| self.status(wall, ended));
        Advanced { status, due }
    }

    /// When the work is done that is under way, or begins now.
    fn due(&mut self, work: Work, now: Instant) -> Option<Instant> {
        match self.doing {
            Some((doing, due)) if doing == work => due,
            _ => {
                let started = self.lifecycle.state() >= TaskState::Starting;
                let time = match work {
                    // There is nothing to stop yet.
                    Work::Stop if !started => Some(std::time::Duration::ZERO),
                    _ => self.plan.time(work),
                };
                let due = time.map(|time| now + time);
                self.doing = Some((work, due));
                due
            }
        }
    }

    /// Ends a work: gives the exit code and the error of a task that ended with it.
    fn finish(
        &mut self,
        work: Work,
        held: &Held,
        now: Instant,
        since_wall: SystemTime,
    ) -> Option<(i32, String)> {
        if let Some(ran) = self.ran.as_mut()
            && matches!(work, Work::Run | Work::Stop)
        {
            ran.until = Some(now);
        }
        let missing = || self.needs.iter().find(|id| !held.contains(id.as_str()));
        let failure = match work {
            _ if self.plan.fail == Some(work) => Some((0, "its script says that it fails".into())),
            Work::Prepare => {
                missing().map(|id| (0, format!("secret or config {id} is not on this node")))
            }
            Work::Run if self.plan.exit != 0 => {
                Some((self.plan.exit, format!("task: non-zero exit ({})", self.plan.exit)))
            }
            _ => None,
        };
        if failure.is_some() {
            self.lifecycle.failed();
            return failure;
        }
        match self.lifecycle.done(work) {
            TaskState::Running => {
                self.ran = Some(Ran { since: now, since_wall, until: None });
                None
            }
            TaskState::Shutdown if self.ran.is_some() => Some((STOPPED_EXIT_CODE, String::new())),
            _ => None,
        }
    }

    fn status(&self, wall: SystemTime, ended: Option<(i32, String)>) -> TaskStatus {
        let state = self.lifecycle.state();
        let (exit_code, err) = ended.unwrap_or_default();
        let container = (state >= TaskState::Starting && self.ran.is_some()).then(|| {
            let container_id = self.info.id.to_string();
            RuntimeStatus::Container(ContainerStatus { container_id, pid: 0, exit_code })
        });
        TaskStatus {
            timestamp: Some(wall.into()),
            state: state.into(),
            message: message(state).to_owned(),
            err,
            runtime_status: container,
            port_status: self.ports.clone().filter(|_| state == TaskState::Running),
            ..Default::default()
        }
    }
}

/// A task that managers know as started and that this node does not have: the node has been restarted in between.
fn lost(state: TaskState) -> Option<String> {
    let started = (TaskState::Starting..=TaskState::Running).contains(&state);
    started.then(|| "the node was restarted and the task is gone".to_owned())
}

/// The secrets and configs that a task names.
fn needs(task: &Task, container: Option<&ContainerSpec>) -> Vec<String> {
    let mut needs = Vec::new();
    if let Some(container) = container {
        needs.extend(container.secrets.iter().map(|s| s.secret_id.clone()));
        needs.extend(container.configs.iter().map(|c| c.config_id.clone()));
    }
    for reference in task.spec.iter().flat_map(|spec| &spec.resource_references) {
        if matches!(reference.resource_type(), ResourceType::Secret | ResourceType::Config) {
            needs.push(reference.resource_id.clone());
        }
    }
    needs
}

/// The ports of the host that a task is published at.
fn host_ports(task: &Task) -> Option<PortStatus> {
    let ports = task.endpoint.as_ref()?.ports.iter();
    let host = ports.filter(|port| port.publish_mode() == PublishMode::Host);
    let ports: Vec<_> = host.cloned().collect();
    (!ports.is_empty()).then_some(PortStatus { ports })
}
