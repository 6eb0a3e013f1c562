//! Private keys and certificate signing requests.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use rustls::{SignatureAlgorithm, SignatureScheme, sign::SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use yasna::models::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::{
    Secret,
    pem::{PemBlock, PemError},
    provider,
    signature::{self, SignatureError},
};

/// The longest CSR that is read: one with an RSA key of 8192 bits takes 3 KiB.
const CSR_LEN_MAX: usize = 16 << 10;
const CSR_LABEL: &str = "CERTIFICATE REQUEST";
pub(crate) const PKCS8_LABEL: &str = "PRIVATE KEY";
const SEC1_LABEL: &str = "EC PRIVATE KEY";
const PKCS1_LABEL: &str = "RSA PRIVATE KEY";

/// Why a private key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM.
    #[error("private key is not PEM")]
    Pem(#[from] PemError),
    /// PEM of something else.
    #[error("PEM block {0:?} is not a private key in clear")]
    Label(String),
    /// A key that the provider does not take.
    #[error(
        "private key is malformed or of a kind that is not accepted: expected RSA of at least 2048 bits, or ECDSA on P-256, P-384 or P-521"
    )]
    Kind,
    /// The provider failed to make or to use a key.
    #[error("the cryptographic provider failed")]
    Provider,
}

/// A private key: a node's, or a root's. Wiped when the last clone is dropped.
#[derive(Clone)]
pub struct NodeKey {
    pkcs8: Arc<Secret>,
    signing: Arc<dyn SigningKey>,
    public_key: Arc<[u8]>,
}

impl NodeKey {
    /// A new ECDSA key on P-256.
    pub fn generate() -> Result<NodeKey, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError::Provider)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Provider)?;
        NodeKey::from_pkcs8(Secret::new(pkcs8.as_ref()))
    }

    /// A key from its PKCS#8 DER.
    pub fn from_pkcs8(pkcs8: Secret) -> Result<NodeKey, KeyError> {
        let (signing, public_key) = load(PrivatePkcs8KeyDer::from(pkcs8.expose()).into())?;
        Ok(NodeKey { pkcs8: Arc::new(pkcs8), signing, public_key })
    }

    /// A key from PEM: PKCS#8, SEC1 or PKCS#1, unencrypted. The first private key counts; parameters before it do not.
    pub fn from_pem(pem: &[u8]) -> Result<NodeKey, KeyError> {
        let blocks = PemBlock::decode_all(pem)?;
        let is_key = |block: &&PemBlock| block.label.ends_with(PKCS8_LABEL);
        let block = blocks.iter().find(is_key).unwrap_or(&blocks[0]);
        NodeKey::from_block(block)
    }

    pub(crate) fn from_block(block: &PemBlock) -> Result<NodeKey, KeyError> {
        let der = block.contents.as_slice();
        match block.label.as_str() {
            PKCS8_LABEL => NodeKey::from_pkcs8(Secret::new(der)),
            // The old forms are wrapped, so that there is one form to keep.
            SEC1_LABEL => NodeKey::wrapping(der, PrivateSec1KeyDer::from(der).into()),
            PKCS1_LABEL => NodeKey::wrapping(der, PrivatePkcs1KeyDer::from(der).into()),
            other => Err(KeyError::Label(other.to_owned())),
        }
    }

    /// Wraps a bare key into PKCS#8: version, the public key's algorithm, the bare key.
    fn wrapping(bare: &[u8], key: PrivateKeyDer<'_>) -> Result<NodeKey, KeyError> {
        let (_, public_key) = load(key)?;
        let algorithm = yasna::parse_der(&public_key, |reader| {
            reader.read_sequence(|fields| {
                let algorithm = fields.next().read_der()?;
                fields.next().read_der()?;
                Ok(algorithm)
            })
        })
        .map_err(|_| KeyError::Kind)?;
        NodeKey::from_pkcs8(Secret::new(yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                fields.next().write_u8(0);
                fields.next().write_der(&algorithm);
                fields.next().write_bytes(bare);
            });
        })))
    }

    /// The key as PKCS#8 DER.
    pub fn pkcs8(&self) -> &Secret {
        &self.pkcs8
    }

    /// The key as PKCS#8 PEM, unencrypted.
    pub fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        PemBlock::new(PKCS8_LABEL, self.pkcs8.expose()).encode()
    }

    /// The public half: SubjectPublicKeyInfo as DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    pub(crate) fn signing_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.signing)
    }

    /// A request for a certificate over this key: empty subject, signed by the key. The CA takes nothing but the public
    /// key from it.
    pub fn request(&self) -> Result<Csr, KeyError> {
        let info = yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                fields.next().write_u8(0);
                fields.next().write_sequence(|_| {});
                fields.next().write_der(&self.public_key);
                // An empty set of attributes.
                fields.next().write_tagged_implicit(yasna::Tag::context(0), |attributes| {
                    attributes.write_set(|_| {});
                });
            });
        });
        let der = self.sign(&info)?;
        Ok(Csr { pem: PemBlock::new(CSR_LABEL, der).encode().to_vec().into() })
    }

    /// The algorithm of this key's signatures, as an AlgorithmIdentifier in DER.
    pub(crate) fn signature_algorithm(&self) -> Result<Vec<u8>, KeyError> {
        let (oid, has_null) = match self.signer()?.scheme() {
            SignatureScheme::ECDSA_NISTP256_SHA256 => (signature::ECDSA_SHA256, false),
            SignatureScheme::ECDSA_NISTP384_SHA384 => (signature::ECDSA_SHA384, false),
            SignatureScheme::ECDSA_NISTP521_SHA512 => (signature::ECDSA_SHA512, false),
            SignatureScheme::RSA_PKCS1_SHA256 => (signature::RSA_SHA256, true),
            _ => return Err(KeyError::Kind),
        };
        Ok(yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                fields.next().write_oid(&ObjectIdentifier::from_slice(oid));
                if has_null {
                    fields.next().write_null();
                }
            });
        }))
    }

    /// `SEQUENCE { body, algorithm, signature over body }`: what certificates and requests have in common.
    pub(crate) fn sign(&self, body: &[u8]) -> Result<Vec<u8>, KeyError> {
        let algorithm = self.signature_algorithm()?;
        let signature = self.signer()?.sign(body).map_err(|_| KeyError::Provider)?;
        Ok(yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                fields.next().write_der(body);
                fields.next().write_der(&algorithm);
                fields.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        }))
    }

    fn signer(&self) -> Result<Box<dyn rustls::sign::Signer>, KeyError> {
        self.signing
            .choose_scheme(&[
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureScheme::ECDSA_NISTP384_SHA384,
                SignatureScheme::ECDSA_NISTP521_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
            ])
            .ok_or(KeyError::Kind)
    }
}

