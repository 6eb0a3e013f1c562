//! What a peer's message must satisfy that depends on this member's own log and role: the second half of the
//! [door](crate::door). Each rule stands for a panic in the raft library that a message must not reach.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::Core;

/// Reads of other members that wait for a confirmation at most.
const FOREIGN_READS_MAX: usize = 1024;

/// Elections that a member may have missed: no group has that many, and a term that is believed can never be taken
/// back.
const TERM_JUMP_MAX: u64 = 1 << 32;

impl Core {
    /// Whether the library may see this message; `Err` says why not.
    pub(super) fn guard(&self, message: &Message) -> Result<(), &'static str> {
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        let current = message.term >= raft.term;
        if message.term > raft.term + TERM_JUMP_MAX {
            return Err("its term is too far ahead");
        }
        match message.get_msg_type() {
            // Raft takes the peer's word for what this member has.
            MessageType::MsgHeartbeat if current && message.commit > last => {
                Err("it says that more is committed here than the log holds: was the log lost?")
            }
            MessageType::MsgAppendResponse if !message.reject && message.index > last => {
                Err("it says that the peer has entries that this member never sent")
            }
            MessageType::MsgSnapshot if self.writes.installing() => {
                Err("a snapshot is being installed already")
            }
            MessageType::MsgTimeoutNow if raft.leader_id != message.from => {
                Err("only the leader hands leadership over")
            }
            MessageType::MsgTimeoutNow if !self.may_campaign() || raft.prs().is_singleton() => {
                Err("this member cannot campaign now")
            }
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse
                if raft.state != StateRole::Leader && !self.all_persisted() =>
            {
                // This member asks for votes only once its log is durable, so nobody can have answered.
                Err("nobody was asked for a vote yet")
            }
            MessageType::MsgReadIndex if raft.pending_read_count() >= FOREIGN_READS_MAX => {
                Err("too many reads are waiting")
            }
            MessageType::MsgReadIndex if raft.state != StateRole::Leader => {
                Err("reads are not passed on")
            }
            _ => Ok(()),
        }
    }
}
