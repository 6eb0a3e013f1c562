//! How fast a group ticks. A property of the group, not of a process: members that tick differently still agree, but
//! elect one another away.

use std::time::Duration;

/// The group's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The length of one tick.
    pub tick: Duration,
    /// A leader sends heartbeats every so many ticks.
    pub heartbeat_ticks: u32,
    /// A follower that hears nothing for between this many and twice as many ticks campaigns.
    pub election_ticks: u32,
    /// Candidates ask whether they could win before they disturb anybody.
    pub pre_vote: bool,
}

impl Timing {
    /// A group of ours alone: a new leader within a second or two. The heartbeat is far above a loopback or data
    /// centre round trip, and ten of them fit into an election timeout.
    pub const fn fast() -> Self {
        Timing {
            tick: Duration::from_millis(100),
            heartbeat_ticks: 1,
            election_ticks: 10,
            pre_vote: true,
        }
    }

    /// A group with a stock SwarmKit manager in it: SwarmKit ticks once a second and does not know pre-votes.
    pub const fn swarmkit() -> Self {
        Timing {
            tick: Duration::from_secs(1),
            heartbeat_ticks: 1,
            election_ticks: 10,
            pre_vote: false,
        }
    }

    /// The shortest time without a leader after which a follower campaigns.
    pub fn election_timeout(&self) -> Duration {
        self.tick * self.election_ticks
    }
}
