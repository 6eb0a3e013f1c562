//! `ENCRYPTED PRIVATE KEY` (RFC 5958) with PBES2 (RFC 8018), as SwarmKit writes it: PBKDF2-HMAC-SHA1 with 2048 rounds
//! and AES-256-CBC. The passphrase is the unlock key's 32 random bytes, so that the few rounds cost no strength.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{
        AES_256, AES_256_KEY_LEN, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
        PaddedBlockEncryptingKey, UnboundCipherKey,
    },
    pbkdf2,
};
use yasna::{ASN1Result, BERReader, models::ObjectIdentifier};
use zeroize::Zeroizing;

use crate::Secret;

pub(crate) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

const PBES2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 12];
const HMAC_SHA1: &[u64] = &[1, 2, 840, 113_549, 2, 7];
const HMAC_SHA256: &[u64] = &[1, 2, 840, 113_549, 2, 9];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];

const ROUNDS: NonZeroU32 = NonZeroU32::new(2048).unwrap();
/// Rounds that we follow in a file: above what any tool writes, and done in a second.
const ROUNDS_MAX: u32 = 2_000_000;
const SALT_LEN: usize = 8;
const SALT_LEN_MAX: usize = 64;
const IV_LEN: usize = 16;

/// Why sealed bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Not in this format, or with parameters that nobody uses.
    Malformed,
    /// The passphrase does not open it.
    WrongPassphrase,
}

struct Parameters {
    prf: pbkdf2::Algorithm,
    salt: Vec<u8>,
    rounds: NonZeroU32,
    iv: [u8; IV_LEN],
}

/// Seals PKCS#8 DER.
pub(crate) fn seal(pkcs8: &Secret, passphrase: &Secret) -> Vec<u8> {
    let (mut salt, mut iv) = ([0; SALT_LEN], [0; IV_LEN]);
    aws_lc_rs::rand::fill(&mut salt).expect("the system's random source works");
    aws_lc_rs::rand::fill(&mut iv).expect("the system's random source works");
    let parameters =
        Parameters { prf: pbkdf2::PBKDF2_HMAC_SHA1, salt: salt.to_vec(), rounds: ROUNDS, iv };
    // Room for the padding, so that the clear key is never moved by a growing buffer.
    let mut sealed = Zeroizing::new(Vec::with_capacity(pkcs8.len() + IV_LEN));
    sealed.extend_from_slice(pkcs8.expose());
    PaddedBlockEncryptingKey::cbc_pkcs7(key(&parameters, passphrase))
        .and_then(|key| key.less_safe_encrypt(&mut *sealed, EncryptionContext::Iv128(iv.into())))
        .expect("AES-256-CBC takes every length");
    yasna::construct_der(|writer| {
        writer.write_sequence(|file| {
            file.next().write_sequence(|scheme| {
                scheme.next().write_oid(&ObjectIdentifier::from_slice(PBES2));
                scheme.next().write_sequence(|parts| {
                    parts.next().write_sequence(|derivation| {
                        derivation.next().write_oid(&ObjectIdentifier::from_slice(PBKDF2));
                        // HMAC-SHA1 is the default and therefore not written.
                        derivation.next().write_sequence(|fields| {
                            fields.next().write_bytes(&salt);
                            fields.next().write_u32(ROUNDS.get());
                        });
                    });
                    parts.next().write_sequence(|cipher| {
                        cipher.next().write_oid(&ObjectIdentifier::from_slice(AES_256_CBC));
                        cipher.next().write_bytes(&iv);
                    });
                });
            });
            file.next().write_bytes(&sealed);
        });
    })
}

