//! Join tokens: `SWMTKN-1-<digest>-<secret>`, and `SWMTKN-2-<0|1>-<digest>-<secret>` of clusters that require FIPS.
//!
//! The digest pins the root that a joining node downloads; the secret tells the cluster what the node may become.
//! Managers compare whole token strings and never parse them.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use skep_proto::ids::base36;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Secret;

/// Characters of the digest: 256 bits in base 36.
const DIGEST_LEN: usize = 50;
/// Characters of the secret: 128 bits in base 36.
const SECRET_LEN: usize = 25;
/// Random bytes in the secret.
const SECRET_BYTES: usize = 16;

/// SHA-256 over the PEM bytes of a root bundle, exactly as they are stored and served.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootDigest([u8; 32]);

impl RootDigest {
    /// The digest of these bytes. A re-encoded PEM has another digest, and locks out every node: never normalise.
    pub fn of(pem: &[u8]) -> RootDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, pem).as_ref());
        RootDigest(bytes)
    }

    fn base36(self) -> String {
        format!("{:0>DIGEST_LEN$}", base36(&self.0))
    }

    /// The inverse of [`RootDigest::base36`]; `None` for what is no 256-bit number of 50 digits.
    fn from_base36(text: &str) -> Option<RootDigest> {
        if text.len() != DIGEST_LEN {
            return None;
        }
        let mut number = [0u8; 32];
        for digit in text.chars() {
            // Upper case is read as SwarmKit's big integers read it.
            let mut carry = digit.to_digit(36)?;
            for byte in number.iter_mut().rev() {
                let value = u32::from(*byte) * 36 + carry;
                *byte = (value & 0xff) as u8;
                carry = value >> 8;
            }
            if carry != 0 {
                return None;
            }
        }
        Some(RootDigest(number))
    }
}

impl fmt::Display for RootDigest {
    /// `sha256:<hex>`, as SwarmKit stores it in the cluster object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no join token. It does not repeat the text, which may be a mistyped secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: expected SWMTKN-1- followed by a digest of 50 characters, '-' and a secret of 25"
)]
pub struct InvalidToken;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    text: Secret,
    root: RootDigest,
    fips: bool,
}

impl JoinToken {
    /// A new token for the cluster with this root; a new random secret each time.
    pub fn generate(root: RootDigest, fips: bool) -> JoinToken {
        let secret = Secret::random(SECRET_BYTES);
        let secret = Zeroizing::new(format!("{:0>SECRET_LEN$}", base36(secret.expose())));
        let prefix = if fips { "SWMTKN-2-1" } else { "SWMTKN-1" };
        let text = format!("{prefix}-{}-{}", root.base36(), *secret);
        JoinToken { text: Secret::new(text), root, fips }
    }

    /// The root that the holder must find.
    pub fn root(&self) -> RootDigest {
        self.root
    }

    /// Whether the cluster requires FIPS of every node.
    pub fn requires_fips(&self) -> bool {
        self.fips
    }

    /// The token as the operator types it. Whoever reads it can join.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.text.expose()).expect("tokens are checked to be ASCII")
    }
}

/// Whether a token that was presented is the stored one, in time that does not depend on where they differ. A cluster
/// that stores no token accepts none.
pub fn same(stored: &str, presented: &str) -> bool {
    !stored.is_empty() && bool::from(stored.as_bytes().ct_eq(presented.as_bytes()))
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<JoinToken, InvalidToken> {
        // The longest token has five fields; a sixth piece shows that there are too many.
        let fields: Vec<&str> = text.splitn(6, '-').collect();
        let (fips, digest, secret) = match fields[..] {
            ["SWMTKN", "1", digest, secret] => (false, digest, secret),
            ["SWMTKN", "2", "0", digest, secret] => (false, digest, secret),
            ["SWMTKN", "2", "1", digest, secret] => (true, digest, secret),
            _ => return Err(InvalidToken),
        };
        if secret.len() != SECRET_LEN || !secret.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(InvalidToken);
        }
        let root = RootDigest::from_base36(digest).ok_or(InvalidToken)?;
        Ok(JoinToken { text: Secret::new(text), root, fips })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken(root {}, secret redacted)", self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_parses_to_itself() {
        for fips in [false, true] {
            let root = RootDigest::of(b"a root");
            let token = JoinToken::generate(root, fips);
            let fields: Vec<_> = token.expose().split('-').collect();
            assert_eq!(fields.len(), if fips { 5 } else { 4 });
            assert_eq!(fields[fields.len() - 2].len(), 50);
            assert_eq!(fields[fields.len() - 1].len(), 25);
            let parsed: JoinToken = token.expose().parse().unwrap();
            assert_eq!(parsed, token);
            assert_eq!((parsed.root(), parsed.requires_fips()), (root, fips));
            assert!(!format!("{token:?}").contains(fields[fields.len() - 1]));
        }
    }

    #[test]
    fn small_digests_are_padded() {
        let digest = RootDigest(std::array::from_fn(|i| u8::from(i == 31)));
        assert_eq!(digest.base36(), format!("{}1", "0".repeat(49)));
        assert_eq!(RootDigest::from_base36(&digest.base36()), Some(digest));
        let largest = RootDigest([0xff; 32]);
        assert_eq!(RootDigest::from_base36(&largest.base36()), Some(largest));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let digest = "0".repeat(50);
        let secret = "a".repeat(25);
        let too_big = "z".repeat(50);
        for text in [
            String::new(),
            "SWMTKN".into(),
            format!("SWMTKN-3-{digest}-{secret}"),
            format!("SWMTKN-1-1-{digest}-{secret}"),
            format!("SWMTKN-2-{digest}-{secret}"),
            format!("SWMTKN-2-2-{digest}-{secret}"),
            format!("SWMTKN-1-{digest}-{secret}-"),
            format!("SWMTKN-1-{digest}0-{secret}"),
            format!("SWMTKN-1-{digest}-{secret}a"),
            format!("SWMTKN-1-{digest}-"),
            format!("SWMTKN-1-{too_big}-{secret}"),
            format!("SWMTKN-1-{}-{secret}", "ä".repeat(25)),
            format!("SWMKEY-1-{digest}-{secret}"),
        ] {
            assert_eq!(text.parse::<JoinToken>(), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn whole_tokens_are_compared_and_an_empty_one_opens_nothing() {
        assert!(same("SWMTKN-1-a-b", "SWMTKN-1-a-b"));
        assert!(!same("SWMTKN-1-a-b", "SWMTKN-1-a-c"));
        assert!(!same("SWMTKN-1-a-b", "SWMTKN-1-a-"));
        assert!(!same("", ""));
    }
}
