//! `skep`: the operator's command line.
//!
//! It talks to one daemon through its control socket, in Docker's words. Each file under `swarm/` and `node/`, and
//! each of the others beside this one, is a group of commands; `output`, `fields` and `shapes` are how things are
//! printed, `resolve`, `objects` and `cluster` how they are found and changed, `errors` what can go wrong.
//!
//! Exit codes: 0 done; 1 failed; 2 the command line makes no sense; 3 the request was taken but its effect was not
//! seen in time.

#![forbid(unsafe_code)]

mod cluster;
mod commands;
mod config;
mod connect;
mod errors;
mod events;
mod fields;
mod input;
mod network;
mod node;
mod objects;
mod output;
mod page;
mod raft;
mod resolve;
mod secret;
mod service;
mod shapes;
mod status;
mod stored;
mod swarm;
mod task;

use std::process::ExitCode;

use clap::Parser as _;

use crate::commands::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start: {error}");
            return ExitCode::from(errors::EXIT_ERROR);
        }
    };
    match runtime.block_on(commands::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
