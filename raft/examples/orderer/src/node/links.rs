//! Connections to the other orderers, each made once and kept.

use std::collections::HashMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use skep_raft::{Membership, NodeHandle, RaftId};
use skep_raft_peers::Group;
use tonic::Status;
use tonic::transport::Channel;

use crate::wire::peer_client::PeerClient;

/// Connections that are kept: more than a chain has orderers.
const CHANNELS_MAX: usize = 64;
/// A message of an orderer: a block has 1.5 MiB at most.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module. Empty until this orderer is a member.
#[derive(Default)]
pub struct Links {
    group: OnceLock<Group>,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Links {
    /// This orderer is a member now; the first call counts.
    pub fn entered(&self, group: Group) {
        let _ = self.group.set(group);
    }

    /// The group.
    pub fn group(&self) -> Result<&Group, Status> {
        let group = self.group.get();
        group.ok_or_else(|| Status::unavailable("this orderer is not a member of a chain yet"))
    }

    /// Raft's node.
    pub fn node(&self) -> Result<&NodeHandle, Status> {
        self.group().map(Group::node)
    }

    /// The orderer at this address.
    pub fn dial(&self, addr: &str) -> Result<PeerClient<Channel>, Status> {
        let mut channels = self.channels.lock();
        let channel = match channels.get(addr) {
            Some(channel) => channel.clone(),
            None => {
                if channels.len() >= CHANNELS_MAX {
                    channels.clear();
                }
                let channel = self.group()?.dial(addr)?;
                channels.insert(addr.to_owned(), channel.clone());
                channel
            }
        };
        Ok(PeerClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The leader, which is not this orderer.
    pub fn leader(&self) -> Result<PeerClient<Channel>, Status> {
        let status = self.node()?.status();
        let leader = status.leader.filter(|leader| *leader != status.own);
        let addr = leader.and_then(|leader| addr_of(&status.members, leader));
        self.dial(&addr.ok_or_else(no_leader)?)
    }

    /// Where the other members are, those that can be reached first.
    pub fn others(&self) -> Vec<String> {
        let Ok(node) = self.node() else { return Vec::new() };
        let status = node.status();
        let others = status.members.members().filter(|member| member.raft_id != status.own);
        let mut others: Vec<_> =
            others.map(|member| (!status.reachable(member.raft_id), member.addr.clone())).collect();
        others.sort();
        others.into_iter().map(|(_, addr)| addr).collect()
    }
}

fn addr_of(members: &Membership, raft_id: RaftId) -> Option<String> {
    members.get(raft_id).map(|member| member.addr.clone())
}

/// Nobody leads at the moment; nothing was done.
pub fn no_leader() -> Status {
    Status::unavailable("the chain has no leader at the moment; nothing was ordered, try again")
}
