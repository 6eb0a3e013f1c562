//! Nodes. Their name is the hostname they report, and two may have the same.

use std::borrow::Cow;

use skep_proto::{ids::Id, swarmkit::Node};

use super::{attachments, named::NamedIndexes, object};
use crate::{
    By, Tables,
    index::{Ids, Index},
    object::sealed::IndexSet,
};

/// Indexes of nodes.
#[derive(Clone, Default)]
pub struct NodeIndexes {
    named: NamedIndexes,
    role: Index<i32>,
    membership: Index<i32>,
}

fn role(node: &Node) -> i32 {
    node.spec.as_ref().map_or(0, |s| s.desired_role)
}

fn membership(node: &Node) -> i32 {
    node.spec.as_ref().map_or(0, |s| s.membership)
}

impl IndexSet<Node> for NodeIndexes {
    fn replace(&mut self, id: Id, old: Option<&Node>, new: Option<&Node>) {
        self.named.replace(id, old, new);
        self.role.follow(id, old, new, |n| Some(role(n)));
        self.membership.follow(id, old, new, |n| Some(membership(n)));
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        match by {
            By::Role(role) => Some(Box::new(self.role.with(*role as i32))),
            By::Membership(membership) => Some(Box::new(self.membership.with(*membership as i32))),
            _ => IndexSet::<Node>::candidates(&self.named, by),
        }
    }
}

object!(
    Node, node, NodeId, 2, unique_name: false, indexes: NodeIndexes,
    annotations: |n| n.spec.as_ref()?.annotations.as_ref(),
    name: |n| n.description.as_ref().map(|d| Cow::Borrowed(d.hostname.as_str())),
    own: {
        fn share(&mut self, old: Option<&Node>, tables: &Tables) {
            let other = || tables.all::<Node>().next().map(|node| &*node.attachments);
            attachments::share(&mut self.attachments, old.map(|old| &*old.attachments), other);
        }

        fn matches_own(&self, by: &By) -> bool {
            match by {
                By::Role(wanted) => role(self) == *wanted as i32,
                By::Membership(wanted) => membership(self) == *wanted as i32,
                _ => false,
            }
        }
    }
);
