//! Tasks of one spec that look for a node, and what each node says to them.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use skep_proto::ids::TaskId;

use super::{
    filter::{self, Failures, Verdict},
    needs::Shape,
    nodes::{NodeIndex, NodeInfo, Nodes},
};

/// The tasks of one service and spec version, or one task that stands alone.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub shape: Arc<Shape>,
    /// How many tasks are known of it, placed or not.
    pub members: u32,
    /// Those without a node, by slot.
    pub queue: BTreeSet<(u64, TaskId)>,
    /// Of the tasks that wait, those that are not told why yet. Some may have a node by now.
    pub untold: VecDeque<TaskId>,
    /// The text that waiting tasks are told; empty if none has had to wait since all had nodes.
    pub text: Arc<str>,
    /// When the text changed last.
    pub text_changed: SystemTime,
    /// What the filters that look at the node object alone say of each node, with the revision of that object.
    fixed: Vec<(u32, Verdict)>,
    /// What each node said last; outer none where there is no node.
    verdicts: Vec<Option<Verdict>>,
    failures: Failures,
}

impl Group {
    /// Without tasks.
    pub fn new(shape: Arc<Shape>) -> Group {
        Group {
            shape,
            members: 0,
            queue: BTreeSet::new(),
            untold: VecDeque::new(),
            text: Arc::from(""),
            text_changed: SystemTime::UNIX_EPOCH,
            fixed: Vec::new(),
            verdicts: Vec::new(),
            failures: Failures::default(),
        }
    }

    /// Asks a node, and remembers what it says.
    pub fn judge(&mut self, index: NodeIndex, node: &NodeInfo, of_service: u32) -> Verdict {
        let at = index as usize;
        if self.fixed.len() <= at {
            // No node has revision 0.
            self.fixed.resize(at + 1, (0, None));
        }
        let known = &mut self.fixed[at];
        if known.0 != node.revision() {
            *known = (node.revision(), filter::fixed(&self.shape.needs, node));
        }
        let verdict = filter::first_failure(&self.shape.needs, node, of_service, known.1);
        self.remember(index, Some(verdict));
        verdict
    }

    /// Asks a node again that may have changed. Says whether it would take a task now.
    pub fn judge_again(&mut self, index: NodeIndex, nodes: &Nodes, of_service: u32) -> bool {
        match nodes.get(index) {
            Some(node) => self.judge(index, node, of_service).is_none(),
            None => {
                self.remember(index, None);
                false
            }
        }
    }

    /// The text is what the nodes say now, and all that wait are to be told.
    pub fn change_text(&mut self, now: SystemTime) {
        self.text = Arc::from(self.explanation());
        self.text_changed = now;
        self.untold = self.queue.iter().map(|(_, task)| *task).collect();
    }

    /// Why no node takes a task, as SwarmKit says it.
    pub fn explanation(&self) -> String {
        self.failures.no_suitable_node()
    }

    /// Drops what was remembered of the nodes: nothing of the group waits.
    pub fn forget_nodes(&mut self) {
        self.fixed = Vec::new();
        self.forget_verdicts();
    }

    /// Drops what the nodes said last; what is fixed is kept.
    pub fn forget_verdicts(&mut self) {
        self.verdicts.clear();
        self.failures = Failures::default();
    }

    fn remember(&mut self, index: NodeIndex, said: Option<Verdict>) {
        let at = index as usize;
        if self.verdicts.len() <= at {
            self.verdicts.resize(at + 1, None);
        }
        let before = std::mem::replace(&mut self.verdicts[at], said);
        self.failures.remove(before.flatten());
        self.failures.add(said.flatten());
    }
}
