//! `skep task`: what the managers made of services, one container each. Services are changed; tasks are only looked at.

mod filter;
mod history;
mod rows;

use clap::Subcommand;
use skep_proto::swarmkit::{ListTasksRequest, Task, list_tasks_request::Filters};
use tonic::{Code, Status};

pub use rows::{Names, name, print, without_digest};

use crate::{
    commands::Session,
    connect::Connection,
    errors::Failure,
    output::{InspectOptions, ListOptions},
    shapes, stored,
};

/// The commands of `skep task`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List tasks, those that have ended too
    #[command(alias = "list")]
    Ls(List),
    /// Print tasks in full
    Inspect(Inspect),
}

/// What every listing of tasks can be told.
#[derive(Debug, clap::Args)]
pub struct Listing {
    /// Show only what matches: id=PREFIX, name=PREFIX, node=NODE, service=SERVICE,
    /// desired-state=running|ready|complete|shutdown|remove, state=STATE
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Print IDs of services and nodes instead of names
    #[arg(long)]
    pub no_resolve: bool,
    /// Print IDs, images and errors in full
    #[arg(long)]
    pub no_trunc: bool,
    #[command(flatten)]
    pub options: ListOptions,
}

/// List tasks.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    listing: Listing,
}

/// Print tasks in full.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// IDs or beginnings of IDs
    #[arg(required = true)]
    tasks: Vec<String>,
    #[command(flatten)]
    options: InspectOptions,
}

/// Runs a command of `skep task`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Ls(list) => print(Filters::default(), list.listing, session).await,
        Command::Inspect(inspect) => inspect.run(session).await,
    }
}

impl Inspect {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for given in &self.tasks {
            match resolve(&session.connection, given).await {
                Ok(Some(task)) => found.push(shapes::task::inspected(&task)),
                Ok(None) => {
                    failures.push(Failure::NotFound { noun: "task", name: given.clone() });
                }
                Err(failure) => failures.push(failure),
            }
        }
        session.output.inspect(&found, &self.options)?;
        stored::all_done(failures)
    }
}

/// The tasks that `filters` name.
pub async fn list(connection: &Connection, filters: Filters) -> Result<Vec<Task>, Failure> {
    list_raw(connection, filters).await.map_err(Failure::call("list tasks"))
}

/// As [`list`], for callers that go on when the daemon cannot answer.
pub async fn list_raw(connection: &Connection, filters: Filters) -> Result<Vec<Task>, Status> {
    let request = connection.request(ListTasksRequest { filters: Some(filters) });
    Ok(connection.control().list_tasks(request).await?.into_inner().tasks)
}

/// The one task whose id is `given` or begins with it, if there is one.
pub async fn resolve(connection: &Connection, given: &str) -> Result<Option<Task>, Failure> {
    let filters = Filters { id_prefixes: vec![given.to_owned()], ..Filters::default() };
    let request = connection.request(ListTasksRequest { filters: Some(filters) });
    let mut found = match connection.control().list_tasks(request).await {
        Ok(reply) => reply.into_inner().tasks,
        // What can be no beginning of an id may be a name of something else.
        Err(status) if status.code() == Code::InvalidArgument => Vec::new(),
        Err(status) => return Err(Failure::call(format!("look up task {given}"))(status)),
    };
    if let Some(exact) = found.iter().position(|task| task.id == given) {
        return Ok(Some(found.swap_remove(exact)));
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        count => Err(Failure::Ambiguous { noun: "task", name: given.to_owned(), count }),
    }
}
