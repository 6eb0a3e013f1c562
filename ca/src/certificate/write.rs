//! Certificates, written: a node's leaf, a new root, and a root cross-signed by another.
//!
//! Names and public keys are copied as the raw DER that they came as, so that an issuer's name comes out as the issuer
//! wrote it: a chain holds only where those bytes are equal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use yasna::{
    DERWriter, DERWriterSeq, Tag,
    models::{GeneralizedTime, ObjectIdentifier, UTCTime},
};

use super::Certificate;
use crate::{
    Identity, Role,
    identity::CA,
    key::{KeyError, NodeKey},
};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const ORGANIZATIONAL_UNIT: &[u64] = &[2, 5, 4, 11];
const SUBJECT_KEY_ID: &[u64] = &[2, 5, 29, 14];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// The AKI's OID as DER contents, to find it among extensions that are copied.
const AUTHORITY_KEY_ID_DER: &[u8] = &[0x55, 0x1d, 0x23];
/// digitalSignature and keyEncipherment, and how many bits that takes.
const LEAF_USAGE: (u8, usize) = (0b1010_0000, 3);
/// keyCertSign and cRLSign.
const ROOT_USAGE: (u8, usize) = (0b0000_0110, 7);

/// What a node's certificate says beside its issuer.
pub(crate) struct Leaf<'a> {
    pub identity: Identity,
    /// SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
    /// Up to 20 bytes, big-endian, positive.
    pub serial: &'a [u8],
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// A node's certificate in SwarmKit's shape.
pub(crate) fn leaf(
    leaf: &Leaf<'_>,
    issuer: &Certificate,
    key: &NodeKey,
) -> Result<CertificateDer<'static>, KeyError> {
    let Identity { node_id, role, cluster_id } = leaf.identity;
    let subject = name(&[
        (ORGANIZATION, cluster_id.as_str()),
        (ORGANIZATIONAL_UNIT, role.organizational_unit()),
        (COMMON_NAME, node_id.as_str()),
    ]);
    let mut names = vec![role.organizational_unit(), node_id.as_str()];
    // Managers answer certificate requests, under this name.
    names.extend((role == Role::Manager).then_some(CA));
    let extensions = yasna::construct_der_seq(|list| {
        key_usage(list, LEAF_USAGE);
        extension(list, EXTENDED_KEY_USAGE, false, |writer| {
            writer.write_sequence(|usages| {
                for usage in [SERVER_AUTH, CLIENT_AUTH] {
                    usages.next().write_oid(&ObjectIdentifier::from_slice(usage));
                }
            });
        });
        basic_constraints(list, false);
        subject_key_id(list, leaf.public_key);
        authority_key_id(list, issuer);
        extension(list, SUBJECT_ALT_NAME, false, |writer| {
            writer.write_sequence(|general_names| {
                for name in names {
                    general_names.next().write_tagged_implicit(Tag::context(2), |writer| {
                        writer.write_ia5_string(name);
                    });
                }
            });
        });
    });
    let body = Body {
        serial: leaf.serial,
        issuer: &issuer.subject,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        subject: &subject,
        public_key: leaf.public_key,
        extensions: &extensions,
    };
    body.sign(key)
}

/// A self-signed root in SwarmKit's shape: CN `swarm-ca`, for signing certificates and CRLs, no limit on path length.
pub(crate) fn self_signed_root(
    key: &NodeKey,
    serial: &[u8],
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateDer<'static>, KeyError> {
    let subject = name(&[(COMMON_NAME, CA)]);
    let extensions = yasna::construct_der_seq(|list| {
        key_usage(list, ROOT_USAGE);
        basic_constraints(list, true);
        subject_key_id(list, key.public_key());
    });
    let body = Body {
        serial,
        issuer: &subject,
        not_before,
        not_after,
        subject: &subject,
        public_key: key.public_key(),
        extensions: &extensions,
    };
    body.sign(key)
}

