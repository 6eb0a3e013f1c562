//! A node's certificate and key on disk: `swarm-node.crt` and `swarm-node.key`.
//!
//! The key's PEM block carries headers: the version of the key-encryption key (KEK) that it is sealed with, the raft
//! log's data keys, and a digest over the whole block, so that damage is named instead of used. When the cluster is
//! locked, key and data keys are sealed with the unlock key, and a node that starts waits for it.
//!
//! Certificate and key change together, across two files: the new key is written aside, then the certificate, then the
//! key takes its place. A crash in between leaves the certificate's key in one of two files, and opening finds it.

mod data_keys;
mod pbes2;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use crate::{
    Credentials, NodeKey, UnlockKey,
    files::{self, CertificateFolder, FileError},
    key::{KeyError, PKCS8_LABEL},
    pem::{PemBlock, PemError},
    tls::SecurityError,
};
pub use data_keys::{DATA_KEY_LEN, DATA_KEYS_MAX, DataKeys};
use pbes2::OpenError;

/// SwarmKit's header: the cluster's version at the time of the KEK.
const KEK_VERSION: &str = "kek-version";
/// Our headers.
const DATA_KEYS: &str = "skep-data-keys";
const NEEDS_ROTATION: &str = "skep-data-keys-need-rotation";
const DIGEST: &str = "skep-digest";

/// Why certificate and key cannot be taken up or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The unlock key is not the right one. SwarmKit's text.
    #[error("invalid key")]
    InvalidKey,
    /// The key file is no key file.
    #[error("{} holds no private key; if it cannot be restored, remove the state folder and join again", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PemError,
    },
    /// Bytes of the key file changed under us.
    #[error("{} is damaged ({what}); restore it, or remove the state folder and join again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not agree.
        what: &'static str,
    },
    /// The key in it cannot be used.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// Certificate and key do not go together.
    #[error("{} cannot be used with its key", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        source: SecurityError,
    },
}

/// What the folder holds.
#[derive(Debug)]
pub enum Opened {
    /// No certificate and no key: the node belongs to no cluster yet.
    Absent,
    /// A sealed key: [`LockedKeyFile::unlock`] opens it.
    Locked(LockedKeyFile),
    /// Ready.
    Open(KeyFile),
}

/// A certificate whose key is sealed.
#[derive(Debug)]
pub struct LockedKeyFile {
    folder: CertificateFolder,
    certificate: Bytes,
    key: Option<PemBlock>,
    next_key: Option<PemBlock>,
}

/// The key-encryption key and the cluster's version that it came with. The higher version wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kek {
    /// `None` while the cluster is not locked, and always on workers.
    pub key: Option<UnlockKey>,
    /// `Meta.version.index` of the cluster object.
    pub version: u64,
}

/// The node's certificate and key, opened. Clones share the file; methods that write block on the disk.
#[derive(Clone)]
pub struct KeyFile {
    folder: CertificateFolder,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Clone)]
struct Contents {
    credentials: Credentials,
    kek: Kek,
    data_keys: Option<DataKeys>,
    /// Headers that are not ours, kept as they are.
    foreign: BTreeMap<String, String>,
}

impl KeyFile {
    /// Looks what is there. Blocks on the disk.
    pub fn open(folder: &CertificateFolder) -> Result<Opened, KeyFileError> {
        let certificate = files::read(&folder.certificate())?.map(Bytes::from);
        let key = read_block(&folder.key())?;
        // A crash may have left half of it; then it is the one that does not count.
        let next_key = read_block(&folder.next_key()).unwrap_or(None);
        let damaged = |path, what| Err(KeyFileError::Damaged { path, what });
        let certificate = match (certificate, &key, &next_key) {
            // A key aside without a certificate is one that never got it.
            (None, None, _) => return Ok(Opened::Absent),
            (None, Some(_), _) => return damaged(folder.certificate(), "it is missing"),
            (Some(_), None, None) => return damaged(folder.key(), "it is missing"),
            (Some(certificate), _, _) => certificate,
        };
        let sealed = [&key, &next_key].into_iter().flatten().any(|b| b.label == pbes2::LABEL);
        let found = LockedKeyFile { folder: folder.clone(), certificate, key, next_key };
        match found.open_with(None) {
            Ok(open) => Ok(Opened::Open(open)),
            Err(_) if sealed => Ok(Opened::Locked(found)),
            Err(error) => Err(error),
        }
    }

