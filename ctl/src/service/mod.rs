//! `skep service`: what the swarm keeps running.
//!
//! `options` and `lists` turn a command line into a spec, `change` brings it to the managers, `wait` follows what they
//! make of it.

mod change;
mod create;
mod diff;
mod dry_run;
mod explain;
mod inspect;
mod list;
mod lists;
pub mod logs;
mod options;
mod plan;
pub mod ports;
mod pretty;
mod quantities;
mod registry;
mod update;
mod wait;
mod words;

use clap::Subcommand;
use skep_proto::swarmkit::{Service, Task};

use crate::{
    commands::Session, connect::Connection, errors::Failure, resolve::resolve, stored, task,
};

/// The commands of `skep service`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a service
    Create(Box<create::Create>),
    /// Say why the tasks of a service, or one task, do not run, node by node
    Explain(explain::Explain),
    /// Print services in full
    Inspect(inspect::Inspection),
    /// Print what the containers of a service, or of one task, wrote
    Logs(logs::Logs),
    /// List services
    #[command(alias = "list")]
    Ls(list::List),
    /// List the tasks of services
    Ps(list::Tasks),
    /// Remove services; their tasks are stopped
    #[command(alias = "remove")]
    Rm(stored::Remove),
    /// Go back to a service's previous spec
    Rollback(update::RollBack),
    /// Change the number of tasks of services
    Scale(update::Scale),
    /// Change a service
    Update(Box<update::Update>),
}

/// Runs a command of `skep service`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Inspect(inspect) => inspect.run(session).await,
        Command::Explain(explain) => explain.run(session).await,
        Command::Logs(logs) => logs.run(session).await,
        Command::Ls(list) => list.run(session).await,
        Command::Ps(tasks) => tasks.run(session).await,
        Command::Rm(remove) => stored::remove::<Service>(&remove.names, false, session).await,
        Command::Rollback(rollback) => rollback.run(session).await,
        Command::Scale(scale) => scale.run(session).await,
        Command::Update(update) => update.run(session).await,
    }
}

/// What an operator may name where both a service and a single task make sense.
enum Subject {
    Service(Box<Service>),
    Task(Box<Task>),
}

/// The service that `given` names, else the task.
async fn subject(connection: &Connection, given: &str) -> Result<Subject, Failure> {
    match resolve::<Service>(connection, given).await {
        Ok(service) => Ok(Subject::Service(Box::new(service))),
        Err(missing @ Failure::NotFound { .. }) => match task::resolve(connection, given).await? {
            Some(task) => Ok(Subject::Task(Box::new(task))),
            None => Err(missing),
        },
        Err(failure) => Err(failure),
    }
}
