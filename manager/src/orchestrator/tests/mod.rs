//! The orchestrator in a cluster that follows simple rules ([`world`]), with a watchdog over every commit.

mod globals;
mod jobs;
mod random;
mod removal;
mod replicas;
mod restarts;
mod updates;
mod watchdog;
mod world;
