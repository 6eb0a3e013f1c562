//! The store as its users run it: real processes, real disks, real failures.
//!
//! `SKEP_TEST_FAULT_SECONDS=60` makes the test under faults go on for a minute.

mod client;
mod cluster;
mod documented;
mod faults;
mod forming;
mod proxies;
mod serving;
mod wrong;
