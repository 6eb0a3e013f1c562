//! `skep node update`, `promote` and `demote`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use skep_proto::swarmkit::{NodeRole, NodeSpec, node_spec};

use crate::{
    cluster::update_node, commands::Session, errors::Failure, input::pairs, resolve::resolve_node,
    stored, swarm::Availability,
};

/// Change a node's availability, role or labels.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// Whether the node takes work
    #[arg(long)]
    availability: Option<Availability>,
    /// What the node is to be
    #[arg(long)]
    role: Option<Role>,
    /// Add or change a label
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a label
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// ID, beginning of an ID, host name, or 'self'
    node: String,
}

/// Make workers managers.
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// IDs, beginnings of IDs, or host names
    #[arg(required = true)]
    nodes: Vec<String>,
}

/// Make managers workers.
#[derive(Debug, clap::Args)]
pub struct Demote {
    /// IDs, beginnings of IDs, or host names
    #[arg(required = true)]
    nodes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Runs tasks
    Worker,
    /// Holds the swarm's state and decides
    Manager,
}

impl From<Role> for NodeRole {
    fn from(role: Role) -> NodeRole {
        match role {
            Role::Worker => NodeRole::Worker,
            Role::Manager => NodeRole::Manager,
        }
    }
}

impl Update {
    /// Makes the changes and prints the node as it was named.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let node = resolve_node(&session.connection, &self.node).await?;
        let present = |spec: &NodeSpec, key: &String| {
            spec.annotations.as_ref().is_some_and(|a| a.labels.contains_key(key))
        };
        let spec = node.spec.clone().unwrap_or_default();
        if let Some(key) = self.label_rm.iter().find(|key| !present(&spec, key)) {
            let text = format!("cannot update node {}: it has no label {key}", self.node);
            return Err(Failure::Invalid(text));
        }
        let added = pairs(&self.label_add);
        update_node(&session.connection, node, |spec| {
            self.apply(spec, &added);
            true
        })
        .await?;
        session.output.line(&self.node)
    }

    fn apply(&self, spec: &mut NodeSpec, added: &BTreeMap<String, String>) {
        if let Some(availability) = self.availability {
            spec.set_availability(match availability {
                Availability::Active => node_spec::Availability::Active,
                Availability::Pause => node_spec::Availability::Pause,
                Availability::Drain => node_spec::Availability::Drain,
            });
        }
        if let Some(role) = self.role {
            spec.set_desired_role(role.into());
        }
        if added.is_empty() && self.label_rm.is_empty() {
            return;
        }
        let labels = &mut spec.annotations.get_or_insert_default().labels;
        labels.extend(added.clone());
        for key in &self.label_rm {
            labels.remove(key);
        }
    }
}

impl Promote {
    /// Asks for each node to become a manager.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let done = |node: &str| format!("Node {node} promoted to a manager in the swarm.");
        let already = |node: &str| format!("Node {node} is already a manager.");
        set_role(&self.nodes, Role::Manager, done, already, session).await
    }
}

impl Demote {
    /// Asks for each node to become a worker.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let done = |node: &str| format!("Manager {node} demoted in the swarm.");
        let already = |node: &str| format!("Node {node} is already a worker.");
        set_role(&self.nodes, Role::Worker, done, already, session).await
    }
}

/// Sets what each node is to be. One that fails does not keep the others.
async fn set_role(
    nodes: &[String],
    role: Role,
    done: impl Fn(&str) -> String,
    already: impl Fn(&str) -> String,
    mut session: Session,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for given in nodes {
        let changed = async {
            let node = resolve_node(&session.connection, given).await?;
            let change = |spec: &mut NodeSpec| {
                let changes = spec.desired_role() != role.into();
                spec.set_desired_role(role.into());
                changes
            };
            update_node(&session.connection, node, change).await
        };
        match changed.await {
            Ok(true) => session.output.line(done(given))?,
            Ok(false) => session.output.line(already(given))?,
            Err(failure) => failures.push(failure),
        }
    }
    stored::all_done(failures)
}
