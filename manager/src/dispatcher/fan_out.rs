//! Tells sessions what concerns them. One watch for all of them: an event costs the one session it is about.

use std::sync::Arc;

use futures::FutureExt;
use skep_proto::swarmkit::{Task, TaskState, Volume};
use skep_store::{Action, Event, Kind, Selector};

use super::{follower::Touched, leadership::Leadership};

/// Passes on the store's changes for as long as it is polled.
pub(super) async fn store_changes(leadership: &Leadership) {
    loop {
        let selector = Selector::kinds(&[Kind::Node, Kind::Cluster, Kind::Task, Kind::Volume]);
        let (view, mut watcher) = leadership.store.watch(selector);
        leadership.publish_common(&view);
        leadership.sessions.everything_changed();
        drop(view);
        // An error says that this fell behind: begin again from a view.
        while let Ok(commit) = watcher.next().await {
            for event in &commit.events {
                pass_on(leadership, event);
            }
        }
        tracing::warn!("fell behind the store: every session is told anew");
    }
}

/// Passes on changes of the group's membership for as long as it is polled.
pub(super) async fn membership_changes(leadership: &Leadership) {
    loop {
        let mut changed = leadership.group.changed();
        // Polled before looking, so that a change in between is not missed.
        let already = (&mut changed).now_or_never().is_some();
        leadership.publish_common(&leadership.store.view());
        if !already {
            changed.await;
        }
    }
}

pub(super) fn pass_on(leadership: &Leadership, event: &Event) {
    match event {
        Event::Cluster(_) => leadership.publish_common(&leadership.store.view()),
        Event::Node(change) if change.action() == Action::Remove => {
            leadership.removed(&change.id.into());
        }
        Event::Node(change) => leadership.sessions.node_changed(&change.id.into()),
        Event::Task(change) => {
            for (node, touched) in concerned(change.old.as_deref(), change.new.as_deref()) {
                if let Ok(node) = node.parse() {
                    leadership.sessions.task_touched(&node, change.id.into(), touched);
                }
            }
        }
        Event::Volume(change) => {
            let of = |volume: &Option<Arc<Volume>>| {
                volume.as_ref().map(|v| v.publish_status.clone()).unwrap_or_default()
            };
            for status in of(&change.old).into_iter().chain(of(&change.new)) {
                if let Ok(node) = status.node_id.parse() {
                    leadership.sessions.volume_touched(&node, change.id.into());
                }
            }
        }
        _ => {}
    }
}

/// The nodes that have to be told something after a change of a task. What a node reported itself is no news to it, but
/// when that ended the task, what the task used may be let go.
pub(super) fn concerned<'a>(
    old: Option<&'a Task>,
    new: Option<&'a Task>,
) -> impl Iterator<Item = (&'a str, Touched)> {
    let assigned =
        |task: &&Task| !task.node_id.is_empty() && state(task) >= TaskState::Assigned as i32;
    let (old, new) = (old.filter(assigned), new.filter(assigned));
    let (first, second) = match (old, new) {
        (Some(old), Some(new)) if old.node_id == new.node_id => {
            let running = TaskState::Running as i32;
            let touched = if state(new) <= TaskState::Assigned as i32 || !same_but_status(old, new)
            {
                Some(Touched::Changed)
            } else {
                (state(old) <= running && state(new) > running).then_some(Touched::Ended)
            };
            (None, touched.map(|touched| (new, touched)))
        }
        (old, new) => {
            (old.map(|task| (task, Touched::Changed)), new.map(|task| (task, Touched::Changed)))
        }
    };
    first.into_iter().chain(second).map(|(task, touched)| (task.node_id.as_str(), touched))
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

/// Whether two states of a task differ in nothing but status and version. Named field by field, so that nothing is copied
/// and a new field is not forgotten.
fn same_but_status(a: &Task, b: &Task) -> bool {
    let Task {
        id,
        meta: _,
        spec,
        spec_version,
        service_id,
        slot,
        node_id,
        annotations,
        service_annotations,
        status: _,
        desired_state,
        networks,
        endpoint,
        log_driver,
        assigned_generic_resources,
        job_iteration,
        volumes,
    } = a;
    *desired_state == b.desired_state
        && *id == b.id
        && *spec_version == b.spec_version
        && *service_id == b.service_id
        && *slot == b.slot
        && *node_id == b.node_id
        && *job_iteration == b.job_iteration
        && *annotations == b.annotations
        && *service_annotations == b.service_annotations
        && *assigned_generic_resources == b.assigned_generic_resources
        && *volumes == b.volumes
        && *networks == b.networks
        && *endpoint == b.endpoint
        && *log_driver == b.log_driver
        && *spec == b.spec
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::TaskStatus;

    use super::*;

    fn task(node: &str, state: TaskState, desired: TaskState) -> Task {
        Task {
            node_id: node.into(),
            status: Some(TaskStatus { state: state.into(), ..Default::default() }),
            desired_state: desired.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_change_concerns_the_nodes_whose_assignments_it_changes() {
        use TaskState::*;
        let pending = task("", Pending, Running);
        let assigned = task("a", Assigned, Running);
        let running = task("a", TaskState::Running, Running);
        let failed = task("a", Failed, Running);
        let ending = task("a", Running, Shutdown);
        let placed = Task { slot: 1, ..assigned.clone() };
        let moved = task("b", Assigned, Running);
        type Row<'a> = (Option<&'a Task>, Option<&'a Task>, &'a [(&'a str, Touched)]);
        let table: [Row<'_>; 11] = [
            (None, Some(&pending), &[]),
            (Some(&pending), Some(&assigned), &[("a", Touched::Changed)]),
            (Some(&assigned), Some(&placed), &[("a", Touched::Changed)]),
            (Some(&assigned), Some(&running), &[]),
            (Some(&running), Some(&failed), &[("a", Touched::Ended)]),
            (Some(&failed), Some(&failed), &[]),
            (Some(&running), Some(&ending), &[("a", Touched::Changed)]),
            (Some(&failed), None, &[("a", Touched::Changed)]),
            (Some(&pending), None, &[]),
            (None, Some(&running), &[("a", Touched::Changed)]),
            (Some(&assigned), Some(&moved), &[("a", Touched::Changed), ("b", Touched::Changed)]),
        ];
        for (old, new, expected) in table {
            assert_eq!(concerned(old, new).collect::<Vec<_>>(), expected, "{old:?} {new:?}");
        }
    }
}
