//! `skep service`: stored for now; a later release schedules the work.

mod create;
mod mounts;
mod ports;
mod quantities;

use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::swarmkit::{
    ListServiceStatusesRequest, Service, list_service_statuses_response::ServiceStatus,
    service_spec::Mode, task_spec::Runtime,
};

use crate::{
    commands::Session,
    errors::Failure,
    objects::Stored as _,
    output::{Column, column},
    shapes,
    stored::{self, Shown},
};

/// The commands of `skep service`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a service
    Create(Box<create::Create>),
    /// List services
    #[command(alias = "list")]
    Ls(stored::List),
    /// Print services in full
    Inspect(stored::Inspect),
    /// Remove services
    #[command(alias = "remove")]
    Rm(stored::Remove),
}

/// Runs a command of `skep service`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Ls(list) => self::list(list, session).await,
        Command::Inspect(inspect) => stored::inspect::<Service>(inspect, session).await,
        Command::Rm(remove) => stored::remove::<Service>(&remove.names, false, session).await,
    }
}

/// Lists services, each with how many of its tasks run.
async fn list(command: stored::List, mut session: Session) -> Result<(), Failure> {
    let selection = stored::selection(&command.filter)?;
    let services = Service::list(&session.connection, selection).await;
    let mut services = services.map_err(Failure::call("list services"))?;
    services.sort_by(|a, b| (a.name(), &a.id).cmp(&(b.name(), &b.id)));
    let ids: Vec<String> = services.iter().map(|s| s.id.clone()).collect();
    let statuses = if ids.is_empty() || command.options.quiet {
        Vec::new()
    } else {
        let request = session.connection.request(ListServiceStatusesRequest { services: ids });
        let reply = session.connection.control().list_service_statuses(request).await;
        reply.map_err(Failure::call("count the tasks of services"))?.into_inner().statuses
    };
    let rows: Vec<Value> = services
        .iter()
        .map(|service| {
            let mut row = service.row();
            row["Replicas"] = running(service, &statuses).into();
            row
        })
        .collect();
    session.output.list(Service::COLUMNS, &rows, &command.options)
}

fn running(service: &Service, statuses: &[ServiceStatus]) -> String {
    let status = statuses.iter().find(|s| s.service_id == service.id).cloned().unwrap_or_default();
    let asked = match service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        Some(Mode::Replicated(replicated)) => replicated.replicas,
        _ => status.desired_tasks,
    };
    format!("{}/{asked}", status.running_tasks)
}

impl Shown for Service {
    const COLUMNS: &'static [Column] = &[
        column("ID", "ID"),
        column("Name", "NAME"),
        column("Mode", "MODE"),
        column("Replicas", "REPLICAS"),
        column("Image", "IMAGE"),
        column("Ports", "PORTS"),
    ];

    fn row(&self) -> Value {
        let spec = self.spec.clone().unwrap_or_default();
        let image = match spec.task.and_then(|t| t.runtime) {
            Some(Runtime::Container(container)) => container.image,
            _ => String::new(),
        };
        let ports = spec.endpoint.map(|e| e.ports).unwrap_or_default();
        json!({
            "ID": self.id,
            "Name": self.name(),
            "Mode": shapes::service::mode(spec.mode.as_ref()),
            "Replicas": "",
            "Image": image,
            "Ports": ports.iter().map(ports::shown).collect::<Vec<_>>().join(", "),
        })
    }

    fn inspected(&self) -> Value {
        shapes::service::inspected(self)
    }
}
