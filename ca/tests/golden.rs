//! Against what a stock Docker Engine wrote: see `fixtures/README.md`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use skep_ca::{Identity, JoinToken, Role, RootCa, certificate::Certificate};

const ROOT: &[u8] = include_bytes!("fixtures/swarm-root-ca.crt");
const NODE: &[u8] = include_bytes!("fixtures/swarm-node.crt");
const TOKENS: &str = include_str!("fixtures/join-tokens.txt");

/// Within the validity of the recorded certificates: 2026-11-23.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_400_000)
}

#[test]
fn the_tokens_digest_is_that_of_the_root() {
    let root = RootCa::from_pem(Bytes::from_static(ROOT), then()).unwrap();
    let tokens: Vec<_> = TOKENS.split_whitespace().filter(|w| w.starts_with("SWMTKN")).collect();
    assert_eq!(tokens.len(), 2);
    for text in tokens {
        let token: JoinToken = text.parse().unwrap();
        assert_eq!(token.root(), root.digest());
        assert_eq!(token.expose(), text);
        let ours = JoinToken::generate(root.digest(), false);
        let prefix = text.rsplit_once('-').unwrap().0;
        assert!(ours.expose().starts_with(prefix) && ours.expose().len() == text.len());
    }
}

#[test]
fn the_node_certificate_verifies_and_says_who_it_is() {
    let root = RootCa::from_pem(Bytes::from_static(ROOT), then()).unwrap();
    let chain = root.verify_pem(NODE, then()).unwrap();
    let identity = Identity::from_certificate(&chain[0].der).unwrap();
    assert_eq!(identity.node_id.as_str(), "nadebw0xzefrrzkmbpk31io9f");
    assert_eq!(identity.cluster_id.as_str(), "qc5cjpx4nnstc1wo3pdrz5giy");
    assert_eq!(identity.role, Role::Manager);
    assert_eq!(root.issuer_of(&chain), Some(&root.certificates()[0]));
    let life = Duration::from_secs((90 * 24 + 1) * 3600);
    assert_eq!(chain[0].not_after.duration_since(chain[0].not_before).unwrap(), life);
}

#[test]
fn pem_comes_out_as_it_went_in() {
    for pem in [ROOT, NODE] {
        assert_eq!(Certificate::from_pem(pem).unwrap()[0].to_pem(), pem);
    }
    let root = RootCa::from_pem(Bytes::from_static(ROOT), then()).unwrap();
    assert_eq!(&root.pem()[..], ROOT);
}

#[test]
fn a_root_out_of_its_time_or_no_root_is_refused() {
    let years = |n: u64| Duration::from_secs(n * 365 * 24 * 3600);
    let parse = |pem: &'static [u8], now| RootCa::from_pem(Bytes::from_static(pem), now);
    assert!(parse(ROOT, then() - years(1)).is_err());
    assert!(parse(ROOT, then() + years(21)).is_err());
    let error = parse(NODE, then()).unwrap_err().to_string();
    assert!(error.contains("not a CA certificate"), "{error}");
    assert!(parse(b"", then()).is_err());
    assert!(
        parse(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", then()).is_err()
    );
}

#[test]
fn a_flipped_bit_of_a_root_is_refused_or_changes_nothing_or_breaks_the_chain() {
    let whole = &Certificate::from_pem(ROOT).unwrap()[0];
    for at in 0..whole.der.len() {
        let mut damaged = whole.der.to_vec();
        damaged[at] ^= 1;
        let Ok(certificate) = Certificate::from_der(damaged.into()) else { continue };
        let Ok(root) = RootCa::from_pem(Bytes::from(certificate.to_pem()), then()) else {
            continue;
        };
        // What a node trusts is subject and key. (A root with another issuer is signed by somebody we do not know.)
        let same =
            certificate.subject == whole.subject && certificate.public_key == whole.public_key;
        assert!(same || root.verify_pem(NODE, then()).is_err(), "byte {at}");
        assert_ne!(
            root.digest(),
            RootCa::from_pem(Bytes::from_static(ROOT), then()).unwrap().digest()
        );
    }
}
