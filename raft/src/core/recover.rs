//! From what the log store holds to a core: founding, joining, restarting, starting anew alone.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::change::random_raft_id;
use crate::{
    Batch, Config, Entry, EntryKind, HardState, Identity, LogStore, Member, Membership, Recovered,
    RestoreError, Start, StartError, conf_change::ConfChange, log::MemLog, wire,
};

/// A member as its log has it.
pub struct Restored {
    pub(super) identity: Identity,
    pub(super) log: MemLog,
    pub(super) membership: Membership,
    pub(super) snapshot_bytes: u64,
}

/// Brings the log store to the state from which a node starts, and the state machine to the snapshot. Blocks.
///
/// `restore` is the state machine's; it is called at most once.
pub fn prepare(
    config: &Config,
    start: Start,
    store: &mut dyn LogStore,
    restore: impl FnOnce(u64, Bytes) -> Result<Membership, RestoreError>,
) -> Result<Restored, StartError> {
    let recovered = store.load()?;
    let (mut recovered, anew) = match (recovered, start) {
        (Some(found), Start::Bootstrap { .. } | Start::Join { .. }) => {
            return Err(StartError::NotEmpty { raft_id: found.identity.own.raft_id });
        }
        (None, Start::Restart | Start::ForceNewCluster { .. }) => return Err(StartError::Empty),
        (None, Start::Bootstrap { node_id, addr }) => (found(config, node_id, addr, store)?, None),
        (None, Start::Join { own, members }) => {
            let identity = Identity { own, peers: members };
            store.create(&identity)?;
            let hard_state = HardState::default();
            (Recovered { identity, hard_state, snapshot: None, entries: Vec::new() }, None)
        }
        (Some(found), Start::Restart) => (found, None),
        (Some(found), Start::ForceNewCluster { addr }) => (found, Some(addr)),
    };
    let membership = match &recovered.snapshot {
        Some(snapshot) => restore(snapshot.meta.index, snapshot.data.clone())?,
        None => Membership::default(),
    };
    if let Some(addr) = anew {
        start_alone(config, &mut recovered, &membership, addr, store)?;
    }
    finish(recovered, membership)
}

/// A group of one: its log begins with its own admission, committed, so that everybody who joins later learns of the
/// founder from the log.
fn found(
    config: &Config,
    node_id: String,
    addr: String,
    store: &mut dyn LogStore,
) -> Result<Recovered, StartError> {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let own = Member { raft_id: random_raft_id(&mut rng), node_id, addr };
    let identity = Identity { own: own.clone(), peers: Vec::new() };
    let data = ConfChange::Add(own).encode(rng.random());
    let entries = vec![Entry { index: 1, term: 1, kind: EntryKind::ConfChange, data }];
    let hard_state = HardState { term: 1, vote: None, commit: 1 };
    store.create(&identity)?;
    store.append(&Batch {
        snapshot: None,
        hard_state: Some(hard_state),
        entries: entries.clone(),
    })?;
    Ok(Recovered { identity, hard_state, snapshot: None, entries })
}

/// Disaster recovery: what is not known to be committed goes, and the removal of everybody else takes its place,
/// committed by decree in the present term. The last of these entries states this member's own address, so that
/// there is one even when nobody else is left to remove.
fn start_alone(
    config: &Config,
    recovered: &mut Recovered,
    membership: &Membership,
    addr: String,
    store: &mut dyn LogStore,
) -> Result<(), StartError> {
    let mut rng = StdRng::seed_from_u64(config.seed ^ 1);
    let base = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.index);
    let commit = recovered.hard_state.commit.max(base);
    recovered.entries.retain(|entry| entry.index <= commit);
    let mut members = membership.clone();
    for entry in recovered.entries.iter().filter(|entry| entry.index > base) {
        if let (EntryKind::ConfChange, Some(change)) = (entry.kind, ConfChange::decode(&entry.data))
        {
            // A change that breaks the rules changed nothing then and changes nothing now.
            let _ = members.apply(&change);
        }
    }
    let own = recovered.identity.own.raft_id;
    let Some(this) = members.get(own) else {
        let what = format!("member {own} is not in its own group, so it cannot go on alone");
        return Err(StartError::Inconsistent(what));
    };
    let stated = ConfChange::Update(Member { addr, ..this.clone() });
    let others = members.members().filter(|member| member.raft_id != own);
    let removals = others.map(|member| ConfChange::Remove(member.raft_id));
    // Voters that a snapshot's configuration names and its membership does not (they were added right after it).
    let voters = recovered.snapshot.iter().flat_map(|snapshot| snapshot.meta.voters.iter());
    let unnamed = voters.filter(|voter| members.get(**voter).is_none());
    let unnamed = unnamed.map(|voter| ConfChange::Remove(*voter));
    let changes: Vec<_> = removals.chain(unnamed).chain([stated]).collect();
    let term = recovered.hard_state.term.max(1);
    let entries: Vec<_> = (commit + 1..)
        .zip(changes)
        .map(|(index, change)| Entry {
            index,
            term,
            kind: EntryKind::ConfChange,
            data: change.encode(rng.random()),
        })
        .collect();
    recovered.hard_state.term = term;
    recovered.hard_state.commit = commit + entries.len() as u64;
    store.append(&Batch {
        snapshot: None,
        hard_state: Some(recovered.hard_state),
        entries: entries.clone(),
    })?;
    recovered.entries.extend(entries);
    Ok(())
}

fn finish(recovered: Recovered, membership: Membership) -> Result<Restored, StartError> {
    let own = recovered.identity.own.raft_id;
    if own.0 == raft::INVALID_ID {
        return Err(StartError::Inconsistent("this member has no raft id".to_owned()));
    }
    if membership.is_removed(own) {
        let what = format!("member {own} was removed from its group");
        return Err(StartError::Inconsistent(what));
    }
    let snapshot_bytes = recovered.snapshot.as_ref().map_or(0, |s| s.data.len() as u64);
    let meta = recovered.snapshot.map(|snapshot| snapshot.meta);
    let hard_state = wire::hard_state_to_raft(&recovered.hard_state);
    let entries = recovered.entries.into_iter().map(wire::entry_to_raft);
    let log = MemLog::new(hard_state, meta, entries).map_err(StartError::Inconsistent)?;
    Ok(Restored { identity: recovered.identity, log, membership, snapshot_bytes })
}
