//! `skep node`: the swarm's machines.

mod list;
mod tasks;
mod update;

use clap::Subcommand;

use crate::{
    commands::Session, errors::Failure, output::InspectOptions, resolve::resolve_node, shapes,
    stored,
};
use skep_proto::swarmkit::Node;

/// The commands of `skep node`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List nodes
    #[command(alias = "list")]
    Ls(list::List),
    /// Print nodes in full
    Inspect(Inspect),
    /// List the tasks of nodes
    Ps(tasks::Tasks),
    /// Change a node's availability, role or labels
    Update(update::Update),
    /// Make workers managers
    Promote(update::Promote),
    /// Make managers workers
    Demote(update::Demote),
    /// Remove nodes that are down or have left
    #[command(alias = "remove")]
    Rm(Remove),
}

/// Print nodes in full.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// IDs, beginnings of IDs, host names, or 'self'
    #[arg(required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    options: InspectOptions,
}

/// Remove nodes.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// Remove it although it is not down: it is shut out at once
    #[arg(short, long)]
    force: bool,
    /// IDs, beginnings of IDs, or host names
    #[arg(required = true)]
    nodes: Vec<String>,
}

/// Runs a command of `skep node`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Ls(list) => list.run(session).await,
        Command::Inspect(inspect) => inspect.run(session).await,
        Command::Ps(tasks) => tasks.run(session).await,
        Command::Update(update) => update.run(session).await,
        Command::Promote(promote) => promote.run(session).await,
        Command::Demote(demote) => demote.run(session).await,
        Command::Rm(remove) => stored::remove::<Node>(&remove.nodes, remove.force, session).await,
    }
}

impl Inspect {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for given in &self.nodes {
            match resolve_node(&session.connection, given).await {
                Ok(node) => found.push(shapes::node::inspected(&node)),
                Err(failure) => failures.push(failure),
            }
        }
        session.output.inspect(&found, &self.options)?;
        stored::all_done(failures)
    }
}
