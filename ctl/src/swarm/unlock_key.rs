//! `skep swarm unlock-key`.

use std::time::Duration;

use skep_proto::{skep::GetKeysRequest, swarmkit::KeyRotation};
use zeroize::Zeroizing;

use crate::{
    cluster::update_cluster, commands::Session, connect::Connection, errors::Failure,
    output::Output,
};

/// How often the daemon is asked whether a new key has reached it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Print and rotate the key that opens locked managers.
#[derive(Debug, clap::Args)]
pub struct UnlockKey {
    /// Make a new key; keep the old one until every manager has the new one
    #[arg(long)]
    rotate: bool,
    /// Print the key only
    #[arg(short, long)]
    quiet: bool,
}

impl UnlockKey {
    /// Prints the key.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let mut key = current(connection).await?;
        if key.is_empty() {
            return Err(Failure::Invalid(
                "no unlock key is set: this swarm does not lock its managers \
                 ('skep swarm update --autolock=true' would)"
                    .into(),
            ));
        }
        if self.rotate {
            let rotation = KeyRotation { manager_unlock_key: true, ..KeyRotation::default() };
            update_cluster(connection, rotation, |_| {}).await?;
            key = changed(connection, &key).await?;
        }
        if self.quiet {
            return output.line(key.as_str());
        }
        if self.rotate {
            output.line("Successfully rotated manager unlock key.\n")?;
        }
        print_instructions(output, &key)
    }
}

/// The unlock key that the daemon knows; empty when the swarm does not lock its managers.
pub async fn current(connection: &Connection) -> Result<Zeroizing<String>, Failure> {
    let reply = connection.daemon().get_keys(connection.request(GetKeysRequest {})).await;
    let reply = reply.map_err(Failure::call("read the unlock key"))?.into_inner();
    Ok(Zeroizing::new(reply.unlock_key))
}

/// Waits until the daemon has another key than `old`: the leader has it first, and this may be a follower.
pub async fn changed(connection: &Connection, old: &str) -> Result<Zeroizing<String>, Failure> {
    let poll = async {
        loop {
            let key = current(connection).await?;
            if key.as_str() != old {
                return Ok(key);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let limit = connection.timeout();
    tokio::time::timeout(limit, poll).await.unwrap_or_else(|_| {
        Err(Failure::NotConverged {
            waiting_for: "the new unlock key to reach this manager".into(),
            limit,
            hint: "'skep swarm unlock-key' will show it".into(),
        })
    })
}

/// Prints the key with what it is for.
pub fn print_instructions(output: &mut Output, key: &str) -> Result<(), Failure> {
    output.line(format!(
        "To unlock a swarm manager after it restarts, run 'skep swarm unlock' and give it this key:\n\n    \
         {key}\n\n\
         Keep it in a password manager: without it a manager that has stopped cannot be started again."
    ))
}
