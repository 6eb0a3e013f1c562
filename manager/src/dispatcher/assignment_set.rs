//! All that is assigned to a node. Pure: from the store's tables to what goes on the wire.

use std::collections::BTreeSet;

use skep_proto::{
    ids::{ConfigId, NodeId, SecretId},
    swarmkit::{
        Assignment, AssignmentChange, AssignmentsMessage, Config, ResourceType, Secret, Task,
        TaskState, assignment::Item, assignment_change::AssignmentAction, assignments_message,
        task_spec::Runtime,
    },
};
use skep_store::{By, Tables};

/// The tasks that a node must know: those that were assigned to it, ended ones too.
pub(super) fn tasks(tables: &Tables, node: &NodeId) -> Vec<Task> {
    let assigned = |task: &&std::sync::Arc<Task>| state(task) >= TaskState::Assigned as i32;
    tables.find::<Task>(By::Node(*node)).filter(assigned).map(|task| Task::clone(task)).collect()
}

/// The node's whole set as a message: its tasks, and before them the secrets and configs of those that have not ended.
/// A reference that leads nowhere is left out, and the node reports what it lacks. `number` counts the messages of one
/// stream, from 1.
pub(super) fn complete(tables: &Tables, node: &NodeId, number: u64) -> AssignmentsMessage {
    let tasks = tasks(tables, node);
    let (mut secrets, mut configs) = (BTreeSet::new(), BTreeSet::new());
    for task in tasks.iter().filter(|task| state(task) <= TaskState::Running as i32) {
        references(task, &mut secrets, &mut configs);
    }
    let secrets = secrets.iter().filter_map(|id| {
        let secret = tables.get::<Secret>(id)?;
        // One whose driver holds the data has nothing to hand out here.
        let held = secret.spec.as_ref().is_some_and(|spec| spec.driver.is_none());
        held.then(|| Item::Secret(Secret::clone(secret)))
    });
    let configs = configs
        .iter()
        .filter_map(|id| Some(Item::Config(Config::clone(tables.get::<Config>(id)?))));
    let changes = secrets.chain(configs).chain(tasks.into_iter().map(Item::Task)).map(update);
    AssignmentsMessage {
        r#type: assignments_message::Type::Complete.into(),
        // The first message of a stream applies to nothing; a later complete one replaces whatever was before it.
        applies_to: if number > 1 { (number - 1).to_string() } else { String::new() },
        results_in: number.to_string(),
        changes: changes.collect(),
    }
}

fn update(item: Item) -> AssignmentChange {
    AssignmentChange {
        assignment: Some(Assignment { item: Some(item) }),
        action: AssignmentAction::Update.into(),
    }
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

fn references(task: &Task, secrets: &mut BTreeSet<SecretId>, configs: &mut BTreeSet<ConfigId>) {
    let Some(spec) = &task.spec else { return };
    for reference in &spec.resource_references {
        match reference.resource_type() {
            ResourceType::Secret => secrets.extend(reference.resource_id.parse::<SecretId>()),
            ResourceType::Config => configs.extend(reference.resource_id.parse::<ConfigId>()),
            _ => {}
        }
    }
    if let Some(Runtime::Container(container)) = &spec.runtime {
        secrets
            .extend(container.secrets.iter().filter_map(|s| s.secret_id.parse::<SecretId>().ok()));
        configs
            .extend(container.configs.iter().filter_map(|c| c.config_id.parse::<ConfigId>().ok()));
    }
}
