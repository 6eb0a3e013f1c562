//! Recent failures of tasks, by node: a node on which a service keeps failing is put behind the others for a while.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use super::{needs::GroupKey, nodes::NodeIndex};

/// How long a failure counts (SwarmKit's span).
pub const FAILURE_SPAN: Duration = Duration::from_secs(5 * 60);
/// Failures remembered of a group on one node: enough to rank bad nodes among each other.
const FAILURES_KEPT_MAX: usize = 32;

/// When tasks of a group failed on a node, the oldest first.
type Times = VecDeque<SystemTime>;

/// Failures of the last minutes.
#[derive(Debug, Default)]
pub struct RecentFailures {
    groups: HashMap<GroupKey, HashMap<NodeIndex, Times>>,
    swept: Option<SystemTime>,
}

impl RecentFailures {
    /// A task of the group failed on the node.
    pub fn record(&mut self, group: GroupKey, node: NodeIndex, at: SystemTime, now: SystemTime) {
        self.sweep(now);
        let times = self.groups.entry(group).or_default().entry(node).or_default();
        if times.len() == FAILURES_KEPT_MAX {
            times.pop_front();
        }
        times.push_back(at);
    }

    /// How often tasks of the group failed on the node lately.
    pub fn count(&self, group: GroupKey, node: NodeIndex, now: SystemTime) -> u32 {
        let times = self.groups.get(&group).and_then(|nodes| nodes.get(&node));
        let recent = |times: &Times| times.iter().filter(|at| is_recent(**at, now)).count();
        times.map_or(0, |times| u32::try_from(recent(times)).unwrap_or(u32::MAX))
    }

    /// Whether tasks of the group failed anywhere lately.
    pub fn any(&self, group: GroupKey) -> bool {
        self.groups.contains_key(&group)
    }

    /// The node is gone, and its index will be another node's.
    pub fn forget_node(&mut self, node: NodeIndex) {
        for nodes in self.groups.values_mut() {
            nodes.remove(&node);
        }
        self.groups.retain(|_, nodes| !nodes.is_empty());
    }

    /// Drops what is too old, now and then, so that it does not pile up.
    fn sweep(&mut self, now: SystemTime) {
        if self.swept.is_some_and(|swept| is_recent(swept, now)) {
            return;
        }
        self.swept = Some(now);
        for nodes in self.groups.values_mut() {
            nodes.retain(|_, times| {
                times.retain(|at| is_recent(*at, now));
                !times.is_empty()
            });
        }
        self.groups.retain(|_, nodes| !nodes.is_empty());
    }
}

/// A time ahead of the clock is recent: clocks of managers differ a little.
pub fn is_recent(at: SystemTime, now: SystemTime) -> bool {
    now.duration_since(at).map_or(true, |age| age < FAILURE_SPAN)
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Task, Version};

    use super::*;

    fn group(version: u64) -> GroupKey {
        let spec_version = Some(Version { index: version });
        let task = Task { service_id: "web".into(), spec_version, ..Default::default() };
        GroupKey::of(&task, "t".parse().unwrap())
    }

    #[test]
    fn failures_count_for_five_minutes_by_version_and_node() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failures = RecentFailures::default();
        for seconds in [0, 100, 200] {
            failures.record(group(1), 7, at(seconds), at(seconds));
        }
        assert_eq!(failures.count(group(1), 7, at(200)), 3);
        assert_eq!(failures.count(group(1), 7, at(300)), 2);
        assert_eq!(failures.count(group(1), 7, at(500)), 0);
        assert_eq!(failures.count(group(2), 7, at(200)), 0);
        assert_eq!(failures.count(group(1), 8, at(200)), 0);
        failures.record(group(2), 8, at(600), at(600));
        assert!(!failures.any(group(1)), "swept");
        failures.forget_node(8);
        assert!(!failures.any(group(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = SystemTime::UNIX_EPOCH;
        let mut failures = RecentFailures::default();
        for _ in 0..1000 {
            failures.record(group(1), 1, now, now);
        }
        assert_eq!(failures.count(group(1), 1, now), FAILURES_KEPT_MAX as u32);
    }
}
