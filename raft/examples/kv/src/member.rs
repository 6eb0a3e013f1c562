//! A member of the group from the point of view of its clients: writes go to whoever leads, reads wait for the barrier,
//! and both wait out a change of leader.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use skep_raft::Refusal;
use skep_raft_peers::{CallError, Group, GroupError, Owner};
use tokio::time::Instant;

use crate::{
    command::{Action, Admit, Command, CommandError, Node, Outcome},
    store::{Store, WriteError},
};

/// How long a request waits for a leader: an election, and another one if the vote is split.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How often it tries meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(25);

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It makes no sense; nothing was done.
    #[error(transparent)]
    Invalid(#[from] CommandError),
    /// Nothing was done, and nothing will be.
    #[error("{0}")]
    NotDone(String),
    /// It may have been done, or may yet be.
    #[error("{0}")]
    Unknown(String),
}

impl From<WriteError> for CallError {
    fn from(error: WriteError) -> CallError {
        match error {
            WriteError::Refused(_) => CallError::NotDone(error.to_string()),
            WriteError::Unknown => CallError::Unknown(error.to_string()),
        }
    }
}

/// See the module. All clones are the same member.
#[derive(Clone)]
pub struct Member {
    store: Store,
    group: Arc<OnceLock<Group>>,
}

impl Member {
    /// A member that is not in its group yet.
    pub fn new(store: Store) -> Member {
        Member { store, group: Arc::default() }
    }

    /// It is in its group now; the first call counts.
    pub fn entered(&self, group: Group) {
        let node = group.node().clone();
        self.store.connect(move |epoch, ticket, data| node.propose(epoch, ticket, data));
        let _ = self.group.set(group);
    }

    /// The store as this member has it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The group, once it is a member.
    pub fn group(&self) -> Result<&Group, RequestError> {
        let group = self.group.get();
        group.ok_or_else(|| RequestError::NotDone("this node is not a member yet".to_owned()))
    }

    /// Has a command done by whoever leads. When the future is dropped it may still happen.
    pub async fn write(&self, command: Command) -> Result<Outcome, RequestError> {
        command.check()?;
        let bytes = Bytes::from(command.encode_to_vec());
        let group = self.group()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match self.try_write(group, bytes.clone()).await {
                Ok(outcome) => return Ok(outcome),
                Err(CallError::Unknown(why)) => return Err(RequestError::Unknown(why)),
                Err(CallError::NotDone(why)) => why,
            };
            if Instant::now() >= deadline {
                return Err(RequestError::NotDone(why));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn try_write(&self, group: &Group, bytes: Bytes) -> Result<Outcome, CallError> {
        match self.store.write(bytes.clone()).await {
            // Somebody else leads, or is about to.
            Err(WriteError::Refused(Refusal::NotLeader | Refusal::ShuttingDown)) => {}
            outcome => return Ok(outcome?),
        }
        let answer = group.call_leader(bytes).await?;
        let unreadable = |_| CallError::Unknown("the leader's answer cannot be read".to_owned());
        Outcome::decode(answer).map_err(unreadable)
    }

    /// When it returns, every write that was acknowledged before the call can be read here.
    pub async fn barrier(&self) -> Result<(), RequestError> {
        let node = self.group()?.node();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match node.read_barrier().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(RequestError::NotDone(error.to_string()));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Lets nodes become members, all of them or none: addresses by name, where they must be.
    pub async fn admit(
        &self,
        nodes: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Outcome, RequestError> {
        let nodes = nodes.into_iter().map(|(name, addr)| Node { name, addr }).collect();
        self.write(Command::new(Action::Admit(Admit { nodes }))).await
    }

    /// Removes a member, and no longer lets it become one. `false` when there was none.
    pub async fn expel(&self, name: String) -> Result<bool, ExpelError> {
        let deadline = Instant::now() + PATIENCE;
        let was_member = loop {
            match self.group()?.remove(&name).await {
                Ok(()) => break true,
                Err(GroupError::Unknown(_)) => break false,
                // To remove what has been removed already is to find out that it has.
                Err(GroupError::Unavailable(_)) if Instant::now() < deadline => {}
                Err(error) => return Err(ExpelError::Group(error)),
            }
            tokio::time::sleep(TRY_EVERY).await;
        };
        let outcome = self.write(Command::new(Action::Expel(name))).await?;
        Ok(was_member || outcome.before != 0)
    }
}

/// Why a member was not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpelError {
    /// The rules of membership, or no leader.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// It is no member any more, but may still become one again.
    #[error(transparent)]
    Request(#[from] RequestError),
}

#[async_trait]
impl Owner for Member {
    async fn admits(&self, name: &str, addr: &str) -> Result<(), String> {
        match self.store.state().admitted.get(name) {
            Some(at) if at == addr => Ok(()),
            Some(at) => Err(format!("{name} is expected at {at}, not at {addr}")),
            None => Err(format!("{name} is not expected: POST its id and address to /members")),
        }
    }

    async fn call(&self, body: Bytes) -> Result<Bytes, CallError> {
        // What every member has checked of its own clients; a damaged entry would stop all of them.
        Command::decode_checked(&body).map_err(|error| CallError::NotDone(error.to_string()))?;
        let outcome = self.store.write(body).await?;
        Ok(outcome.encode_to_vec().into())
    }
}
