//! What decides. Nothing here has a clock, a file, a socket or a random source: values in, values out.
//!
//! | file | decides |
//! |---|---|
//! | [`chain`] | what a block is, how it is hashed and linked |
//! | [`envelope`] | what an envelope is and what it goes by |
//! | [`limits`] | which limits make sense |
//! | [`cutter`] | where a block ends |
//! | [`window`] | what was ordered already |
//! | [`consenters`] | who the orderers shall be, and which change of raft's membership is next |
//! | [`state`] | what a committed entry does to the replicated state; its snapshot |
//! | [`leader`] | what a leader proposes, and what submitters are told |
//! | [`keeper`] | what to write to the ledger and what to pull from others |
//! | [`orderer`] | all of it together |

pub mod chain;
pub mod consenters;
pub mod cutter;
pub mod envelope;
pub mod keeper;
pub mod leader;
pub mod limits;
pub mod orderer;
pub mod state;
pub mod window;
