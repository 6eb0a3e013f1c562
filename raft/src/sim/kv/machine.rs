//! The replica: registers, the proposals of this member, and a watcher.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::program::{Host, Watched};
use crate::{
    ApplyError, Committed, Epoch, Member, Membership, RaftId, Refusal, RestoreError,
    SnapshotWriter, StateMachine, Ticket,
};

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It committed.
    Done,
    /// It will not commit.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What watchers saw, of all replicas together.
pub type Seen = Arc<Mutex<Vec<Watched>>>;

/// Registers by key.
pub struct KvMachine {
    host: Host,
    registers: BTreeMap<u8, u64>,
    /// The last index that reached this replica.
    index: u64,
    epoch: Option<Epoch>,
    next_ticket: u64,
    in_flight: Vec<Ticket>,
    outcomes: Vec<(Ticket, Outcome)>,
    watcher: u64,
    watchers: Arc<AtomicU64>,
    seen: Seen,
}

/// A write: who proposed it (place, life, ticket: that makes it unique), the key, the value, and as many bytes more as `padding` says.
fn encode(host: &Host, ticket: Ticket, key: u8, value: u64, padding: usize) -> Bytes {
    let mut data = Vec::with_capacity(29 + padding);
    data.extend_from_slice(&(host.place as u64).to_le_bytes());
    data.extend_from_slice(&host.life.to_le_bytes());
    data.extend_from_slice(&ticket.0.to_le_bytes());
    data.push(key);
    data.extend_from_slice(&value.to_le_bytes());
    data.resize(data.len() + padding, 0x2e);
    Bytes::from(data)
}

fn decode(data: &[u8]) -> Option<(u8, u64)> {
    let key = *data.get(20)?;
    let value = data.get(21..29)?.try_into().ok()?;
    Some((key, u64::from_le_bytes(value)))
}

impl KvMachine {
    pub(super) fn new(host: Host, watchers: Arc<AtomicU64>, seen: Seen) -> Self {
        let mut machine = Self {
            host,
            registers: BTreeMap::new(),
            index: 0,
            epoch: None,
            next_ticket: 0,
            in_flight: Vec::new(),
            outcomes: Vec::new(),
            watcher: 0,
            watchers,
            seen,
        };
        machine.watch();
        machine
    }

    /// Begins a watch at what the replica holds now.
    fn watch(&mut self) {
        self.watcher = self.watchers.fetch_add(1, Ordering::Relaxed) + 1;
        self.seen.lock().push(Watched::Began { watcher: self.watcher, index: self.index });
    }

    /// Whether this replica takes writes.
    pub fn leads(&self) -> bool {
        self.epoch.is_some()
    }

    /// Which life this replica belongs to.
    pub fn life(&self) -> u32 {
        self.host.life
    }

    /// Proposes a write; `None` when it is refused at once.
    pub fn write(&mut self, key: u8, value: u64, padding: usize) -> Option<Ticket> {
        let epoch = self.epoch?;
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let data = encode(&self.host, ticket, key, value, padding);
        self.host.propose(epoch, ticket, data).ok()?;
        self.in_flight.push(ticket);
        Some(ticket)
    }

    /// What this replica holds for a key; 0 before the first write.
    pub fn get(&self, key: u8) -> u64 {
        self.registers.get(&key).copied().unwrap_or(0)
    }

    /// What became of proposals since the last call.
    pub fn take_outcomes(&mut self) -> Vec<(Ticket, Outcome)> {
        std::mem::take(&mut self.outcomes)
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Some(at) = self.in_flight.iter().position(|t| *t == ticket) {
            self.in_flight.remove(at);
            self.outcomes.push((ticket, outcome));
        }
    }

    fn lose_all(&mut self) {
        let lost = std::mem::take(&mut self.in_flight);
        self.outcomes.extend(lost.into_iter().map(|ticket| (ticket, Outcome::Unknown)));
    }
}

impl StateMachine for KvMachine {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        for entry in entries {
            let (key, value) = decode(&entry.data).ok_or_else(|| ApplyError::new("no write"))?;
            self.registers.insert(key, value);
            self.index = entry.index;
            self.seen.lock().push(Watched::Saw { watcher: self.watcher, index: entry.index });
            if let Some(ticket) = entry.ticket {
                self.settle(ticket, Outcome::Done);
            }
        }
        Ok(())
    }

    fn refused(&mut self, ticket: Ticket, _why: Refusal) {
        self.settle(ticket, Outcome::Refused);
    }

    fn leading(&mut self, epoch: Epoch, _commit_index: u64) {
        self.epoch = Some(epoch);
    }

    fn following(&mut self) {
        self.epoch = None;
        self.lose_all();
    }

    fn snapshot(&self) -> SnapshotWriter {
        let registers = self.registers.clone();
        Box::new(move |membership| Ok(write_snapshot(&registers, membership).into()))
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let (registers, membership) =
            read_snapshot(&data).ok_or_else(|| RestoreError::new("no snapshot of registers"))?;
        self.registers = registers;
        self.index = index;
        self.lose_all();
        self.watch();
        Ok(membership)
    }
}

fn write_snapshot(registers: &BTreeMap<u8, u64>, membership: &Membership) -> Bytes {
    let mut data = Vec::new();
    let mut part = |bytes: &[u8]| {
        data.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        data.extend_from_slice(bytes);
    };
    let removed: Vec<u8> = membership.removed().flat_map(|id| id.0.to_le_bytes()).collect();
    part(&removed);
    let registers: Vec<u8> = registers
        .iter()
        .flat_map(|(key, value)| [&[*key][..], &value.to_le_bytes()].concat())
        .collect();
    part(&registers);
    for member in membership.members() {
        part(&member.encode());
    }
    Bytes::from(data)
}

fn read_snapshot(data: &[u8]) -> Option<(BTreeMap<u8, u64>, Membership)> {
    let mut parts = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        parts.push(part);
        rest = after;
    }
    let (removed, parts) = parts.split_first()?;
    let (registers, members) = parts.split_first()?;
    let removed = removed.as_chunks::<8>().0.iter().map(|id| RaftId(u64::from_le_bytes(*id)));
    let (chunks, _) = registers.as_chunks::<9>();
    let registers = chunks.iter().map(|chunk| {
        let value =
            chunk.split_last_chunk::<8>().map_or(0, |(_, value)| u64::from_le_bytes(*value));
        (chunk[0], value)
    });
    let members: Option<Vec<_>> = members.iter().map(|member| Member::decode(member)).collect();
    Some((registers.collect(), Membership::new(members?, removed)))
}