/// `root` as an intermediate under `issuer`: same subject, key, serial, validity and extensions, signed by `key`.
pub(crate) fn cross_signed(
    root: &Certificate,
    issuer: &Certificate,
    key: &NodeKey,
) -> Result<CertificateDer<'static>, KeyError> {
    let (_, parsed) = X509Certificate::from_der(&root.der).map_err(|_| KeyError::Kind)?;
    let extensions = yasna::construct_der_seq(|list| {
        for copied in parsed.extensions() {
            if copied.oid.as_bytes() == AUTHORITY_KEY_ID_DER {
                continue;
            }
            let oid = copied.oid.iter().map(Iterator::collect::<Vec<u64>>).unwrap_or_default();
            extension(list, &oid, copied.critical, |writer| writer.write_der(copied.value));
        }
        authority_key_id(list, issuer);
    });
    let body = Body {
        serial: parsed.raw_serial(),
        issuer: &issuer.subject,
        not_before: root.not_before,
        not_after: root.not_after,
        subject: &root.subject,
        public_key: &root.public_key,
        extensions: &extensions,
    };
    body.sign(key)
}

/// A time as SwarmKit stamps it: rounded to the nearest minute.
pub(crate) fn round_to_minute(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs((seconds + 30) / 60 * 60)
}

struct Body<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    not_before: SystemTime,
    not_after: SystemTime,
    subject: &'a [u8],
    public_key: &'a [u8],
    extensions: &'a [u8],
}

impl Body<'_> {
    fn sign(&self, key: &NodeKey) -> Result<CertificateDer<'static>, KeyError> {
        let algorithm = key.signature_algorithm()?;
        let body = yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                // Version 3.
                fields.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                fields.next().write_bigint_bytes(self.serial, true);
                fields.next().write_der(&algorithm);
                fields.next().write_der(self.issuer);
                fields.next().write_sequence(|validity| {
                    moment(validity.next(), self.not_before);
                    moment(validity.next(), self.not_after);
                });
                fields.next().write_der(self.subject);
                fields.next().write_der(self.public_key);
                fields.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|list| list.next().write_der(self.extensions));
                });
            });
        });
        Ok(CertificateDer::from(key.sign(&body)?))
    }
}

/// A distinguished name with one attribute in each RDN.
fn name(attributes: &[(&[u64], &str)]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|rdns| {
            for (oid, value) in attributes {
                rdns.next().write_set(|rdn| {
                    rdn.next().write_sequence(|attribute| {
                        attribute.next().write_oid(&ObjectIdentifier::from_slice(oid));
                        if value.bytes().all(is_printable) {
                            attribute.next().write_printable_string(value);
                        } else {
                            attribute.next().write_utf8_string(value);
                        }
                    });
                });
            }
        });
    })
}

/// The character set of PrintableString (X.680), as far as ids need it.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b' ')
}

