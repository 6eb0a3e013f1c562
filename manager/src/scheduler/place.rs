//! One pass: asks what changed, places what can be placed, and says why the rest waits.
//!
//! Cost follows change. A group that found no node is asked about again only where a node changed, and is placed again
//! only if such a node would take a task. A task of a group costs one look at the best node; the group costs one look at
//! every node.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use skep_proto::{
    ids::{NodeId, TaskId},
    swarmkit::GenericResource,
};

use super::{
    decision::{Decision, version_of},
    filter::{Verdict, first_failure, fixed},
    group::Group,
    needs::{GroupKey, Shape},
    nodes::{Holding, NodeIndex, Nodes},
    spread::{Rank, Tree, TreeBuilder},
    state::{Held, Known, ServiceCounts, State},
};
use crate::placement::label;

/// Tasks of one group placed before another group has its turn, so that a small service need not wait for a large one.
const TURN_MAX: usize = 1_000;
/// Least time between two texts that the waiting tasks of a group are told: a cluster whose nodes come and go must not
/// write every waiting task again for each of them.
pub const TEXT_INTERVAL: Duration = Duration::from_secs(2);

impl State {
    /// Decides on at most about `max` tasks; fewer mean that nothing more can be done until something changes, or until
    /// [`texts_due`](Self::texts_due).
    pub fn decide(&mut self, now: SystemTime, max: usize) -> Vec<Decision> {
        let mut out: Vec<Decision> =
            self.unwanted.drain(..).map(|task| Decision::Stop { task }).collect();
        self.ask_touched();
        self.confirm_preassigned(&mut out);
        while out.len() < max {
            let Some(key) = self.ready.pop_front() else { break };
            self.place(key, TURN_MAX.min(max - out.len()), now, &mut out);
        }
        self.tell_waiting(now, max, &mut out);
        out
    }

    /// Whether tasks wait for [`TEXT_INTERVAL`] to pass before they are told a new text.
    pub fn texts_due(&self) -> bool {
        !self.telling.is_empty()
    }

    /// Asks the nodes that changed again for every group that waits.
    fn ask_touched(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let mut helped = Vec::new();
        for key in &self.waiting {
            let Some(group) = self.groups.get_mut(key) else { continue };
            let counts = group.shape.service.and_then(|service| self.services.get(&service));
            let mut fits = false;
            for index in &self.touched {
                let of_service = counts.and_then(|c| c.get(index)).copied().unwrap_or(0);
                fits |= group.judge_again(*index, &self.nodes, of_service);
            }
            if fits {
                helped.push(*key);
            } else if *group.text != *group.explanation() {
                self.telling.insert(*key);
            }
        }
        self.touched.clear();
        for key in helped {
            self.waiting.remove(&key);
            self.ready.push_back(key);
        }
    }

