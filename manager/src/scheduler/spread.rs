//! Spreading: which of the nodes that would take a task gets it.
//!
//! Preferences make a tree: each level splits the nodes by the value of a label, the empty text for those without it. A
//! task goes to the branch in which the fewest tasks of its service run, and so on down to a leaf; there to the node
//! with the least [`Rank`]. Branches in which no node has room any more are out. Every heap in the tree keeps its best
//! on top, so a task costs the logarithm of the number of nodes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
};

use super::nodes::NodeIndex;

/// Recent failures of a service on a node from which on the node is put behind the others.
pub const FAILURES_MAX: u32 = 5;

/// How gladly a node would be given one more task: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Recent failures of the service there, from [`FAILURES_MAX`] on; fewer count as none.
    failures: u32,
    /// Active tasks of the service there.
    of_service: u32,
    /// All active tasks there.
    active: u32,
    index: NodeIndex,
}

impl Rank {
    /// Of a node.
    pub fn new(failures: u32, of_service: u32, active: u32, index: NodeIndex) -> Rank {
        let failures = if failures >= FAILURES_MAX { failures } else { 0 };
        Rank { failures, of_service, active, index }
    }

    /// The node.
    pub fn index(&self) -> NodeIndex {
        self.index
    }

    /// Active tasks of the service there.
    pub fn of_service(&self) -> u32 {
        self.of_service
    }

    fn with_one_more(self) -> Rank {
        Rank { of_service: self.of_service + 1, active: self.active + 1, ..self }
    }
}

/// The nodes that would take a task, by preference.
#[derive(Debug)]
pub enum Tree {
    /// Nodes without further preference.
    Leaf(BinaryHeap<Reverse<Rank>>),
    /// Branches by the value of a label.
    Branches {
        /// Each with the tasks of the service in it.
        all: Vec<(u32, Tree)>,
        /// Those that have room: tasks in it, its best node, where it stands in `all`.
        order: BinaryHeap<Reverse<(u32, Rank, usize)>>,
    },
}

impl Tree {
    /// The best node, if any has room.
    pub fn best(&self) -> Option<Rank> {
        match self {
            Tree::Leaf(heap) => heap.peek().map(|Reverse(rank)| *rank),
            Tree::Branches { order, .. } => order.peek().map(|Reverse((_, rank, _))| *rank),
        }
    }

    /// Records that the best node got a task; `has_room` says whether it would take another one.
    pub fn placed(&mut self, has_room: bool) {
        match self {
            Tree::Leaf(heap) => {
                let Some(mut top) = heap.peek_mut() else { return };
                if has_room {
                    top.0 = top.0.with_one_more();
                } else {
                    PeekMut::pop(top);
                }
            }
            Tree::Branches { all, order } => {
                let Some(mut top) = order.peek_mut() else { return };
                let (tasks, branch) = &mut all[top.0.2];
                branch.placed(has_room);
                *tasks += 1;
                match branch.best() {
                    Some(best) => top.0 = (*tasks, best, top.0.2),
                    None => {
                        PeekMut::pop(top);
                    }
                }
            }
        }
    }
}

/// Collects the nodes for a tree.
#[derive(Debug, Default)]
pub struct TreeBuilder<'a> {
    /// Of the service, on all nodes here, whether they have room or not.
    tasks: u32,
    ranks: Vec<Reverse<Rank>>,
    branches: BTreeMap<&'a str, TreeBuilder<'a>>,
}

impl<'a> TreeBuilder<'a> {
    /// Counts a node with this many tasks of the service, and puts it in by its rank if it has room. `path` gives the
    /// value of the label of each preference, the outermost first.
    pub fn add(
        &mut self,
        path: impl IntoIterator<Item = &'a str>,
        of_service: u32,
        rank: Option<Rank>,
    ) {
        let mut at = self;
        at.tasks += of_service;
        for value in path {
            at = at.branches.entry(value).or_default();
            at.tasks += of_service;
        }
        at.ranks.extend(rank.map(Reverse));
    }

    /// The tree.
    pub fn build(self) -> Tree {
        if self.branches.is_empty() {
            return Tree::Leaf(BinaryHeap::from(self.ranks));
        }
        let all: Vec<(u32, Tree)> =
            self.branches.into_values().map(|branch| (branch.tasks, branch.build())).collect();
        let order = all.iter().enumerate();
        let order = order.filter_map(|(i, (tasks, tree))| Some(Reverse((*tasks, tree.best()?, i))));
        Tree::Branches { order: order.collect(), all }
    }
}
