//! `skep node ps`.

use skep_proto::swarmkit::list_tasks_request::Filters;

use crate::{
    commands::Session,
    errors::Failure,
    resolve::resolve_node,
    task::{self, Listing},
};

/// List the tasks of nodes.
#[derive(Debug, clap::Args)]
pub struct Tasks {
    #[command(flatten)]
    listing: Listing,
    /// IDs, beginnings of IDs, host names, or 'self'
    #[arg(default_value = "self")]
    nodes: Vec<String>,
}

impl Tasks {
    /// Prints a row for each task of the nodes.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let mut filters = Filters::default();
        for given in &self.nodes {
            filters.node_ids.push(resolve_node(&session.connection, given).await?.id);
        }
        task::print(filters, self.listing, session).await
    }
}
