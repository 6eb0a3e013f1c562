//! A disk in memory that behaves as badly as a real one is allowed to.
//!
//! What was not synced is kept apart. [`SimDisk::crash`] takes the power away and decides, from a seed, which of the unsynced
//! writes (sector by sector), length changes, creations, renames and removals survive: any subset may, in whole or torn.
//! Besides that it can be told to fail a sync, to run full, to fail reads, and to flip bytes.

mod platter;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::{Disk, DiskFile};
use platter::{NameChange, SimFileState, State, Survival, apply_name, power_is_out};

/// What a disk writes in one piece. A torn write keeps some sectors and loses others, never part of one.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    label: String,
    state: Arc<Mutex<State>>,
}

/// What the disk will do wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The change with this number, counted from the disk's beginning, and everything after it fails: the power is out.
    pub power_out_at: Option<u64>,
    /// So many syncs succeed, the next one fails and leaves a random part of what was unsynced undurable for ever.
    pub sync_fails_after: Option<u64>,
    /// Bytes that fit; growing beyond fails with [`io::ErrorKind::StorageFull`].
    pub capacity_bytes: Option<u64>,
    /// Reads of these files fail.
    pub unreadable: Vec<String>,
    /// Syncs report success and do nothing: for showing that the tests notice.
    pub syncs_lie: bool,
}

impl SimDisk {
    /// An empty disk; `label` is the folder's name in messages.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), state: Arc::default() }
    }

    /// Sets what goes wrong from now on, replacing what was set before.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Takes the power away and gives it back: open handles are dead, unsynced changes survive as `seed` decides, and
    /// faults are cleared.
    pub fn crash(&self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut state = self.state.lock();
        let state = &mut *state;
        state.life += 1;
        state.faults = Faults { capacity_bytes: state.faults.capacity_bytes, ..Faults::default() };
        let survival = Survival::draw(&mut rng);
        for change in state.name_changes.drain(..) {
            if survival.survives(&mut rng) {
                apply_name(&mut state.durable_names, &change);
            }
        }
        state.names = state.durable_names.clone();
        state.drop_nameless();
        for file in state.files.values_mut() {
            let survival = Survival::draw(&mut rng);
            file.crash(survival, &mut rng);
        }
    }

    /// Ends every handle as a killed process does: nothing that was written is lost.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.faults.power_out_at = None;
        state.faults.sync_fails_after = None;
    }

    /// Changes made since the disk's beginning; the scale of [`Faults::power_out_at`].
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Bytes that all files hold together; the scale of [`Faults::capacity_bytes`].
    pub fn used_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.files.values().map(|file| file.current.len() as u64).sum()
    }

    /// Successful syncs since the disk's beginning.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Inverts the bits of `mask` in one byte of a file, as rot does: also in what is durable.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) {
        let mut state = self.state.lock();
        let id = state.names[name];
        let file = state.files.get_mut(&id).expect("a name stands for a file");
        let at = offset as usize;
        if let Some(byte) = file.current.get_mut(at) {
            *byte ^= mask;
        }
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= mask;
        }
    }

    /// The present contents of a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.names.get(name).map(|id| state.files[id].current.clone())
    }

    /// An independent disk with the same present contents, all of it durable.
    pub fn copy(&self) -> Self {
        let from = self.state.lock();
        let mut state = State { next_file: from.next_file, ..State::default() };
        for (name, id) in &from.names {
            let current = from.files[id].current.clone();
            let file = SimFileState { durable: current.clone(), current, unsynced: Vec::new() };
            state.files.insert(*id, file);
            state.names.insert(name.clone(), *id);
        }
        state.durable_names = state.names.clone();
        Self { label: self.label.clone(), state: Arc::new(Mutex::new(state)) }
    }
}