    /// Gives tasks of a group nodes until it has had its turn, no task is left, or no node has room.
    fn place(&mut self, key: GroupKey, max: usize, now: SystemTime, out: &mut Vec<Decision>) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        if group.queue.is_empty() {
            return;
        }
        let shape = group.shape.clone();
        let counts = shape.service.and_then(|service| self.services.remove(&service));
        let mut counts = counts.unwrap_or_default();
        let failing = self.failures.any(key);
        let failures = |index| if failing { self.failures.count(key, index, now) } else { 0 };
        let mut tree = survey(group, &self.nodes, &counts, failures);
        let mut room = max;
        while room > 0
            && let Some(best) = tree.best()
            && let Some(node) = self.nodes.get(best.index())
            && let Some((_, task)) = group.queue.pop_first()
        {
            room -= 1;
            let index = best.index();
            let claimed = node.offer(&shape.needs.reservation);
            out.push(assign(task, node.id(), version_of(node.object()), &claimed, false));
            let holding = Holding { shape: shape.clone(), claimed, active: true };
            self.nodes.occupy(index, task, &holding);
            self.tasks.insert(task, Known::Held(Held { node: index, holding, preassigned: false }));
            if !self.waiting.is_empty() {
                self.touched.insert(index);
            }
            let of_service = best.of_service() + 1;
            counts.insert(index, of_service);
            let has_room = match self.nodes.get(index) {
                Some(node) => group.judge(index, node, of_service).is_none(),
                None => false,
            };
            tree.placed(has_room);
        }
        let stuck = tree.best().is_none();
        if let Some(service) = shape.service
            && !counts.is_empty()
        {
            self.services.insert(service, counts);
        }
        match (self.groups.get(&key).is_some_and(|group| group.queue.is_empty()), stuck) {
            (true, _) => self.settle(key),
            (false, false) => self.ready.push_back(key),
            (false, true) => self.wait(key, now),
        }
    }

    /// No node takes another task of the group.
    fn wait(&mut self, key: GroupKey, now: SystemTime) {
        self.waiting.insert(key);
        self.telling.insert(key);
        let Some(group) = self.groups.get_mut(&key) else { return };
        if group.text.is_empty() {
            group.change_text(now);
        }
    }

    /// Tells tasks why they wait. A text that changes is held back until the last one has stood for a while; a task that
    /// was told nothing yet is told at once.
    fn tell_waiting(&mut self, now: SystemTime, max: usize, out: &mut Vec<Decision>) {
        for key in std::mem::take(&mut self.telling) {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            if !self.waiting.contains(&key) {
                continue;
            }
            let stands =
                now.duration_since(group.text_changed).map_or(true, |age| age < TEXT_INTERVAL);
            let mut differs = *group.text != *group.explanation();
            if differs && !stands {
                group.change_text(now);
                differs = false;
            }
            while out.len() < max
                && let Some(task) = group.untold.pop_front()
            {
                if matches!(self.tasks.get(&task), Some(Known::Queued { .. })) {
                    out.push(Decision::Wait { task, text: group.text.clone() });
                }
            }
            if differs || !group.untold.is_empty() {
                self.telling.insert(key);
            }
        }
    }

    /// Asks the nodes of preassigned tasks.
    fn confirm_preassigned(&mut self, out: &mut Vec<Decision>) {
        for task in std::mem::take(&mut self.due) {
            let Some(Known::Preassigned { shape, node, told }) = self.tasks.get_mut(&task) else {
                continue;
            };
            let Some(index) = self.nodes.index_of(node) else { continue };
            let Some(info) = self.nodes.get(index) else { continue };
            let (shape, node_id) = (shape.clone(), *node);
            let counts = shape.service.and_then(|service| self.services.get(&service));
            let of_service = counts.and_then(|c| c.get(&index)).copied().unwrap_or(0);
            let fixed = fixed(&shape.needs, info);
            match first_failure(&shape.needs, info, of_service, fixed) {
                Some(filter) => {
                    let text = filter.told(1);
                    if *told != text {
                        told.clone_from(&text);
                        out.push(Decision::Wait { task, text: Arc::from(text) });
                    }
                }
                None => {
                    let claimed = info.offer(&shape.needs.reservation);
                    let version = version_of(info.object());
                    out.push(assign(task, node_id, version, &claimed, true));
                    if let Some(tasks) = self.preassigned.get_mut(&node_id) {
                        tasks.remove(&task);
                        if tasks.is_empty() {
                            self.preassigned.remove(&node_id);
                        }
                    }
                    let holding = Holding { shape, claimed, active: true };
                    self.hold(task, Held { node: index, holding, preassigned: true });
                }
            }
        }
    }
}

fn assign(
    task: TaskId,
    node: NodeId,
    node_version: u64,
    claimed: &[GenericResource],
    preassigned: bool,
) -> Decision {
    Decision::Assign { task, node, node_version, claimed: claimed.to_vec(), preassigned }
}

/// Asks every node, and makes a tree of those that would take a task.
fn survey(
    group: &mut Group,
    nodes: &Nodes,
    counts: &ServiceCounts,
    failures: impl Fn(NodeIndex) -> u32,
) -> Tree {
    group.forget_verdicts();
    let shape: Arc<Shape> = group.shape.clone();
    let mut tree = TreeBuilder::default();
    for (index, node) in nodes.iter() {
        let of_service = counts.get(&index).copied().unwrap_or(0);
        let verdict: Verdict = group.judge(index, node, of_service);
        let rank =
            verdict.is_none().then(|| Rank::new(failures(index), of_service, node.active(), index));
        let path = shape.needs.preferences.iter();
        let path = path.map(|key| label(node.object(), key).unwrap_or_default());
        tree.add(path, of_service, rank);
    }
    tree.build()
}
