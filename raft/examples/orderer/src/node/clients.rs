//! What clients ask.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Response, Status, Streaming};

use super::around::Waiter;
use super::links::no_leader;
use super::read::{self, Items};
use super::submit::{Acks, Desk};
use crate::core::chain::{Hash, Tip};
use crate::core::consenters::{Change, ChangeError, Consenter, name_of};
use crate::core::leader::Outcome;
use crate::core::orderer::Orderer as Core;
use crate::ledger::Reader;
use crate::wire::{
    self, Ack, AddMemberRequest, Block, ChangeRequest, DeliverRequest, Envelope, Header,
    IdentifyRequest, MembersResponse, RemoveMemberRequest, StatusRequest, StatusResponse,
    change_request, orderer_server::Orderer,
};

/// How long a change of the orderers is waited for: longer than the leader gives a step.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(40);
/// How long a new orderer may take to say who it is.
const IDENTIFY_TIME_MAX: Duration = Duration::from_secs(3);
/// How often it is looked whether a change is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A name or an address at most.
const NAME_BYTES_MAX: usize = 255;

/// What the services are made of.
pub struct Reach {
    /// This orderer's name.
    pub id: String,
    /// Takes envelopes in.
    pub desk: Desk,
    /// The ledger.
    pub reader: Reader,
}

impl Reach {
    /// Blocks out of the ledger, waited for if need be.
    pub fn blocks(&self, from: u64, through: Option<u64>) -> Items<Block> {
        let height = self.desk.shared.around.height();
        let read = |reader: &Reader, number| Ok(reader.block(number)?.to_wire());
        read::stream(self.reader.clone(), height, from, through, read::BLOCKS_MAX, read)
    }

    /// Headers out of the ledger, likewise.
    pub fn headers(&self, from: u64, through: u64) -> Items<Header> {
        let height = self.desk.shared.around.height();
        let read = |reader: &Reader, number| Ok(reader.header(number)?.to_wire());
        read::stream(self.reader.clone(), height, from, Some(through), read::HEADERS_MAX, read)
    }
}

/// See the module.
pub struct Clients {
    /// What it serves from.
    pub reach: Arc<Reach>,
}

#[tonic::async_trait]
impl Orderer for Clients {
    type BroadcastStream = Acks;
    type DeliverStream = Items<Block>;

    async fn submit(&self, request: Request<Envelope>) -> Result<Response<Ack>, Status> {
        let mut acks = self.reach.desk.broadcast(request.into_inner().into()).await?;
        let ack = acks.next().await;
        ack.unwrap_or_else(|| Err(Status::aborted("no answer came"))).map(Response::new)
    }

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Acks>, Status> {
        self.reach.desk.broadcast(request.into_inner().into()).await.map(Response::new)
    }

    async fn deliver(
        &self,
        request: Request<DeliverRequest>,
    ) -> Result<Response<Items<Block>>, Status> {
        let DeliverRequest { from, through } = request.into_inner();
        Ok(Response::new(self.reach.blocks(from, through)))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let consenter = request.into_inner().consenter.unwrap_or_default();
        let wire::Consenter { id, addr } = consenter;
        for text in [&id, &addr] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                return Err(Status::invalid_argument("an orderer has an id and an address"));
            }
        }
        self.change(Change::Add(Consenter { id, addr })).await
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        self.change(Change::Remove(request.into_inner().id)).await
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.reach.desk.links.node()?.status();
        let name = |raft_id| status.members.get(raft_id).map(|m| name_of(&m.node_id).to_owned());
        let members = status.members.members().map(|member| wire::Consenter {
            id: name_of(&member.node_id).to_owned(),
            addr: member.addr.clone(),
        });
        let (configuration, ledger) = self
            .reach
            .desk
            .shared
            .look(|core| (core.state().configuration().cloned(), core.ledger()));
        Ok(Response::new(StatusResponse {
            id: self.reach.id.clone(),
            chain_id: configuration.as_ref().map_or(String::new(), |c| c.chain_id.clone()),
            leader: status.leader.and_then(name).unwrap_or_default(),
            term: status.term,
            height: ledger.map_or(0, |tip| tip.header.number + 1),
            last_hash: ledger.map_or(Hash::default(), |tip| tip.header.hash()).0.to_vec().into(),
            consenters: configuration.map_or(Vec::new(), |c| c.to_wire().consenters),
            members: members.collect(),
        }))
    }
}

