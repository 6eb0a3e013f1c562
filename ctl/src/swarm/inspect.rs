//! `skep swarm inspect`.

use crate::{cluster::cluster, commands::Session, errors::Failure, output::InspectOptions, shapes};

/// Print the swarm and its settings. Tokens and keys have commands of their own.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[command(flatten)]
    options: InspectOptions,
}

impl Inspect {
    /// Prints the cluster.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let cluster = cluster(&session.connection).await?;
        session.output.inspect(&[shapes::cluster::inspected(&cluster)], &self.options)
    }
}
