//! The open sessions by node: who holds one, and what its streams must be told.

use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;
use skep_proto::ids::{NodeId, SessionId, TaskId, VolumeId};
use tokio::sync::watch;
use tonic::Status;

use super::{
    follower::{Follower, Touched},
    held::Balancers,
    liveness::Beat,
};

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The node registered again.
    Superseded,
    /// The node's heartbeats stopped, or it was removed.
    NotRegistered,
    /// This manager no longer leads.
    Stopped,
}

impl From<End> for Status {
    /// The codes and texts that SwarmKit's agents know.
    fn from(end: End) -> Status {
        match end {
            End::Superseded => Status::invalid_argument("session invalid"),
            End::NotRegistered => Status::not_found("node not registered"),
            End::Stopped => Status::aborted("node must disconnect"),
        }
    }
}

/// What the streams of a session wake up for; each compares with what it saw last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Counts changes of the node object.
    pub node: u64,
    /// The session is over.
    pub end: Option<End>,
}

/// A node's session.
#[derive(Debug)]
pub struct Session {
    /// The node.
    pub node: NodeId,
    /// The session's id.
    pub id: SessionId,
    /// When it is lost.
    pub beat: Arc<Beat>,
    signal: watch::Sender<Signal>,
    /// Which load balancers the node was told of.
    pub balancers: Mutex<Balancers>,
    /// The stream of assignments, when there is one.
    follower: Mutex<Option<Arc<Follower>>>,
}

impl Session {
    /// A new session, not known to anybody yet.
    pub fn new(node: NodeId, id: SessionId, beat: Arc<Beat>) -> Arc<Session> {
        let signal = watch::Sender::new(Signal::default());
        Arc::new(Session {
            node,
            id,
            beat,
            signal,
            balancers: Mutex::default(),
            follower: Mutex::default(),
        })
    }

    /// What the session's streams follow.
    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Begins to put down what is assigned to the node, for a stream that takes the place of an earlier one.
    pub fn follow(&self) -> Arc<Follower> {
        let follower = Arc::new(Follower::default());
        if let Some(earlier) = self.follower.lock().replace(follower.clone()) {
            earlier.replaced();
        }
        follower
    }

    /// Nothing more is put down for this stream.
    pub fn unfollow(&self, follower: &Arc<Follower>) {
        let mut held = self.follower.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, follower)) {
            *held = None;
        }
    }

    fn touch(&self, touch: impl FnOnce(&Follower)) {
        let follower = self.follower.lock().clone();
        if let Some(follower) = follower {
            touch(&follower);
        }
    }

    fn end(&self, end: End) {
        self.signal.send_modify(|signal| signal.end = Some(signal.end.unwrap_or(end)));
    }
}

/// All sessions. A node has one at most.
#[derive(Debug, Default)]
pub struct Sessions {
    by_node: DashMap<NodeId, Arc<Session>>,
}

impl Sessions {
    /// Makes this the node's session; one that it had before is over.
    pub fn open(&self, session: Arc<Session>) {
        if let Some(earlier) = self.by_node.insert(session.node, session) {
            earlier.end(End::Superseded);
        }
    }

    /// The node's session, when it is the one named. Errors are SwarmKit's: no session is `NotFound`, another one is
    /// `InvalidArgument`.
    pub fn check(&self, node: &NodeId, session: &str) -> Result<Arc<Session>, Status> {
        match self.by_node.get(node) {
            None => Err(End::NotRegistered.into()),
            Some(held) if held.id.as_str() != session => Err(End::Superseded.into()),
            Some(held) => Ok(held.clone()),
        }
    }

    /// The node's session.
    #[cfg(test)]
    pub fn of(&self, node: &NodeId) -> Option<Arc<Session>> {
        self.by_node.get(node).map(|session| session.clone())
    }

    /// Ends the node's session, whichever it is.
    pub fn end(&self, node: &NodeId, end: End) {
        if let Some((_, session)) = self.by_node.remove(node) {
            session.end(end);
        }
    }

    /// Ends exactly this session; another one of the node stays.
    pub fn end_only(&self, node: &NodeId, session: &SessionId, end: End) {
        if let Some((_, session)) = self.by_node.remove_if(node, |_, held| held.id == *session) {
            session.end(end);
        }
    }

    /// Ends all sessions.
    pub fn end_all(&self, end: End) {
        let nodes: Vec<_> = self.by_node.iter().map(|entry| *entry.key()).collect();
        for node in &nodes {
            self.end(node, end);
        }
    }

    /// The node object changed.
    pub fn node_changed(&self, node: &NodeId) {
        if let Some(session) = self.by_node.get(node) {
            session.signal.send_modify(|signal| signal.node += 1);
        }
    }

    /// A task of the node was touched.
    pub fn task_touched(&self, node: &NodeId, task: TaskId, touched: Touched) {
        if let Some(session) = self.by_node.get(node) {
            session.touch(|follower| follower.task(task, touched));
        }
    }

    /// A volume that the node has to do with was touched.
    pub fn volume_touched(&self, node: &NodeId, volume: VolumeId) {
        if let Some(session) = self.by_node.get(node) {
            session.touch(|follower| follower.volume(volume));
        }
    }

    /// Anything may have changed.
    pub fn everything_changed(&self) {
        for session in &self.by_node {
            session.signal.send_modify(|signal| signal.node += 1);
            session.touch(Follower::everything);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_node.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    fn session(node: &str, id: &str) -> Arc<Session> {
        Session::new(node.parse().unwrap(), id.parse().unwrap(), Beat::until(Duration::ZERO))
    }

    #[test]
    fn a_node_has_one_session_and_the_later_one_counts() {
        let sessions = Sessions::default();
        let node = "n".parse().unwrap();
        let missing = sessions.check(&node, "s1").unwrap_err();
        assert_eq!((missing.code(), missing.message()), (Code::NotFound, "node not registered"));
        let first = session("n", "s1");
        let seen = first.signal();
        sessions.open(first);
        assert!(sessions.check(&node, "s1").is_ok());
        sessions.open(session("n", "s2"));
        assert_eq!(seen.borrow().end, Some(End::Superseded));
        let old = sessions.check(&node, "s1").unwrap_err();
        assert_eq!((old.code(), old.message()), (Code::InvalidArgument, "session invalid"));
        sessions.end_only(&node, &"s1".parse().unwrap(), End::NotRegistered);
        assert!(sessions.check(&node, "s2").is_ok());
    }

    #[test]
    fn the_first_reason_to_end_stands() {
        let sessions = Sessions::default();
        let held = session("n", "s");
        let seen = held.signal();
        sessions.open(held.clone());
        sessions.end_all(End::Stopped);
        held.end(End::NotRegistered);
        assert_eq!(seen.borrow().end, Some(End::Stopped));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn a_change_touches_the_one_node_that_it_concerns() {
        let sessions = Sessions::default();
        let (a, b) = (session("a", "s"), session("b", "s"));
        let (seen_a, seen_b) = (a.signal(), b.signal());
        sessions.open(a);
        sessions.open(b);
        sessions.node_changed(&"a".parse().unwrap());
        assert!(seen_a.has_changed().unwrap());
        assert!(!seen_b.has_changed().unwrap());
    }
}
