//! `skep service update`, `scale` and `rollback`: from one spec to another.

use skep_proto::swarmkit::{Service, ServiceSpec, service_spec::Mode};

use super::{
    change::{change, roll_back},
    dry_run::{self, DryRun},
    lists::UpdateLists,
    options::{CommandLine, Options, command_line, container_of},
    registry::RegistryOptions,
    wait::{Asked, WaitOptions},
};
use crate::{commands::Session, connect::Connection, errors::Failure, resolve::resolve, stored};

/// Change a service, and wait until its tasks are as it says now.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// The arguments of the containers' command; '' for the image's own
    #[arg(long, value_name = "ARGUMENTS", value_parser = command_line, allow_hyphen_values = true)]
    args: Option<CommandLine>,
    #[command(flatten)]
    lists: UpdateLists,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    wait: WaitOptions,
    /// Replace the tasks although nothing changes; runs a job again
    #[arg(long)]
    force: bool,
    /// The image that the containers run
    #[arg(long)]
    image: Option<String>,
    /// Go back to the previous spec; goes with no option that changes the spec
    #[arg(long)]
    rollback: bool,
    #[command(flatten)]
    dry_run: DryRun,
    #[command(flatten)]
    registry: RegistryOptions,
    /// ID, beginning of an ID, or name
    service: String,
}

/// Change the number of tasks of services, and wait until they run.
#[derive(Debug, clap::Args)]
pub struct Scale {
    #[command(flatten)]
    wait: WaitOptions,
    /// Which services to which number
    #[arg(required = true, value_name = "SERVICE=REPLICAS", value_parser = target)]
    targets: Vec<(String, u64)>,
}

/// Go back to a service's previous spec, and wait until its tasks are as that says.
#[derive(Debug, clap::Args)]
pub struct RollBack {
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    dry_run: DryRun,
    /// ID, beginning of an ID, or name
    service: String,
}

impl Update {
    /// Changes the service, prints it as it was named, and waits until it has converged.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let connection = session.connection.clone();
        if self.rollback {
            let service: Service = resolve(&connection, &self.service).await?;
            let mut spec = service.spec.clone().unwrap_or_default();
            self.edit(&connection, &mut spec).await?;
            if service.spec != Some(spec) {
                let text = "--rollback goes with no option that changes the spec";
                return Err(Failure::Usage(text.into()));
            }
            let Update { wait, dry_run, service, .. } = self;
            return RollBack { wait, dry_run, service }.run(session).await;
        }
        if self.dry_run.is_asked() {
            let service: Service = resolve(&connection, &self.service).await?;
            let mut spec = service.spec.clone().unwrap_or_default();
            self.edit(&connection, &mut spec).await?;
            return dry_run::show(&mut session, Some(&service), &spec).await;
        }
        let edit = async |_: &Service, spec: &mut ServiceSpec| self.edit(&connection, spec).await;
        let service = change(&connection, &self.service, edit).await?;
        session.output.line(&self.service)?;
        self.wait.wait(&connection, &service, Asked::Spec).await
    }

    async fn edit(&self, connection: &Connection, spec: &mut ServiceSpec) -> Result<(), Failure> {
        self.options.apply(spec)?;
        self.lists.apply(connection, spec).await?;
        let task = spec.task.get_or_insert_default();
        if self.force {
            task.force_update = task.force_update.wrapping_add(1);
        }
        let container = container_of(task)?;
        if let Some(image) = &self.image {
            container.image.clone_from(image);
        }
        if let Some(CommandLine(words)) = &self.args {
            container.args.clone_from(words);
        }
        self.registry.apply(container)
    }
}

impl Scale {
    /// Sets the number of tasks of each service, then waits for one after the other.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mut scaled = Vec::new();
        let mut failures = Vec::new();
        for (name, replicas) in &self.targets {
            let edit =
                async |_: &Service, spec: &mut ServiceSpec| set_replicas(name, spec, *replicas);
            match change(&session.connection, name, edit).await {
                Ok(service) => {
                    session.output.line(format!("{name} scaled to {replicas}"))?;
                    scaled.push(service);
                }
                Err(failure) => failures.push(failure),
            }
        }
        for service in &scaled {
            if let Err(failure) = self.wait.wait(&session.connection, service, Asked::Spec).await {
                failures.push(failure);
            }
        }
        stored::all_done(failures)
    }
}

impl RollBack {
    /// Brings the previous spec back, prints the service as it was named, and waits until it has converged.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        if self.dry_run.is_asked() {
            let service: Service = resolve(&session.connection, &self.service).await?;
            let Some(previous) = &service.previous_spec else {
                let text = format!("service {} does not have a previous spec", self.service);
                return Err(Failure::Invalid(text));
            };
            return dry_run::show(&mut session, Some(&service), previous).await;
        }
        let service = roll_back(&session.connection, &self.service).await?;
        session.output.line(&self.service)?;
        self.wait.wait(&session.connection, &service, Asked::Rollback).await
    }
}

fn set_replicas(name: &str, spec: &mut ServiceSpec, replicas: u64) -> Result<(), Failure> {
    match &mut spec.mode {
        Some(Mode::Replicated(replicated)) => replicated.replicas = replicas,
        Some(Mode::ReplicatedJob(job)) => {
            if job.max_concurrent == job.total_completions {
                job.max_concurrent = replicas;
            }
            job.total_completions = replicas;
        }
        _ => {
            let text = format!("service {name}: only replicated services can be scaled");
            return Err(Failure::Invalid(text));
        }
    }
    Ok(())
}

fn target(text: &str) -> Result<(String, u64), String> {
    let (name, replicas) = text.split_once('=').ok_or("write SERVICE=REPLICAS")?;
    let replicas = replicas.parse().map_err(|_| format!("'{replicas}' is no number of tasks"))?;
    if name.is_empty() { Err("write SERVICE=REPLICAS".into()) } else { Ok((name.into(), replicas)) }
}