    /// Writes a new certificate and key; what was there is replaced. Blocks on the disk.
    pub fn create(
        folder: &CertificateFolder,
        credentials: Credentials,
        kek: Kek,
    ) -> Result<KeyFile, KeyFileError> {
        let contents = Contents { credentials, kek, data_keys: None, foreign: BTreeMap::new() };
        contents.write_pair(folder)?;
        Ok(KeyFile { folder: folder.clone(), contents: Arc::new(Mutex::new(contents)) })
    }

    /// Certificate and key.
    pub fn credentials(&self) -> Credentials {
        self.contents.lock().credentials.clone()
    }

    /// The KEK in use.
    pub fn kek(&self) -> Kek {
        self.contents.lock().kek.clone()
    }

    /// The data keys, if the node has any.
    pub fn data_keys(&self) -> Option<DataKeys> {
        self.contents.lock().data_keys.clone()
    }

    /// Replaces certificate and key, and the KEK if one is given. Blocks on the disk; a crash leaves the old pair or the
    /// new one.
    pub fn replace_credentials(
        &self,
        credentials: Credentials,
        kek: Option<Kek>,
    ) -> Result<(), KeyFileError> {
        let mut contents = self.contents.lock();
        let mut next = contents.clone();
        next.credentials = credentials;
        if let Some(kek) = kek {
            next.change_kek(kek);
        }
        next.write_pair(&self.folder)?;
        *contents = next;
        Ok(())
    }

    /// Seals with another KEK, or with none, if `kek` is newer than what is in use; says whether it was. From clear to
    /// sealed, the data keys are marked for rotation: the old ones lay open. Blocks on the disk.
    pub fn rotate_kek(&self, kek: Kek) -> Result<bool, KeyFileError> {
        let mut contents = self.contents.lock();
        if kek.version <= contents.kek.version {
            return Ok(false);
        }
        let mut next = contents.clone();
        next.change_kek(kek);
        next.write_key(&self.folder)?;
        *contents = next;
        Ok(true)
    }

    /// Replaces the data keys; `None` when the raft log is gone. Durable when it returns: only then may a new key seal
    /// anything. Blocks on the disk.
    pub fn set_data_keys(&self, data_keys: Option<DataKeys>) -> Result<(), KeyFileError> {
        let mut contents = self.contents.lock();
        let mut next = contents.clone();
        next.data_keys = data_keys;
        next.write_key(&self.folder)?;
        *contents = next;
        Ok(())
    }
}

impl LockedKeyFile {
    /// Opens with the cluster's unlock key; [`KeyFileError::InvalidKey`] if it is another. May be tried again. Blocks on
    /// the disk.
    pub fn unlock(&self, key: &UnlockKey) -> Result<KeyFile, KeyFileError> {
        self.open_with(Some(key))
    }

    /// Opens the key that belongs to the certificate: the one in place, or the one that a crash kept from its place.
    fn open_with(&self, kek: Option<&UnlockKey>) -> Result<KeyFile, KeyFileError> {
        let in_place =
            self.key.as_ref().map(|block| self.open_block(block, kek, self.folder.key()));
        let in_place = match in_place {
            Some(Ok(contents)) => {
                files::remove(&self.folder.next_key())?;
                return Ok(self.opened(contents));
            }
            other => other.and_then(Result::err),
        };
        let path = self.folder.next_key();
        match self.next_key.as_ref().map(|block| self.open_block(block, kek, path.clone())) {
            Some(Ok(contents)) => {
                self.folder.rename(&path, &self.folder.key())?;
                Ok(self.opened(contents))
            }
            Some(Err(aside)) => Err(in_place.unwrap_or(aside)),
            None => Err(in_place.expect("there is a key in place or one aside")),
        }
    }

    fn opened(&self, contents: Contents) -> KeyFile {
        KeyFile { folder: self.folder.clone(), contents: Arc::new(Mutex::new(contents)) }
    }

