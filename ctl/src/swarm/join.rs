//! `skep swarm join`.

use std::time::Duration;

use skep_proto::skep::JoinRequest;

use super::Availability;
use crate::{commands::Session, errors::Failure, input};

/// Joining dials managers, asks for a certificate and waits for the leader to dial back; each has retries.
const JOIN_LIMIT_MIN: Duration = Duration::from_secs(60);

/// Join a swarm; the token decides whether as a worker or as a manager.
#[derive(Debug, clap::Args)]
pub struct Join {
    /// The join token; '-' reads it from the standard input
    #[arg(long, env = "SKEP_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// The address that others reach this node by, HOST or HOST:PORT [default: what the daemon was started with]
    #[arg(long, value_name = "ADDR")]
    advertise_addr: Option<String>,
    /// Whether this node takes work [default: what the daemon was started with]
    #[arg(long)]
    availability: Option<Availability>,
    /// Managers of the swarm, tried in order
    #[arg(required = true, value_name = "HOST:PORT")]
    remote: Vec<String>,
}

impl Join {
    /// Joins and prints as what.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let connection = &session.connection;
        let token = match self.token.as_str() {
            "-" => input::key("Enter join token: ")?.to_string(),
            token => token.to_owned(),
        };
        let request = JoinRequest {
            remote_addrs: self.remote,
            token,
            advertise_addr: self.advertise_addr.unwrap_or_default(),
            availability: self.availability.map(|a| a.word().to_owned()).unwrap_or_default(),
        };
        let limit = connection.timeout().max(JOIN_LIMIT_MIN);
        let reply = connection.daemon().join(connection.request_within(request, limit)).await;
        let reply = reply.map_err(Failure::call("join the swarm"))?.into_inner();
        let role = reply.role.strip_prefix("swarm-").unwrap_or(&reply.role);
        session.output.line(format!("This node joined a swarm as a {role}."))
    }
}
