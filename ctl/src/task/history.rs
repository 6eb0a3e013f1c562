//! The order of listed tasks: what runs in a slot, and below it what ran there before.

use std::cmp::Reverse;

use skep_proto::swarmkit::Task;

/// Puts tasks in the order of their services, slots and nodes, the newest of each first. Gives for each task whether it
/// stands below another of the same slot.
pub fn in_order(tasks: &mut [Task], service_name: impl Fn(&Task) -> String) -> Vec<bool> {
    tasks.sort_by_cached_key(|task| {
        let created = task.meta.as_ref().and_then(|m| m.created_at).map(|t| (t.seconds, t.nanos));
        (
            service_name(task),
            task.service_id.clone(),
            task.slot,
            place(task).to_owned(),
            // What still ought to run stands above what was told to end at the same instant.
            Reverse(created.unwrap_or_default()),
            task.desired_state,
            task.id.clone(),
        )
    });
    let below = |pair: &[Task]| {
        let [above, task] = pair else { return false };
        !task.service_id.is_empty()
            && (&above.service_id, above.slot, place(above))
                == (&task.service_id, task.slot, place(task))
    };
    std::iter::once(false).chain(tasks.windows(2).map(below)).take(tasks.len()).collect()
}

/// A task of a global service has no slot and is told from others by its node.
fn place(task: &Task) -> &str {
    if task.slot == 0 { &task.node_id } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_proto::{prost_types::Timestamp, swarmkit::Meta};

    fn task(id: &str, service: &str, slot: u64, node: &str, seconds: i64) -> Task {
        Task {
            id: id.into(),
            service_id: service.into(),
            slot,
            node_id: node.into(),
            meta: Some(Meta {
                created_at: Some(Timestamp { seconds, nanos: 0 }),
                ..Meta::default()
            }),
            ..Task::default()
        }
    }

    #[test]
    fn the_newest_of_a_slot_stands_above_its_history() {
        let mut tasks = vec![
            task("old", "web", 1, "n1", 10),
            task("two", "web", 2, "n1", 12),
            task("new", "web", 1, "n2", 20),
            task("g-n2", "every", 0, "n2", 5),
            task("g-n1-old", "every", 0, "n1", 5),
            task("g-n1", "every", 0, "n1", 6),
        ];
        let below = in_order(&mut tasks, |t| t.service_id.clone());
        let shown: Vec<_> = tasks.iter().zip(below).map(|(t, b)| (t.id.as_str(), b)).collect();
        let expected = [
            ("g-n1", false),
            ("g-n1-old", true),
            ("g-n2", false),
            ("new", false),
            ("old", true),
            ("two", false),
        ];
        assert_eq!(shown, expected);
        assert!(in_order(&mut [], |_| String::new()).is_empty());
    }
}