    fn open_block(
        &self,
        block: &PemBlock,
        kek: Option<&UnlockKey>,
        path: PathBuf,
    ) -> Result<Contents, KeyFileError> {
        let mut foreign = block.headers.clone();
        if let Some(expected) = foreign.remove(DIGEST) {
            let found = block_digest(block);
            if !bool::from(found.as_bytes().ct_eq(expected.as_bytes())) {
                return Err(KeyFileError::Damaged { path, what: "its digest does not match" });
            }
        }
        let damaged = |what| KeyFileError::Damaged { path: path.clone(), what };
        let key = match (block.label.as_str(), kek) {
            (pbes2::LABEL, Some(kek)) => {
                let clear =
                    pbes2::open(&block.contents, kek.raw()).map_err(|error| match error {
                        OpenError::Malformed => damaged("the sealed key cannot be parsed"),
                        OpenError::WrongPassphrase => KeyFileError::InvalidKey,
                    })?;
                // The wrong key may by chance leave something that looks padded.
                NodeKey::from_pkcs8(clear).map_err(|_| KeyFileError::InvalidKey)?
            }
            (pbes2::LABEL, None) => return Err(KeyFileError::InvalidKey),
            _ => NodeKey::from_block(block)
                .map_err(|source| KeyFileError::Key { path: path.clone(), source })?,
        };
        let kek = kek.filter(|_| block.label == pbes2::LABEL);
        let version = match foreign.remove(KEK_VERSION) {
            Some(text) => text.parse().map_err(|_| damaged("kek-version is no number"))?,
            None => 0,
        };
        let needs_rotation = foreign.remove(NEEDS_ROTATION).is_some();
        let data_keys = match foreign.remove(DATA_KEYS) {
            Some(value) => Some(
                data_keys::decode(&value, kek, needs_rotation)
                    .ok_or_else(|| damaged("the data keys do not open"))?,
            ),
            None => None,
        };
        let credentials = Credentials::new(self.certificate.clone(), key).map_err(|source| {
            KeyFileError::Certificate { path: self.folder.certificate(), source }
        })?;
        let kek = Kek { key: kek.cloned(), version };
        Ok(Contents { credentials, kek, data_keys, foreign })
    }
}

impl Contents {
    fn change_kek(&mut self, kek: Kek) {
        if self.kek.key.is_none()
            && kek.key.is_some()
            && let Some(keys) = &mut self.data_keys
        {
            keys.needs_rotation = true;
        }
        self.kek = kek;
    }

    fn block(&self) -> PemBlock {
        let pkcs8 = self.credentials.key().pkcs8();
        let mut block = match &self.kek.key {
            Some(kek) => PemBlock::new(pbes2::LABEL, pbes2::seal(pkcs8, kek.raw())),
            None => PemBlock::new(PKCS8_LABEL, pkcs8.expose()),
        };
        block.headers = self.foreign.clone();
        block.headers.insert(KEK_VERSION.to_owned(), self.kek.version.to_string());
        if let Some(keys) = &self.data_keys {
            let value = data_keys::encode(keys, self.kek.key.as_ref());
            block.headers.insert(DATA_KEYS.to_owned(), value.to_string());
            if keys.needs_rotation {
                block.headers.insert(NEEDS_ROTATION.to_owned(), "true".to_owned());
            }
        }
        let digest = block_digest(&block);
        block.headers.insert(DIGEST.to_owned(), digest);
        block
    }

    /// Writes the key alone, in its place.
    fn write_key(&self, folder: &CertificateFolder) -> Result<(), KeyFileError> {
        Ok(folder.write_private(&folder.key(), &self.block().encode())?)
    }

    /// Writes key and certificate so that a crash leaves one pair or the other.
    fn write_pair(&self, folder: &CertificateFolder) -> Result<(), KeyFileError> {
        folder.write_private(&folder.next_key(), &self.block().encode())?;
        folder.write_public(&folder.certificate(), self.credentials.pem())?;
        Ok(folder.rename(&folder.next_key(), &folder.key())?)
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({})", self.folder.key().display())
    }
}

fn read_block(path: &Path) -> Result<Option<PemBlock>, KeyFileError> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    let text = zeroize::Zeroizing::new(text);
    let mut blocks = PemBlock::decode_all(&text)
        .map_err(|source| KeyFileError::Pem { path: path.to_owned(), source })?;
    Ok(Some(blocks.swap_remove(0)))
}

/// SHA-256 over label, headers and contents. It guards against decay, not against somebody who can write the file.
fn block_digest(block: &PemBlock) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut field = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    field(block.label.as_bytes());
    for (name, value) in block.headers.iter().filter(|(name, _)| *name != DIGEST) {
        field(name.as_bytes());
        field(value.as_bytes());
    }
    field(&block.contents);
    STANDARD.encode(context.finish())
}
