//! Renewal: when a node asks for its next certificate, and the loop that does.
//!
//! The loop renews by the clock, when it is told to (the CA rotates), and until its certificate has the role that the
//! node has been granted. It writes before it swaps: what serves has been made durable.

pub mod schedule;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    CertificateFolder, KeyFile, Role, RootCa, SecurityConfig,
    enroll::{self, EnrollError, Managers},
    files::FileError,
    key_file::KeyFileError,
    root::RootError,
    tls::SecurityError,
};
use schedule::Backoff;

/// A change of role shows in several events at once; they are let settle before the request.
const SETTLE: Duration = Duration::from_millis(500);

/// Why a renewal did not succeed; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No certificate was to be had.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// It could not be written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// It was not taken up.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The cluster has not granted the role yet.
    #[error("the renewed certificate still says {found}; {expected} is not granted yet")]
    Role {
        /// The role that was asked for.
        expected: Role,
        /// The role in the certificate.
        found: Role,
    },
}

/// What the loop has been asked for since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish {
    /// Counts the demands to renew at once.
    demands: u64,
    /// Renew until the certificate says this.
    role: Option<Role>,
}

/// Tells a renewal loop what to do. Clones speak to the same loop.
#[derive(Clone, Debug)]
pub struct Renewals(Arc<watch::Sender<Wish>>);

impl Default for Renewals {
    fn default() -> Renewals {
        Renewals(Arc::new(watch::Sender::new(Wish::default())))
    }
}

impl Renewals {
    /// Renew now: the CA wants this node's certificate replaced.
    pub fn renew_now(&self) {
        self.0.send_modify(|wish| wish.demands += 1);
    }

    /// Renew until the certificate has this role. Does nothing when that is what was asked for before.
    pub fn expect_role(&self, role: Role) {
        self.0.send_if_modified(|wish| wish.role.replace(role) != Some(role));
    }
}

/// Keeps the node's certificate fresh, for as long as it is polled. Failures are logged and tried again. When the
/// future is dropped, a certificate that is just being written may be on disk and not in use; a restart takes it up.
/// Without a key file the identity lives in memory alone, and ends with the process.
pub async fn run(
    security: SecurityConfig,
    key_file: impl Into<Option<KeyFile>>,
    managers: Arc<dyn Managers>,
    renewals: Renewals,
) {
    let key_file = key_file.into();
    let mut wishes = renewals.0.subscribe();
    let mut backoff = Backoff::default();
    let mut served = 0;
    loop {
        let wish = *wishes.borrow_and_update();
        let wants_role = wish.role.is_some_and(|role| role != security.identity().role);
        let urgent = wish.demands != served || wants_role;
        let (not_before, not_after) = security.credentials().validity();
        let now = security.clock().now();
        let pause = async {
            match backoff.failures() {
                // Short, and on the process's timer; the others are dates on the wall clock.
                0 if urgent => tokio::time::sleep(SETTLE).await,
                0 => {
                    let random = rand::random();
                    let wait = schedule::until_renewal(not_before, not_after, now, random);
                    security.clock().sleep(wait).await;
                }
                _ => security.clock().sleep(backoff.delay(rand::random())).await,
            }
        };
        tokio::select! {
            () = pause => {}
            _ = wishes.changed() => {
                backoff = Backoff::default();
                continue;
            }
        }
        let remote_only = backoff.failures() > 0;
        match renew(&security, key_file.as_ref(), &*managers, remote_only, wish.role).await {
            Ok(()) => {
                served = wish.demands;
                backoff = Backoff::default();
                tracing::info!(identity = ?security.identity(), "node certificate renewed");
            }
            Err(error) => {
                if matches!(error, RenewError::Role { .. }) {
                    served = wish.demands;
                }
                backoff.failed();
                tracing::warn!(error = %chain(&error), "node certificate not renewed; will try again");
            }
        }
    }
}

/// One renewal: a new key and certificate, written (unless the identity lives in memory) and then swapped in.
pub async fn renew(
    security: &SecurityConfig,
    key_file: Option<&KeyFile>,
    managers: &dyn Managers,
    remote_only: bool,
    expected: Option<Role>,
) -> Result<(), RenewError> {
    let enrolled = enroll::renew(managers, security, remote_only).await?;
    let found = enrolled.credentials.identity().role;
    if let Some(key_file) = key_file {
        let (key_file, enrolled) = (key_file.clone(), enrolled.clone());
        let write = move || key_file.replace_credentials(enrolled.credentials, Some(enrolled.kek));
        tokio::task::spawn_blocking(write).await.expect("writing a key file does not panic")?;
    }
    security.replace_credentials(enrolled.credentials)?;
    match expected {
        Some(expected) if expected != found => Err(RenewError::Role { expected, found }),
        _ => Ok(()),
    }
}

/// Why a new root was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeRootError {
    /// It is no root.
    #[error("the cluster's new root CA cannot be used")]
    Root(#[from] RootError),
    /// Our certificate does not verify under it.
    #[error("the cluster's new root CA does not cover this node's certificate")]
    Security(#[from] SecurityError),
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes over the root that a manager announces, if it is another one and this node's certificate verifies under it;
/// says whether it did. Blocks on the disk.
pub fn take_root(
    security: &SecurityConfig,
    folder: &CertificateFolder,
    pem: &Bytes,
) -> Result<bool, TakeRootError> {
    if pem.is_empty() || security.root().pem() == pem {
        return Ok(false);
    }
    let root = RootCa::from_pem(pem.clone(), security.clock().now())?;
    security.replace_root(root.clone())?;
    folder.write_root(&root)?;
    Ok(true)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
