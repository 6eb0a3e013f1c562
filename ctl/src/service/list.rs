//! `skep service ls` and `ps`.

use serde_json::{Value, json};
use skep_proto::swarmkit::{
    ListServiceStatusesRequest, Service, list_service_statuses_response::ServiceStatus,
    list_tasks_request::Filters, port_config::PublishMode, service_spec::Mode, task_spec::Runtime,
};

use super::ports;
use crate::{
    commands::Session,
    errors::Failure,
    objects::Stored as _,
    output::{Column, Format, ListOptions, column, short_id},
    resolve::resolve,
    shapes, stored,
    stored::Shown,
    task::{self, Listing, without_digest},
};

/// List services.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Show only what matches: id=PREFIX, name=PREFIX, label=KEY[=VALUE],
    /// mode=replicated|global|replicated-job|global-job
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print IDs and images in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    options: ListOptions,
}

/// List the tasks of services.
#[derive(Debug, clap::Args)]
pub struct Tasks {
    #[command(flatten)]
    listing: Listing,
    /// IDs, beginnings of IDs, or names
    #[arg(required = true)]
    services: Vec<String>,
}

impl List {
    /// Prints a row for each service, with how many of its tasks run.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mode = |filter: &String| filter.strip_prefix("mode=").map(str::to_owned);
        let modes: Vec<String> = self.filter.iter().filter_map(mode).collect();
        let others: Vec<String> =
            self.filter.iter().filter(|f| mode(f).is_none()).cloned().collect();
        let selection = stored::selection(&others)?;
        let services = Service::list(&session.connection, selection).await;
        let mut services = services.map_err(Failure::call("list services"))?;
        let word =
            |s: &Service| shapes::service::mode(s.spec.as_ref().and_then(|s| s.mode.as_ref()));
        services.retain(|s| modes.is_empty() || modes.iter().any(|m| m == word(s)));
        services.sort_by(|a, b| (a.name(), &a.id).cmp(&(b.name(), &b.id)));
        let statuses = self.statuses(&session, &services).await?;
        let cut = self.options.format == Format::Table && !self.options.quiet && !self.no_trunc;
        let rows: Vec<Value> = services
            .iter()
            .map(|service| {
                let mut row = service.row();
                row["Replicas"] = running(service, &statuses).into();
                if cut {
                    row["ID"] = short_id(&service.id).into();
                    row["Image"] = row["Image"].as_str().map(without_digest).into();
                }
                row
            })
            .collect();
        session.output.list(Service::COLUMNS, &rows, &self.options)
    }

    async fn statuses(
        &self,
        session: &Session,
        services: &[Service],
    ) -> Result<Vec<ServiceStatus>, Failure> {
        if services.is_empty() || self.options.quiet {
            return Ok(Vec::new());
        }
        let ids = services.iter().map(|s| s.id.clone()).collect();
        let request = session.connection.request(ListServiceStatusesRequest { services: ids });
        let reply = session.connection.control().list_service_statuses(request).await;
        Ok(reply.map_err(Failure::call("count the tasks of services"))?.into_inner().statuses)
    }
}

impl Tasks {
    /// Prints a row for each task of the services. One that does not exist does not keep the others.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let mut filters = Filters::default();
        let mut failures = Vec::new();
        for given in &self.services {
            match resolve::<Service>(&session.connection, given).await {
                Ok(service) => filters.service_ids.push(service.id),
                Err(failure) => failures.push(failure),
            }
        }
        if !filters.service_ids.is_empty() {
            task::print(filters, self.listing, session).await?;
        }
        stored::all_done(failures)
    }
}

/// `2/3`, of a job with how many are done, and with the limit for one node.
fn running(service: &Service, statuses: &[ServiceStatus]) -> String {
    let status = statuses.iter().find(|s| s.service_id == service.id).cloned().unwrap_or_default();
    let spec = service.spec.as_ref();
    let of = |asked: u64| format!("{}/{asked}", status.running_tasks);
    let limit = spec.and_then(|s| s.task.as_ref()).and_then(|t| t.placement.as_ref());
    let limit = match limit.map_or(0, |p| p.max_replicas) {
        0 => String::new(),
        most => format!(" (max {most} per node)"),
    };
    match spec.and_then(|s| s.mode.as_ref()) {
        Some(Mode::Replicated(replicated)) => of(replicated.replicas) + &limit,
        Some(Mode::ReplicatedJob(job)) => {
            let (done, total) = (status.completed_tasks, job.total_completions);
            format!("{} ({done}/{total} completed)", of(job.max_concurrent)) + &limit
        }
        Some(Mode::GlobalJob(_)) => {
            let all = status.desired_tasks.max(status.completed_tasks);
            format!("{} ({}/{all} completed)", of(status.desired_tasks), status.completed_tasks)
        }
        _ => of(status.desired_tasks),
    }
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
        let image = match spec.task.as_deref().and_then(|t| t.runtime.clone()) {
            Some(Runtime::Container(container)) => container.image,
            _ => String::new(),
        };
        // What the managers chose, once they have, else what was asked for.
        let chosen = self.endpoint.as_ref().map(|e| e.ports.clone()).filter(|p| !p.is_empty());
        let ports = chosen.or(spec.endpoint.map(|e| e.ports)).unwrap_or_default();
        let ports: Vec<String> = ports
            .iter()
            // Where a port is published on the tasks' own nodes, the tasks show it.
            .filter(|port| port.publish_mode() == PublishMode::Ingress)
            .map(ports::shown)
            .collect();
        json!({
            "ID": self.id,
            "Name": self.name(),
            "Mode": shapes::service::mode(spec.mode.as_ref()),
            "Replicas": "",
            "Image": image,
            "Ports": ports.join(", "),
        })
    }

    fn inspected(&self) -> Value {
        shapes::service::inspected(self)
    }
}
