//! What an operator sees: each command run as a program against a fake daemon, its output word for word.

mod connect;
mod explain;
mod inspect;
mod logs;
mod network;
mod node;
mod objects;
mod raft;
mod reach;
mod service;
mod swarm;
mod task;

#[path = "../support/mod.rs"]
mod support;