impl Clients {
    /// Has the leader order a change, and waits until raft's members are what the chain says.
    async fn change(&self, change: Change) -> Result<Response<MembersResponse>, Status> {
        let links = &self.reach.desk.links;
        let block = if links.node()?.status().leads() {
            order_change(&self.reach, &change).await?
        } else {
            let change = match change.clone() {
                Change::Add(Consenter { id, addr }) => {
                    change_request::Change::Add(wire::Consenter { id, addr })
                }
                Change::Remove(id) => change_request::Change::Remove(id),
            };
            links.leader()?.change(ChangeRequest { change: Some(change) }).await?.into_inner().block
        };
        self.await_change(&change, block).await.map(Response::new)
    }

    /// Waits until this orderer has seen the change in the chain and in raft's members. When it is dropped the change goes on.
    async fn await_change(&self, change: &Change, block: u64) -> Result<MembersResponse, Status> {
        let deadline = Instant::now() + CHANGE_TIME_MAX;
        loop {
            let (height, configuration, in_line) = self.reach.desk.shared.look(|core| {
                let height = Tip::next_number(core.state().tip());
                (height, core.state().configuration().cloned(), core.step().is_none())
            });
            if let Some(configuration) = configuration.filter(|_| height > block) {
                let in_chain = match change {
                    Change::Add(consenter) => configuration.admits(&consenter.id, &consenter.addr),
                    Change::Remove(id) => !configuration.consenters.contains_key(id),
                };
                if !in_chain {
                    let text = "the change was taken back, because raft could not make it in time";
                    return Err(Status::failed_precondition(text));
                }
                if in_line {
                    return Ok(MembersResponse { consenters: configuration.to_wire().consenters });
                }
            }
            if Instant::now() > deadline {
                return Err(Status::deadline_exceeded("the change is ordered and not made yet"));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Orders a change on the leader, after what can be checked; gives the block. When it is dropped the change may still happen.
pub async fn order_change(reach: &Reach, change: &Change) -> Result<u64, Status> {
    match change {
        Change::Add(consenter) => {
            let known = |core: &Core<Waiter>| {
                core.state()
                    .configuration()
                    .is_some_and(|c| c.consenters.contains_key(&consenter.id))
            };
            if !reach.desk.shared.look(known) {
                identify(reach, consenter).await?;
            }
        }
        Change::Remove(id) => {
            let node = reach.desk.links.node()?;
            let status = node.status();
            let member = status.members.members().find(|m| name_of(&m.node_id) == id);
            if let Some(member) = member {
                let checked = node.check_removal(member.raft_id);
                checked.map_err(|error| Status::failed_precondition(error.to_string()))?;
            }
        }
    }
    let (waiter, outcome) = oneshot::channel();
    match reach.desk.shared.act(|core| core.change(change, waiter)) {
        Err(_) => return Err(no_leader()),
        Ok(Err(error)) => return Err(refused(&error)),
        Ok(Ok(())) => {}
    }
    match outcome.await {
        Ok(Outcome::Ordered { block, .. }) => Ok(block),
        Ok(Outcome::NotOrdered) => Err(no_leader()),
        Ok(Outcome::Unknown) | Err(_) => {
            Err(Status::aborted("the leader was lost meanwhile; look at the list of members"))
        }
    }
}

fn refused(error: &ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::Present(_) => Status::already_exists(text),
        ChangeError::Unknown(_) => Status::not_found(text),
        ChangeError::NoChain => Status::unavailable(text),
        ChangeError::InProgress
        | ChangeError::Taken { .. }
        | ChangeError::AddressTaken { .. }
        | ChangeError::Last(_) => Status::failed_precondition(text),
    }
}

/// Makes sure that an orderer of this name waits at its address, with an empty folder.
async fn identify(reach: &Reach, consenter: &Consenter) -> Result<(), Status> {
    let Consenter { id, addr } = consenter;
    let asking = async { reach.desk.links.dial(addr)?.identify(IdentifyRequest {}).await };
    let found = timeout(IDENTIFY_TIME_MAX, asking).await;
    let why = match found {
        Err(_) => "nobody answers".to_owned(),
        Ok(Err(status)) => format!("nobody answers: {}", status.message()),
        Ok(Ok(found)) => match found.into_inner() {
            found if found.id != *id => format!("it is orderer {} that answers", found.id),
            found if found.member => "it is a member of a chain already".to_owned(),
            _ => return Ok(()),
        },
    };
    Err(Status::failed_precondition(format!(
        "orderer {id} at {addr} cannot be added: {why}; start it with --id {id} --join first"
    )))
}
