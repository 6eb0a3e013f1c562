//! `skep service create`: from options to a spec.

use skep_proto::swarmkit::{Annotations, CreateServiceRequest, EndpointSpec, Service, ServiceSpec};

use super::{
    dry_run,
    lists::CreateLists,
    options::{Mode, Options, container_of, of_kind},
    wait::{Asked, WaitOptions},
};
use crate::{commands::Session, connect::Connection, errors::Failure, objects::Stored as _};

/// Create a service, and wait until its tasks run.
#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    lists: CreateLists,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    wait: WaitOptions,
    /// What the swarm keeps running
    #[arg(long, default_value = "replicated")]
    mode: Mode,
    /// The service's name [default: a random one]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    dry_run: dry_run::DryRun,
    #[command(flatten)]
    registry: super::registry::RegistryOptions,
    /// The image that the containers run
    image: String,
    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Create {
    /// Creates the service, prints its id, and waits until it has converged.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let spec = self.spec(&session.connection).await?;
        let name = spec.annotations.as_ref().map(|a| a.name.clone()).unwrap_or_default();
        if self.dry_run.is_asked() {
            return dry_run::show(&mut session, None, &spec).await;
        }
        let service = create(&session.connection, &name, spec).await?;
        session.output.line(&service.id)?;
        self.wait.wait(&session.connection, &service, Asked::Spec).await
    }

    async fn spec(&self, connection: &Connection) -> Result<ServiceSpec, Failure> {
        let mut spec = ServiceSpec {
            annotations: Some(Annotations {
                name: self.name.clone().unwrap_or_else(random_name),
                ..Annotations::default()
            }),
            mode: Some(of_kind(self.mode)),
            endpoint: Some(EndpointSpec::default()),
            ..ServiceSpec::default()
        };
        self.options.apply(&mut spec)?;
        self.lists.apply(connection, &mut spec).await?;
        let task = spec.task.get_or_insert_default();
        task.placement.get_or_insert_default();
        let container = container_of(task)?;
        container.image.clone_from(&self.image);
        // Docker's word: what follows the image are arguments; the command is the image's, or --entrypoint.
        container.args.clone_from(&self.command);
        self.registry.apply(container)?;
        Ok(spec)
    }
}

async fn create(
    connection: &Connection,
    name: &str,
    spec: ServiceSpec,
) -> Result<Service, Failure> {
    let doing = format!("create service {name}");
    let request = connection.request(CreateServiceRequest { spec: Some(spec) });
    let reply = connection.control().create_service(request).await;
    let service = reply.map_err(Failure::call(doing.clone()))?.into_inner().service;
    let service = service.ok_or(Failure::Incomplete { doing, missing: "service" })?;
    debug_assert_eq!(service.name(), name);
    Ok(service)
}

/// A name for a service that was given none: the beginning of a random id.
fn random_name() -> String {
    const NAME_LEN: usize = 12;
    let id = skep_proto::ids::Id::random(&mut rand::rng());
    format!("service-{}", &id.as_str()[..NAME_LEN])
}
