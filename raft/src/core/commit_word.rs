//! Word of commits: when the followers are told that entries have committed.
//!
//! Raft would tell them at once, by an append without entries: two messages for every follower and write, for something
//! that the next append or heartbeat carries anyway. So the core leaves that message out, and its driver asks for it
//! ([`Core::tell_commits`]) a moment after [`Core::commits_untold`] has become true. Under load the next append comes
//! first, and nothing is sent; after the last write of a burst the followers hear of it after that moment. Nobody who waits for
//! a write waits for this.

use std::collections::BTreeMap;

use raft::{
    ProgressState, StateRole,
    eraftpb::{Message, MessageType},
};

use super::Core;
use crate::RaftId;

/// The highest commit index that each member was told by this leader.
#[derive(Debug, Default)]
pub struct CommitWord {
    told: BTreeMap<RaftId, u64>,
}

impl CommitWord {
    /// Takes note of what a message tells.
    pub fn sent(&mut self, message: &Message) {
        if matches!(message.get_msg_type(), MessageType::MsgAppend | MessageType::MsgHeartbeat) {
            self.told.insert(RaftId(message.to), message.commit);
        }
    }

    /// What was sent as leader of another term counts no more.
    pub fn forget(&mut self) {
        self.told.clear();
    }
}

impl Core {
    /// Whether this member leads, and a follower that could apply a committed entry was not told yet that it has committed.
    pub fn commits_untold(&self) -> bool {
        self.untold().next().is_some()
    }

    /// Tells the followers what has committed, where [`commits_untold`](Self::commits_untold) says that they do not know.
    pub fn tell_commits(&mut self) {
        let untold: Vec<u64> = self.untold().collect();
        for peer in untold {
            self.raw.raft.send_append(peer);
            // Counted now: while the disk holds Readys up, the message waits with them.
            self.commit_word.told.insert(RaftId(peer), self.raw.raft.raft_log.committed);
        }
    }

    /// Followers that follow the log as it grows; the others hear of commits with the entries that they lack.
    fn untold(&self) -> impl Iterator<Item = u64> {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader && !self.ended;
        let committed = raft.raft_log.committed;
        let peers = raft.prs().iter().filter(move |(id, _)| leads && **id != raft.id);
        peers.filter_map(move |(id, progress)| {
            let told = self.commit_word.told.get(&RaftId(*id)).copied().unwrap_or_default();
            let follows = progress.state == ProgressState::Replicate && !progress.is_paused();
            (follows && told < committed).then_some(*id)
        })
    }
}
