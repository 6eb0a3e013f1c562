//! What every filter says of every node.

use skep_proto::skep::{FilterRejection, NodeRejection, PlacementExplanation};

use super::{detail::detail, hint::hint};
use crate::scheduler::{
    filter::{Failures, Filter},
    needs::Shape,
    nodes::{NodeIndex, NodeInfo},
    state::State,
};

/// Nodes listed for one filter.
pub const NODES_LISTED_MAX: usize = 100;

/// What the nodes say to tasks of this shape; `only` is the one that a preassigned task came with.
pub fn explain_placement(
    state: &State,
    shape: &Shape,
    only: Option<NodeIndex>,
) -> PlacementExplanation {
    let nodes: Vec<(NodeIndex, &NodeInfo)> =
        state.nodes().iter().filter(|(index, _)| only.is_none_or(|own| own == *index)).collect();
    let mut failures = Failures::default();
    let mut failing: Vec<(NodeIndex, &NodeInfo, Vec<Filter>)> = Vec::new();
    for (index, node) in &nodes {
        let of_service = state.of_service(shape.service, *index);
        let fails = Filter::ALL.into_iter().filter(|f| !f.passes(&shape.needs, node, of_service));
        let fails: Vec<Filter> = fails.collect();
        failures.add(fails.first().copied());
        if !fails.is_empty() {
            failing.push((*index, *node, fails));
        }
    }
    let suitable = nodes.len() - failing.len();
    let all: Vec<&NodeInfo> = nodes.iter().map(|(_, node)| *node).collect();
    let mut rejections: Vec<FilterRejection> = Filter::ALL
        .into_iter()
        .filter_map(|filter| rejection(state, shape, filter, &failing, &all))
        .collect();
    rejections.sort_by_key(|rejection| std::cmp::Reverse(rejection.nodes_total));
    PlacementExplanation {
        nodes_total: count(nodes.len()),
        nodes_suitable: count(suitable),
        summary: match (suitable, only) {
            (0, None) => failures.no_suitable_node(),
            (0, Some(_)) => failures.explanation(),
            _ => String::new(),
        },
        hints: if suitable == 0 { hints(&rejections, nodes.is_empty()) } else { Vec::new() },
        rejections,
    }
}

fn rejection(
    state: &State,
    shape: &Shape,
    filter: Filter,
    failing: &[(NodeIndex, &NodeInfo, Vec<Filter>)],
    all: &[&NodeInfo],
) -> Option<FilterRejection> {
    let here: Vec<_> = failing.iter().filter(|(_, _, fails)| fails.contains(&filter)).collect();
    if here.is_empty() {
        return None;
    }
    let nodes: Vec<&NodeInfo> = here.iter().map(|(_, node, _)| *node).collect();
    let near: Vec<&NodeInfo> =
        here.iter().filter(|(_, _, fails)| fails.len() == 1).map(|(_, node, _)| *node).collect();
    let listed = here.iter().take(NODES_LISTED_MAX).map(|(index, node, _)| NodeRejection {
        node_id: node.id().to_string(),
        hostname: hostname(node),
        detail: detail(state, filter, shape, *index, node),
    });
    Some(FilterRejection {
        filter: filter.as_str().to_owned(),
        nodes_total: count(here.len()),
        nodes_only: count(near.len()),
        nodes: listed.collect(),
        hint: hint(filter, shape, &nodes, &near, all),
    })
}

/// The hints of the filters, that of the one that alone keeps the most nodes away first.
fn hints(rejections: &[FilterRejection], no_nodes: bool) -> Vec<String> {
    if no_nodes {
        return vec!["there is no node: join one (`skep swarm join`)".to_owned()];
    }
    let mut ordered: Vec<&FilterRejection> = rejections.iter().collect();
    ordered.sort_by_key(|rejection| std::cmp::Reverse(rejection.nodes_only));
    ordered.into_iter().map(|rejection| rejection.hint.clone()).collect()
}

/// The name that the node reports.
pub fn hostname(node: &NodeInfo) -> String {
    node.object().description.as_ref().map(|d| d.hostname.clone()).unwrap_or_default()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
