//! `Debug` for messages that carry secrets: what is secret shows as its length.

use std::fmt;

use crate::{skep, swarmkit};

/// Stands for bytes that must not be printed.
struct Redacted(usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} secret bytes>", self.0)
    }
}

macro_rules! redacted {
    ($($message:path { $($open:ident),* ; $($secret:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($open), &self.$open))*
                    $(.field(stringify!($secret), &Redacted(self.$secret.len())))*
                    .finish()
            }
        }
    )*};
}

redacted! {
    swarmkit::SecretSpec { annotations, templating, driver; data }
    swarmkit::RootCa { ca_cert, ca_cert_hash, join_tokens, root_rotation, last_forced_rotation; ca_key }
    swarmkit::RootRotation { ca_cert, cross_signed_ca_cert; ca_key }
    swarmkit::JoinTokens { ; worker, manager }
    swarmkit::EncryptionKey { subsystem, algorithm, lamport_time; key }
    swarmkit::CaConfig { node_cert_expiry, external_cas, signing_ca_cert, force_rotate; signing_ca_key }
    swarmkit::GetUnlockKeyResponse { version; unlock_key }
    swarmkit::IssueNodeCertificateRequest { role, csr, availability; token }
    swarmkit::container_spec::PullOptions { ; registry_auth }
    skep::InitResponse { node_id, cluster_id; worker_join_token, manager_join_token, unlock_key }
    skep::JoinRequest { remote_addrs, advertise_addr, availability; token }
    skep::UnlockRequest { ; unlock_key }
    skep::GetKeysResponse { ; worker_join_token, manager_join_token, unlock_key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_secret_shows_only_its_length() {
        let spec = swarmkit::SecretSpec { data: "hunter2".into(), ..Default::default() };
        let text = format!("{:?}", swarmkit::Secret { spec: Some(spec), ..Default::default() });
        assert!(text.contains("<7 secret bytes>"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
