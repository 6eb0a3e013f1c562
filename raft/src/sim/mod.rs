//! Deterministic simulation: three to five members of the real core with the real log, on a disk, a network and clocks that exist
//! in memory only, in one thread. One seed is one history, and the same seed gives the same history again.
//!
//! | file | holds |
//! |---|---|
//! | `world` | the loop: takes the next event, lets it happen, checks |
//! | `event` | what can happen, in the order of virtual time |
//! | `node` | a member and the place where it runs |
//! | `drive`, `writer`, `post` | what the node's task, its log writer and its transport do |
//! | `life` | starts, crashes, ends |
//! | `network` | what becomes of a message |
//! | `operator` | joins, leaves, address changes, transfers |
//! | `faults` | what goes wrong, and when |
//! | [`invariants`] | what must hold at every moment, a file each |
//! | [`program`] | what is replicated and who uses it: the way in for other state machines |
//! | [`kv`] | a program: registers with watches |
//! | [`sabotage`] | bugs to be put in, to show that they are found |
//! | [`runner`] | many seeds on many threads, and how to replay one |
//!
//! Nothing here reads a clock, sleeps, spawns (the runner's threads aside) or draws from any random source but the seed.

mod drive;
mod event;
mod faults;
pub mod invariants;
pub mod kv;
mod life;
mod network;
mod node;
mod operator;
mod post;
pub mod program;
pub mod runner;
pub mod sabotage;
mod scenario;
mod trace;
mod world;
mod writer;

pub use invariants::Violation;
pub use program::{Host, Program, ReadToken, Turn, Watched};
pub use sabotage::Sabotage;
pub use scenario::Scenario;
pub use world::{Report, run};
