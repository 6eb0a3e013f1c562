//! `skep node ps`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_proto::swarmkit::{
    ListTasksRequest, Node, Service, Task, list_tasks_request::Filters, task_spec,
};

use crate::{
    commands::Session,
    connect::Connection,
    errors::Failure,
    objects::{Selection, Stored},
    output::{Column, ListOptions, column},
    resolve::resolve_node,
    shapes::{time, words},
};

const COLUMNS: &[Column] = &[
    column("ID", "ID"),
    column("Name", "NAME"),
    column("Image", "IMAGE"),
    column("Node", "NODE"),
    column("DesiredState", "DESIRED STATE"),
    column("CurrentState", "CURRENT STATE"),
    column("Error", "ERROR"),
];

/// List the tasks of nodes.
#[derive(Debug, clap::Args)]
pub struct Tasks {
    /// Print IDs of services and nodes instead of names
    #[arg(long)]
    no_resolve: bool,
    #[command(flatten)]
    options: ListOptions,
    /// IDs, beginnings of IDs, host names, or 'self'
    #[arg(default_value = "self")]
    nodes: Vec<String>,
}

impl Tasks {
    /// Prints a row for each task of the nodes.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let mut nodes = Vec::new();
        for given in &self.nodes {
            nodes.push(resolve_node(connection, given).await?);
        }
        let filters = Filters {
            node_ids: nodes.iter().map(|n| n.id.clone()).collect(),
            ..Filters::default()
        };
        let request = connection.request(ListTasksRequest { filters: Some(filters) });
        let reply = connection.control().list_tasks(request).await;
        let mut tasks = reply.map_err(Failure::call("list tasks"))?.into_inner().tasks;
        tasks.sort_by(|a, b| (&a.service_id, a.slot, &a.id).cmp(&(&b.service_id, b.slot, &b.id)));
        let names = if self.no_resolve || tasks.is_empty() {
            BTreeMap::new()
        } else {
            names(connection, &nodes).await?
        };
        let rows: Vec<Value> = tasks.iter().map(|task| row(task, &names)).collect();
        output.list(COLUMNS, &rows, &self.options)
    }
}

/// Names of services and nodes by id.
async fn names(
    connection: &Connection,
    nodes: &[Node],
) -> Result<BTreeMap<String, String>, Failure> {
    let services = Service::list(connection, Selection::default()).await;
    let services = services.map_err(Failure::call("list services"))?;
    let services = services.iter().map(|s| (s.id.clone(), s.name().to_owned()));
    Ok(services.chain(nodes.iter().map(|n| (n.id.clone(), n.name().to_owned()))).collect())
}

fn row(task: &Task, names: &BTreeMap<String, String>) -> Value {
    let named = |id: &String| names.get(id).unwrap_or(id).clone();
    let image = match task.spec.as_ref().and_then(|s| s.runtime.as_ref()) {
        Some(task_spec::Runtime::Container(container)) => container.image.as_str(),
        _ => "",
    };
    // A task of a global service has no slot and is told from others by its node.
    let slot = if task.slot > 0 { task.slot.to_string() } else { task.node_id.clone() };
    let status = task.status.clone().unwrap_or_default();
    let since = status.timestamp.map(|t| format!(" {}", time::ago(&t))).unwrap_or_default();
    json!({
        "ID": task.id,
        "Name": format!("{}.{slot}", named(&task.service_id)),
        "Image": image,
        "Node": named(&task.node_id),
        "DesiredState": words::capitalized(&words::task_state(task.desired_state())),
        "CurrentState": words::capitalized(&words::task_state(status.state())) + &since,
        "Error": status.err,
    })
}