/// Opens what [`seal`] or an equivalent tool sealed. CBC carries no authentication: that the result is a key, and the
/// certificate's key, is for the caller to see.
pub(crate) fn open(sealed: &[u8], passphrase: &Secret) -> Result<Secret, OpenError> {
    let (parameters, bytes) = yasna::parse_der(sealed, |reader| {
        reader.read_sequence(|file| {
            let parameters = read_parameters(file.next())?;
            Ok((parameters, file.next().read_bytes()?))
        })
    })
    .map_err(|_| OpenError::Malformed)?;
    let mut bytes = Zeroizing::new(bytes);
    let iv = DecryptionContext::Iv128(parameters.iv.into());
    let clear = PaddedBlockDecryptingKey::cbc_pkcs7(key(&parameters, passphrase))
        .and_then(|key| key.decrypt(&mut bytes, iv).map(|clear| Secret::new(&*clear)))
        .map_err(|_| OpenError::WrongPassphrase)?;
    Ok(clear)
}

fn key(parameters: &Parameters, passphrase: &Secret) -> UnboundCipherKey {
    let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
    let Parameters { prf, salt, rounds, .. } = parameters;
    pbkdf2::derive(*prf, *rounds, salt, passphrase.expose(), &mut *key);
    UnboundCipherKey::new(&AES_256, &*key).expect("the key has the length of AES-256")
}

fn read_parameters(reader: BERReader<'_, '_>) -> ASN1Result<Parameters> {
    let invalid = || yasna::ASN1Error::new(yasna::ASN1ErrorKind::Invalid);
    let expect = |found: ObjectIdentifier, expected: &[u64]| {
        if found.components() == expected { Ok(()) } else { Err(invalid()) }
    };
    reader.read_sequence(|scheme| {
        expect(scheme.next().read_oid()?, PBES2)?;
        scheme.next().read_sequence(|parts| {
            let (prf, salt, rounds) = parts.next().read_sequence(|derivation| {
                expect(derivation.next().read_oid()?, PBKDF2)?;
                derivation.next().read_sequence(|fields| {
                    let salt = fields.next().read_bytes()?;
                    let rounds = fields.next().read_u32()?;
                    let key_len = fields.read_optional(|reader| reader.read_u32())?;
                    let prf = fields.read_optional(|reader| {
                        reader.read_sequence(|algorithm| {
                            let oid = algorithm.next().read_oid()?;
                            algorithm.read_optional(|reader| reader.read_null())?;
                            Ok(oid)
                        })
                    })?;
                    if key_len.is_some_and(|len| len as usize != AES_256_KEY_LEN)
                        || salt.len() > SALT_LEN_MAX
                        || rounds > ROUNDS_MAX
                    {
                        return Err(invalid());
                    }
                    let prf = match prf.as_ref().map(|oid| oid.components().as_slice()) {
                        None | Some(HMAC_SHA1) => pbkdf2::PBKDF2_HMAC_SHA1,
                        Some(HMAC_SHA256) => pbkdf2::PBKDF2_HMAC_SHA256,
                        Some(_) => return Err(invalid()),
                    };
                    Ok((prf, salt, NonZeroU32::new(rounds).ok_or_else(invalid)?))
                })
            })?;
            let iv = parts.next().read_sequence(|cipher| {
                expect(cipher.next().read_oid()?, AES_256_CBC)?;
                cipher.next().read_bytes()
            })?;
            let iv = iv.try_into().map_err(|_| invalid())?;
            Ok(Parameters { prf, salt, rounds, iv })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_only() {
        let passphrase = Secret::random(32);
        for len in [0, 1, 15, 16, 17, 138] {
            let clear = Secret::random(len);
            let sealed = seal(&clear, &passphrase);
            assert_eq!(open(&sealed, &passphrase), Ok(clear.clone()));
            // CBC may by chance give some bytes; never the right ones.
            assert_ne!(open(&sealed, &Secret::random(32)), Ok(clear));
        }
    }

    #[test]
    fn damage_and_mad_parameters_are_malformed_or_open_to_something_else() {
        let (passphrase, clear) = (Secret::random(32), Secret::random(100));
        let sealed = seal(&clear, &passphrase);
        for at in 0..sealed.len() {
            assert!(open(&sealed[..at], &passphrase).is_err());
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert_ne!(open(&damaged, &passphrase), Ok(clear.clone()), "byte {at}");
            }
        }
        assert_eq!(open(b"", &passphrase), Err(OpenError::Malformed));
    }
}
