//! An ordering service on `skep-raft`: clients submit envelopes to any orderer, and every orderer writes the same chain of blocks.
//!
//! It shows what the raft crate leaves to its user, and how little that need be: a [`StateMachine`](skep_raft::StateMachine) that
//! is given bytes, a leader that proposes them, and a disk of one's own beside raft's.
//!
//! - [`core`] decides, and touches nothing: how blocks are cut and linked, what is a duplicate, what the ledger lacks, which change of
//!   membership is next. Time comes in as a number, the disk and the other orderers as values.
//! - [`ledger`] is the file that the blocks are written to.
//! - [`machine`] joins the core to raft; a simulation does the same with a simulated disk and clock (`tests/simulation`).
//! - [`node`] is the process around it: the disk, the network and the clock.
//!
//! # The way of an envelope
//!
//! The leader puts it into a block that is open ([`core::cutter`]), closes the block when it is full or its time is up, links
//! it to the one before, which may still be on its way, and proposes it. That is sound because of raft's epochs: what commits of
//! an epoch is a prefix of what was proposed under it, so no block commits without the one that it is linked to. Once raft
//! has committed the block, each orderer writes it to its ledger, and the leader answers when its own write is durable.
//!
//! # What an answer means
//!
//! An acknowledged envelope is in the chain, once. One that was refused is not, and never will be by that submission. When the leader
//! loses leadership while a block is on its way nobody can say, and the submitter is told so: submitting the envelope again under
//! the same name finds it in the chain or orders it, as long as it was ordered within the last few blocks, the window
//! ([`core::window`]).
//!
//! # What is kept where
//!
//! Raft's log holds the blocks until a snapshot of the replicated state is taken. The snapshot holds the header of the last block, not
//! the chain: that is in the ledger. So a snapshot is taken only when the ledger is durable up to it, and an orderer that is sent
//! a snapshot ahead of its ledger pulls what it lacks from the others, and believes nothing that does not lead to that header
//! ([`core::keeper`]).
//!
//! # Who the orderers are
//!
//! stands in the chain, in blocks of configuration. The leader brings raft's membership into line with it, one member at a time, and
//! orders nothing meanwhile. So a change that a leader leaves unfinished is finished by the next one, which finds the two to differ
//! ([`core::consenters`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod core;
pub mod ledger;
pub mod machine;
pub mod node;
pub mod wire;
