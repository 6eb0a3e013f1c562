//! Between the wire's dialect of raft's messages (`raftpb`, etcd's) and the raft library's (`eraftpb`).
//!
//! Values are moved field by field: no byte that came from a peer is ever parsed by the library's protobuf. Fields that
//! only one dialect knows are left out: etcd's `vote` and `responses` (local to its storage threads), the library's
//! `commit_term`, `priority`, `request_snapshot`, `context` and `sync_log` (all kept at zero here, because etcd reads
//! two of those field numbers as something else).

use bytes::Bytes;
use raft::eraftpb;
use skep_proto::raftpb;

use crate::{Entry, EntryKind, HardState, RaftId, Snapshot, SnapshotMeta};

/// A message in the library's dialect. The caller has checked its type and entries.
pub fn message_from_wire(message: raftpb::Message) -> Option<eraftpb::Message> {
    let kind = message_type_from_wire(message.r#type())?;
    let mut out = eraftpb::Message::default();
    out.set_msg_type(kind);
    out.to = message.to();
    out.from = message.from();
    out.term = message.term();
    out.log_term = message.log_term();
    out.index = message.index();
    out.commit = message.commit();
    out.reject = message.reject();
    out.reject_hint = message.reject_hint();
    out.context = message.context.unwrap_or_default();
    let entries: Option<Vec<_>> = message.entries.into_iter().map(entry_from_wire).collect();
    out.set_entries(entries?.into());
    if kind == eraftpb::MessageType::MsgSnapshot {
        out.set_snapshot(snapshot_from_wire(message.snapshot?));
    }
    Some(out)
}

/// A message as a peer reads it.
pub fn message_to_wire(mut message: eraftpb::Message) -> raftpb::Message {
    let kind = message.get_msg_type();
    raftpb::Message {
        r#type: Some(kind as i32),
        to: Some(message.to),
        from: Some(message.from),
        term: Some(message.term),
        log_term: Some(message.log_term),
        index: Some(message.index),
        commit: Some(message.commit),
        reject: Some(message.reject),
        reject_hint: Some(message.reject_hint),
        entries: message.take_entries().into_iter().map(entry_to_wire).collect(),
        snapshot: (kind == eraftpb::MessageType::MsgSnapshot)
            .then(|| snapshot_to_wire(message.take_snapshot())),
        context: (!message.context.is_empty()).then(|| std::mem::take(&mut message.context)),
        vote: None,
        responses: Vec::new(),
    }
}

/// The types that members exchange have the same numbers in both dialects; everything else is not for peers.
fn message_type_from_wire(kind: raftpb::MessageType) -> Option<eraftpb::MessageType> {
    use raftpb::MessageType as Wire;

    use eraftpb::MessageType as Raft;
    Some(match kind {
        Wire::MsgApp => Raft::MsgAppend,
        Wire::MsgAppResp => Raft::MsgAppendResponse,
        Wire::MsgVote => Raft::MsgRequestVote,
        Wire::MsgVoteResp => Raft::MsgRequestVoteResponse,
        Wire::MsgSnap => Raft::MsgSnapshot,
        Wire::MsgHeartbeat => Raft::MsgHeartbeat,
        Wire::MsgHeartbeatResp => Raft::MsgHeartbeatResponse,
        Wire::MsgTimeoutNow => Raft::MsgTimeoutNow,
        Wire::MsgReadIndex => Raft::MsgReadIndex,
        Wire::MsgReadIndexResp => Raft::MsgReadIndexResp,
        Wire::MsgPreVote => Raft::MsgRequestPreVote,
        Wire::MsgPreVoteResp => Raft::MsgRequestPreVoteResponse,
        _ => return None,
    })
}

fn entry_from_wire(entry: raftpb::Entry) -> Option<eraftpb::Entry> {
    let kind = match raftpb::EntryType::try_from(entry.r#type.unwrap_or_default()).ok()? {
        raftpb::EntryType::EntryNormal => eraftpb::EntryType::EntryNormal,
        raftpb::EntryType::EntryConfChange => eraftpb::EntryType::EntryConfChange,
        raftpb::EntryType::EntryConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    let mut out = eraftpb::Entry::default();
    out.set_entry_type(kind);
    out.term = entry.term();
    out.index = entry.index();
    out.data = entry.data.unwrap_or_default();
    Some(out)
}

fn entry_to_wire(entry: eraftpb::Entry) -> raftpb::Entry {
    raftpb::Entry {
        r#type: Some(entry.entry_type as i32),
        term: Some(entry.term),
        index: Some(entry.index),
        data: (!entry.data.is_empty()).then_some(entry.data),
    }
}

fn snapshot_from_wire(snapshot: raftpb::Snapshot) -> eraftpb::Snapshot {
    let metadata = snapshot.metadata.unwrap_or_default();
    let meta = SnapshotMeta {
        index: metadata.index(),
        term: metadata.term(),
        voters: metadata.conf_state.unwrap_or_default().voters.into_iter().map(RaftId).collect(),
    };
    snapshot_to_raft(&meta, snapshot.data.unwrap_or_default())
}

fn snapshot_to_wire(mut snapshot: eraftpb::Snapshot) -> raftpb::Snapshot {
    let mut metadata = snapshot.take_metadata();
    raftpb::Snapshot {
        metadata: Some(raftpb::SnapshotMetadata {
            conf_state: Some(raftpb::ConfState {
                voters: metadata.take_conf_state().take_voters(),
                auto_leave: Some(false),
                ..Default::default()
            }),
            index: Some(metadata.index),
            term: Some(metadata.term),
        }),
        data: Some(snapshot.take_data()),
    }
}

/// Completes a `MsgSnap` that the core gave out without its data. The configuration stays the sender's present one,
/// so that a member added after the snapshot was taken finds itself in it.
pub fn attach_snapshot(message: &mut raftpb::Message, snapshot: Snapshot) {
    let metadata = message.snapshot.get_or_insert_default().metadata.get_or_insert_default();
    metadata.index = Some(snapshot.meta.index);
    metadata.term = Some(snapshot.meta.term);
    message.snapshot.get_or_insert_default().data = Some(snapshot.data);
}

/// A configuration of voters only, which is all that there ever is here.
pub fn conf_state(voters: impl IntoIterator<Item = RaftId>) -> eraftpb::ConfState {
    let mut out = eraftpb::ConfState::default();
    out.set_voters(voters.into_iter().map(|id| id.0).collect());
    out
}

/// A snapshot in the library's dialect.
pub fn snapshot_to_raft(meta: &SnapshotMeta, data: Bytes) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot::default();
    out.mut_metadata().index = meta.index;
    out.mut_metadata().term = meta.term;
    out.mut_metadata().set_conf_state(conf_state(meta.voters.iter().copied()));
    out.data = data;
    out
}

/// A snapshot as the log store keeps it.
pub fn snapshot_from_raft(snapshot: &eraftpb::Snapshot) -> Snapshot {
    let metadata = snapshot.get_metadata();
    let voters = metadata.get_conf_state().get_voters().iter().map(|id| RaftId(*id)).collect();
    Snapshot {
        meta: SnapshotMeta { index: metadata.index, term: metadata.term, voters },
        data: snapshot.data.clone(),
    }
}

/// An entry as the log store keeps it.
pub fn entry_from_raft(entry: &eraftpb::Entry) -> Entry {
    let kind = match entry.get_entry_type() {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data.clone() }
}

/// An entry in the library's dialect.
pub fn entry_to_raft(entry: Entry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry::default();
    out.set_entry_type(match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    });
    out.index = entry.index;
    out.term = entry.term;
    out.data = entry.data;
    out
}

/// The hard state as the log store keeps it.
pub fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    let vote = (state.vote != raft::INVALID_ID).then_some(RaftId(state.vote));
    HardState { term: state.term, vote, commit: state.commit }
}

/// The hard state in the library's dialect.
pub fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term,
        vote: state.vote.map_or(raft::INVALID_ID, |id| id.0),
        commit: state.commit,
        ..Default::default()
    }
}
