//! `skep swarm unlock`.

use skep_proto::skep::UnlockRequest;

use crate::{commands::Session, errors::Failure, input};

/// Open a manager that waits for the unlock key.
///
/// The key is asked for without showing it, or read from the standard input; it is never an argument, which others on
/// the machine could see.
#[derive(Debug, clap::Args)]
pub struct Unlock {}

impl Unlock {
    /// Asks for the key and opens the manager.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let connection = &session.connection;
        let key = input::key("Enter unlock key: ")?;
        let request = connection.request(UnlockRequest { unlock_key: key.to_string() });
        let reply = connection.daemon().unlock(request).await;
        reply.map_err(Failure::call("unlock this manager"))?;
        Ok(())
    }
}
