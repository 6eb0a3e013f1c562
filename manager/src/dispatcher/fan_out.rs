//! Tells sessions what concerns them. One watch for all of them: an event costs the one session it is about.

use futures::FutureExt;
use skep_proto::swarmkit::{Task, TaskState};
use skep_store::{Action, Event, Kind, Selector};

use super::leadership::Leadership;

/// Passes on the store's changes for as long as it is polled.
pub(super) async fn store_changes(leadership: &Leadership) {
    loop {
        let selector = Selector::kinds(&[Kind::Node, Kind::Cluster, Kind::Task]);
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

fn pass_on(leadership: &Leadership, event: &Event) {
    match event {
        Event::Cluster(_) => leadership.publish_common(&leadership.store.view()),
        Event::Node(change) if change.action() == Action::Remove => {
            leadership.removed(&change.id.into());
        }
        Event::Node(change) => leadership.sessions.node_changed(&change.id.into()),
        Event::Task(change) => {
            for node in concerned(change.old.as_deref(), change.new.as_deref()) {
                if let Ok(node) = node.parse() {
                    leadership.sessions.assignments_changed(&node);
                }
            }
        }
        _ => {}
    }
}

/// The nodes whose assignments are others after a change of a task.
fn concerned<'a>(old: Option<&'a Task>, new: Option<&'a Task>) -> Vec<&'a str> {
    let assigned = |task: &&Task| {
        !task.node_id.is_empty()
            && task.status.as_ref().map_or(0, |s| s.state) >= TaskState::Assigned as i32
    };
    let (old, new) = (old.filter(assigned), new.filter(assigned));
    match (old, new) {
        (Some(old), Some(new)) if old.node_id == new.node_id => {
            let before = old.status.as_ref().map_or(0, |s| s.state);
            // What the node itself reported is no news to it.
            if before > TaskState::Assigned as i32 && same_but_status(old, new) {
                Vec::new()
            } else {
                vec![&new.node_id]
            }
        }
        (old, new) => old.into_iter().chain(new).map(|task| task.node_id.as_str()).collect(),
    }
}

fn same_but_status(a: &Task, b: &Task) -> bool {
    let b = Task { status: a.status.clone(), meta: a.meta, ..b.clone() };
    *a == b
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
        let table: [(Option<&Task>, Option<&Task>, &[&str]); 8] = [
            (None, Some(&pending), &[]),
            (Some(&pending), Some(&assigned), &["a"]),
            (Some(&assigned), Some(&running), &["a"]),
            (Some(&running), Some(&failed), &[]),
            (Some(&running), Some(&ending), &["a"]),
            (Some(&failed), None, &["a"]),
            (Some(&pending), None, &[]),
            (None, Some(&running), &["a"]),
        ];
        for (old, new, expected) in table {
            assert_eq!(concerned(old, new), expected, "{old:?} {new:?}");
        }
    }
}
