//! The process around an orderer: the disk, the network, the clock. Nothing here decides what is ordered.
//!
//! | file | does |
//! |---|---|
//! | `around` | what the orderer wants done goes to raft, to submitters and to the tasks below |
//! | `submit` | takes envelopes in: orders them here, or passes them on to the leader |
//! | `keep` | writes the ledger, and pulls what it lacks |
//! | `clock` | closes a block when its time is up |
//! | `govern` | on the leader, brings raft's members into line with the chain |
//! | `read` | streams blocks and headers out of the ledger |
//! | `clients`, `members` | the two gRPC services: for clients, and for other orderers |
//! | `links` | connections to the other orderers |
//! | `metrics` | Prometheus' page |
//! | `run` | starts and ends it all |

mod around;
mod clients;
mod clock;
mod govern;
mod keep;
mod links;
mod members;
mod metrics;
mod read;
mod run;
mod submit;

pub use run::{Founding, Settings, Stopped, run};
