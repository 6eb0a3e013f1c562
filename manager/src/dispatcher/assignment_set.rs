//! What a node was told to run, and what it has to be told next. Pure: from the store's tables to what goes on the wire.
//!
//! A node is sent everything once, and after that what changed, numbered so that it notices a gap. It is told of a task
//! from when it is assigned until it is deleted; of the secrets and configs of its tasks while one that has not ended uses
//! them; and of a volume while that is published there. A task's own reports are not sent back to it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use skep_proto::{
    ids::{Id, NodeId, TaskId, VolumeId},
    swarmkit::{
        Assignment, AssignmentChange, AssignmentsMessage, Task, TaskState, Volume,
        VolumeAssignment, assignment::Item, assignment_change::AssignmentAction,
        assignments_message::Type, volume_publish_status,
    },
};
use skep_store::{By, Tables};

use super::{
    dependencies::{self, Dependencies},
    follower::{Dirty, Touched},
};

/// Changes in one incremental message: enough for a burst, little enough to be read at once. What is more follows in the
/// next. The first message of a stream has to be whole.
pub(super) const INCREMENTAL_CHANGES_MAX: usize = 1_000;

/// One node's assignments as they were sent.
#[derive(Debug)]
pub(super) struct AssignmentSet {
    node: NodeId,
    /// Number of the last message.
    number: u64,
    /// Tasks that the node knows, with their versions when they were sent.
    tasks: HashMap<TaskId, u64>,
    /// Volumes that the node was told to use.
    volumes: HashSet<VolumeId>,
    dependencies: Dependencies,
}

impl AssignmentSet {
    /// Nothing was sent yet.
    pub fn new(node: NodeId) -> AssignmentSet {
        AssignmentSet {
            node,
            number: 0,
            tasks: HashMap::new(),
            volumes: HashSet::new(),
            dependencies: Dependencies::default(),
        }
    }

    /// Everything, as the first message of a stream.
    pub fn complete(&mut self, tables: &Tables) -> AssignmentsMessage {
        let mut changes = Changes::default();
        for task in tables.find::<Task>(By::Node(self.node)) {
            if let Ok(id) = task.id.parse() {
                self.task(tables, id, Touched::Changed, &mut changes, &mut |_, _| false);
            }
        }
        for volume in tables.all::<Volume>() {
            if let Ok(id) = volume.id.parse() {
                self.volume(tables, id, &mut changes);
            }
        }
        self.release(&mut changes);
        self.message(Type::Complete, changes)
    }

    /// What is different, taken out of `dirty`; none when nothing is. When something is left in `dirty`, it is to be asked
    /// again at once. New tasks that `holds` are put down there as held back.
    pub fn incremental(
        &mut self,
        tables: &Tables,
        dirty: &mut Dirty,
        mut holds: impl FnMut(TaskId, &Task) -> bool,
    ) -> Option<AssignmentsMessage> {
        if std::mem::take(&mut dirty.everything) {
            let known = self.tasks.keys().copied();
            let present =
                tables.find::<Task>(By::Node(self.node)).filter_map(|t| t.id.parse().ok());
            dirty.tasks.extend(known.chain(present).map(|task| (task, Touched::Changed)));
            let volumes = tables.all::<Volume>().filter_map(|v| v.id.parse().ok());
            dirty.volumes.extend(self.volumes.iter().copied().chain(volumes));
        }
        let mut changes = Changes::default();
        while changes.len() < INCREMENTAL_CHANGES_MAX
            && let Some(volume) = dirty.volumes.pop_first()
        {
            self.volume(tables, volume, &mut changes);
        }
        while changes.len() < INCREMENTAL_CHANGES_MAX
            && let Some((task, touched)) = dirty.tasks.pop_first()
        {
            if self.task(tables, task, touched, &mut changes, &mut holds) {
                dirty.held.insert(task, touched);
            }
        }
        // What one task lets go of another may just have begun to use: so this comes last.
        self.release(&mut changes);
        (changes.len() > 0).then(|| self.message(Type::Incremental, changes))
    }

