//! The signatures and keys that a swarm accepts: RSA of 2048 bits and more, and ECDSA on P-256, P-384 and P-521, each
//! with SHA-256, SHA-384 or SHA-512.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{
    der_parser::asn1_rs::Oid,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

pub(crate) const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
pub(crate) const RSA_SHA256: &[u64] = &[1, 2, 840, 113_549, 1, 1, 11];
pub(crate) const RSA_SHA384: &[u64] = &[1, 2, 840, 113_549, 1, 1, 12];
pub(crate) const RSA_SHA512: &[u64] = &[1, 2, 840, 113_549, 1, 1, 13];
pub(crate) const EC: &[u64] = &[1, 2, 840, 10_045, 2, 1];
pub(crate) const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10_045, 4, 3, 2];
pub(crate) const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10_045, 4, 3, 3];
pub(crate) const ECDSA_SHA512: &[u64] = &[1, 2, 840, 10_045, 4, 3, 4];
const P256: &[u64] = &[1, 2, 840, 10_045, 3, 1, 7];
const P384: &[u64] = &[1, 3, 132, 0, 34];
const P521: &[u64] = &[1, 3, 132, 0, 35];

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not one of the accepted algorithms.
    #[error(
        "signature algorithm is not accepted: expected RSA or ECDSA with SHA-256, SHA-384 or SHA-512"
    )]
    Algorithm,
    /// Not one of the accepted keys.
    #[error(
        "public key is not accepted: expected RSA of at least 2048 bits, or ECDSA on P-256, P-384 or P-521"
    )]
    Key,
    /// Made by another key, or over other bytes.
    #[error("signature does not match")]
    Mismatch,
}

/// Whether a key is one of the accepted kinds.
pub(crate) fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), SignatureError> {
    /// Bytes of a modulus of 2048 bits.
    const MODULUS_LEN_MIN: usize = 256;
    match oid(&key.algorithm.algorithm).as_deref() {
        Some(RSA) => {
            let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = key.parsed() else {
                return Err(SignatureError::Key);
            };
            let modulus = rsa.modulus.iter().skip_while(|byte| **byte == 0).count();
            if modulus < MODULUS_LEN_MIN { Err(SignatureError::Key) } else { Ok(()) }
        }
        Some(EC) => curve(key).map(|_| ()).ok_or(SignatureError::Key),
        _ => Err(SignatureError::Key),
    }
}

/// Verifies `signature` over `message` under an accepted key with an accepted algorithm.
pub(crate) fn verify(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    check_key(key)?;
    let signed_with = oid(&algorithm.algorithm).ok_or(SignatureError::Algorithm)?;
    let verification: &'static dyn VerificationAlgorithm =
        match (oid(&key.algorithm.algorithm).as_deref(), signed_with.as_slice()) {
            (Some(RSA), RSA_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Some(RSA), RSA_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Some(RSA), RSA_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Some(EC), hash) => match (curve(key).as_deref(), hash) {
                (Some(P256), ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
                (Some(P256), ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
                (Some(P256), ECDSA_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
                (Some(P384), ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
                (Some(P384), ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
                (Some(P384), ECDSA_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
                (Some(P521), ECDSA_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
                (Some(P521), ECDSA_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
                (Some(P521), ECDSA_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
                _ => return Err(SignatureError::Algorithm),
            },
            _ => return Err(SignatureError::Algorithm),
        };
    UnparsedPublicKey::new(verification, &key.subject_public_key.data)
        .verify(message, signature)
        .map_err(|_| SignatureError::Mismatch)
}

/// Whether an algorithm is one of the accepted ones, whatever key it goes with.
pub(crate) fn check_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> Result<(), SignatureError> {
    match oid(&algorithm.algorithm).as_deref() {
        Some(RSA_SHA256 | RSA_SHA384 | RSA_SHA512 | ECDSA_SHA256 | ECDSA_SHA384 | ECDSA_SHA512) => {
            Ok(())
        }
        _ => Err(SignatureError::Algorithm),
    }
}

/// The accepted curve of an elliptic-curve key.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<Vec<u64>> {
    let parameters = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    oid(&parameters).filter(|curve| [P256, P384, P521].contains(&curve.as_slice()))
}

fn oid(oid: &Oid<'_>) -> Option<Vec<u64>> {
    Some(oid.iter()?.collect())
}
