//! `skep node ls`.

use serde_json::{Value, json};
use skep_proto::swarmkit::{
    Cluster, ListNodesRequest, Node, NodeRole, list_nodes_request::Filters, node_spec::Membership,
};

use crate::{
    cluster::cluster,
    commands::Session,
    errors::Failure,
    fields,
    input::pairs,
    objects::Stored as _,
    output::{Column, Format, ListOptions, column},
    resolve::own_node_id,
    shapes::words,
};

const COLUMNS: &[Column] = &[
    column("ID", "ID"),
    column("Hostname", "HOSTNAME"),
    column("Status", "STATUS"),
    column("Availability", "AVAILABILITY"),
    column("ManagerStatus", "MANAGER STATUS"),
    column("EngineVersion", "ENGINE VERSION"),
];

/// List nodes.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Show only what matches: id=PREFIX, name=PREFIX, role=worker|manager, node.label=KEY[=VALUE],
    /// label=KEY[=VALUE] (the engine's), membership=accepted|pending
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    options: ListOptions,
}

impl List {
    /// Prints a row for each node, in the order of host names; '*' marks the one that answers.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let request = ListNodesRequest { filters: Some(filters(&self.filter)?) };
        let reply = connection.control().list_nodes(connection.request(request)).await;
        let mut nodes = reply.map_err(Failure::call("list nodes"))?.into_inner().nodes;
        nodes.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
        let own = own_node_id(connection).await?;
        let cluster = if self.needs_cluster() { Some(cluster(connection).await?) } else { None };

        let mut rows: Vec<Value> =
            nodes.iter().map(|node| row(node, node.id == own, cluster.as_ref())).collect();
        if self.options.format == Format::Table && !self.options.quiet {
            for row in rows.iter_mut().filter(|row| row["Self"] == true) {
                row["ID"] = format!("{} *", fields::plain(&row["ID"])).into();
            }
        }
        output.list(COLUMNS, &rows, &self.options)
    }

    /// Only the state of a node's TLS needs the cluster's root, and the table does not show it.
    fn needs_cluster(&self) -> bool {
        self.options.format != Format::Table && !self.options.quiet
    }
}

fn row(node: &Node, own: bool, cluster: Option<&Cluster>) -> Value {
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
    json!({
        "ID": node.id,
        "Self": own,
        "Hostname": node.name(),
        "Status": words::capitalized(words::node_state(node)),
        "Availability": words::capitalized(words::availability(node)),
        "ManagerStatus": manager_status(node),
        "EngineVersion": engine.map_or("", |e| &e.engine_version),
        "TLSStatus": cluster.map_or("", |cluster| tls_status(node, cluster)),
    })
}

fn manager_status(node: &Node) -> String {
    match &node.manager_status {
        None => String::new(),
        Some(status) if status.leader => "Leader".into(),
        Some(_) => words::capitalized(words::reachability(node)),
    }
}

fn tls_status<'s>(node: &Node, cluster: &Cluster) -> &'s str {
    let tls = node.description.as_ref().and_then(|d| d.tls_info.as_ref());
    let Some((tls, ca)) = tls.zip(cluster.root_ca.as_ref()) else { return "Unknown" };
    if tls.trust_root == ca.ca_cert && ca.root_rotation.is_none() {
        "Ready"
    } else {
        "Needs Rotation"
    }
}

fn filters(given: &[String]) -> Result<Filters, Failure> {
    let mut filters = Filters::default();
    for filter in given {
        let refused = |why: &str| Failure::Usage(format!("--filter {filter}: {why}"));
        let (key, value) = filter.split_once('=').ok_or_else(|| refused("write KEY=VALUE"))?;
        match (key, value) {
            ("id", _) => filters.id_prefixes.push(value.into()),
            ("name", _) => filters.name_prefixes.push(value.into()),
            ("label", _) => filters.labels.extend(pairs(&[value.to_owned()])),
            ("node.label", _) => filters.node_labels.extend(pairs(&[value.to_owned()])),
            ("role", "worker") => filters.roles.push(NodeRole::Worker.into()),
            ("role", "manager") => filters.roles.push(NodeRole::Manager.into()),
            ("role", _) => return Err(refused("the roles are worker and manager")),
            ("membership", "accepted") => filters.memberships.push(Membership::Accepted.into()),
            ("membership", "pending") => filters.memberships.push(Membership::Pending.into()),
            ("membership", _) => return Err(refused("write accepted or pending")),
            _ => {
                return Err(refused(
                    "the keys are id, name, role, node.label, label and membership",
                ));
            }
        }
    }
    Ok(filters)
}
