//! Which nodes the logs of one subscription come from, how far each is, and what is missing in the end. Pure: moments are
//! handed in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use skep_proto::ids::{Id, NodeId, TaskId};

/// How long a node that is up may take to listen for subscriptions: after a change of leader it comes back within
/// seconds.
pub const LISTENING_WITHIN: Duration = Duration::from_secs(4);
/// How long a node may take to begin to publish once it was told of a subscription. It answers at once, even when it has
/// nothing to say; one that is lost meanwhile is noticed only later.
pub const PUBLISHING_WITHIN: Duration = Duration::from_secs(10);

/// How SwarmKit begins to say what is missing.
const INCOMPLETE: &str =
    "warning: incomplete log stream. some logs could not be retrieved for the following reasons: ";

/// What is known of a node when it is first expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It listens for subscriptions.
    Listening,
    /// It is up, and may listen soon.
    Up,
    /// It is down, or not part of the cluster.
    Gone,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It does not listen yet, and is given up at this moment.
    Awaited { until: Duration },
    /// It was told. It is given up at this moment, if that can be told: while a client follows, a node that has nothing to say
    /// says nothing.
    Told { until: Option<Duration> },
    /// It publishes.
    Publishing,
    /// It has said all, or was given up.
    Done,
}

/// The sources of one subscription.
#[derive(Debug, Default)]
pub struct Sources {
    /// The subscription goes on for as long as its client wants.
    follow: bool,
    nodes: BTreeMap<NodeId, Source>,
    reasons: BTreeMap<NodeId, String>,
    unscheduled: BTreeSet<TaskId>,
    /// Nodes of which a client that follows knows that they are missing.
    missed: BTreeSet<NodeId>,
    /// Nodes that were told more than once, and the id that each was given the last time.
    told_again: BTreeMap<NodeId, Id>,
}

/// How a node that begins to listen is to be told of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It never heard of it.
    First,
    /// It may have heard of it before, and take a second telling for a mistake.
    Again,
}

impl Sources {
    /// No source yet.
    pub fn new(follow: bool) -> Sources {
        Sources { follow, ..Sources::default() }
    }

    /// Logs of this node are wanted. Says whether it is to be told now.
    pub fn expect(&mut self, node: NodeId, presence: Presence, now: Duration) -> bool {
        if self.nodes.contains_key(&node) {
            return false;
        }
        let source = match presence {
            Presence::Listening => self.told(now),
            Presence::Up => Source::Awaited { until: now + LISTENING_WITHIN },
            Presence::Gone => {
                self.nodes.insert(node, Source::Done);
                self.missing(node, "is not available");
                return false;
            }
        };
        self.nodes.insert(node, source);
        presence == Presence::Listening
    }

    /// Logs of this task are wanted, and no node has it.
    pub fn unscheduled(&mut self, task: TaskId) {
        self.unscheduled.insert(task);
    }

    /// The task was given to a node.
    pub fn scheduled(&mut self, task: &TaskId) {
        self.unscheduled.remove(task);
    }

