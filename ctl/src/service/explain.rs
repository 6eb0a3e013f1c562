//! `skep service explain`: why tasks are where they are, and what would help those that wait.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_proto::skep::{
    ExplainRequest, ExplainResponse, FilterRejection, PlacementExplanation, TaskExplanation,
    explain_request,
};

use super::{Subject, subject};
use crate::{
    commands::Session,
    errors::{Failure, one_line},
    fields::FieldsError,
    output::Format,
    shapes::{time, words},
};

/// How many nodes are named under a filter; --verbose names all that the managers tell of.
const NODES_SHOWN: usize = 5;

/// Say why the tasks of a service, or one task, are where they are; for those that wait, node by node and filter by
/// filter, with what would help.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// How to print: table (text), json, or a template such as '{{json .Tasks}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Name every node that a filter rejects
    #[arg(short, long)]
    verbose: bool,
    /// A service, by ID, beginning of an ID, or name; or a task, by ID or beginning of an ID
    #[arg(value_name = "SERVICE|TASK")]
    subject: String,
}

impl Explain {
    /// Prints the explanation.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let subject = match subject(&session.connection, &self.subject).await? {
            Subject::Service(service) => explain_request::Subject::ServiceId(service.id),
            Subject::Task(task) => explain_request::Subject::TaskId(task.id),
        };
        let request = session.connection.request(ExplainRequest { subject: Some(subject) });
        let reply = session.connection.scheduling().explain(request).await;
        let doing = format!("explain {}", self.subject);
        let explained = reply.map_err(Failure::call(doing))?.into_inner();
        let refused = |error: FieldsError| Failure::Usage(format!("--format: {error}"));
        match &self.format {
            Format::Table => {
                let shown = if self.verbose { usize::MAX } else { NODES_SHOWN };
                lines(&explained, shown).iter().try_for_each(|line| session.output.line(line))
            }
            Format::Json => session.output.line(value(&explained).to_string()),
            Format::Template(template) => {
                session.output.line(template.render(&value(&explained)).map_err(refused)?)
            }
            Format::Fields(_) => {
                let text = "--format: an explanation is no table; write json or a template";
                Err(Failure::Usage(text.into()))
            }
        }
    }
}