impl SimDisk {
    fn handle(&self, name: &str, id: u64, life: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { name: name.to_owned(), id, life, state: self.state.clone() })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state.lock();
        state.alive(state.life)?;
        let id = *state
            .names
            .get(name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "simulated: no such file"))?;
        Ok(self.handle(name, id, state.life))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.change()?;
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, SimFileState::default());
        state.name_change(NameChange::Create(name.to_owned(), id));
        Ok(self.handle(name, id, state.life))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if !state.names.contains_key(from) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "simulated: no such file"));
        }
        state.name_change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if !state.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "simulated: no such file"));
        }
        state.name_change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive(state.life)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.sync_outcome()?;
        state.syncs += 1;
        if !state.faults.syncs_lie {
            state.name_changes.clear();
            state.durable_names = state.names.clone();
            // No crash can bring them back. A handle that is still open is dead, which is more than a real disk does.
            state.drop_nameless();
        }
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("{}/{name}", self.label)
    }
}

#[derive(Debug)]
struct SimFile {
    name: String,
    id: u64,
    life: u64,
    state: Arc<Mutex<State>>,
}

impl SimFile {
    fn with<R>(&self, work: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.state.lock();
        state.alive(self.life)?;
        if !state.files.contains_key(&self.id) {
            return Err(power_is_out());
        }
        work(&mut state)
    }
}

/// `with` has looked that the file is there.
const FILE_IS_THERE: &str = "the file was found under the same lock";

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.files[&self.id].current.len() as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state| {
            if state.faults.unreadable.contains(&self.name) {
                return Err(io::Error::other("simulated: input/output error while reading"));
            }
            let current = &state.files[&self.id].current;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            match start.checked_add(out.len()).and_then(|end| current.get(start..end)) {
                Some(data) => {
                    out.copy_from_slice(data);
                    Ok(())
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|state| {
            state.change()?;
            let at = offset as usize;
            let len = state.files[&self.id].current.len();
            state.room((at + data.len()).saturating_sub(len))?;
            state.files.get_mut(&self.id).expect(FILE_IS_THERE).write(at, data);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.change()?;
            let now = state.files[&self.id].current.len();
            state.room((len as usize).saturating_sub(now))?;
            state.files.get_mut(&self.id).expect(FILE_IS_THERE).set_len(len as usize);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state| {
            state.change()?;
            let outcome = state.sync_outcome();
            let seed = state.changes;
            let lies = state.faults.syncs_lie;
            let file = state.files.get_mut(&self.id).expect(FILE_IS_THERE);
            match &outcome {
                Ok(()) if lies => {}
                Ok(()) => file.sync(),
                Err(_) => {
                    let mut rng = StdRng::seed_from_u64(seed);
                    let survival = Survival::draw(&mut rng);
                    file.settle(survival, &mut rng);
                }
            }
            if outcome.is_ok() {
                state.syncs += 1;
            }
            outcome
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_not() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new("sim");
            let file = disk.create("a").unwrap();
            file.write_at(0, &[1; 2048]).unwrap();
            file.sync().unwrap();
            disk.sync_dir().unwrap();
            file.write_at(0, &[2; 2048]).unwrap();
            disk.crash(seed);
            assert!(file.len().is_err(), "a handle does not outlive a crash");
            let after = disk.contents("a").unwrap();
            assert_eq!(after.len(), 2048);
            match after.iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                2048 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 20 && kept > 20 && torn > 20, "{lost} {kept} {torn}");
    }

    #[test]
    fn a_name_is_durable_only_with_its_folder() {
        let mut seen = [false; 2];
        for seed in 0..50 {
            let disk = SimDisk::new("sim");
            disk.create("a").unwrap().sync().unwrap();
            disk.crash(seed);
            seen[usize::from(disk.contents("a").is_some())] = true;
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn a_failed_sync_is_not_healed_by_the_next() {
        let mut lost = false;
        for changes in 0..20 {
            let disk = SimDisk::new("sim");
            let file = disk.create("a").unwrap();
            disk.sync_dir().unwrap();
            for _ in 0..changes {
                file.sync().unwrap();
            }
            file.write_at(0, b"x").unwrap();
            disk.set_faults(Faults { sync_fails_after: Some(0), ..Faults::default() });
            file.sync().unwrap_err();
            disk.set_faults(Faults::default());
            file.sync().unwrap();
            let mut byte = [0];
            file.read_at(0, &mut byte).unwrap();
            assert_eq!(&byte, b"x");
            disk.crash(0);
            lost |= disk.contents("a").unwrap().is_empty();
        }
        assert!(lost);
    }
}
