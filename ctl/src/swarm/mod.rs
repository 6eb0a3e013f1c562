//! `skep swarm`: founding, joining and leaving the swarm, its keys and its settings. A file for each command.

pub mod ca;
pub mod init;
pub mod inspect;
pub mod join;
pub mod join_token;
pub mod leave;
pub mod unlock;
pub mod unlock_key;
pub mod update;

use clap::{Subcommand, ValueEnum};

use crate::{commands::Session, errors::Failure};

/// The commands of `skep swarm`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Found a swarm with this daemon as its first manager
    Init(init::Init),
    /// Join a swarm; the token decides whether as a worker or as a manager
    Join(join::Join),
    /// Leave the swarm
    Leave(leave::Leave),
    /// Print what a machine types to join, and rotate the tokens
    JoinToken(join_token::JoinToken),
    /// Open a manager that waits for the unlock key
    Unlock(unlock::Unlock),
    /// Print and rotate the key that opens locked managers
    UnlockKey(unlock_key::UnlockKey),
    /// Change the swarm's settings
    Update(update::Update),
    /// Print and rotate the swarm's root certificate
    Ca(ca::Ca),
    /// Print the swarm and its settings
    Inspect(inspect::Inspect),
}

/// Whether a node takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Availability {
    /// Takes tasks
    Active,
    /// Keeps the tasks it has and takes no new ones
    Pause,
    /// Has no tasks
    Drain,
}

impl Availability {
    /// The word that stands for it.
    pub fn word(self) -> &'static str {
        match self {
            Availability::Active => "active",
            Availability::Pause => "pause",
            Availability::Drain => "drain",
        }
    }
}

/// Runs a command of `skep swarm`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Init(init) => init.run(session).await,
        Command::Join(join) => join.run(session).await,
        Command::Leave(leave) => leave.run(session).await,
        Command::JoinToken(join_token) => join_token.run(session).await,
        Command::Unlock(unlock) => unlock.run(session).await,
        Command::UnlockKey(unlock_key) => unlock_key.run(session).await,
        Command::Update(update) => update.run(session).await,
        Command::Ca(ca) => ca.run(session).await,
        Command::Inspect(inspect) => inspect.run(session).await,
    }
}
