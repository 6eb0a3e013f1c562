//! PEM that keeps RFC 1421 headers: a node's key file carries its KEK version and the sealed raft keys in them.
//!
//! Certificate bundles have no headers, and are read with the same decoder.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The most that is read: a key with its headers takes 1 KiB, a large bundle of roots a hundred.
pub const PEM_LEN_MAX: usize = 1 << 20;
/// The most headers a block may have; ours have six.
const HEADERS_MAX: usize = 64;
/// Base64 characters on a line, as everybody writes them.
const LINE_LEN: usize = 64;

const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new());

/// What kept a text from being PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No block at all.
    #[error("no PEM block found")]
    Empty,
    /// More than [`PEM_LEN_MAX`] bytes.
    #[error("{0} bytes are too many for PEM; at most {PEM_LEN_MAX} are read")]
    TooLong(usize),
    /// A block begins and does not end, or ends as another.
    #[error("PEM block {0:?} has no matching END line")]
    Unterminated(String),
    /// A header line without a colon, or too many of them.
    #[error("PEM block {0:?} has a malformed header")]
    Header(String),
    /// Contents that are no base64.
    #[error("PEM block {0:?} does not hold valid base64")]
    Contents(String),
}

/// One block.
#[derive(Clone, PartialEq, Eq)]
pub struct PemBlock {
    /// What stands after BEGIN.
    pub label: String,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// The decoded contents; wiped when dropped, as they may be a key.
    pub contents: Zeroizing<Vec<u8>>,
}

impl PemBlock {
    /// A block without headers.
    pub fn new(label: &str, contents: impl Into<Vec<u8>>) -> PemBlock {
        PemBlock {
            label: label.to_owned(),
            headers: BTreeMap::new(),
            contents: Zeroizing::new(contents.into()),
        }
    }

    /// All blocks of a text, in order; text around them is skipped. No block is [`PemError::Empty`].
    pub fn decode_all(text: &[u8]) -> Result<Vec<PemBlock>, PemError> {
        if text.len() > PEM_LEN_MAX {
            return Err(PemError::TooLong(text.len()));
        }
        let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let mut blocks = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(label) = boundary(line, "-----BEGIN ") {
                blocks.push(decode_block(label, &mut lines)?);
            }
        }
        if blocks.is_empty() { Err(PemError::Empty) } else { Ok(blocks) }
    }

    /// The block as text: headers sorted by name and set off by an empty line, lines of 64 characters.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let encoded = Zeroizing::new(BASE64.encode(&*self.contents));
        // Room for everything at once, so that no outgrown buffer with key material is left behind unwiped.
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + v.len() + 3).sum();
        let lines = encoded.len() + encoded.len() / LINE_LEN + 2;
        let mut text =
            Zeroizing::new(Vec::with_capacity(lines + headers + 2 * self.label.len() + 40));
        text.extend_from_slice(format!("-----BEGIN {}-----\n", self.label).as_bytes());
        for (name, value) in &self.headers {
            for part in [name, ": ", value, "\n"] {
                text.extend_from_slice(part.as_bytes());
            }
        }
        if !self.headers.is_empty() {
            text.push(b'\n');
        }
        for line in encoded.as_bytes().chunks(LINE_LEN) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(format!("-----END {}-----\n", self.label).as_bytes());
        text
    }
}

impl std::fmt::Debug for PemBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemBlock({:?}, contents redacted)", self.label)
    }
}

/// The label of a line like `-----BEGIN X-----`.
fn boundary<'a>(line: &'a [u8], prefix: &str) -> Option<&'a str> {
    let label = line.strip_prefix(prefix.as_bytes())?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

fn decode_block<'a>(
    label: &str,
    lines: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<PemBlock, PemError> {
    let label = label.to_owned();
    let mut headers = BTreeMap::new();
    let mut encoded = Zeroizing::new(Vec::new());
    for line in lines {
        if let Some(end) = boundary(line, "-----END ") {
            if end != label {
                return Err(PemError::Unterminated(label));
            }
            let contents =
                BASE64.decode(&*encoded).map_err(|_| PemError::Contents(label.clone()))?;
            return Ok(PemBlock { label, headers, contents: Zeroizing::new(contents) });
        }
        // A colon is no character of base64: only a header has one, and headers come first.
        if line.contains(&b':') {
            let text = std::str::from_utf8(line).map_err(|_| PemError::Header(label.clone()))?;
            let (name, value) = text.split_once(':').ok_or(PemError::Header(label.clone()))?;
            if !encoded.is_empty() || name.is_empty() || headers.len() == HEADERS_MAX {
                return Err(PemError::Header(label));
            }
            headers.insert(name.trim().to_owned(), value.trim().to_owned());
        } else {
            encoded.extend_from_slice(line);
        }
    }
    Err(PemError::Unterminated(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_headers_reads_as_it_is_written() {
        let mut block = PemBlock::new("PRIVATE KEY", (0..=255u8).collect::<Vec<_>>());
        block.headers.insert("raft-dek".into(), "AAAA==".into());
        block.headers.insert("kek-version".into(), "17".into());
        let text = block.encode();
        let shown = std::str::from_utf8(&text).unwrap();
        assert!(shown.starts_with(
            "-----BEGIN PRIVATE KEY-----\nkek-version: 17\nraft-dek: AAAA==\n\nAAECAw"
        ));
        assert!(shown.lines().all(|l| l.len() <= 64));
        assert_eq!(PemBlock::decode_all(&text).unwrap(), vec![block.clone()]);

        let crlf = shown.replace('\n', "\r\n");
        let twice = format!("a comment\n{crlf}between\n{shown}after");
        assert_eq!(PemBlock::decode_all(twice.as_bytes()).unwrap(), vec![block.clone(), block]);
    }

    #[test]
    fn what_is_no_pem_is_named() {
        let x = || "X".to_owned();
        for (text, error) in [
            ("", PemError::Empty),
            ("hello", PemError::Empty),
            ("-----BEGIN X-----\nAAAA\n", PemError::Unterminated(x())),
            ("-----BEGIN X-----\nAAAA\n-----END Y-----\n", PemError::Unterminated(x())),
            ("-----BEGIN X-----\nA?AA\n-----END X-----\n", PemError::Contents(x())),
            ("-----BEGIN X-----\nAAAA\na: b\n-----END X-----\n", PemError::Header(x())),
            ("-----BEGIN X-----\n: b\n\nAAAA\n-----END X-----\n", PemError::Header(x())),
        ] {
            assert_eq!(PemBlock::decode_all(text.as_bytes()), Err(error), "{text:?}");
        }
        let long = vec![b'a'; PEM_LEN_MAX + 1];
        assert_eq!(PemBlock::decode_all(&long), Err(PemError::TooLong(PEM_LEN_MAX + 1)));
    }
}
