//! Where a line of a log comes from: `web.1.abcdefghijkl@worker-1    | `.

use std::collections::HashMap;

use skep_proto::swarmkit::{LogMessage, Task, list_tasks_request::Filters};

use crate::{
    connect::Connection,
    errors::{Failure, one_line},
    output::short_id,
    task::{self, Names},
};

/// How labels are written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With the task's id.
    pub with_ids: bool,
    /// With the whole id.
    pub whole_ids: bool,
    /// Names instead of ids of services and nodes.
    pub resolved: bool,
}

/// The labels of the tasks of a service.
pub struct Labels {
    connection: Connection,
    style: Style,
    names: Names,
    by_task: HashMap<String, String>,
    width: usize,
}

impl Labels {
    /// Labels for the tasks that there are; others are asked for when they write.
    pub async fn new(
        connection: &Connection,
        service_id: &str,
        style: Style,
    ) -> Result<Labels, Failure> {
        let names = match style.resolved {
            true => Names::all(connection).await?,
            false => Names::default(),
        };
        let filters = Filters { service_ids: vec![service_id.to_owned()], ..Filters::default() };
        let tasks = task::list(connection, filters).await?;
        let mut labels = Labels {
            connection: connection.clone(),
            style,
            names,
            by_task: HashMap::new(),
            width: 0,
        };
        tasks.iter().filter(|task| !task.node_id.is_empty()).for_each(|task| labels.learn(task));
        Ok(labels)
    }

    /// The label of a line.
    pub async fn of(&mut self, message: &LogMessage) -> String {
        let context = message.context.clone().unwrap_or_default();
        if !self.by_task.contains_key(&context.task_id) {
            // One that cannot be found any more is still told from others by its id.
            let found = task::resolve(&self.connection, &context.task_id).await.ok().flatten();
            let task = found.filter(|task| task.id == context.task_id).unwrap_or_else(|| Task {
                id: context.task_id.clone(),
                service_id: context.service_id.clone(),
                node_id: context.node_id.clone(),
                ..Task::default()
            });
            self.learn(&task);
        }
        let label = self.by_task.get(&context.task_id).map(String::as_str).unwrap_or_default();
        format!("{label:width$}    | ", width = self.width)
    }

    /// A text of the managers with names for ids.
    pub fn with_names(&self, text: &str) -> String {
        let named = |word: &str| match word.strip_suffix(',') {
            Some(id) => format!("{},", self.names.of(id)),
            None => self.names.of(word).to_owned(),
        };
        one_line(&text.split(' ').map(named).collect::<Vec<_>>().join(" "))
    }

    fn learn(&mut self, task: &Task) {
        let mut label = task::name(task, &self.names);
        if self.style.with_ids {
            let id = if self.style.whole_ids { &task.id } else { short_id(&task.id) };
            label = format!("{label}.{id}");
        }
        let label = one_line(&format!("{label}@{}", self.names.of(&task.node_id)));
        self.width = self.width.max(label.chars().count());
        self.by_task.insert(task.id.clone(), label);
    }
}