/// The explanation as text.
fn lines(explained: &ExplainResponse, nodes_shown: usize) -> Vec<String> {
    let ExplainResponse { service_name, notes, tasks, tasks_total, placements, .. } = explained;
    let mut lines: Vec<String> =
        notes.iter().map(|note| format!("{service_name}: {}", one_line(note))).collect();
    let mut waiting: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let placement = |number: u32| {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        placements.get(index)
    };
    for task in tasks {
        lines.extend(task_lines(service_name, task, placement(task.placement)));
        if task.placement > 0 {
            waiting.entry(task.placement).or_default().push(name(service_name, task));
        }
    }
    let left = tasks_total.saturating_sub(tasks.len() as u64);
    if left > 0 {
        lines.push(format!("… and {left} tasks more"));
    }
    for (number, names) in &waiting {
        if let Some(placement) = placement(*number) {
            lines.push(String::new());
            lines.extend(placement_lines(placement, names, nodes_shown));
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn name(service: &str, task: &TaskExplanation) -> String {
    match (task.slot, task.hostname.as_str()) {
        (0, "") => format!("{service}.{}", task.task_id),
        (0, hostname) => format!("{service}.{hostname}"),
        (slot, _) => format!("{service}.{slot}"),
    }
}

/// What is said of one task. What would help it stands with the nodes' answers, when those are shown.
fn task_lines(
    service: &str,
    task: &TaskExplanation,
    placement: Option<&PlacementExplanation>,
) -> Vec<String> {
    let since = task.since.as_ref().map(|t| format!(" since {}", time::ago(t)));
    let node = match task.hostname.as_str() {
        "" => String::new(),
        hostname => format!(" on {}", one_line(hostname)),
    };
    let mut lines = vec![format!(
        "{} ({}): {}{node}{}: {}",
        name(service, task),
        task.task_id,
        words::task_state(task.state()),
        since.unwrap_or_default(),
        one_line(&task.reason)
    )];
    if !task.err.is_empty() && !task.reason.contains(task.err.as_str()) {
        lines.push(format!("    it says: {}", one_line(&task.err)));
    }
    let shown_below = |hint: &String| placement.is_some_and(|p| p.hints.contains(hint));
    let hints = task.hints.iter().filter(|hint| !shown_below(hint));
    lines.extend(hints.map(|hint| format!("    helps: {}", one_line(hint))));
    lines
}

fn placement_lines(
    placement: &PlacementExplanation,
    tasks: &[String],
    nodes_shown: usize,
) -> Vec<String> {
    let PlacementExplanation { nodes_total, nodes_suitable, rejections, hints, .. } = placement;
    let tasks = match tasks {
        [first, _, .., last] if tasks.len() > 3 => format!("{first} to {last}"),
        tasks => tasks.join(", "),
    };
    let mut lines = vec![format!("{tasks}: {nodes_suitable} of {nodes_total} nodes are suitable")];
    for FilterRejection { filter, nodes_total, nodes_only, nodes, hint } in rejections {
        let alone = match nodes_only {
            0 => String::new(),
            only => format!(" ({only} for this alone)"),
        };
        let nodes_word = if *nodes_total == 1 { "node" } else { "nodes" };
        lines.push(format!("  {filter} rejects {nodes_total} {nodes_word}{alone}"));
        for node in nodes.iter().take(nodes_shown) {
            let host = if node.hostname.is_empty() { &node.node_id } else { &node.hostname };
            lines.push(format!("    {}: {}", one_line(host), one_line(&node.detail)));
        }
        let shown = nodes.len().min(nodes_shown);
        let left = usize::try_from(*nodes_total).unwrap_or(usize::MAX).saturating_sub(shown);
        if left > 0 {
            lines.push(format!("    … and {left} nodes more"));
        }
        if !hint.is_empty() && !hints.contains(hint) {
            lines.push(format!("    helps: {}", one_line(hint)));
        }
    }
    lines.extend(hints.iter().map(|hint| format!("  helps: {}", one_line(hint))));
    lines
}

/// The explanation in the shape of inspected objects.
fn value(explained: &ExplainResponse) -> Value {
    let task = |task: &TaskExplanation| {
        json!({
            "ID": task.task_id,
            "Name": name(&explained.service_name, task),
            "Slot": task.slot,
            "NodeID": task.node_id,
            "Hostname": task.hostname,
            "State": words::task_state(task.state()),
            "DesiredState": words::task_state(task.desired_state()),
            "Since": task.since.as_ref().map(ToString::to_string),
            "Reason": task.reason,
            "Hints": task.hints,
            "Message": task.message,
            "Err": task.err,
            "Placement": task.placement,
        })
    };
    json!({
        "ServiceID": explained.service_id,
        "ServiceName": explained.service_name,
        "Notes": explained.notes,
        "Tasks": explained.tasks.iter().map(task).collect::<Vec<_>>(),
        "TasksTotal": explained.tasks_total,
        "Placements": explained.placements.iter().map(placement_value).collect::<Vec<_>>(),
    })
}

/// What the filters make of the nodes, in the shape of inspected objects.
pub fn placement_value(placement: &PlacementExplanation) -> Value {
    let rejection = |rejection: &FilterRejection| {
        let nodes: Vec<Value> = rejection
            .nodes
            .iter()
            .map(|n| json!({ "NodeID": n.node_id, "Hostname": n.hostname, "Detail": n.detail }))
            .collect();
        json!({
            "Filter": rejection.filter,
            "NodesTotal": rejection.nodes_total,
            "NodesOnly": rejection.nodes_only,
            "Nodes": nodes,
            "Hint": rejection.hint,
        })
    };
    json!({
        "NodesTotal": placement.nodes_total,
        "NodesSuitable": placement.nodes_suitable,
        "Summary": placement.summary,
        "Rejections": placement.rejections.iter().map(rejection).collect::<Vec<_>>(),
        "Hints": placement.hints,
    })
}

/// Why the new tasks of a plan find no node, as text.
pub fn waiting_lines(placement: &PlacementExplanation) -> Vec<String> {
    placement_lines(placement, &["tasks that wait".to_owned()], NODES_SHOWN)
}
