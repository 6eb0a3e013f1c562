//! Where identity lies on disk: the folder `certificates` of a node's state folder, and files that are whole or absent.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{RootCa, pem::PEM_LEN_MAX, root::RootError};

const FOLDER_MODE: u32 = 0o700;
const PUBLIC_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Why there is no root to start with.
#[derive(Debug, thiserror::Error)]
pub enum RootFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds no root.
    #[error("{} holds no usable root CA", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: RootError,
    },
}

/// The folder `certificates`. Its methods block on the disk.
#[derive(Clone, Debug)]
pub struct CertificateFolder(PathBuf);

impl CertificateFolder {
    /// The folder below a node's state folder. It is made, for its owner alone, on the first write.
    pub fn below(state: &Path) -> CertificateFolder {
        CertificateFolder(state.join("certificates"))
    }

    /// The root bundle, as downloaded or made.
    pub fn root(&self) -> PathBuf {
        self.0.join("swarm-root-ca.crt")
    }

    /// The node's certificate with its intermediates.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("swarm-node.crt")
    }

    /// The node's key.
    pub fn key(&self) -> PathBuf {
        self.0.join("swarm-node.key")
    }

    /// The key of a certificate that is just being replaced. Left behind only by a crash in between.
    pub fn next_key(&self) -> PathBuf {
        self.0.join(".swarm-node.key")
    }

    /// The root on disk; `None` when there is no file.
    pub fn read_root(&self, now: SystemTime) -> Result<Option<RootCa>, RootFileError> {
        let path = self.root();
        let Some(pem) = read(&path)? else { return Ok(None) };
        let root = RootCa::from_pem(Bytes::from(pem), now);
        root.map(Some).map_err(|source| RootFileError::Root { path, source })
    }

    /// Writes the root's bundle, byte for byte.
    pub fn write_root(&self, root: &RootCa) -> Result<(), FileError> {
        self.write_public(&self.root(), root.pem())
    }

    /// Removes the folder, so that the node can join afresh. Renamed first: a crash leaves all of it or none.
    pub fn clear(&self) -> Result<(), FileError> {
        let aside = self.0.with_extension("removed");
        let unless_absent = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let remove = || {
            unless_absent(fs::remove_dir_all(&aside))?;
            unless_absent(fs::rename(&self.0, &aside))?;
            unless_absent(fs::remove_dir_all(&aside))
        };
        remove().map_err(|source| FileError { action: "remove", path: self.0.clone(), source })
    }

    pub(crate) fn write_public(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, PUBLIC_MODE)
    }

    pub(crate) fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        self.write(path, bytes, PRIVATE_MODE)
    }

    /// Renames a file of this folder, durably.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).map_err(|source| FileError {
            action: "rename to",
            path: to.into(),
            source,
        })?;
        self.sync()
    }

    /// Writes aside, makes it durable, renames: a crash leaves the old file or the new one.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".tmp");
        let aside = PathBuf::from(aside);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0)?;
            // Removed rather than truncated: a left-over could have another mode.
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().map_err(|source| FileError { action: "write", path: path.into(), source })?;
        self.sync()
    }

    fn sync(&self) -> Result<(), FileError> {
        let sync = || match File::open(&self.0) {
            Ok(folder) => folder.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        sync().map_err(|source| FileError { action: "make durable", path: self.0.clone(), source })
    }
}

/// The file's bytes; `None` when it does not exist. Reads no more than PEM may be long.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let read = || -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        file.take(PEM_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path: path.into(), source }),
    }
}

pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError { action: "remove", path: path.into(), source })
        }
        _ => Ok(()),
    }
}
