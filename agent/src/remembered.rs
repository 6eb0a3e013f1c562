//! The managers that a node remembers over a restart: `state.json`, an array of `{"node_id", "addr"}`, as stock nodes
//! write it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::remotes::{Remote, Remotes};

/// A file that is larger than this is not one of ours: a list of a few managers takes a few hundred bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why the remembered managers could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RememberError {
    /// The disk refused.
    #[error("cannot {action} the list of managers {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} is not a list of managers ({source}); remove it and join again, or correct it",
        path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file is far too large.
    #[error("{path} has {size} bytes: that is no list of managers", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
}

/// Reads the list; a file that does not exist is an empty one. Blocks on the disk.
pub fn load(path: &Path) -> Result<Vec<Remote>, RememberError> {
    let failed = |source| RememberError::Io { action: "read", path: path.to_owned(), source };
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    if size > FILE_MAX_BYTES {
        return Err(RememberError::TooLarge { path: path.to_owned(), size });
    }
    let text = fs::read(path).map_err(failed)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&text)
        .map_err(|source| RememberError::Malformed { path: path.to_owned(), source })
}

/// Writes the list: aside first and then renamed, so that a crash leaves the old one or the new one. Blocks on the disk.
pub fn save(path: &Path, remotes: &[Remote]) -> Result<(), RememberError> {
    let failed = |source| RememberError::Io { action: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec(remotes)
        .map_err(|source| RememberError::Malformed { path: path.to_owned(), source })?;
    let aside = path.with_extension("json.new");
    let mut file = File::create(&aside).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&aside, path).map_err(failed)
}

/// Writes the list whenever it changes, for as long as it is polled. Safe to drop: a write that has begun is finished.
pub async fn keep(path: PathBuf, remotes: Arc<Remotes>) {
    let mut lists = remotes.watch();
    loop {
        let list = lists.borrow_and_update().clone();
        if !list.is_empty() {
            let path = path.clone();
            match tokio::task::spawn_blocking(move || save(&path, &list)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "managers will not be remembered"),
                Err(_) => return,
            }
        }
        if lists.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_stock_nodes_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(load(&path).unwrap(), []);
        let remotes = [Remote { node_id: "n1".into(), addr: "10.0.0.1:2377".into() }];
        save(&path, &remotes).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"[{"node_id":"n1","addr":"10.0.0.1:2377"}]"#);
        assert_eq!(load(&path).unwrap(), remotes);
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "{}").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("state.json is not a list of managers"), "{error}");
    }
}
