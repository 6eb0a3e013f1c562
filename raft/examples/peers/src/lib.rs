//! A plain way for the members of a raft group to reach, found, join and leave each other: the [`Transport`] that the
//! examples share, and all that a program needs around it.
//!
//! ```no_run
//! # use std::{collections::BTreeMap, sync::Arc};
//! # use skep_raft_peers::{Group, Owner, Security, Setup, Way};
//! # async fn example(machine: impl skep_raft::StateMachine, owner: Arc<dyn Owner>) -> Result<(), Box<dyn std::error::Error>> {
//! let listed = ["1=127.0.0.1:7001", "2=127.0.0.1:7002", "3=127.0.0.1:7003"];
//! let listed = listed.iter().filter_map(|text| text.split_once('='));
//! let listed: BTreeMap<_, _> = listed.map(|(name, addr)| (name.to_owned(), addr.to_owned())).collect();
//! let setup = Setup {
//!     name: "1".to_owned(),
//!     addr: "127.0.0.1:7001".to_owned(),
//!     folder: "state".into(),
//!     way: Way::Listed(listed),
//!     security: Security::Loopback,
//! };
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7001").await?;
//! let timing = skep_raft::Timing::fast();
//! let config = skep_raft::Config::new(timing, rand::random());
//! let group = Group::enter(setup, config, listener, machine, owner).await?;
//! group.node().read_barrier().await?;
//! # Ok(()) }
//! ```
//!
//! # How a group comes up
//!
//! All of its nodes are started with the same list of names and addresses ([`Way::Listed`]), in any order, at once or one
//! by one. The one whose name comes first founds the group, but only when **every** other one has said that it is no
//! member of any and never was: so it waits for all of them once, and never founds a second group beside one that is there, even if
//! it has lost its disk. The others join through whoever is a member. Each step is on the disk before the next
//! (`member.json`), so that a node that is killed midway goes on where it was.
//!
//! Later nodes are started with [`Way::Join`] and an address of any member. Whether they may is for the program to say
//! ([`Owner::admits`]).
//!
//! # Who a member is
//!
//! A name, which the operator gives, and an incarnation, a random number that is in the folder. A node that has lost its
//! folder is another member: it has forgotten its votes, and under its old raft id it could vote twice. When it joins
//! under the name and at the address of one that is no longer there, the leader first removes the old incarnation, and then
//! admits the new one. A node that has the name of a member that is alive is refused.
//!
//! # What goes between members
//!
//! gRPC (`proto/peers.proto`): one stream for raft messages in each direction of each pair, snapshots on a connection
//! of their own, and calls. The group has a random id, which begins every stream: a node of another group is told so.
//! With [`Security::Tls`] both sides show a certificate of the group's own CA; without it only loopback addresses are
//! listened on and dialled. Every message, queue and time has a bound (`wire.rs`, `outbox.rs`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ask;
mod enter;
mod folder;
mod group;
mod outbox;
mod owner;
mod peer;
mod security;
mod service;
mod snapshot;
mod transport;
mod wire;

#[doc(no_inline)]
pub use skep_raft::Transport;

pub use enter::{EnterError, Setup, Way};
pub use folder::{Folder, FolderError};
pub use group::{Group, GroupError};
pub use owner::{CallError, Owner};
pub use security::{Security, SecurityError, make_certificates};
