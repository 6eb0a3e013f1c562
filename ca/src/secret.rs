//! Bytes that must not leak: wiped when dropped, never printed, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes: a key, a token, a passphrase.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over. Copies that the caller made before are the caller's to wipe.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// `len` bytes of the provider's random source.
    pub fn random(len: usize) -> Secret {
        let mut bytes = Zeroizing::new(vec![0; len]);
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works");
        Secret(bytes)
    }

    /// The bytes. Named so that a reader stops here.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_compares_and_does_not_print() {
        let secret = Secret::new(*b"hunter2");
        assert_eq!(secret, Secret::new(*b"hunter2"));
        assert_ne!(secret, Secret::new(*b"hunter3"));
        assert_ne!(secret, Secret::new(*b"hunter"));
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_ne!(Secret::random(16), Secret::random(16));
    }
}
