//! The limits by which blocks are cut: agreed on in the chain's first block, so that every leader cuts alike.

use std::time::Duration;

use skep_raft::PROPOSAL_BYTES_MAX;

use crate::wire;

/// What a block costs in a raft entry besides its envelopes: the header, and a few bytes for each envelope's length.
const BLOCK_OVERHEAD_BYTES: usize = 256;
/// A tag and a length of up to four bytes.
const ITEM_OVERHEAD_BYTES: usize = 5;

/// How blocks are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Envelopes of a block at most.
    pub messages_max: usize,
    /// Bytes of envelopes of a block at most, unless it is one envelope alone.
    pub preferred_bytes: usize,
    /// Bytes of an envelope at most.
    pub absolute_bytes: usize,
    /// How long the first envelope of a block waits for others.
    pub timeout: Duration,
    /// Blocks that were proposed and are not yet durable in the leader's ledger, at most; submitters wait then.
    pub in_flight_max: usize,
    /// Blocks back from the last in which a submission finds itself again.
    pub window_blocks: u64,
}

impl Default for Limits {
    /// Blocks of 500, or half a mebibyte; a large envelope may have a whole one. Two seconds, as customary among ordering services.
    /// Ten blocks of half a mebibyte are in flight, well below raft's 32 MiB. A window of 256 full blocks takes 3 MiB of a snapshot.
    fn default() -> Self {
        Limits {
            messages_max: 500,
            preferred_bytes: 512 * 1024,
            absolute_bytes: 1024 * 1024,
            timeout: Duration::from_secs(2),
            in_flight_max: 10,
            window_blocks: 256,
        }
    }
}

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}, and must be {least} to {most}")]
pub struct LimitsError {
    /// Which one.
    pub name: &'static str,
    /// What it is.
    pub value: u64,
    /// The least that it may be.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Limits {
    /// The same limits if they make sense.
    ///
    /// # Errors
    /// The first one that does not.
    pub fn check(self) -> Result<Limits, LimitsError> {
        let messages_max = 10_000;
        let overhead =
            BLOCK_OVERHEAD_BYTES + self.messages_max.min(messages_max) * ITEM_OVERHEAD_BYTES;
        let absolute_max = (PROPOSAL_BYTES_MAX - overhead) as u64;
        let rows = [
            ("the largest count of envelopes", self.messages_max as u64, 1, messages_max as u64),
            ("the absolute size", self.absolute_bytes as u64, 1, absolute_max),
            ("the preferred size", self.preferred_bytes as u64, 1, self.absolute_bytes as u64),
            ("the timeout in ms", self.timeout.as_millis() as u64, 1, 600_000),
            ("the number of blocks in flight", self.in_flight_max as u64, 1, 1_000),
            // With fewer than what is in flight a submitter could not even find what it has just sent.
            ("the window in blocks", self.window_blocks, self.in_flight_max as u64 + 1, 100_000),
        ];
        match rows.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, value, least, most)) => Err(LimitsError { name, value, least, most }),
            None => Ok(self),
        }
    }

    /// As they stand in the chain.
    pub fn to_wire(self) -> wire::Limits {
        // Checked limits are far below 2^32.
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        wire::Limits {
            messages_max: number(self.messages_max),
            preferred_bytes: number(self.preferred_bytes),
            absolute_bytes: number(self.absolute_bytes),
            timeout_ms: u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX),
            in_flight_max: number(self.in_flight_max),
            window_blocks: u32::try_from(self.window_blocks).unwrap_or(u32::MAX),
        }
    }

    /// From a chain.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn from_wire(limits: &wire::Limits) -> Result<Limits, LimitsError> {
        Limits {
            messages_max: limits.messages_max as usize,
            preferred_bytes: limits.preferred_bytes as usize,
            absolute_bytes: limits.absolute_bytes as usize,
            timeout: Duration::from_millis(u64::from(limits.timeout_ms)),
            in_flight_max: limits.in_flight_max as usize,
            window_blocks: u64::from(limits.window_blocks),
        }
        .check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let good = Limits::default();
        assert_eq!(good.check(), Ok(good));
        assert_eq!(Limits::from_wire(&good.to_wire()), Ok(good));
        for (limits, expected) in [
            (
                Limits { messages_max: 0, ..good },
                "the largest count of envelopes is 0, and must be 1 to 10000",
            ),
            (
                Limits { absolute_bytes: 2 << 20, ..good },
                "the absolute size is 2097152, and must be 1 to 1570108",
            ),
            (
                Limits { preferred_bytes: (1 << 20) + 1, ..good },
                "the preferred size is 1048577, and must be 1 to 1048576",
            ),
            (
                Limits { timeout: Duration::ZERO, ..good },
                "the timeout in ms is 0, and must be 1 to 600000",
            ),
            (
                Limits { in_flight_max: 0, ..good },
                "the number of blocks in flight is 0, and must be 1 to 1000",
            ),
            (
                Limits { window_blocks: 10, ..good },
                "the window in blocks is 10, and must be 11 to 100000",
            ),
        ] {
            assert_eq!(limits.check().unwrap_err().to_string(), expected);
        }
    }
}
