//! `--dry-run`: what a command would change, without changing it.

use serde_json::{Value, json};
use skep_proto::swarmkit::{Service, ServiceSpec};

use super::{
    diff::{Difference, differences},
    plan,
};
use crate::{commands::Session, errors::Failure, shapes};

/// The option of commands that can say what they would do.
#[derive(Debug, clap::Args)]
pub struct DryRun {
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl DryRun {
    /// Whether the option was given.
    pub fn is_asked(&self) -> bool {
        self.dry_run
    }
}

/// Prints how `spec` differs from what `service` has, or from nothing, and where tasks would go.
pub async fn show(
    session: &mut Session,
    service: Option<&Service>,
    spec: &ServiceSpec,
) -> Result<(), Failure> {
    let own = service.and_then(|s| s.spec.clone());
    let old = own.map_or_else(|| json!({}), shapes::service::spec_value);
    let new: Value = shapes::service::spec_value(spec.clone());
    let found = differences(&old, &new);
    if found.is_empty() {
        session.output.line("The spec would not change.")?;
    }
    found.iter().map(Difference::line).try_for_each(|line| session.output.line(line))?;
    plan::show(session, service, spec).await
}