fn extension(
    list: &mut DERWriterSeq<'_>,
    oid: &[u64],
    critical: bool,
    value: impl FnOnce(DERWriter<'_>),
) {
    list.next().write_sequence(|fields| {
        fields.next().write_oid(&ObjectIdentifier::from_slice(oid));
        if critical {
            fields.next().write_bool(true);
        }
        fields.next().write_bytes(&yasna::construct_der(value));
    });
}

fn key_usage(list: &mut DERWriterSeq<'_>, (bits, len): (u8, usize)) {
    extension(list, KEY_USAGE, true, |writer| writer.write_bitvec_bytes(&[bits], len));
}

fn basic_constraints(list: &mut DERWriterSeq<'_>, is_ca: bool) {
    extension(list, BASIC_CONSTRAINTS, true, |writer| {
        writer.write_sequence(|fields| {
            if is_ca {
                fields.next().write_bool(true);
            }
        });
    });
}

fn subject_key_id(list: &mut DERWriterSeq<'_>, public_key: &[u8]) {
    let id = key_id(public_key);
    extension(list, SUBJECT_KEY_ID, false, |writer| writer.write_bytes(&id));
}

/// Names the issuer's key. An issuer without a key identifier (version 1 or odd) is named by subject alone.
fn authority_key_id(list: &mut DERWriterSeq<'_>, issuer: &Certificate) {
    let Some(id) = &issuer.subject_key_id else { return };
    extension(list, AUTHORITY_KEY_ID, false, |writer| {
        writer.write_sequence(|fields| {
            fields.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
        });
    });
}

/// SHA-1 over the bits of the public key (RFC 5280, 4.2.1.2): an identifier, no protection.
fn key_id(public_key: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let bits = x509_parser::x509::SubjectPublicKeyInfo::from_der(public_key)
        .map(|(_, key)| key.subject_public_key.data.to_vec())
        .unwrap_or_default();
    digest(&SHA1_FOR_LEGACY_USE_ONLY, &bits).as_ref().to_vec()
}

/// UTCTime until 2049 and GeneralizedTime from then on (RFC 5280, 4.1.2.5), to the second.
fn moment(writer: DERWriter<'_>, time: SystemTime) {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC));
    if time.year() < 2050 {
        writer.write_utctime(&UTCTime::from_datetime(time));
    } else {
        writer.write_generalized_time(&GeneralizedTime::from_datetime(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::X509Certificate;

    const ROOT: &[u8] = include_bytes!("../../tests/fixtures/swarm-root-ca.crt");
    const NODE: &[u8] = include_bytes!("../../tests/fixtures/swarm-node.crt");

    fn body(der: &[u8]) -> Vec<u8> {
        X509Certificate::from_der(der).unwrap().1.tbs_certificate.as_ref().to_vec()
    }

    fn serial(der: &[u8]) -> Vec<u8> {
        X509Certificate::from_der(der).unwrap().1.raw_serial().to_vec()
    }

    #[test]
    fn a_leaf_is_byte_for_byte_what_docker_would_have_had_signed() {
        let root = &Certificate::from_pem(ROOT).unwrap()[0];
        let docker = &Certificate::from_pem(NODE).unwrap()[0];
        let ours = leaf(
            &Leaf {
                identity: Identity::from_certificate(&docker.der).unwrap(),
                public_key: &docker.public_key,
                serial: &serial(&docker.der),
                not_before: docker.not_before,
                not_after: docker.not_after,
            },
            root,
            &NodeKey::generate().unwrap(),
        );
        assert_eq!(body(&ours.unwrap()), body(&docker.der));
    }

    #[test]
    fn a_root_has_the_shape_of_dockers() {
        let docker = &Certificate::from_pem(ROOT).unwrap()[0];
        let key = NodeKey::generate().unwrap();
        let number = serial(&docker.der);
        let ours = self_signed_root(&key, &number, docker.not_before, docker.not_after).unwrap();
        let ours = Certificate::from_der(ours).unwrap();
        // Equal once Docker's key and key identifier stand in the place of ours.
        let swap = |bytes: Vec<u8>, from: &[u8], to: &[u8]| {
            let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
            [&bytes[..at], to, &bytes[at + from.len()..]].concat()
        };
        let bytes = swap(body(&ours.der), &ours.public_key, &docker.public_key);
        let ids = [&ours, docker].map(|c| c.subject_key_id.clone().unwrap());
        assert_eq!(swap(bytes, &ids[0], &ids[1]), body(&docker.der));
    }

    #[test]
    fn a_cross_signed_root_keeps_everything_but_its_issuer() {
        let [old, new] = [1, 2].map(|number| {
            let key = NodeKey::generate().unwrap();
            let from = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            // Past 2050, so that the other form of dates is written, too.
            let until = from + Duration::from_secs(40 * 365 * 24 * 3600);
            let der = self_signed_root(&key, &[number], from, until).unwrap();
            (Certificate::from_der(der).unwrap(), key)
        });
        let cross = Certificate::from_der(cross_signed(&new.0, &old.0, &old.1).unwrap()).unwrap();
        assert_eq!(cross.subject, new.0.subject);
        assert_eq!(cross.public_key, new.0.public_key);
        assert_eq!(cross.subject_key_id, new.0.subject_key_id);
        assert_eq!((cross.not_before, cross.not_after), (new.0.not_before, new.0.not_after));
        assert_eq!(serial(&cross.der), serial(&new.0.der));
        assert!(cross.is_ca);
        assert!(cross.verify_signed_by(&old.0).is_ok());
        assert!(cross.verify_signed_by(&new.0).is_err());
    }

    #[test]
    fn times_round_to_the_nearest_minute() {
        for (given, rounded) in [(0, 0), (29, 0), (30, 60), (60, 60), (3599, 3600)] {
            let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(round_to_minute(at(given)), at(rounded));
        }
    }
}
