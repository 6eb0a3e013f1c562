//! A task as `docker inspect` shows it.

use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::swarmkit::{self, generic_resource::Resource, task_status::RuntimeStatus};

use super::{Meta, pruned, service, value, words};

#[derive(Serialize)]
struct Task<'t> {
    #[serde(rename = "ID")]
    id: &'t str,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Labels")]
    labels: Value,
    #[serde(rename = "Spec")]
    spec: Value,
    #[serde(rename = "ServiceID")]
    service_id: &'t str,
    #[serde(rename = "Slot", skip_serializing_if = "is_zero")]
    slot: u64,
    #[serde(rename = "NodeID", skip_serializing_if = "str::is_empty")]
    node_id: &'t str,
    #[serde(rename = "Status")]
    status: Value,
    #[serde(rename = "DesiredState")]
    desired_state: String,
    #[serde(rename = "NetworksAttachments", skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Value>,
    #[serde(rename = "GenericResources", skip_serializing_if = "Vec::is_empty")]
    generic_resources: Vec<Value>,
    #[serde(rename = "JobIteration", skip_serializing_if = "Option::is_none")]
    job_iteration: Option<Value>,
}

/// The task in Docker's shape.
pub fn inspected(task: &swarmkit::Task) -> Value {
    let labels = task.annotations.as_ref().map(|a| a.labels.clone()).unwrap_or_default();
    value(&Task {
        id: &task.id,
        meta: (&task.meta).into(),
        labels: json!(labels),
        spec: service::task(task.spec.as_deref().cloned().unwrap_or_default()),
        service_id: &task.service_id,
        slot: task.slot,
        node_id: &task.node_id,
        status: status(&task.status.clone().unwrap_or_default()),
        desired_state: words::task_state(task.desired_state()),
        networks: task.networks.iter().map(attachment).collect(),
        generic_resources: task.assigned_generic_resources.iter().map(generic).collect(),
        job_iteration: task.job_iteration.map(|v| json!({ "Index": v.index })),
    })
}

fn status(status: &swarmkit::TaskStatus) -> Value {
    let container = match &status.runtime_status {
        Some(RuntimeStatus::Container(container)) => json!({
            "ContainerID": container.container_id,
            "PID": container.pid,
            "ExitCode": container.exit_code,
        }),
        None => Value::Null,
    };
    let ports = status.port_status.as_ref().map(|s| s.ports.as_slice()).unwrap_or_default();
    pruned(json!({
        "Timestamp": status.timestamp.as_ref().map(ToString::to_string),
        "State": words::task_state(status.state()),
        "Message": status.message,
        "Err": status.err,
        "ContainerStatus": container,
        "PortStatus": pruned(json!({ "Ports": ports.iter().map(service::port).collect::<Vec<_>>() })),
        "AppliedBy": status.applied_by,
        "AppliedAt": status.applied_at.as_ref().map(ToString::to_string),
    }))
}

fn attachment(attachment: &swarmkit::NetworkAttachment) -> Value {
    let network = attachment.network.as_ref();
    let spec = network.and_then(|n| n.spec.as_ref()).and_then(|s| s.annotations.as_ref());
    pruned(json!({
        "Network": {
            "ID": network.map_or("", |n| &n.id),
            "Name": spec.map_or("", |a| &a.name),
        },
        "Addresses": attachment.addresses,
        "Aliases": attachment.aliases,
    }))
}

/// Something that a node has or a task got, by number or by name.
pub fn generic(resource: &swarmkit::GenericResource) -> Value {
    match &resource.resource {
        Some(Resource::DiscreteResourceSpec(discrete)) => json!({
            "DiscreteResourceSpec": { "Kind": discrete.kind, "Value": discrete.value }
        }),
        Some(Resource::NamedResourceSpec(named)) => json!({
            "NamedResourceSpec": { "Kind": named.kind, "Value": named.value }
        }),
        None => Value::Null,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