    /// Whether logs of the node are wanted.
    pub fn includes(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// The node began to listen. Says whether it is to be told, and how.
    pub fn listening(&mut self, node: &NodeId, now: Duration) -> Option<Telling> {
        let telling = match self.nodes.get(node)? {
            Source::Awaited { .. } => Telling::First,
            _ if self.follow => Telling::Again,
            _ => return None,
        };
        let told = self.told(now);
        self.nodes.insert(*node, told);
        self.reasons.remove(node);
        Some(telling)
    }

    /// The node publishes.
    pub fn publishing(&mut self, node: &NodeId) {
        if let Some(source @ (Source::Awaited { .. } | Source::Told { .. })) =
            self.nodes.get_mut(node)
        {
            *source = Source::Publishing;
        }
    }

    /// The node has said all; where a client follows, all for now.
    pub fn done(&mut self, node: &NodeId) {
        if let Some(source) = self.nodes.get_mut(node) {
            *source = match self.follow {
                true => Source::Told { until: None },
                false => Source::Done,
            };
        }
    }

    /// The node is lost: `how` goes on from "node X ".
    pub fn lost(&mut self, node: &NodeId, how: &str) {
        if self.nodes.get(node).is_some_and(|source| *source != Source::Done) {
            self.nodes.insert(*node, Source::Done);
            self.missing(*node, how);
        }
    }

    /// Gives up who did not come in time.
    pub fn expire(&mut self, now: Duration) {
        let late: Vec<(NodeId, &str)> = self
            .nodes
            .iter()
            .filter_map(|(node, source)| match source {
                Source::Awaited { until } if *until <= now => Some((*node, "is not available")),
                Source::Told { until: Some(until) } if *until <= now => {
                    Some((*node, "did not answer in time"))
                }
                _ => None,
            })
            .collect();
        for (node, how) in late {
            self.lost(&node, how);
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        let until = |source: &Source| match source {
            Source::Awaited { until } => Some(*until),
            Source::Told { until } => *until,
            Source::Publishing | Source::Done => None,
        };
        self.nodes.values().filter_map(until).min()
    }

    /// Whether nothing more is to be waited for.
    pub fn is_complete(&self) -> bool {
        !self.follow && self.nodes.values().all(|source| *source == Source::Done)
    }

    /// What is missing, in SwarmKit's words; none when nothing is.
    pub fn missing_text(&self) -> Option<String> {
        let nodes = self.reasons.values().cloned();
        let tasks =
            self.unscheduled.iter().map(|task| format!("task {task} has not been scheduled"));
        let reasons: Vec<String> = nodes.chain(tasks).collect();
        (!reasons.is_empty()).then(|| format!("{INCOMPLETE}{}", reasons.join(", ")))
    }

    /// The node is told again, by this id from now on. Gives the one that it was given the last time, if not the first.
    pub fn tell_again(&mut self, node: NodeId, id: Id) -> Option<Id> {
        self.told_again.insert(node, id)
    }

    /// The id that the node was given last; none if it is the subscription's own.
    pub fn id_for(&self, node: &NodeId) -> Option<Id> {
        self.told_again.get(node).copied()
    }

    /// All ids that nodes were given last, but the subscription's own.
    pub fn ids_given(&self) -> impl Iterator<Item = &Id> {
        self.told_again.values()
    }

    /// What a client that follows is to be told of nodes that went away or came back since this was asked last. One that does not
    /// follow learns it in the end.
    pub fn news(&mut self) -> Vec<(NodeId, String)> {
        if !self.follow {
            return Vec::new();
        }
        let gone = self.reasons.iter().filter(|(node, _)| !self.missed.contains(node));
        let gone = gone.map(|(node, why)| (*node, why.clone()));
        let back = self.missed.iter().filter(|node| !self.reasons.contains_key(node));
        let back = back.map(|node| (*node, format!("node {node} is back")));
        let news: Vec<(NodeId, String)> = gone.chain(back).collect();
        if !news.is_empty() {
            self.missed = self.reasons.keys().copied().collect();
        }
        news
    }

    fn told(&self, now: Duration) -> Source {
        Source::Told { until: (!self.follow).then(|| now + PUBLISHING_WITHIN) }
    }

    fn missing(&mut self, node: NodeId, how: &str) {
        self.reasons.insert(node, format!("node {node} {how}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn reasons(sources: &Sources) -> String {
        let text = sources.missing_text().unwrap_or_default();
        text.strip_prefix(INCOMPLETE).unwrap_or(&text).to_owned()
    }

    #[test]
    fn it_is_over_when_every_node_has_said_all_or_was_given_up() {
        let mut sources = Sources::new(false);
        assert!(sources.expect(node("a"), Presence::Listening, NOW));
        assert!(!sources.expect(node("a"), Presence::Listening, NOW), "told once");
        assert!(!sources.expect(node("b"), Presence::Up, NOW));
        assert!(!sources.expect(node("c"), Presence::Gone, NOW));
        sources.unscheduled("t1".parse().unwrap());
        sources.publishing(&node("a"));
        sources.done(&node("a"));
        assert!(!sources.is_complete());
        assert_eq!(sources.listening(&node("b"), NOW), Some(Telling::First));
        assert_eq!(sources.listening(&node("b"), NOW), None);
        sources.publishing(&node("b"));
        assert_eq!(sources.next_deadline(), None);
        sources.lost(&node("b"), "disconnected unexpectedly");
        assert!(sources.is_complete());
        assert_eq!(
            sources.missing_text().unwrap(),
            "warning: incomplete log stream. some logs could not be retrieved for the following reasons: node b \
             disconnected unexpectedly, node c is not available, task t1 has not been scheduled"
        );
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let mut sources = Sources::new(false);
        sources.expect(node("listens"), Presence::Listening, NOW);
        sources.expect(node("up"), Presence::Up, NOW);
        assert_eq!(sources.next_deadline(), Some(NOW + LISTENING_WITHIN));
        sources.expire(NOW + LISTENING_WITHIN);
        assert_eq!(sources.next_deadline(), Some(NOW + PUBLISHING_WITHIN));
        assert!(!sources.is_complete());
        sources.expire(NOW + PUBLISHING_WITHIN);
        assert!(sources.is_complete());
        assert_eq!(
            reasons(&sources),
            "node listens did not answer in time, node up is not available"
        );
    }

    #[test]
    fn who_has_said_all_is_missed_by_nobody() {
        let mut sources = Sources::new(false);
        sources.expect(node("a"), Presence::Listening, NOW);
        sources.done(&node("a"));
        sources.lost(&node("a"), "disconnected unexpectedly");
        sources.lost(&node("stranger"), "is not available");
        assert!(sources.is_complete());
        assert_eq!(sources.missing_text(), None);
    }

    #[test]
    fn a_subscription_that_follows_ends_never_and_takes_a_node_back() {
        let mut sources = Sources::new(true);
        sources.expect(node("a"), Presence::Listening, NOW);
        sources.lost(&node("a"), "disconnected unexpectedly");
        assert!(!sources.is_complete());
        assert_eq!(reasons(&sources), "node a disconnected unexpectedly");
        assert_eq!(sources.listening(&node("a"), NOW), Some(Telling::Again));
        assert_eq!(sources.missing_text(), None);
        sources.unscheduled("t".parse().unwrap());
        sources.scheduled(&"t".parse().unwrap());
        assert_eq!(sources.missing_text(), None);
    }

    #[test]
    fn who_follows_is_told_once_that_a_node_went_and_that_it_is_back() {
        let mut sources = Sources::new(true);
        sources.expect(node("a"), Presence::Listening, NOW);
        sources.expect(node("b"), Presence::Up, NOW);
        sources.expect(node("c"), Presence::Gone, NOW);
        let told = |sources: &mut Sources| {
            sources.news().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut sources), ["node c is not available"]);
        assert!(told(&mut sources).is_empty());
        // One that was told may be silent for as long as it likes.
        sources.expire(NOW + LISTENING_WITHIN + PUBLISHING_WITHIN);
        assert_eq!(told(&mut sources), ["node b is not available"]);
        assert_eq!(sources.next_deadline(), None);
        sources.lost(&node("a"), "disconnected unexpectedly");
        sources.lost(&node("a"), "is not available");
        assert_eq!(told(&mut sources), ["node a disconnected unexpectedly"]);
        sources.listening(&node("a"), NOW);
        assert_eq!(told(&mut sources), ["node a is back"]);
        // It has said all, and will not say what comes.
        sources.done(&node("a"));
        sources.lost(&node("a"), "is not available");
        assert_eq!(told(&mut sources), ["node a is not available"]);
        sources.listening(&node("a"), NOW);
        assert_eq!(told(&mut sources), ["node a is back"]);
        // Away and back between two looks.
        sources.lost(&node("a"), "disconnected unexpectedly");
        sources.listening(&node("a"), NOW);
        assert!(told(&mut sources).is_empty());

        let mut sources = Sources::new(false);
        sources.expect(node("c"), Presence::Gone, NOW);
        assert!(told(&mut sources).is_empty(), "it is told in the end");
    }

    #[test]
    fn without_any_source_it_is_over_at_once() {
        assert!(Sources::new(false).is_complete());
    }
}
