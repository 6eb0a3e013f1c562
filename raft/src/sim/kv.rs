//! A program: a handful of registers, clients that write and read them, and watchers.
//!
//! Each client does one thing at a time: it writes a value that nobody else writes, or reads behind a barrier, at a member of its
//! choice. What it called, when, and what it got is the history whose linearizability is checked in the end.

mod clients;
mod machine;

pub use clients::Kv;
pub use machine::{KvMachine, Outcome};
