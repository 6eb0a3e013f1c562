//! What is on a simulated disk: for each file what a process sees, what is durable, and what lies between the two.

use std::collections::BTreeMap;
use std::io;

use rand::Rng;
use rand::rngs::StdRng;

use super::{Faults, SECTOR_BYTES};

#[derive(Debug, Default)]
pub struct State {
    /// Counts crashes: a handle from before a crash is dead.
    pub life: u64,
    pub files: BTreeMap<u64, SimFileState>,
    pub next_file: u64,
    pub names: BTreeMap<String, u64>,
    pub durable_names: BTreeMap<String, u64>,
    pub name_changes: Vec<NameChange>,
    /// Changes (writes, length changes, syncs, names) so far.
    pub changes: u64,
    pub faults: Faults,
    pub syncs: u64,
}

#[derive(Debug, Default)]
pub struct SimFileState {
    pub current: Vec<u8>,
    pub durable: Vec<u8>,
    pub unsynced: Vec<Change>,
}

#[derive(Debug)]
pub enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug)]
pub enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// How much of the unsynced a crash keeps.
#[derive(Clone, Copy)]
pub enum Survival {
    Nothing,
    Everything,
    Each(f64),
}

impl Survival {
    pub fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::Nothing,
            1 => Self::Everything,
            _ => Self::Each(rng.random_range(0.05..0.95)),
        }
    }

    pub fn survives(self, rng: &mut StdRng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Each(likelihood) => rng.random_bool(likelihood),
        }
    }
}

pub fn power_is_out() -> io::Error {
    io::Error::other("simulated: the power is out")
}

impl State {
    /// Counts a change, or says that the power is out.
    pub fn change(&mut self) -> io::Result<()> {
        if self.faults.power_out_at.is_some_and(|at| self.changes >= at) {
            return Err(power_is_out());
        }
        self.changes += 1;
        Ok(())
    }

    pub fn alive(&self, life: u64) -> io::Result<()> {
        if self.life != life || self.faults.power_out_at.is_some_and(|at| self.changes >= at) {
            return Err(power_is_out());
        }
        Ok(())
    }

    pub fn room(&self, more: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|file| file.current.len()).sum();
        match self.faults.capacity_bytes {
            Some(capacity) if (used + more) as u64 > capacity => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "simulated: no space left"))
            }
            _ => Ok(()),
        }
    }

    pub fn name_change(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }

    /// Gives back what files without a name took. To be called only when all changes of names are durable.
    pub fn drop_nameless(&mut self) {
        let named: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    pub fn sync_outcome(&mut self) -> io::Result<()> {
        match &mut self.faults.sync_fails_after {
            Some(0) => Err(io::Error::other("simulated: input/output error while syncing")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

pub fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Rename(from, to) => {
            // The name may be missing when its creation did not survive: then the rename has nothing to do.
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl SimFileState {
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        write_into(&mut self.current, offset, data);
        self.unsynced.push(Change::Write { offset, data: data.to_vec() });
    }

    pub fn set_len(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.unsynced.push(Change::SetLen(len));
    }

    pub fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, data } => write_into(&mut self.durable, offset, &data),
                Change::SetLen(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Part of the unsynced reaches the disk; what does not is forgotten by the disk, yet still shown by `current`.
    pub fn settle(&mut self, survival: Survival, rng: &mut StdRng) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::SetLen(len) => {
                    if survival.survives(rng) {
                        self.durable.resize(len, 0);
                    }
                }
                Change::Write { offset, data } => {
                    let mut at = 0;
                    while at < data.len() {
                        let sector_end = (offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
                        let end = (sector_end - offset).min(data.len());
                        if survival.survives(rng) {
                            write_into(&mut self.durable, offset + at, &data[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
    }

    pub fn crash(&mut self, survival: Survival, rng: &mut StdRng) {
        self.settle(survival, rng);
        self.current.clone_from(&self.durable);
    }
}

fn write_into(into: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(data);
}