type Loaded = (Arc<dyn SigningKey>, Arc<[u8]>);

/// The provider's view of a key, and its SubjectPublicKeyInfo. RSA below 2048 bits is refused by the provider.
fn load(key: PrivateKeyDer<'_>) -> Result<Loaded, KeyError> {
    let signing =
        provider().key_provider.load_private_key(key.clone_key()).map_err(|_| KeyError::Kind)?;
    if !matches!(signing.algorithm(), SignatureAlgorithm::RSA | SignatureAlgorithm::ECDSA) {
        return Err(KeyError::Kind);
    }
    let public_key = signing.public_key().ok_or(KeyError::Kind)?.as_ref().into();
    Ok((signing, public_key))
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(redacted)")
    }
}

/// Why a request for a certificate is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Too long, or not PEM.
    #[error("certificate request is not PEM, or longer than {CSR_LEN_MAX} bytes")]
    Pem,
    /// Not a PKCS#10 request.
    #[error("certificate request cannot be parsed: {0}")]
    Malformed(String),
    /// Not signed by the key that it asks a certificate for, or a key that is not accepted.
    #[error("certificate request does not prove possession of an accepted key")]
    Signature(#[from] SignatureError),
}

/// A certificate signing request, as its PEM bytes: the same bytes are echoed to the node, which compares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    pem: Bytes,
}

impl Csr {
    /// Takes a request as it came; nothing is checked until [`Csr::public_key`].
    pub fn from_pem(pem: Bytes) -> Csr {
        Csr { pem }
    }

    /// The bytes.
    pub fn pem(&self) -> &Bytes {
        &self.pem
    }

    /// The public key (SubjectPublicKeyInfo, DER) that is asked for, once the request's own signature is verified.
    pub fn public_key(&self) -> Result<Vec<u8>, CsrError> {
        if self.pem.len() > CSR_LEN_MAX {
            return Err(CsrError::Pem);
        }
        let blocks = PemBlock::decode_all(&self.pem).map_err(|_| CsrError::Pem)?;
        let is_request =
            |b: &&PemBlock| b.label == CSR_LABEL || b.label == "NEW CERTIFICATE REQUEST";
        let block = blocks.iter().find(is_request).ok_or(CsrError::Pem)?;
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| CsrError::Malformed(error.to_string()))?;
        let info = &parsed.certification_request_info;
        signature::verify(
            &info.subject_pki,
            &parsed.signature_algorithm,
            info.raw,
            &parsed.signature_value.data,
        )?;
        Ok(info.subject_pki.raw.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_proves_possession_of_its_key() {
        let key = NodeKey::generate().unwrap();
        let csr = key.request().unwrap();
        assert!(csr.pem().starts_with(b"-----BEGIN CERTIFICATE REQUEST-----\n"));
        assert_eq!(csr.public_key().unwrap(), key.public_key());
    }

    #[test]
    fn a_key_reads_as_it_is_written_and_does_not_print() {
        let key = NodeKey::generate().unwrap();
        let again = NodeKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.pkcs8(), key.pkcs8());
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "NodeKey(redacted)");
    }

    #[test]
    fn a_request_for_another_key_is_refused() {
        let mine = NodeKey::generate().unwrap();
        let theirs = NodeKey::generate().unwrap();
        let block = &PemBlock::decode_all(theirs.request().unwrap().pem()).unwrap()[0];
        let swapped = replace(&block.contents, theirs.public_key(), mine.public_key());
        let csr = Csr::from_pem(PemBlock::new(CSR_LABEL, swapped).encode().to_vec().into());
        assert_eq!(csr.public_key(), Err(CsrError::Signature(SignatureError::Mismatch)));
    }

    #[test]
    fn no_flipped_byte_of_a_request_gets_another_key_certified() {
        let key = NodeKey::generate().unwrap();
        let csr = key.request().unwrap();
        let block = &PemBlock::decode_all(csr.pem()).unwrap()[0];
        for at in 0..block.contents.len() {
            let mut der = block.contents.to_vec();
            der[at] ^= 1;
            let csr = Csr::from_pem(PemBlock::new(CSR_LABEL, der).encode().to_vec().into());
            // The name of the signature's algorithm is not signed itself, and may be mended by the parser.
            assert!(csr.public_key().is_err() || csr.public_key().unwrap() == key.public_key());
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
        ] {
            assert!(Csr::from_pem(Bytes::from_static(text.as_bytes())).public_key().is_err());
        }
        let long = Csr::from_pem(Bytes::from(vec![b'a'; CSR_LEN_MAX + 1]));
        assert_eq!(long.public_key(), Err(CsrError::Pem));
    }

    fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    }
}
