//! The fingerprint of a history: equal for equal seeds, or something is not deterministic.

use std::fmt;

/// A running 64-bit FNV-1a hash, and the last lines in words for whoever has to read a failure.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    print: bool,
}

impl Trace {
    /// With `print` every line goes to standard error as it happens.
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, print }
    }

    /// Notes one event.
    pub fn note(&mut self, now_ms: u64, line: fmt::Arguments<'_>) {
        self.events += 1;
        let mut mixer = Mixer(self.hash);
        // Writing into a hash cannot fail.
        let _ = fmt::write(&mut mixer, format_args!("{now_ms} {line}"));
        self.hash = mixer.0;
        if self.print {
            eprintln!("{now_ms:>7} {line}");
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn events(&self) -> u64 {
        self.events
    }
}

struct Mixer(u64);

impl fmt::Write for Mixer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// The same hash of some bytes.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
