//! The wire: messages, clients and server traits of SwarmKit's services and of our own, the roles that may call each
//! method, and the ids that everything is named by.
//!
//! The messages are generated from the `.proto` sources in this crate; nothing here decides anything.

#![forbid(unsafe_code)]

pub mod access;
pub mod ids;
pub mod log_notice;
mod redacted;
pub mod shared;

/// The generated modules, nested as their packages are: the generator refers from one to another by that nesting.
#[allow(missing_docs, clippy::all, reason = "generated code")]
mod generated {
    pub mod docker {
        pub mod swarmkit {
            pub mod v1 {
                tonic::include_proto!("docker.swarmkit.v1");
            }
        }
    }
    pub mod raftpb {
        tonic::include_proto!("raftpb");
    }
    pub mod skep {
        pub mod v1 {
            tonic::include_proto!("skep.v1");
        }
    }
}

/// SwarmKit's package `docker.swarmkit.v1`. Never gets a field of ours: Go peers would drop it.
pub use generated::docker::swarmkit::v1 as swarmkit;
/// The messages of etcd's raft as its peers write them.
pub use generated::raftpb;
/// Our own package: daemon lifecycle, raft administration, explanations and plans of the scheduler.
pub use generated::skep::v1 as skep;

/// Every source of this crate as an encoded `FileDescriptorSet`, options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

pub use prost_types;
