//! Fakes for this crate's tests, each in one place: a disk in memory, a state machine that remembers, and a group of
//! cores over a network that the test owns.

mod channels;
mod group;
mod mem_store;
mod recorder;

pub use channels::Channels;
pub use group::{Group, Member as GroupMember};
pub use mem_store::MemStore;
pub use recorder::{Recorder, Seen};
