//! What a seed makes of a simulation: how many nodes, how long, which faults, which settings.

use rand::Rng;
use rand::rngs::StdRng;

use super::sabotage::Sabotage;
use crate::Timing;

/// The bounds of a simulation; the seed chooses within them.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Members at the beginning, at least. The seed takes up to two more.
    pub nodes_min: usize,
    /// Places where a member can run: at least `nodes_min` plus two.
    pub places: usize,
    /// How long things go wrong, in virtual milliseconds.
    pub chaos_ms: u64,
    /// How long the group may take to heal afterwards. Twenty election timeouts: a few split votes, a snapshot, a join.
    pub heal_ms_max: u64,
    /// A bug to put in.
    pub sabotage: Option<Sabotage>,
    /// Print the history to standard error.
    pub print: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes_min: 3,
            places: 6,
            chaos_ms: 12_000,
            heal_ms_max: 30_000,
            sabotage: None,
            print: false,
        }
    }
}

/// Which faults a seed uses, and how often. Every seed leaves some out: faults hide one another's effects when all
/// happen all the time.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultMix {
    /// Messages lost, in thousandths.
    pub loss: u32,
    /// Messages that arrive twice, in thousandths.
    pub duplication: u32,
    /// Messages held up for up to half a second, in thousandths.
    pub delay: u32,
    pub partitions: bool,
    pub one_way: bool,
    pub crashes: bool,
    pub kills: bool,
    pub restart_all: bool,
    pub stalled_syncs: bool,
    pub failed_syncs: bool,
    pub full_disks: bool,
    pub lost_disks: bool,
    pub skewed_clocks: bool,
    pub jumping_clocks: bool,
    pub storms: bool,
    pub pauses: bool,
    pub slow_followers: bool,
    pub joins: bool,
    pub leaves: bool,
    pub address_changes: bool,
    pub transfers: bool,
    /// The mean time between two faults, in virtual milliseconds.
    pub interval_ms: u64,
}

impl FaultMix {
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        if rng.random_range(0..8) == 0 {
            return Self::only_storms(rng);
        }
        let mut often = |max: u32| if rng.random_bool(0.5) { rng.random_range(0..max) } else { 0 };
        let (loss, duplication, delay) = (often(200), often(100), often(100));
        let mut on = || rng.random_bool(0.5);
        Self {
            loss,
            duplication,
            delay,
            partitions: on(),
            one_way: on(),
            crashes: on(),
            kills: on(),
            restart_all: on(),
            stalled_syncs: on(),
            failed_syncs: on(),
            full_disks: on(),
            lost_disks: on(),
            skewed_clocks: on(),
            jumping_clocks: on(),
            storms: on(),
            pauses: on(),
            slow_followers: on(),
            joins: on(),
            leaves: on(),
            address_changes: on(),
            transfers: on(),
            interval_ms: rng.random_range(100..1500),
        }
    }
}

impl FaultMix {
    /// Nothing but contested elections with a crash in their midst, one after the other: what a vote is for.
    fn only_storms(rng: &mut StdRng) -> Self {
        Self { storms: true, interval_ms: rng.random_range(700..2_000), ..Self::default() }
    }

    /// Whether this history is of contested elections alone.
    pub(super) fn is_storms(&self) -> bool {
        self.storms && !self.crashes && !self.partitions && !self.kills && !self.joins
    }
}

/// The group's clock: mostly ours, sometimes without pre-votes as in a group with a stock manager.
pub(super) fn timing(rng: &mut StdRng, mix: &FaultMix) -> Timing {
    // Pre-votes keep most contests from coming about.
    let pre_vote = rng.random_bool(if mix.is_storms() { 0.2 } else { 0.8 });
    Timing { pre_vote, ..Timing::fast() }
}
