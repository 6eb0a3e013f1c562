//! A raft group that does as a test says. The one fake of [`Group`] for the tests of this crate.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::group::{Group, GroupError, MemberState};

/// Members by raft id, and what was asked of them.
pub struct TestGroup {
    own: u64,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

struct State {
    members: BTreeMap<u64, MemberState>,
    leads: bool,
    removable: bool,
    asked: Vec<String>,
    barriers: usize,
}

impl TestGroup {
    /// Nodes with the raft ids 1, 2, …; the first is this manager.
    pub fn of(nodes: &[&str]) -> TestGroup {
        let member = |(i, node): (usize, &&str)| {
            let member = MemberState {
                raft_id: i as u64 + 1,
                node_id: (*node).to_owned(),
                addr: format!("{node}:2377"),
                leader: i == 0,
                reachable: true,
            };
            (member.raft_id, member)
        };
        let members = nodes.iter().enumerate().map(member).collect();
        let state = State { members, leads: true, removable: true, asked: Vec::new(), barriers: 0 };
        TestGroup { own: 1, state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    /// Adds a member.
    pub fn join(&self, raft_id: u64, node: &str) {
        let addr = format!("{node}:2377");
        let node_id = node.to_owned();
        let member = MemberState { raft_id, node_id, addr, leader: false, reachable: true };
        self.state.lock().members.insert(raft_id, member);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Whether messages to a member get through from now on.
    pub fn set_reachable(&self, raft_id: u64, reachable: bool) {
        if let Some(member) = self.state.lock().members.get_mut(&raft_id) {
            member.reachable = reachable;
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// Whether removals keep the quorum from now on.
    pub fn set_removable(&self, removable: bool) {
        self.state.lock().removable = removable;
        self.changed.send_modify(|n| *n += 1);
    }

    /// Whether this manager can prove that it leads.
    pub fn set_leads(&self, leads: bool) {
        self.state.lock().leads = leads;
    }

    /// What was asked so far: "remove 2", "transfer".
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().asked.clone()
    }

    /// How many read barriers were asked for.
    pub fn barriers(&self) -> usize {
        self.state.lock().barriers
    }
}

#[async_trait]
impl Group for TestGroup {
    fn own_raft_id(&self) -> u64 {
        self.own
    }

    fn members(&self) -> Vec<MemberState> {
        self.state.lock().members.values().cloned().collect()
    }

    fn check_removal(&self, _: u64) -> Result<(), GroupError> {
        match self.state.lock().removable {
            true => Ok(()),
            false => Err(GroupError::QuorumLoss { reachable: 1, remaining: 2, needed: 2 }),
        }
    }

    async fn remove(&self, raft_id: u64) -> Result<(), GroupError> {
        self.check_removal(raft_id)?;
        let mut state = self.state.lock();
        state.asked.push(format!("remove {raft_id}"));
        state.members.remove(&raft_id).ok_or(GroupError::UnknownMember { raft_id })?;
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn transfer(&self, _: Option<u64>) -> Result<(), GroupError> {
        self.state.lock().asked.push("transfer".to_owned());
        Ok(())
    }

    async fn read_barrier(&self) -> Result<(), GroupError> {
        let mut state = self.state.lock();
        state.barriers += 1;
        if state.leads { Ok(()) } else { Err(GroupError::NotLeader) }
    }

    async fn changed(&self) {
        let mut changed = self.changed.subscribe();
        let _ = changed.changed().await;
    }
}
