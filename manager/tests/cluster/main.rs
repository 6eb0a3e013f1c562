//! Clusters of real daemons: processes with real TLS, real fsync and real kill -9, on loopback.

mod addresses;
mod failover;
mod formation;
mod joins;
mod lock;
mod oversize;
mod refusals;
mod removal;
mod renewal;
mod restart;
mod root_rotation;
mod support;
mod workers;
