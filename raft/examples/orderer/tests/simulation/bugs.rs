//! Bugs to be put in, to show that the simulation finds them.

use bytes::Bytes;
use prost::Message as _;
use skep_orderer::wire::Snapshot;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A snapshot does not hold the window, so that what was ordered before it is ordered again.
    ForgetWindow,
    /// A submitter takes it that what nobody knows of is in the chain.
    BelieveUnknown,
    /// A submitter that submits again what was not ordered begins with the second.
    BeginWithSecond,
}

impl Bug {
    /// All of them, each with the invariants that it may violate.
    pub const ALL: [(Bug, &[&str]); 3] = [
        (Bug::ForgetWindow, &["exactly_once", "state_machine_safety"]),
        (Bug::BelieveUnknown, &["acknowledged"]),
        (Bug::BeginWithSecond, &["submitters_order"]),
    ];
}

/// The snapshot without its window.
pub fn without_window(data: Bytes) -> Bytes {
    match Snapshot::decode(data.clone()) {
        Ok(snapshot) => Snapshot { window: Vec::new(), ..snapshot }.encode_to_vec().into(),
        Err(_) => data,
    }
}
