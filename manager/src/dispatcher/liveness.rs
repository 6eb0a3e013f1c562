//! Which nodes are alive, and what becomes of one that stays silent. Pure: time is handed in.
//!
//! A heartbeat only moves the deadline in its session's [`Beat`]. The queue learns of it when the old deadline comes up
//! and is then put off, so an idle node costs one queue entry per grace period and nothing per heartbeat.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use skep_proto::ids::{NodeId, SessionId};

use super::timing::ORPHANED_AFTER;

/// The moment, on the dispatcher's time line, at which a session is lost unless it beats again.
#[derive(Debug, Default)]
pub struct Beat {
    deadline_ms: AtomicU64,
}

impl Beat {
    /// A session that is lost at `deadline`.
    pub fn until(deadline: Duration) -> Arc<Beat> {
        let beat = Beat::default();
        beat.put_off(deadline);
        Arc::new(beat)
    }

    /// Sets a new deadline.
    pub fn put_off(&self, deadline: Duration) {
        self.deadline_ms.store(millis(deadline), Ordering::Relaxed);
    }

    fn deadline(&self) -> u64 {
        self.deadline_ms.load(Ordering::Relaxed)
    }
}

/// What is known of a node's life.
#[derive(Clone, Debug)]
enum Life {
    /// No session since this manager leads.
    Unknown { deadline: u64 },
    /// A session is being opened.
    Registering { deadline: u64 },
    /// In session.
    Live { session: SessionId, beat: Arc<Beat> },
    /// Was lost; its tasks are given up at the deadline.
    Down { deadline: u64 },
}

impl Life {
    fn deadline(&self) -> u64 {
        match self {
            Life::Unknown { deadline }
            | Life::Registering { deadline }
            | Life::Down { deadline } => *deadline,
            Life::Live { beat, .. } => beat.deadline(),
        }
    }
}

/// What the end of a deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The session's heartbeats stopped: the node is down, the session over.
    Silent {
        /// The node.
        node: NodeId,
        /// Its session.
        session: SessionId,
    },
    /// The node did not come to this leader in time: it is down.
    NeverCame {
        /// The node.
        node: NodeId,
    },
    /// The node has been down for so long that its tasks are given up.
    GivenUp {
        /// The node.
        node: NodeId,
    },
}

/// The lives of all nodes, in order of their deadlines.
#[derive(Debug, Default)]
pub struct Liveness {
    nodes: HashMap<NodeId, Watched>,
    // Holds, for each node, the entry of its `queued_as`; entries of other numbers are stale.
    queue: BinaryHeap<Reverse<(u64, u64, NodeId)>>,
    queued: u64,
}

#[derive(Debug)]
struct Watched {
    life: Life,
    queued_as: u64,
}

impl Liveness {
    /// The node's state is not known; it is down unless it is in session by `deadline`.
    pub fn unknown(&mut self, node: NodeId, deadline: Duration) {
        self.set(node, Life::Unknown { deadline: millis(deadline) });
    }

    /// The node is opening a session; it is down unless that is done by `deadline`.
    pub fn registering(&mut self, node: NodeId, deadline: Duration) {
        self.set(node, Life::Registering { deadline: millis(deadline) });
    }

    /// The node is in session, until the beat's deadline.
    pub fn live(&mut self, node: NodeId, session: SessionId, beat: Arc<Beat>) {
        self.set(node, Life::Live { session, beat });
    }

    /// The node is down, as of `now`.
    pub fn down(&mut self, node: NodeId, now: Duration) {
        self.set(node, Life::Down { deadline: millis(now + ORPHANED_AFTER) });
    }

