//! `skep swarm leave`.

use skep_proto::skep::LeaveRequest;

use crate::{commands::Session, errors::Failure};

/// Leave the swarm.
#[derive(Debug, clap::Args)]
pub struct Leave {
    /// Leave although this is a manager that the quorum may need, or the last one: the swarm may be lost
    #[arg(short, long)]
    force: bool,
}

impl Leave {
    /// Leaves.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let connection = &session.connection;
        let request = connection.request(LeaveRequest { force: self.force });
        let reply = connection.daemon().leave(request).await;
        reply.map_err(Failure::call("leave the swarm"))?;
        session.output.line("Node left the swarm.")
    }
}
