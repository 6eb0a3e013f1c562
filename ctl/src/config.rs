//! `skep config`: data that the nodes that need it get, and that is no secret.

use bytes::Bytes;
use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::swarmkit::{Annotations, Config, ConfigSpec, CreateConfigRequest, Driver};

use crate::{
    commands::Session,
    errors::Failure,
    input,
    objects::Stored as _,
    output::{Column, column},
    shapes::{payload, time},
    stored::{self, Shown},
};

/// The commands of `skep config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a config
    Create(Create),
    /// List configs
    #[command(alias = "list")]
    Ls(stored::List),
    /// Print configs in full
    Inspect(stored::Inspect),
    /// Remove configs
    #[command(alias = "remove")]
    Rm(stored::Remove),
}

/// Store a config. Services name it with --config.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// How templates in the data are filled in
    #[arg(long, value_name = "NAME")]
    template_driver: Option<String>,
    /// The config's name
    name: String,
    /// The file that holds the data; '-' is the standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// Runs a command of `skep config`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Ls(list) => stored::list::<Config>(list, session).await,
        Command::Inspect(inspect) => stored::inspect::<Config>(inspect, session).await,
        Command::Rm(remove) => stored::remove::<Config>(&remove.names, false, session).await,
    }
}

impl Create {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let data = input::payload(&self.file)?;
        let spec = ConfigSpec {
            annotations: Some(Annotations {
                name: self.name.clone(),
                labels: input::pairs(&self.label),
                ..Annotations::default()
            }),
            data: Bytes::copy_from_slice(&data),
            templating: self.template_driver.map(|name| Driver { name, ..Driver::default() }),
        };
        let request = session.connection.request(CreateConfigRequest { spec: Some(spec) });
        let reply = session.connection.control().create_config(request).await;
        let doing = format!("create config {}", self.name);
        let config = reply.map_err(Failure::call(doing.clone()))?.into_inner().config;
        let config = config.ok_or(Failure::Incomplete { doing, missing: "config" })?;
        session.output.line(config.id)
    }
}

impl Shown for Config {
    const COLUMNS: &'static [Column] = &[
        column("ID", "ID"),
        column("Name", "NAME"),
        column("CreatedAt", "CREATED"),
        column("UpdatedAt", "UPDATED"),
    ];

    fn row(&self) -> Value {
        let meta = self.meta.as_ref();
        json!({
            "ID": self.id,
            "Name": self.name(),
            "CreatedAt": time::ago_or_nothing(meta.and_then(|m| m.created_at.as_ref())),
            "UpdatedAt": time::ago_or_nothing(meta.and_then(|m| m.updated_at.as_ref())),
        })
    }

    fn inspected(&self) -> Value {
        payload::config(self)
    }
}
