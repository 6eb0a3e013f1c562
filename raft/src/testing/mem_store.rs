//! A log store in memory. Clones share the disk, so that a restart finds what was written.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;

use crate::{
    Batch, Identity, KeyId, Keyring, LogStore, Recovered, Sizes, Snapshot, SnapshotContents,
    SnapshotMeta, SnapshotStage, StageError, StagedSnapshot, StorageError,
};

/// See the module.
#[derive(Clone, Default)]
pub struct MemStore {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    recovered: Option<Recovered>,
    staged: Option<Snapshot>,
    held: Option<mpsc::Receiver<()>>,
    fail: bool,
}

impl MemStore {
    /// Everything written from now on fails.
    pub fn fail(&self) {
        self.disk.lock().fail = true;
    }

    /// The next snapshot is not staged before what this gives is dropped.
    pub fn hold_stage(&self) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        self.disk.lock().held = Some(released);
        release
    }

    /// Whether a snapshot was staged and not saved.
    pub fn has_staged(&self) -> bool {
        self.disk.lock().staged.is_some()
    }

    /// What is on the disk.
    pub fn recovered(&self) -> Option<Recovered> {
        self.disk.lock().recovered.clone()
    }

    /// Changes what is on the disk behind everybody's back.
    pub fn edit(&self, change: impl FnOnce(&mut Recovered)) {
        self.disk.lock().recovered.as_mut().map(change);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Recovered) -> R) -> Result<R, StorageError> {
        let mut disk = self.disk.lock();
        if disk.fail {
            let source = std::io::Error::other("no space left on device");
            return Err(StorageError::Io { action: "write the log".to_owned(), source });
        }
        let recovered = disk.recovered.as_mut();
        recovered.map(work).ok_or_else(|| StorageError::Misuse("not created".to_owned()))
    }
}

impl SnapshotStage for MemStore {
    fn stage(
        &self,
        meta: SnapshotMeta,
        contents: SnapshotContents,
    ) -> Result<StagedSnapshot, StageError> {
        let held = self.disk.lock().held.take();
        if let Some(released) = held {
            // The sender is dropped and sends nothing.
            let _ = released.recv();
        }
        let data = contents.into_bytes()?;
        self.with(|_| ())?;
        let file_bytes = data.len() as u64;
        self.disk.lock().staged = Some(Snapshot { meta: meta.clone(), data });
        Ok(StagedSnapshot { meta, file_bytes, key: KeyId(0) })
    }
}

impl LogStore for MemStore {
    fn load(&mut self) -> Result<Option<Recovered>, StorageError> {
        Ok(self.recovered())
    }

    fn create(&mut self, identity: &Identity) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        assert!(disk.recovered.is_none(), "created twice");
        let identity = identity.clone();
        let entries = Vec::new();
        disk.recovered =
            Some(Recovered { identity, hard_state: Default::default(), snapshot: None, entries });
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.with(|disk| {
            if let Some(snapshot) = &batch.snapshot {
                disk.snapshot = Some(snapshot.clone());
                disk.entries.clear();
            }
            if let Some(hard_state) = batch.hard_state {
                disk.hard_state = hard_state;
            }
            if let Some(first) = batch.entries.first() {
                disk.entries.retain(|entry| entry.index < first.index);
                let base = disk.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.index);
                let last = disk.entries.last().map_or(base, |entry| entry.index);
                assert_eq!(first.index, last + 1, "a gap in the log");
                disk.entries.extend(batch.entries.iter().cloned());
            }
        })
    }

    fn snapshot_stage(&self) -> Arc<dyn SnapshotStage> {
        Arc::new(self.clone())
    }

    fn save_snapshot(&mut self, staged: StagedSnapshot) -> Result<bool, StorageError> {
        let snapshot = self.disk.lock().staged.take().filter(|held| held.meta == staged.meta);
        assert!(snapshot.is_some(), "it was not staged");
        self.with(|disk| {
            let held = disk.snapshot.as_ref().map_or(0, |held| held.meta.index);
            let newer = staged.meta.index > held;
            if newer {
                disk.snapshot = snapshot;
            }
            newer
        })
    }

    fn read_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        self.with(|disk| disk.snapshot.clone())
    }

    fn compact(&mut self, through: u64) -> Result<(), StorageError> {
        self.with(|disk| {
            let saved = disk.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.index);
            assert!(through <= saved, "compacted beyond the snapshot");
            disk.entries.retain(|entry| entry.index > through);
        })
    }

    fn rotate(&mut self, _keys: Keyring) -> Result<(), StorageError> {
        Ok(())
    }

    fn keys_in_use(&self) -> BTreeSet<KeyId> {
        BTreeSet::new()
    }

    fn sizes(&self) -> Sizes {
        let disk = self.disk.lock();
        let snapshot = disk.recovered.as_ref().and_then(|found| found.snapshot.as_ref());
        Sizes {
            log_bytes: 0,
            snapshot_bytes: snapshot.map_or(0, |snapshot| snapshot.data.len() as u64),
        }
    }
}
