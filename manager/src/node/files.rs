//! The state folder of a node.
//!
//! ```text
//! <state>/format          version of this layout; an unknown one is refused
//! <state>/lock            held while a daemon uses the folder
//! <state>/state.json      the managers that the node knows
//! <state>/certificates/   root, certificate, key (see skep-ca)
//! <state>/raft/           log and snapshots of a manager (see skep-raft)
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use skep_ca::{UnlockKey, files::CertificateFolder};

use super::NodeError;

/// The version of the layout that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Longest format or unlock key file that is read.
const SMALL_FILE_LEN_MAX: u64 = 4096;

/// The state folder.
#[derive(Clone)]
pub struct NodeFiles {
    state: PathBuf,
}

/// Keeps other daemons off the folder until it is dropped.
pub struct FolderLock {
    _file: Arc<File>,
}

fn failed(path: &Path, reason: impl Into<String>) -> NodeError {
    NodeError::Files { path: path.display().to_string(), reason: reason.into() }
}

impl NodeFiles {
    /// The folder need not exist yet.
    pub fn new(state: &Path) -> NodeFiles {
        NodeFiles { state: state.to_owned() }
    }

    /// Root, certificate and key.
    pub fn certificates(&self) -> CertificateFolder {
        CertificateFolder::below(&self.state)
    }

    /// The raft log and its snapshots.
    pub fn raft(&self) -> PathBuf {
        self.state.join("raft")
    }

    /// The managers that the node knows.
    pub fn remotes(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// Makes the folder, checks its format and takes its lock. Held for as long as the daemon runs.
    pub fn claim(&self) -> Result<FolderLock, NodeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.state)
            .map_err(|error| failed(&self.state, format!("cannot be created: {error}")))?;
        let path = self.state.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, format!("cannot be opened: {error}")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(
                    &self.state,
                    "is in use by another skepd: stop that one or choose another --state-dir",
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(failed(&path, format!("cannot be locked: {error}")));
            }
        }
        self.check_format()?;
        Ok(FolderLock { _file: Arc::new(file) })
    }

    fn check_format(&self) -> Result<(), NodeError> {
        let path = self.state.join("format");
        match read_small(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(FORMAT_VERSION) => Ok(()),
                Ok(version) => Err(failed(
                    &path,
                    format!(
                        "the state folder has format version {version}, this skepd knows only {FORMAT_VERSION}: \
                         use the skepd that wrote it, or another --state-dir"
                    ),
                )),
                Err(_) => Err(failed(
                    &path,
                    format!("is damaged: expected a version number such as {FORMAT_VERSION}"),
                )),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => self
                .write_format(&path)
                .map_err(|error| failed(&path, format!("cannot be written: {error}"))),
            Err(error) => Err(failed(&path, format!("cannot be read: {error}"))),
        }
    }

    fn write_format(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        writeln!(file, "{FORMAT_VERSION}")?;
        file.sync_all()?;
        File::open(&self.state)?.sync_all()
    }

    /// Whether a node's certificate is there.
    pub fn found(&self) -> Result<bool, NodeError> {
        let path = self.certificates().certificate();
        path.try_exists().map_err(|error| failed(&path, format!("cannot be looked for: {error}")))
    }

    /// Deletes everything of the node; the folder itself, its format and its lock stay.
    pub fn delete_all(&self) -> Result<(), NodeError> {
        self.delete_raft()?;
        // The certificate goes last: as long as it is there, so is the node.
        let certificates = self.state.join("certificates");
        remove(&self.remotes(), fs::remove_file(self.remotes()))?;
        remove(&certificates, fs::remove_dir_all(&certificates))
    }

    /// Whether there is anything of a raft log.
    pub fn has_raft_log(&self) -> Result<bool, NodeError> {
        let path = self.raft();
        match fs::read_dir(&path) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&path, format!("cannot be listed: {error}"))),
        }
    }

    /// Deletes log and snapshots.
    pub fn delete_raft(&self) -> Result<(), NodeError> {
        remove(&self.raft(), fs::remove_dir_all(self.raft()))
    }

    /// The unlock key from the file that the daemon was given, if it was.
    pub fn unlock_key_from_file(
        &self,
        path: Option<&Path>,
    ) -> Result<Option<UnlockKey>, NodeError> {
        let Some(path) = path else { return Ok(None) };
        let text = read_small(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| failed(path, format!("the unlock key cannot be read: {error}")))?;
        let key = text.trim().parse().map_err(|_| {
            failed(path, "holds no unlock key: expected one line that begins with SWMKEY-1-")
        })?;
        Ok(Some(key))
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    File::open(path)?.take(SMALL_FILE_LEN_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn remove(path: &Path, result: io::Result<()>) -> Result<(), NodeError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(path, format!("cannot be deleted: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_format_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::new(folder.path());
        drop(files.claim().unwrap());
        fs::write(folder.path().join("format"), "7\n").unwrap();
        let error = files.claim().err().unwrap().to_string();
        assert!(error.contains("format version 7"), "{error}");
    }

    #[test]
    fn two_daemons_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::new(folder.path());
        let lock = files.claim().unwrap();
        let error = files.claim().err().unwrap().to_string();
        assert!(error.contains("in use by another skepd"), "{error}");
        drop(lock);
        files.claim().unwrap();
    }
}
