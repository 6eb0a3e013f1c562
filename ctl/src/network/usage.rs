//! What the managers say of how networks are used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use skep_proto::skep::{AddressHolder, AddressHolderKind, NetworkUsage, NetworkUsageRequest};
use tonic::Code;

use crate::{connect::Connection, errors::Failure};

/// The usage of the networks with these ids, by id; none if the manager that leads cannot tell, as a stock one.
pub async fn of(
    connection: &Connection,
    network_ids: Vec<String>,
    holders: bool,
) -> Result<Option<BTreeMap<String, NetworkUsage>>, Failure> {
    match ask(connection, NetworkUsageRequest { network_ids, holders }).await {
        Ok(usage) => Ok(Some(usage)),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(Failure::call("ask who uses the networks")(status)),
    }
}

/// The ids of the networks that a service, task or container uses.
pub async fn in_use(connection: &Connection) -> Result<BTreeSet<String>, Failure> {
    let usage = ask(connection, NetworkUsageRequest::default()).await;
    let usage = usage.map_err(Failure::call("ask who uses the networks"))?;
    let used = usage.into_values().filter(|usage| usage.services_total + usage.tasks_total > 0);
    Ok(used.map(|usage| usage.network_id).collect())
}

async fn ask(
    connection: &Connection,
    request: NetworkUsageRequest,
) -> Result<BTreeMap<String, NetworkUsage>, tonic::Status> {
    let reply = connection.networks().usage(connection.request(request)).await?;
    let networks = reply.into_inner().networks;
    Ok(networks.into_iter().map(|usage| (usage.network_id.clone(), usage)).collect())
}

/// The usage in the shape of inspected objects; with holders when they were asked for.
pub fn value(usage: &NetworkUsage, holders: bool) -> Value {
    let subnets: Vec<Value> = usage
        .subnets
        .iter()
        .map(|subnet| {
            json!({
                "Subnet": subnet.subnet,
                "IPRange": subnet.range,
                "Gateway": subnet.gateway,
                "VXLANID": subnet.vxlan_id,
                "Total": subnet.total,
                "Used": subnet.used,
                "Free": subnet.free,
            })
        })
        .collect();
    let mut value = json!({
        "Subnets": subnets,
        "Services": usage.services_total,
        "Tasks": usage.tasks_total,
        "Nodes": usage.nodes_total,
        "Waits": usage.waits,
    });
    if holders {
        value["Holders"] = usage.holders.iter().map(holder).collect();
        value["HoldersTotal"] = usage.holders_total.into();
    }
    value
}

fn holder(holder: &AddressHolder) -> Value {
    json!({
        "Address": holder.address,
        "Kind": kind(holder.kind()),
        "ID": holder.id,
        "Name": holder.name,
        "NodeID": holder.node_id,
        "Hostname": holder.hostname,
    })
}

/// The word for what holds an address.
pub fn kind(kind: AddressHolderKind) -> &'static str {
    match kind {
        AddressHolderKind::Unspecified => "unknown",
        AddressHolderKind::Gateway => "gateway",
        AddressHolderKind::Reserved => "reserved",
        AddressHolderKind::Service => "service",
        AddressHolderKind::Task => "task",
        AddressHolderKind::Container => "container",
        AddressHolderKind::Node => "node",
    }
}
