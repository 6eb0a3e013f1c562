//! A replicated key/value store over HTTP: what it takes to make a service of [`skep_raft`].
//!
//! | file | holds |
//! |---|---|
//! | `command` | the entries of the log, and their limits |
//! | `state` | the replicated state; a pure function of the log |
//! | `watch` | bounded queues of those who watch keys |
//! | `store` | the state for readers, and the writes that wait for their entry to come back |
//! | `machine` | raft's `StateMachine` over the store |
//! | `member` | reads and writes for clients: through the leader, behind the barrier, patient while leaders change |
//! | `http` | what clients ask |
//! | `options`, `run` | a process: start, serve, stop |
//!
//! A write goes down this table and back: `http` reads it, `member` finds who leads, `store` gives it a ticket and
//! proposes it, raft makes it certain, `machine` applies it to `state`, and `store` answers by the ticket. A read waits
//! for a barrier of the raft node, and then takes what `state` has. docs/kv.md walks through it from the outside.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod command;
mod http;
pub mod machine;
pub mod member;
pub mod options;
pub mod run;
pub mod state;
pub mod store;
pub mod watch;
