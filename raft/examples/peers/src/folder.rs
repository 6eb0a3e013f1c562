//! What a node keeps on disk besides its log: who it is, and the key that seals the log.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use skep_raft::{
    DataKey, Keyring,
    storage::{FileLog, FileLogConfig, RealDisk},
};

/// The version of `member.json`.
const FORMAT: u32 = 1;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It is the folder of another node.
    #[error(
        "{path} belongs to member {found}, not to {expected}; give the right id or another folder"
    )]
    OtherName {
        /// The folder.
        path: String,
        /// Whose it is.
        found: String,
        /// Who this was to be.
        expected: String,
    },
}

/// Who a node is, and how far it has come. Written before the log is, so that a node that was killed midway goes on
/// as the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    /// The name that the operator gave it.
    pub name: String,
    /// Tells this folder from one that was there before under the same name, and was lost.
    pub incarnation: u64,
    /// The group, once it has founded or joined one.
    pub cluster: Option<u64>,
    /// Whether there is a log. If it is gone all the same, this node must not come back: its votes would be forgotten.
    pub entered: bool,
    /// It was removed from its group.
    pub removed: bool,
}

impl Identity {
    /// The node id in raft's membership: a node that lost its folder is another one.
    pub fn node_id(&self) -> String {
        node_id(&self.name, self.incarnation)
    }
}

/// The node id of a name in one incarnation.
pub fn node_id(name: &str, incarnation: u64) -> String {
    format!("{name}#{incarnation:016x}")
}

/// The name within a node id.
pub fn name_of(node_id: &str) -> &str {
    node_id.rsplit_once('#').map_or(node_id, |(name, _)| name)
}

/// The folder of one node; another process that opens it is refused for as long as this value lives.
pub struct Folder {
    path: PathBuf,
    disk: Arc<RealDisk>,
    keys: Keyring,
    identity: Identity,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.display().to_string();
    move |source| FolderError::Io { action, path, source }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
    let (new, path) = (folder.join(format!("{name}.new")), folder.join(name));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(folder)?.sync_all()
    })();
    written.map_err(failed("write", &path))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

impl Folder {
    /// Opens the folder of this node, or makes one. Blocks on the disk.
    pub fn open(path: &Path, name: &str) -> Result<Folder, FolderError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make", path))?;
        // Taken first: what follows is nobody else's business.
        let log = path.join("raft");
        let disk = Arc::new(RealDisk::open(&log).map_err(failed("open", &log))?);
        let identity = match read(&path.join("member.json"))? {
            Some(bytes) => {
                let damaged = |reason: String| FolderError::Damaged {
                    path: path.join("member.json").display().to_string(),
                    reason,
                };
                let identity: Identity =
                    serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                if identity.format != FORMAT {
                    return Err(damaged(format!("format {} is not known", identity.format)));
                }
                identity
            }
            None if log.join("format").exists() => {
                return Err(FolderError::Damaged {
                    path: path.join("member.json").display().to_string(),
                    reason:
                        "it is gone, and the raft log beside it is not; clear the folder, so that \
                             the node joins as a new member"
                            .to_owned(),
                });
            }
            None => Identity {
                format: FORMAT,
                name: name.to_owned(),
                incarnation: rand::rng().next_u64() | 1,
                cluster: None,
                entered: false,
                removed: false,
            },
        };
        if identity.name != name {
            return Err(FolderError::OtherName {
                path: path.display().to_string(),
                found: identity.name,
                expected: name.to_owned(),
            });
        }
        let keys = Keyring { current: key(path)?, older: Vec::new() };
        let mut folder = Folder { path: path.to_owned(), disk, keys, identity };
        folder.change(|_| {})?;
        Ok(folder)
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Changes who this is, durably. Blocks on the disk.
    pub fn change(&mut self, change: impl FnOnce(&mut Identity)) -> Result<(), FolderError> {
        let mut next = self.identity.clone();
        change(&mut next);
        let text = serde_json::to_vec_pretty(&next).map_err(|error| FolderError::Damaged {
            path: self.path.display().to_string(),
            reason: error.to_string(),
        })?;
        write_whole(&self.path, "member.json", &text)?;
        self.identity = next;
        Ok(())
    }

    /// Whether there is a log, begun and whole as far as its beginning goes.
    pub fn has_log(&self) -> bool {
        self.path.join("raft").join("format").exists()
    }

    /// The log in this folder.
    pub fn log(&self) -> FileLog {
        FileLog::new(self.disk.clone(), &self.keys, FileLogConfig::default())
    }
}

/// The key that seals the log. It stands beside the log, so it protects against rot and mix-ups, not against somebody
/// who can read the folder; a product would fetch it from where it keeps its secrets.
fn key(folder: &Path) -> Result<DataKey, FolderError> {
    let path = folder.join("log.key");
    if let Some(bytes) = read(&path)? {
        let bytes: [u8; 32] = bytes.try_into().map_err(|bytes: Vec<u8>| FolderError::Damaged {
            path: path.display().to_string(),
            reason: format!("a key has 32 bytes, and there are {}", bytes.len()),
        })?;
        return Ok(DataKey::new(bytes));
    }
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    write_whole(folder, "log.key", &bytes)?;
    Ok(DataKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_nodes_and_one_processs() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), "1").unwrap();
        let incarnation = folder.identity().incarnation;
        let again = Folder::open(dir.path(), "1").err().map(|error| error.to_string());
        assert!(again.is_some_and(|text| text.starts_with("cannot open")));
        folder.change(|identity| identity.cluster = Some(7)).unwrap();
        drop(folder);

        let folder = Folder::open(dir.path(), "1").unwrap();
        assert_eq!(folder.identity().incarnation, incarnation);
        assert_eq!(folder.identity().cluster, Some(7));
        drop(folder);
        let other = Folder::open(dir.path(), "2").err();
        assert!(matches!(other, Some(FolderError::OtherName { found, .. }) if found == "1"));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path(), "1").unwrap());
        for file in ["member.json", "log.key"] {
            let whole = fs::read(dir.path().join(file)).unwrap();
            fs::write(dir.path().join(file), &whole[..whole.len() / 2]).unwrap();
            let error = Folder::open(dir.path(), "1").err().map(|error| error.to_string());
            assert!(error.is_some_and(|text| text.contains(file) && text.contains("damaged")));
            fs::write(dir.path().join(file), whole).unwrap();
        }
    }

    #[test]
    fn a_log_whose_member_is_not_known_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path(), "1").unwrap());
        fs::write(dir.path().join("raft/format"), "1").unwrap();
        fs::remove_file(dir.path().join("member.json")).unwrap();
        assert!(matches!(Folder::open(dir.path(), "1"), Err(FolderError::Damaged { .. })));
    }

    #[test]
    fn a_name_stands_in_its_node_id() {
        assert_eq!(name_of(&node_id("3", 1)), "3");
        assert_eq!(name_of(&node_id("a#b", 1)), "a#b");
    }
}
