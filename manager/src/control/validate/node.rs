//! Nodes: what an operator may ask of one.

use skep_proto::swarmkit::{
    NodeRole, NodeSpec,
    node_spec::{Availability, Membership},
};

use super::{Checked, annotations::unnamed, known, required};

/// The spec of a node.
pub fn node_spec(spec: &Option<NodeSpec>) -> Checked<&NodeSpec> {
    let spec = required(spec, "the node's spec")?;
    unnamed(spec.annotations.as_ref(), "node")?;
    known::<NodeRole>(spec.desired_role, "node role")?;
    known::<Membership>(spec.membership, "node membership")?;
    known::<Availability>(spec.availability, "node availability")?;
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn a_node_spec_has_known_values() {
        for (spec, expected) in [
            (Some(NodeSpec::default()), "ok"),
            (None, "the node's spec is missing"),
            (
                Some(NodeSpec { desired_role: 2, ..Default::default() }),
                "node role 2 is not a known value",
            ),
            (
                Some(NodeSpec { membership: -1, ..Default::default() }),
                "node membership -1 is not a known value",
            ),
            (
                Some(NodeSpec { availability: 3, ..Default::default() }),
                "node availability 3 is not a known value",
            ),
        ] {
            assert_eq!(says(node_spec(&spec)), expected);
        }
    }
}
