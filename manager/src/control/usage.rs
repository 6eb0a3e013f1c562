//! Who uses a secret, config or network: what is used is not removed.

use skep_proto::swarmkit::{Service, Task, TaskState};
use skep_store::{By, Tables};

/// As many users are named in a text; more would not help who reads it.
const USERS_NAMED_MAX: usize = 5;

/// "service web, task web.1.x …" for the services and the living tasks that refer to it, or `None`.
pub(super) fn users(tables: &Tables, reference: By) -> Option<String> {
    let services = tables.find::<Service>(reference.clone()).map(|service| {
        let annotations = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
        format!("service {}", annotations.map_or(service.id.as_str(), |a| &a.name))
    });
    let tasks = tables
        .find::<Task>(reference)
        .filter(|task| alive(task))
        .map(|task| format!("task {}", task.id));
    let mut named: Vec<String> = services.chain(tasks).take(USERS_NAMED_MAX + 1).collect();
    if named.len() > USERS_NAMED_MAX {
        named.truncate(USERS_NAMED_MAX);
        named.push("others".into());
    }
    (!named.is_empty()).then(|| named.join(", "))
}

/// It has not ended, and is not told to end.
pub(crate) fn alive(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete as i32
        && task.status.as_ref().is_none_or(|status| status.state < TaskState::Complete as i32)
}
