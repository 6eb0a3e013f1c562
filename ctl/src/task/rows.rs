//! Tasks as a listing shows them, in Docker's columns.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_proto::swarmkit::{Node, Service, Task, list_tasks_request::Filters, task_spec::Runtime};

use super::{Listing, filter::TaskFilter, history::in_order, list};
use crate::{
    commands::Session,
    connect::Connection,
    errors::Failure,
    objects::{Selection, Stored},
    output::{Column, Format, column, short_id},
    service::ports,
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
    column("Ports", "PORTS"),
];

/// The most characters of an error that a table shows; --no-trunc shows all.
const ERROR_CHARS_MAX: usize = 60;

/// Names of services and nodes by id.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// The names of all services and nodes.
    pub async fn all(connection: &Connection) -> Result<Names, Failure> {
        let services = Service::list(connection, Selection::default()).await;
        let services = services.map_err(Failure::call("list services"))?;
        let nodes = Node::list(connection, Selection::default()).await;
        let nodes = nodes.map_err(Failure::call("list nodes"))?;
        let services = services.iter().map(|s| (s.id.clone(), s.name().to_owned()));
        let nodes = nodes.iter().map(|n| (n.id.clone(), n.name().to_owned()));
        Ok(Names(services.chain(nodes).filter(|(_, name)| !name.is_empty()).collect()))
    }

    /// The name of the object with this id, or the id.
    pub fn of<'n>(&'n self, id: &'n str) -> &'n str {
        self.0.get(id).map_or(id, String::as_str)
    }
}

/// Lists the tasks that `asked` and the filters of `listing` name.
pub async fn print(asked: Filters, listing: Listing, mut session: Session) -> Result<(), Failure> {
    let Session { connection, output } = &mut session;
    let filter = TaskFilter::new(connection, asked, &listing.filter).await?;
    let mut tasks = list(connection, filter.asked.clone()).await?;
    let names = if listing.no_resolve || tasks.is_empty() {
        Names::default()
    } else {
        Names::all(connection).await?
    };
    tasks.retain(|task| filter.admits(task, &names));
    let below = in_order(&mut tasks, |task| names.of(&task.service_id).to_owned());
    // Scripts get whole values; what is cut is for people.
    let for_people = listing.options.format == Format::Table && !listing.options.quiet;
    let cut = for_people && !listing.no_trunc;
    let rows: Vec<Value> = tasks
        .iter()
        .zip(below)
        .map(|(task, below)| row(task, &names, below && for_people, cut))
        .collect();
    output.list(COLUMNS, &rows, &listing.options)
}

/// What a task is called: `web.1`, or for a task of a global service `web.NODE-ID`.
pub fn name(task: &Task, names: &Names) -> String {
    let service = match task.service_id.as_str() {
        "" => task.id.as_str(),
        id => names.of(id),
    };
    let slot = if task.slot > 0 { task.slot.to_string() } else { task.node_id.clone() };
    if slot.is_empty() { service.to_owned() } else { format!("{service}.{slot}") }
}

fn row(task: &Task, names: &Names, below: bool, cut: bool) -> Value {
    let image = match task.spec.as_ref().and_then(|s| s.runtime.as_ref()) {
        Some(Runtime::Container(container)) => container.image.as_str(),
        _ => "",
    };
    let status = task.status.clone().unwrap_or_default();
    let since = status.timestamp.map(|t| format!(" {}", time::ago(&t))).unwrap_or_default();
    let ports = status.port_status.as_ref().map(|s| s.ports.as_slice()).unwrap_or_default();
    json!({
        "ID": if cut { short_id(&task.id) } else { &task.id },
        "Name": if below { format!(" \\_ {}", name(task, names)) } else { name(task, names) },
        "Image": if cut { without_digest(image) } else { image },
        "Node": names.of(&task.node_id),
        "DesiredState": words::capitalized(&words::task_state(task.desired_state())),
        "CurrentState": words::capitalized(&words::task_state(status.state())) + &since,
        "Error": if cut { cut_error(&status.err) } else { status.err },
        "Ports": ports.iter().map(ports::shown).collect::<Vec<_>>().join(","),
    })
}

/// An image without the digest behind its tag, which is as long as a line.
pub fn without_digest(image: &str) -> &str {
    match image.split_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => image,
    }
}

fn cut_error(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_its_slot_where_it_has_one_and_else_by_its_node() {
        let name = |slot: u64, node_id: &str| {
            let (service_id, node_id) = ("job".to_owned(), node_id.to_owned());
            name(&Task { service_id, node_id, slot, ..Task::default() }, &Names::default())
        };
        assert_eq!(name(2, "n1"), "job.2");
        // The slots of a replicated job begin with 0, which is no slot to whoever lists tasks: Docker's names too.
        assert_eq!(name(0, "n1"), "job.n1");
        assert_eq!(name(0, ""), "job");
    }
}
