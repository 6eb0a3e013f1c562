//! The lists as `service create` takes them: values only.

use std::path::PathBuf;

use skep_proto::swarmkit::{
    GenericResource, Mount, NetworkAttachmentConfig, PlacementPreference, ServiceSpec,
    container_spec::Ulimit,
};

use super::{
    Lists,
    keyed::Change,
    mounts,
    references::{self, Given},
    values,
};
use crate::{
    connect::Connection,
    errors::Failure,
    service::ports::{self, Published},
};

/// Values of lists; each option may be given several times.
#[derive(Debug, clap::Args)]
pub struct CreateLists {
    /// Give the containers a capability of the kernel
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability of the kernel from the containers
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// A config that the containers get: NAME or source=NAME,target=PATH,mode=0444
    #[arg(long, value_name = "CONFIG", value_parser = references::given)]
    config: Vec<Given>,
    /// Only nodes of which this holds, such as node.role==worker
    #[arg(long, value_name = "EXPRESSION")]
    constraint: Vec<String>,
    /// Add a label to the containers
    #[arg(long, value_name = "KEY=VALUE")]
    container_label: Vec<String>,
    /// A name server of the containers
    #[arg(long, value_name = "ADDR")]
    dns: Vec<String>,
    /// An option of the containers' resolver
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// A domain in which the containers look names up
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set an environment variable; a name alone takes the value that it has here
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = values::env)]
    env: Vec<String>,
    /// Set the environment variables that a file names, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Things that a node must have free, such as gpu=2
    #[arg(long, value_name = "KIND=NUMBER", value_parser = values::generic_resource)]
    generic_resource: Vec<GenericResource>,
    /// A supplementary group of the user in the containers
    #[arg(long)]
    group: Vec<String>,
    /// A host name that the containers know, NAME:ADDR
    #[arg(long, value_name = "NAME:ADDR", value_parser = values::host)]
    host: Vec<String>,
    /// Add a label to the service
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// A mount: type=bind|volume|tmpfs,source=…,target=…,readonly
    #[arg(long, value_name = "MOUNT", value_parser = mounts::mount)]
    mount: Vec<Mount>,
    /// Attach to a network: NAME or name=NAME,alias=…,driver-opt=KEY=VALUE
    #[arg(long, value_name = "NETWORK", value_parser = references::network)]
    network: Vec<NetworkAttachmentConfig>,
    /// Spread the tasks over the values of a label: spread=node.labels.KEY
    #[arg(long, value_name = "SPREAD", value_parser = values::placement_preference)]
    placement_pref: Vec<PlacementPreference>,
    /// Publish ports: TARGET, PUBLISHED:TARGET or PUBLISHED:TARGET/udp, each a number or a range, or
    /// published=…,target=…,protocol=…,mode=ingress|host
    #[arg(short, long, value_name = "PORT", value_parser = ports::parse)]
    publish: Vec<Published>,
    /// A secret that the containers get: NAME or source=NAME,target=PATH,mode=0400
    #[arg(long, value_name = "SECRET", value_parser = references::given)]
    secret: Vec<Given>,
    /// A setting of the containers' kernel name spaces
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
    /// A limit of the kernel: NAME=SOFT or NAME=SOFT:HARD
    #[arg(long, value_name = "LIMIT", value_parser = values::ulimit)]
    ulimit: Vec<Ulimit>,
}

impl CreateLists {
    /// Writes what was given into `spec`. Secrets, configs and networks are looked up by their names.
    pub async fn apply(
        &self,
        connection: &Connection,
        spec: &mut ServiceSpec,
    ) -> Result<(), Failure> {
        // What is named on the command line replaces what a file says.
        let mut env = super::env_files(&self.env_file)?;
        env.extend(self.env.iter().cloned());
        let lists = Lists {
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            config: Change::adding(self.config.clone()),
            constraint: Change::adding(self.constraint.clone()),
            container_label: Change::adding(self.container_label.clone()),
            dns: Change::adding(self.dns.clone()),
            dns_option: Change::adding(self.dns_option.clone()),
            dns_search: Change::adding(self.dns_search.clone()),
            env: Change::adding(env),
            generic_resource: Change::adding(self.generic_resource.clone()),
            group: Change::adding(self.group.clone()),
            host: Change::adding(self.host.clone()),
            label: Change::adding(self.label.clone()),
            mount: Change::adding(self.mount.clone()),
            network: Change::adding(self.network.clone()),
            placement_pref: Change::adding(self.placement_pref.clone()),
            publish: Change::adding(
                self.publish.iter().flat_map(|ports| ports.0.clone()).collect(),
            ),
            secret: Change::adding(self.secret.clone()),
            sysctl: Change::adding(self.sysctl.clone()),
            ulimit: Change::adding(self.ulimit.clone()),
        };
        lists.apply(connection, spec).await
    }
}
