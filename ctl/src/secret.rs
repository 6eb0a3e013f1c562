//! `skep secret`: data that only the nodes that need it get.

use bytes::Bytes;
use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::swarmkit::{Annotations, CreateSecretRequest, Driver, Secret, SecretSpec};

use crate::{
    commands::Session,
    errors::Failure,
    input,
    objects::Stored as _,
    output::{Column, column},
    shapes::{payload, time},
    stored::{self, Shown},
};

/// The commands of `skep secret`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a secret
    Create(Create),
    /// List secrets
    #[command(alias = "list")]
    Ls(stored::List),
    /// Print secrets in full, without their data
    Inspect(stored::Inspect),
    /// Remove secrets
    #[command(alias = "remove")]
    Rm(stored::Remove),
}

/// Store a secret. Services name it with --secret.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The plugin that holds the data instead of the swarm
    #[arg(short, long, value_name = "NAME")]
    driver: Option<String>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// How templates in the data are filled in
    #[arg(long, value_name = "NAME")]
    template_driver: Option<String>,
    /// The secret's name
    name: String,
    /// The file that holds the data; '-' is the standard input
    #[arg(required_unless_present = "driver", value_name = "FILE|-")]
    file: Option<String>,
}

/// Runs a command of `skep secret`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Ls(list) => stored::list::<Secret>(list, session).await,
        Command::Inspect(inspect) => stored::inspect::<Secret>(inspect, session).await,
        Command::Rm(remove) => stored::remove::<Secret>(&remove.names, false, session).await,
    }
}

impl Create {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let data = self.file.as_deref().map(input::payload).transpose()?;
        let driver = |name: String| Driver { name, ..Driver::default() };
        let spec = SecretSpec {
            annotations: Some(Annotations {
                name: self.name.clone(),
                labels: input::pairs(&self.label),
                ..Annotations::default()
            }),
            data: data.map(|d| Bytes::copy_from_slice(&d)).unwrap_or_default(),
            templating: self.template_driver.map(driver),
            driver: self.driver.map(driver),
        };
        let request = session.connection.request(CreateSecretRequest { spec: Some(spec) });
        let reply = session.connection.control().create_secret(request).await;
        let doing = format!("create secret {}", self.name);
        let secret = reply.map_err(Failure::call(doing.clone()))?.into_inner().secret;
        let secret = secret.ok_or(Failure::Incomplete { doing, missing: "secret" })?;
        session.output.line(secret.id)
    }
}

impl Shown for Secret {
    const COLUMNS: &'static [Column] = &[
        column("ID", "ID"),
        column("Name", "NAME"),
        column("Driver", "DRIVER"),
        column("CreatedAt", "CREATED"),
        column("UpdatedAt", "UPDATED"),
    ];

    fn row(&self) -> Value {
        let driver = self.spec.as_ref().and_then(|s| s.driver.as_ref());
        let meta = self.meta.as_ref();
        json!({
            "ID": self.id,
            "Name": self.name(),
            "Driver": driver.map_or("", |d| &d.name),
            "CreatedAt": time::ago_or_nothing(meta.and_then(|m| m.created_at.as_ref())),
            "UpdatedAt": time::ago_or_nothing(meta.and_then(|m| m.updated_at.as_ref())),
        })
    }

    fn inspected(&self) -> Value {
        payload::secret(self)
    }
}
