//! Nodes: listing them with what the raft group knows of them, changing what an operator may ask of them, removing them.

mod remove;

use std::collections::{BTreeMap, HashMap};

use skep_proto::swarmkit::{
    GetNodeRequest, GetNodeResponse, ListNodesRequest, ListNodesResponse, ManagerStatus, Node,
    NodeRole, NodeSpec, UpdateNodeRequest, UpdateNodeResponse, raft_member_status::Reachability,
};
use skep_store::{By, Tx};

use super::{
    ControlService, at_version,
    errors::ControlError,
    filters::{any_or_empty, bounded, common_filter, labels_match, own_labels},
    validate, wanted,
};
use crate::group::{Group, GroupError, MemberState};

pub(super) use remove::{purge_blacklist, remove};

/// One node.
pub(super) async fn get(
    control: &ControlService,
    request: GetNodeRequest,
) -> Result<GetNodeResponse, ControlError> {
    let view = control.read().await?;
    let node = Node::clone(wanted(&view, &request.node_id)?);
    let node = with_status(node, &members(control));
    Ok(GetNodeResponse { node: Some(node) })
}

/// The nodes that pass the filters. `labels` are the engine's, `node_labels` the operator's; the role is the one that the
/// node has, not the desired one.
pub(super) async fn list(
    control: &ControlService,
    request: ListNodesRequest,
) -> Result<ListNodesResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let own = request.filters.clone().unwrap_or_default();
    bounded(own.node_labels.len(), "node labels")?;
    bounded(own.memberships.len(), "memberships")?;
    bounded(own.roles.len(), "roles")?;
    let view = control.read().await?;
    let nodes = filter.list::<Node>(&view, engine_labels, |node| {
        let membership = node.spec.as_ref().map_or(0, |spec| spec.membership);
        any_or_empty(&own.roles, &node.role)
            && any_or_empty(&own.memberships, &membership)
            && labels_match(&own.node_labels, own_labels(node))
    });
    let members = members(control);
    let nodes = nodes.into_iter().map(|node| with_status(node, &members)).collect();
    Ok(ListNodesResponse { nodes })
}

/// Replaces a node's spec. A demotion is refused when it would take the cluster's last manager or its quorum; the role
/// itself follows later.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateNodeRequest,
) -> Result<UpdateNodeResponse, ControlError> {
    let spec = validate::node_spec(&request.spec)?;
    let node = control
        .write(|tx| {
            let mut node: Node = at_version(tx, &request.node_id, request.node_version)?;
            let desired =
                |spec: Option<&NodeSpec>| spec.map_or(NodeRole::Worker, NodeSpec::desired_role);
            if desired(node.spec.as_ref()) == NodeRole::Manager
                && desired(Some(spec)) == NodeRole::Worker
            {
                demotable(tx, &*control.group, &node.id)?;
            }
            node.spec = Some(spec.clone());
            Ok(tx.update(node)?)
        })
        .await?;
    let node = with_status(Node::clone(&node), &members(control));
    Ok(UpdateNodeResponse { node: Some(node) })
}

fn engine_labels(node: &Node) -> Option<&BTreeMap<String, String>> {
    node.description.as_ref()?.engine.as_ref().map(|engine| &engine.labels)
}

fn demotable(tx: &Tx, group: &dyn Group, id: &str) -> Result<(), ControlError> {
    let mut managers = tx.find::<Node>(By::Role(NodeRole::Manager));
    if !managers.any(|other| other.id != id) {
        return Err(ControlError::Precondition(
            "attempting to demote the last manager of the swarm".into(),
        ));
    }
    let Some(member) = group.members().into_iter().find(|member| member.node_id == id) else {
        return Err(ControlError::Absent("can't find manager in raft memberlist".into()));
    };
    group.check_removal(member.raft_id).map_err(|error| match error {
        GroupError::QuorumLoss { reachable, remaining, needed } => {
            ControlError::Precondition(format!(
                "can't remove member from the raft: this would result in a loss of quorum ({reachable} of the \
                 {remaining} remaining managers can be reached, {needed} are needed)"
            ))
        }
        error => error.into(),
    })
}

/// The members of the raft group by node id.
fn members(control: &ControlService) -> HashMap<String, MemberState> {
    control.group.members().into_iter().map(|member| (member.node_id.clone(), member)).collect()
}

/// The node with what the raft group knows of it now; the store does not hold that.
fn with_status(mut node: Node, members: &HashMap<String, MemberState>) -> Node {
    node.manager_status = members.get(&node.id).map(|member| ManagerStatus {
        raft_id: member.raft_id,
        addr: member.addr.clone(),
        leader: member.leader,
        reachability: match member.reachable {
            true => Reachability::Reachable.into(),
            false => Reachability::Unreachable.into(),
        },
    });
    node
}
