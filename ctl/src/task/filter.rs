//! `--filter` of the listings of tasks. Values of one key are alternatives; keys narrow each other down.

use skep_proto::swarmkit::{Node, Service, Task, TaskState, list_tasks_request::Filters};

use super::rows::{Names, name};
use crate::{
    connect::Connection, errors::Failure, objects::Stored as _, resolve::resolve,
    resolve::resolve_node, shapes::words,
};

/// What a listing shows of the tasks that the managers know.
#[derive(Debug, Default)]
pub struct TaskFilter {
    /// What the managers look for.
    pub asked: Filters,
    /// Beginnings of names such as `web.1`, which are put together here.
    names: Vec<String>,
    /// States that tasks are in, which the managers have no filter for.
    states: Vec<TaskState>,
}

impl TaskFilter {
    /// The filter that `--filter` options say, on top of what the command asks for anyway.
    pub async fn new(
        connection: &Connection,
        mut asked: Filters,
        given: &[String],
    ) -> Result<TaskFilter, Failure> {
        let (mut names, mut states) = (Vec::new(), Vec::new());
        for filter in given {
            let refused = |why: String| Failure::Usage(format!("--filter {filter}: {why}"));
            let (key, value) =
                filter.split_once('=').ok_or_else(|| refused("write KEY=VALUE".into()))?;
            match key {
                "id" => asked.id_prefixes.push(value.into()),
                "name" => names.push(value.into()),
                "node" => {
                    let node: Node = resolve_node(connection, value).await?;
                    asked.node_ids.push(node.id);
                }
                "service" => {
                    let service: Service = resolve(connection, value).await?;
                    asked.service_ids.push(service.id().to_owned());
                }
                "desired-state" => asked.desired_states.push(state(value).map_err(refused)?.into()),
                "state" => states.push(state(value).map_err(refused)?),
                _ => {
                    let keys = "the keys are id, name, node, service, desired-state and state";
                    return Err(refused(keys.into()));
                }
            }
        }
        Ok(TaskFilter { asked, names, states })
    }

    /// Whether the task passes what the managers did not look at.
    pub fn admits(&self, task: &Task, known: &Names) -> bool {
        let state = task.status.as_ref().map(|s| s.state()).unwrap_or_default();
        let own = name(task, known);
        (self.states.is_empty() || self.states.contains(&state))
            && (self.names.is_empty() || self.names.iter().any(|n| own.starts_with(n.as_str())))
    }
}

fn state(word: &str) -> Result<TaskState, String> {
    const ALL: [TaskState; 14] = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Remove,
        TaskState::Orphaned,
    ];
    let found = ALL.into_iter().find(|state| words::task_state(*state) == word.to_lowercase());
    found.ok_or_else(|| format!("the states are {}", ALL.map(words::task_state).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_by_their_words() {
        assert_eq!(state("running"), Ok(TaskState::Running));
        assert_eq!(state("Orphaned"), Ok(TaskState::Orphaned));
        assert!(state("up").unwrap_err().starts_with("the states are new, pending"));
    }
}
