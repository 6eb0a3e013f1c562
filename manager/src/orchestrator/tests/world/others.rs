//! What stands for allocator, scheduler, dispatcher and workers: each task goes one state further at a time.

use std::{collections::BTreeMap, time::Duration};

use skep_proto::{
    ids::{NodeId, TaskId},
    prost_types::Timestamp,
    swarmkit::{Node, Task, TaskState, TaskStatus, node_spec::Availability, node_status::State},
};
use skep_store::{By, StoreError, Tx};

use super::{World, specs::image};
use crate::orchestrator::{moment::Moment, task::is_wanted};

/// What a task of an image does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image {
    /// Is refused by the worker.
    Rejected,
    /// Runs that long and ends in that state.
    Ends(Duration, TaskState),
    /// Stays in PREPARING.
    NeverStarts,
}

impl World {
    /// Takes every task one state further. Says whether any went.
    pub(super) async fn move_cluster(&mut self) -> bool {
        let view = self.store.view();
        let now = Moment::from(self.clock.now());
        let mut load: BTreeMap<String, usize> = view
            .all::<Node>()
            .filter(|n| takes_tasks(n))
            .map(|n| {
                (
                    n.id.clone(),
                    view.find::<Task>(By::Node(n.id.parse().unwrap()))
                        .filter(|t| is_wanted(t))
                        .count(),
                )
            })
            .collect();
        let mut moves: Vec<(TaskId, String, TaskState)> = Vec::new();
        for task in view.all::<Task>() {
            let id: TaskId = task.id.parse().unwrap();
            let status = task.status.clone().unwrap_or_default();
            let stopping = !is_wanted(task);
            let node = view.get_text::<Node>(&task.node_id);
            let next = match status.state() {
                state if state > TaskState::Running => continue,
                TaskState::New => Some((task.node_id.clone(), TaskState::Pending)),
                TaskState::Pending if stopping => (task.desired_state
                    == TaskState::Shutdown as i32)
                    .then(|| (task.node_id.clone(), TaskState::Shutdown)),
                TaskState::Pending => match task.node_id.is_empty() {
                    false => {
                        node.filter(|n| takes_tasks(n)).map(|n| (n.id.clone(), TaskState::Assigned))
                    }
                    true => {
                        let best = load.iter_mut().min_by_key(|(_, count)| **count);
                        best.map(|(node, count)| {
                            *count += 1;
                            (node.clone(), TaskState::Assigned)
                        })
                    }
                },
                state => match node {
                    Some(node) if is_up(node) => {
                        let hung = self.hung.contains(&node.id.parse::<NodeId>().unwrap());
                        self.next_state(&id, task, state, stopping, hung, now)
                            .map(|s| (node.id.clone(), s))
                    }
                    _ => None,
                },
            };
            if let Some((node, state)) = next {
                moves.push((id, node, state));
            }
        }
        drop(view);
        if moves.is_empty() {
            return false;
        }
        for (id, _, state) in &moves {
            if *state > TaskState::Running {
                self.endings.remove(id);
            }
        }
        let written = self
            .store
            .batch(moves, |tx, (id, node, state)| {
                if tx.get::<Task>(&id).is_some() {
                    tx.modify::<Task>(&id, |task| task.node_id = node)?;
                    set_state(tx, &id, state)?;
                }
                Ok::<(), StoreError>(())
            })
            .await;
        written.iter().all(|result| result.is_ok())
    }

    fn next_state(
        &mut self,
        id: &TaskId,
        task: &Task,
        state: TaskState,
        stopping: bool,
        hung: bool,
        now: Moment,
    ) -> Option<TaskState> {
        if stopping {
            return (!hung).then_some(TaskState::Shutdown);
        }
        let behaviour = self.images.get(image(task)).copied();
        match state {
            TaskState::Assigned => Some(TaskState::Preparing),
            TaskState::Preparing => match behaviour {
                Some(Image::NeverStarts) => None,
                Some(Image::Rejected) => Some(TaskState::Rejected),
                _ => Some(TaskState::Ready),
            },
            TaskState::Ready if task.desired_state <= TaskState::Ready as i32 => None,
            TaskState::Ready => Some(TaskState::Starting),
            TaskState::Starting => {
                if let Some(Image::Ends(after, state)) = behaviour {
                    self.endings.insert(*id, (now.after(after), state));
                }
                Some(TaskState::Running)
            }
            TaskState::Running => {
                let (at, state) = self.endings.get(id).copied()?;
                (at <= now).then_some(state)
            }
            _ => None,
        }
    }
}

fn is_up(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|status| status.state() == State::Ready)
}

fn takes_tasks(node: &Node) -> bool {
    is_up(node) && node.spec.as_ref().is_none_or(|spec| spec.availability() == Availability::Active)
}

/// As the dispatcher writes what a worker says.
pub(super) fn set_state(tx: &mut Tx, id: &TaskId, state: TaskState) -> Result<(), StoreError> {
    let now: Timestamp = tx.now();
    tx.modify::<Task>(id, |task| {
        task.status = Some(TaskStatus {
            timestamp: Some(now),
            applied_at: Some(now),
            state: state.into(),
            ..Default::default()
        });
    })
    .map(drop)
}