    /// Puts down what the node has to be told of a task. True if that is nothing yet, because the task is new to it and `holds`.
    fn task(
        &mut self,
        tables: &Tables,
        id: TaskId,
        touched: Touched,
        changes: &mut Changes,
        holds: &mut impl FnMut(TaskId, &Task) -> bool,
    ) -> bool {
        let here = |task: &&Arc<Task>| {
            task.node_id == self.node.as_str() && state(task) >= TaskState::Assigned as i32
        };
        let Some(task) = tables.get::<Task>(&id).filter(here) else {
            if self.tasks.remove(&id).is_some() {
                changes.remove(Item::Task(Task { id: id.to_string(), ..Default::default() }));
                changes.released.push(id.into());
            }
            return false;
        };
        let version = task.meta.as_ref().and_then(|m| m.version.as_ref()).map_or(0, |v| v.index);
        let sent = self.tasks.get(&id).copied();
        let ended = state(task) > TaskState::Running as i32;
        if sent.is_none() && !ended && holds(id, task) {
            return true;
        }
        if ended {
            changes.released.push(id.into());
        } else if sent.is_none() {
            changes.need(self.dependencies.take(tables, id.into(), dependencies::of_task(task)));
        }
        // Told of a change that the last message held already, or that the node made itself.
        if sent != Some(version) && (sent.is_none() || touched != Touched::Ended) {
            self.tasks.insert(id, version);
            changes.update(Item::Task(Task::clone(task)));
        }
        false
    }

    fn volume(&mut self, tables: &Tables, id: VolumeId, changes: &mut Changes) {
        let volume = tables.get::<Volume>(&id);
        let assignment = volume.and_then(|volume| published(volume, &self.node));
        match (assignment, self.volumes.contains(&id)) {
            (Some(assignment), false) => {
                let wanted = volume.map(|v| dependencies::of_volume(v)).unwrap_or_default();
                changes.need(self.dependencies.take(tables, id.into(), wanted));
                self.volumes.insert(id);
                changes.need(vec![Item::Volume(assignment)]);
            }
            (None, true) => {
                self.volumes.remove(&id);
                let gone = VolumeAssignment { id: id.to_string(), ..Default::default() };
                changes.forget(vec![Item::Volume(gone)]);
                changes.released.push(id.into());
            }
            _ => {}
        }
    }

    fn release(&mut self, changes: &mut Changes) {
        for user in std::mem::take(&mut changes.released) {
            changes.forget(self.dependencies.release(user));
        }
    }

    fn message(&mut self, kind: Type, changes: Changes) -> AssignmentsMessage {
        let applies_to = if self.number == 0 { String::new() } else { self.number.to_string() };
        self.number += 1;
        AssignmentsMessage {
            r#type: kind.into(),
            applies_to,
            results_in: self.number.to_string(),
            changes: changes.in_order(),
        }
    }
}

/// The tasks that a node must know: those that were assigned to it, ended ones too.
pub(super) fn tasks(tables: &Tables, node: &NodeId) -> Vec<Task> {
    let assigned = |task: &&Arc<Task>| state(task) >= TaskState::Assigned as i32;
    tables.find::<Task>(By::Node(*node)).filter(assigned).map(|task| Task::clone(task)).collect()
}

/// What goes into one message: first what tasks need, then the tasks, then what nobody needs any more.
#[derive(Default)]
struct Changes {
    needed: Vec<AssignmentChange>,
    tasks: Vec<AssignmentChange>,
    forgotten: Vec<AssignmentChange>,
    /// Tasks and volumes that use nothing any more.
    released: Vec<Id>,
}

impl Changes {
    fn need(&mut self, items: Vec<Item>) {
        self.needed.extend(items.into_iter().map(|item| change(item, AssignmentAction::Update)));
    }

    fn update(&mut self, task: Item) {
        self.tasks.push(change(task, AssignmentAction::Update));
    }

    fn remove(&mut self, task: Item) {
        self.tasks.push(change(task, AssignmentAction::Remove));
    }

    fn forget(&mut self, items: Vec<Item>) {
        self.forgotten.extend(items.into_iter().map(|item| change(item, AssignmentAction::Remove)));
    }

    fn len(&self) -> usize {
        self.needed.len() + self.tasks.len() + self.forgotten.len()
    }

    fn in_order(self) -> Vec<AssignmentChange> {
        self.needed.into_iter().chain(self.tasks).chain(self.forgotten).collect()
    }
}

fn change(item: Item, action: AssignmentAction) -> AssignmentChange {
    AssignmentChange { assignment: Some(Assignment { item: Some(item) }), action: action.into() }
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

/// How a volume is used on the node, while it is published there.
fn published(volume: &Volume, node: &NodeId) -> Option<VolumeAssignment> {
    let on_node = volume.publish_status.iter().find(|status| status.node_id == node.as_str())?;
    if on_node.state() != volume_publish_status::State::Published {
        return None;
    }
    let spec = volume.spec.clone().unwrap_or_default();
    let info = volume.volume_info.clone().unwrap_or_default();
    Some(VolumeAssignment {
        id: volume.id.clone(),
        volume_id: info.volume_id,
        driver: spec.driver,
        volume_context: info.volume_context,
        publish_context: on_node.publish_context.clone(),
        access_mode: spec.access_mode,
        secrets: spec.secrets,
    })
}
