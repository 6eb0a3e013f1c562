//! Where the tasks of a spec would go, as the managers foresee it.

use serde_json::{Value, json};
use skep_proto::{
    skep::{PlanRequest, PlanResponse, PlannedAction, PlannedTask},
    swarmkit::{Service, ServiceSpec},
};
use tonic::Code;

use super::explain::waiting_lines;
use crate::{
    commands::Session,
    errors::{Failure, one_line},
    output::{Column, column},
};

const COLUMNS: &[Column] = &[
    column("Action", "ACTION"),
    column("Task", "TASK"),
    column("From", "FROM"),
    column("To", "TO"),
];

/// How many tasks are listed; the counts are of all.
const TASKS_SHOWN: usize = 100;

/// Prints what would become of the tasks if `spec` took effect.
pub async fn show(
    session: &mut Session,
    service: Option<&Service>,
    spec: &ServiceSpec,
) -> Result<(), Failure> {
    let request = session.connection.request(PlanRequest {
        service_id: service.map(|s| s.id.clone()).unwrap_or_default(),
        spec: Some(spec.clone()),
        service_version: service.and_then(|s| s.meta).and_then(|m| m.version),
    });
    let plan = match session.connection.scheduling().plan(request).await {
        Ok(reply) => reply.into_inner(),
        // A stock manager leads, or an older one of ours.
        Err(status) if status.code() == Code::Unimplemented => {
            eprintln!("This daemon does not know where tasks would go.");
            return Ok(());
        }
        Err(status) => return Err(Failure::call("plan the tasks")(status)),
    };
    let name = spec.annotations.as_ref().map_or("", |a| &a.name);
    session.output.line("")?;
    summary(&plan).iter().try_for_each(|line| session.output.line(line))?;
    let moving = |task: &&PlannedTask| task.action() != PlannedAction::Keep;
    let rows: Vec<Value> =
        plan.tasks.iter().filter(moving).take(TASKS_SHOWN).map(|task| row(name, task)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    session.output.line("")?;
    session.output.table(COLUMNS, &rows)
}

/// The plan in a few sentences.
fn summary(plan: &PlanResponse) -> Vec<String> {
    let PlanResponse { created, replaced, stopped, kept, waiting, .. } = plan;
    let mut lines = vec![format!(
        "Tasks: {created} created, {replaced} replaced, {stopped} stopped, {kept} kept"
    )];
    if *waiting > 0 {
        lines.push(format!("{waiting} of the new tasks would find no node:"));
    }
    lines.extend(plan.placement.iter().flat_map(waiting_lines).map(|line| format!("  {line}")));
    lines.extend(plan.notes.iter().map(|note| one_line(note)));
    lines
}

fn row(service: &str, task: &PlannedTask) -> Value {
    let named = |hostname: &String, id: &String| {
        if hostname.is_empty() { id.clone() } else { hostname.clone() }
    };
    let from = named(&task.from_hostname, &task.from_node_id);
    let to = named(&task.hostname, &task.node_id);
    let place = match task.slot {
        0 => {
            if to.is_empty() {
                from.clone()
            } else {
                to.clone()
            }
        }
        slot => slot.to_string(),
    };
    let starts = matches!(task.action(), PlannedAction::Create | PlannedAction::Replace);
    json!({
        "Action": match task.action() {
            PlannedAction::Unspecified => "",
            PlannedAction::Keep => "keep",
            PlannedAction::Create => "create",
            PlannedAction::Replace => "replace",
            PlannedAction::Stop => "stop",
        },
        "Task": format!("{service}.{place}"),
        "From": from,
        "To": if to.is_empty() && starts { "(waits)".to_owned() } else { to },
    })
}
