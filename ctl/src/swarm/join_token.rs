//! `skep swarm join-token`.

use clap::ValueEnum;
use skep_proto::{skep::GetStatusRequest, swarmkit::KeyRotation};

use crate::{
    cluster::{cluster, update_cluster},
    commands::Session,
    errors::Failure,
};

/// Print what a machine types to join, and rotate the tokens.
#[derive(Debug, clap::Args)]
pub struct JoinToken {
    /// Make a new token; the old one lets nobody in any more
    #[arg(long)]
    rotate: bool,
    /// Print the token only
    #[arg(short, long)]
    quiet: bool,
    /// What the machine is to become
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Runs tasks
    Worker,
    /// Holds the swarm's state and decides
    Manager,
}

impl JoinToken {
    /// Prints the token, and the command that uses it.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let (word, rotation) = match self.role {
            Role::Worker => {
                ("worker", KeyRotation { worker_join_token: true, ..KeyRotation::default() })
            }
            Role::Manager => {
                ("manager", KeyRotation { manager_join_token: true, ..KeyRotation::default() })
            }
        };
        // The reply to the rotation holds the new token; this manager's own copy may lag behind the leader's.
        let cluster = if self.rotate {
            update_cluster(connection, rotation, |_| {}).await?
        } else {
            cluster(connection).await?
        };
        let tokens = cluster.root_ca.and_then(|ca| ca.join_tokens);
        let missing =
            || Failure::Incomplete { doing: "read the join tokens".into(), missing: "join tokens" };
        let tokens = tokens.ok_or_else(missing)?;
        let token = if self.role == Role::Worker { tokens.worker } else { tokens.manager };
        if self.quiet {
            return output.line(token);
        }
        if self.rotate {
            output.line(format!("Successfully rotated {word} join token.\n"))?;
        }
        let status = connection.daemon().get_status(connection.request(GetStatusRequest {})).await;
        let addr = status
            .map_err(Failure::call("ask the daemon for its address"))?
            .into_inner()
            .advertise_addr;
        output.line(format!("To add a {word} to this swarm, run the following command:\n"))?;
        output.line(format!("    skep swarm join --token {token} {addr}\n"))?;
        if self.role == Role::Worker {
            output.line("or, on the machine of a Docker Engine:\n")?;
            output.line(format!("    docker swarm join --token {token} {addr}\n"))?;
        }
        Ok(())
    }
}
