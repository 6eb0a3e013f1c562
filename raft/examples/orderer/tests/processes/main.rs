//! Real processes with real disks: the commands of docs/orderer.md, what is refused, and a chain under faults.
//!
//! `SKEP_TEST_FAULT_SECONDS=60 cargo test -p skep-orderer --test processes faults -- --nocapture` lets the faults go on for a minute.

mod chain;
mod cluster;
mod documented;
mod faults;
mod load;
#[allow(
    dead_code,
    reason = "shared with the key/value store, which cuts single directions as well"
)]
#[path = "../../../kv/tests/processes/proxies.rs"]
mod proxies;
mod wrong;
