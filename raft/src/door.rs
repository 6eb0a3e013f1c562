//! The check of every message of a peer, before the core sees it.
//!
//! The raft library takes its peers at their word and panics on what a healthy peer cannot say. This is where such
//! messages end: what can be said of a message alone is checked here (off the node's task); what depends on the
//! node's own log is checked in the core's guard.

use raft::eraftpb;
use skep_proto::raftpb::{self, EntryType, MessageType};

use crate::{RaftId, conf_change::ConfChange, wire};

/// No honest term or index comes near; keeps every `+ 1` inside the library from overflowing.
const NUMBER_MAX: u64 = 1 << 62;

/// Entries in a message at most. Senders fill messages up to 64 KiB (or one entry), and an entry takes several bytes.
const ENTRIES_MAX: usize = 65_536;

/// Entry bytes in a message at most: senders batch to 64 KiB or send one entry of up to 1.5 MiB; the rest is slack for
/// peers with other settings.
const ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A read's context, or a campaign's reason: short names.
const CONTEXT_BYTES_MAX: usize = 1024;

/// Voters in a snapshot's configuration at most; well above any group that makes sense.
const VOTERS_MAX: usize = 256;

/// A message that passed the check, in the library's dialect.
#[derive(Clone, Debug)]
pub struct PeerMessage(eraftpb::Message);

impl PeerMessage {
    /// The message, for the library.
    pub(crate) fn into_inner(self) -> eraftpb::Message {
        self.0
    }
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Verdict {
    /// To the core with it.
    Take(PeerMessage),
    /// It is of no concern here: meant for somebody else, or a forwarded proposal.
    Drop,
}

/// Checks a message. `Err` says what no healthy peer would send.
pub fn check(message: raftpb::Message, own: RaftId) -> Result<Verdict, &'static str> {
    if message.to() != own.0 {
        return Ok(Verdict::Drop);
    }
    let Ok(kind) = MessageType::try_from(message.r#type.unwrap_or_default()) else {
        return Err("its type is unknown");
    };
    if kind == MessageType::MsgProp {
        return Ok(Verdict::Drop);
    }
    check_numbers(&message, own, kind)?;
    match kind {
        MessageType::MsgApp => check_append(&message)?,
        MessageType::MsgSnap => check_snapshot(&message)?,
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => check_read(&message)?,
        _ if !message.entries.is_empty() => return Err("a message of its type has no entries"),
        _ => {}
    }
    let mut message = wire::message_from_wire(message).ok_or("its type is not for peers")?;
    if kind == MessageType::MsgReadIndex {
        // A request, not a statement about a term.
        message.term = 0;
    }
    Ok(Verdict::Take(PeerMessage(message)))
}

fn check_numbers(
    message: &raftpb::Message,
    own: RaftId,
    kind: MessageType,
) -> Result<(), &'static str> {
    if message.from() == 0 || message.from() == own.0 {
        return Err("its sender is no peer");
    }
    if message.term() == 0 && kind != MessageType::MsgReadIndex {
        return Err("it has no term");
    }
    let numbers = [
        message.term(),
        message.log_term(),
        message.index(),
        message.commit(),
        message.reject_hint(),
    ];
    if numbers.into_iter().any(|number| number > NUMBER_MAX) {
        return Err("a term or an index is out of range");
    }
    if message.context().len() > CONTEXT_BYTES_MAX {
        return Err("its context is too long");
    }
    if !message.responses.is_empty() {
        return Err("it carries messages that never leave a member");
    }
    Ok(())
}

fn check_append(message: &raftpb::Message) -> Result<(), &'static str> {
    if (message.index() == 0) != (message.log_term() == 0) {
        return Err(
            "the entry before its first has an index without a term or a term without an index",
        );
    }
    if message.log_term() > message.term() {
        return Err("the entry before its first is of a later term than the message");
    }
    if message.entries.len() > ENTRIES_MAX {
        return Err("it has too many entries");
    }
    let (mut index, mut term, mut bytes) = (message.index(), message.log_term(), 0usize);
    for entry in &message.entries {
        index += 1;
        if entry.index() != index {
            return Err("its entries are not consecutive");
        }
        if entry.term() < term.max(1) || entry.term() > message.term() {
            return Err("the terms of its entries are not in order");
        }
        term = entry.term();
        bytes += entry.data().len();
        match EntryType::try_from(entry.r#type.unwrap_or_default()) {
            Ok(EntryType::EntryConfChange) => {
                let data = entry.data.clone().unwrap_or_default();
                ConfChange::decode(&data)
                    .ok_or("an entry is not the conf change it claims to be")?;
            }
            Ok(_) => {}
            Err(_) => return Err("the type of an entry is unknown"),
        }
    }
    if bytes > ENTRY_BYTES_MAX {
        return Err("its entries are too large");
    }
    Ok(())
}

fn check_snapshot(message: &raftpb::Message) -> Result<(), &'static str> {
    if !message.entries.is_empty() {
        return Err("a snapshot comes without entries");
    }
    let Some(metadata) = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref())
    else {
        return Err("it has no snapshot");
    };
    if metadata.index() == 0 || metadata.index() > NUMBER_MAX {
        return Err("the snapshot's index is out of range");
    }
    if metadata.term() == 0 || metadata.term() > message.term() {
        return Err("the snapshot's term is out of range");
    }
    let Some(conf) = &metadata.conf_state else {
        return Err("the snapshot has no configuration");
    };
    if !conf.learners.is_empty()
        || !conf.voters_outgoing.is_empty()
        || !conf.learners_next.is_empty()
        || conf.auto_leave()
    {
        return Err("the snapshot's configuration is not one of voters only");
    }
    let mut voters = conf.voters.clone();
    voters.sort_unstable();
    voters.dedup();
    if voters.len() != conf.voters.len() || voters.first().is_none_or(|first| *first == 0) {
        return Err("the snapshot's voters are not distinct members");
    }
    if voters.len() > VOTERS_MAX {
        return Err("the snapshot has too many voters");
    }
    Ok(())
}

fn check_read(message: &raftpb::Message) -> Result<(), &'static str> {
    match message.entries.as_slice() {
        [entry] if entry.data().len() <= CONTEXT_BYTES_MAX && !entry.data().is_empty() => Ok(()),
        _ => Err("a read has exactly one entry, its name"),
    }
}