    /// The node is no longer part of the cluster.
    pub fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// The nodes that have not come yet.
    pub fn still_unknown(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, watched)| matches!(watched.life, Life::Unknown { .. }))
            .map(|(node, _)| *node)
            .collect();
        nodes.sort_unstable();
        nodes
    }

    /// The node has not come yet.
    pub fn is_unknown(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|w| matches!(w.life, Life::Unknown { .. }))
    }

    /// The node is down.
    pub fn is_down(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|w| matches!(w.life, Life::Down { .. }))
    }

    /// Everything whose deadline has come at `now`, in order. Who was silent or never came is down from then on.
    pub fn sweep(&mut self, now: Duration) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some(Reverse((at, number, node))) = self.queue.peek().copied() {
            if at > millis(now) {
                break;
            }
            self.queue.pop();
            let Some(watched) = self.nodes.get_mut(&node).filter(|w| w.queued_as == number) else {
                continue;
            };
            let deadline = watched.life.deadline();
            if deadline > millis(now) {
                self.queue.push(Reverse((deadline, number, node)));
                continue;
            }
            let (what, then_down) = match &watched.life {
                Life::Live { session, .. } => (Expired::Silent { node, session: *session }, true),
                Life::Unknown { .. } | Life::Registering { .. } => {
                    (Expired::NeverCame { node }, true)
                }
                Life::Down { .. } => (Expired::GivenUp { node }, false),
            };
            expired.push(what);
            if then_down {
                self.down(node, now);
            } else {
                self.forget(&node);
            }
        }
        expired
    }

    fn set(&mut self, node: NodeId, life: Life) {
        self.queued += 1;
        self.queue.push(Reverse((life.deadline(), self.queued, node)));
        self.nodes.insert(node, Watched { life, queued_as: self.queued });
        // Registering again and again leaves stale entries of far deadlines behind: never more than nodes.
        if self.queue.len() > 2 * self.nodes.len() + 64 {
            let nodes = &self.nodes;
            self.queue.retain(|Reverse((_, number, node))| {
                nodes.get(node).is_some_and(|watched| watched.queued_as == *number)
            });
        }
    }
}

fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn session(name: &str) -> SessionId {
        name.parse().unwrap()
    }

    #[test]
    fn a_node_that_beats_stays_and_one_that_stops_is_lost_at_its_deadline() {
        let mut lives = Liveness::default();
        let (a, b) = (Beat::until(s(15)), Beat::until(s(15)));
        lives.live(node("a"), session("sa"), a.clone());
        lives.live(node("b"), session("sb"), b);
        a.put_off(s(20));
        assert_eq!(lives.sweep(s(14)), []);
        let silent = Expired::Silent { node: node("b"), session: session("sb") };
        assert_eq!(lives.sweep(s(15)), [silent]);
        a.put_off(s(40));
        assert_eq!(lives.sweep(s(20)), []);
        let silent = Expired::Silent { node: node("a"), session: session("sa") };
        assert_eq!(lives.sweep(s(41)), [silent]);
    }

    #[test]
    fn whoever_does_not_come_to_a_new_leader_is_down_and_given_up_a_day_later() {
        let mut lives = Liveness::default();
        lives.unknown(node("a"), s(30));
        lives.unknown(node("b"), s(30));
        assert_eq!(lives.still_unknown(), [node("a"), node("b")]);
        lives.registering(node("b"), s(30));
        lives.live(node("b"), session("sb"), Beat::until(s(1_000_000)));
        assert_eq!(lives.still_unknown(), [node("a")]);
        assert_eq!(lives.sweep(s(29)), []);
        assert_eq!(lives.sweep(s(30)), [Expired::NeverCame { node: node("a") }]);
        let day = s(30) + ORPHANED_AFTER;
        assert_eq!(lives.sweep(day - s(1)), []);
        assert_eq!(lives.sweep(day), [Expired::GivenUp { node: node("a") }]);
        assert_eq!(lives.sweep(day + ORPHANED_AFTER), [], "given up once");
    }

    #[test]
    fn a_node_that_comes_back_is_not_given_up() {
        let mut lives = Liveness::default();
        lives.down(node("a"), s(0));
        lives.live(node("a"), session("sa"), Beat::until(s(15)));
        let silent = Expired::Silent { node: node("a"), session: session("sa") };
        assert_eq!(lives.sweep(s(60)), [silent]);
        assert_eq!(lives.sweep(ORPHANED_AFTER), [], "a fresh day since it was lost again");
    }

    #[test]
    fn a_removed_node_is_of_no_concern() {
        let mut lives = Liveness::default();
        lives.unknown(node("a"), s(30));
        lives.forget(&node("a"));
        assert_eq!(lives.sweep(s(100)), []);
    }

    #[test]
    fn registering_again_and_again_does_not_grow_the_queue() {
        let mut lives = Liveness::default();
        for i in 0..10_000 {
            lives.live(node("a"), session("s"), Beat::until(s(1_000_000 + i)));
        }
        assert!(lives.queue.len() < 100, "{}", lives.queue.len());
    }
}
