//! Identity: the cluster's root CA, join tokens, node keys and certificates, and TLS that reloads itself.
//!
//! What a node may do follows from its certificate: CN names the node, OU its role, O its cluster. This crate makes,
//! checks, stores and renews those certificates, and builds the TLS that proves them. It knows nothing of the store,
//! of raft or of who may call what.
//!
//! Entry points: [`RootCa`] signs, [`SecurityConfig`] holds a running node's identity and trust, [`KeyFile`] is the
//! key on disk, [`enroll`] and [`renewal`] are a node's way to a certificate, [`rotation`] decides about new roots.
//!
//! Pure modules (no socket, file, clock or random source): [`token`], [`unlock`], [`identity`], [`pem`], [`rotation`],
//! [`renewal::schedule`]. Certificates are written with a DER writer rather than a certificate builder, because the
//! issuer's name has to be copied byte for byte whatever shape an operator's own CA gave it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod certificate;
pub mod clock;
pub mod connect;
pub mod enroll;
pub mod external;
pub mod files;
pub mod identity;
pub mod key;
pub mod key_file;
pub mod pem;
pub mod provider;
pub mod renewal;
pub mod root;
pub mod rotation;
pub mod secret;
mod signature;
pub mod tls;
pub mod token;
pub mod unlock;

pub use clock::Clock;
pub use files::CertificateFolder;
pub use identity::{Identity, Role};
pub use key::{Csr, NodeKey};
pub use key_file::{DataKeys, Kek, KeyFile, LockedKeyFile};
pub use provider::provider;
pub use root::RootCa;
pub use secret::Secret;
pub use tls::{Credentials, PeerName, SecurityConfig};
pub use token::{JoinToken, RootDigest};
pub use unlock::UnlockKey;
