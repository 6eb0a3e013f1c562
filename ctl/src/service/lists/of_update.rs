//! The lists as `service update` takes them: values to add or change, and keys of values to remove.

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
    service::ports::{self, PortKey, Published},
};

/// Changes of lists; each option may be given several times. An option `…-add` also replaces.
#[derive(Debug, clap::Args)]
pub struct UpdateLists {
    /// Give the containers a capability of the kernel
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability of the kernel from the containers
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// A config that the containers get: NAME or source=NAME,target=PATH,mode=0444
    #[arg(long, value_name = "CONFIG", value_parser = references::given)]
    config_add: Vec<Given>,
    /// Take a config from the containers
    #[arg(long, value_name = "NAME")]
    config_rm: Vec<String>,
    /// Only nodes of which this holds, such as node.role==worker
    #[arg(long, value_name = "EXPRESSION")]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "EXPRESSION")]
    constraint_rm: Vec<String>,
    /// Add or change a label of the containers
    #[arg(long, value_name = "KEY=VALUE")]
    container_label_add: Vec<String>,
    /// Remove a label of the containers
    #[arg(long, value_name = "KEY")]
    container_label_rm: Vec<String>,
    /// Add a name server of the containers
    #[arg(long, value_name = "ADDR")]
    dns_add: Vec<String>,
    /// Add an option of the containers' resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_add: Vec<String>,
    /// Remove an option of the containers' resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_rm: Vec<String>,
    /// Remove a name server of the containers
    #[arg(long, value_name = "ADDR")]
    dns_rm: Vec<String>,
    /// Add a domain in which the containers look names up
    #[arg(long, value_name = "DOMAIN")]
    dns_search_add: Vec<String>,
    /// Remove a domain in which the containers look names up
    #[arg(long, value_name = "DOMAIN")]
    dns_search_rm: Vec<String>,
    /// Add or change an environment variable; a name alone takes the value that it has here
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::env)]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "NAME")]
    env_rm: Vec<String>,
    /// Add or change a number of things that a node must have free, such as gpu=2
    #[arg(long, value_name = "KIND=NUMBER", value_parser = values::generic_resource)]
    generic_resource_add: Vec<GenericResource>,
    /// Ask for no such things any more
    #[arg(long, value_name = "KIND")]
    generic_resource_rm: Vec<String>,
    /// Add a supplementary group of the user in the containers
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Remove a supplementary group of the user in the containers
    #[arg(long, value_name = "GROUP")]
    group_rm: Vec<String>,
    /// Add a host name that the containers know
    #[arg(long, value_name = "NAME:ADDR", value_parser = values::host)]
    host_add: Vec<String>,
    /// Remove a host name that the containers know
    #[arg(long, value_name = "NAME:ADDR", value_parser = values::host)]
    host_rm: Vec<String>,
    /// Add or change a label of the service
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a label of the service
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Add or change a mount: type=bind|volume|tmpfs,source=…,target=…,readonly
    #[arg(long, value_name = "MOUNT", value_parser = mounts::mount)]
    mount_add: Vec<Mount>,
    /// Remove the mount at a path
    #[arg(long, value_name = "TARGET")]
    mount_rm: Vec<String>,
    /// Attach to a network: NAME or name=NAME,alias=…,driver-opt=KEY=VALUE
    #[arg(long, value_name = "NETWORK", value_parser = references::network)]
    network_add: Vec<NetworkAttachmentConfig>,
    /// Detach from a network
    #[arg(long, value_name = "NETWORK")]
    network_rm: Vec<String>,
    /// Spread the tasks over the values of a label: spread=node.labels.KEY
    #[arg(long, value_name = "SPREAD", value_parser = values::placement_preference)]
    placement_pref_add: Vec<PlacementPreference>,
    /// Spread the tasks over a label no more
    #[arg(long, value_name = "SPREAD", value_parser = values::placement_preference)]
    placement_pref_rm: Vec<PlacementPreference>,
    /// Publish ports: TARGET, PUBLISHED:TARGET or PUBLISHED:TARGET/udp, each a number or a range, or
    /// published=…,target=…,protocol=…,mode=ingress|host
    #[arg(long, value_name = "PORT", value_parser = ports::parse)]
    publish_add: Vec<Published>,
    /// Publish a port of the containers no more: TARGET or TARGET/udp
    #[arg(long, value_name = "TARGET", value_parser = ports::key)]
    publish_rm: Vec<PortKey>,
    /// A secret that the containers get: NAME or source=NAME,target=PATH,mode=0400
    #[arg(long, value_name = "SECRET", value_parser = references::given)]
    secret_add: Vec<Given>,
    /// Take a secret from the containers
    #[arg(long, value_name = "NAME")]
    secret_rm: Vec<String>,
    /// Add or change a setting of the containers' kernel name spaces
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl_add: Vec<String>,
    /// Remove a setting of the containers' kernel name spaces
    #[arg(long, value_name = "KEY")]
    sysctl_rm: Vec<String>,
    /// Add or change a limit of the kernel: NAME=SOFT or NAME=SOFT:HARD
    #[arg(long, value_name = "LIMIT", value_parser = values::ulimit)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a limit of the kernel
    #[arg(long, value_name = "NAME")]
    ulimit_rm: Vec<String>,
}

impl UpdateLists {
    /// Makes the changes in `spec`. Secrets, configs and networks are looked up by their names.
    pub async fn apply(
        &self,
        connection: &Connection,
        spec: &mut ServiceSpec,
    ) -> Result<(), Failure> {
        macro_rules! change {
            ($add:ident, $remove:ident) => {
                Change { add: self.$add.clone(), remove: self.$remove.clone() }
            };
        }
        // Constraints are the same however much white space is in them.
        let squeezed = |text: &String| text.split_whitespace().collect::<String>();
        let lists = Lists {
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            config: change!(config_add, config_rm),
            constraint: Change {
                add: self.constraint_add.clone(),
                remove: self.constraint_rm.iter().map(squeezed).collect(),
            },
            container_label: change!(container_label_add, container_label_rm),
            dns: change!(dns_add, dns_rm),
            dns_option: change!(dns_option_add, dns_option_rm),
            dns_search: change!(dns_search_add, dns_search_rm),
            env: change!(env_add, env_rm),
            generic_resource: change!(generic_resource_add, generic_resource_rm),
            group: change!(group_add, group_rm),
            host: change!(host_add, host_rm),
            label: change!(label_add, label_rm),
            mount: change!(mount_add, mount_rm),
            network: change!(network_add, network_rm),
            placement_pref: change!(placement_pref_add, placement_pref_rm),
            publish: Change {
                add: self.publish_add.iter().flat_map(|ports| ports.0.clone()).collect(),
                remove: self.publish_rm.clone(),
            },
            secret: change!(secret_add, secret_rm),
            sysctl: change!(sysctl_add, sysctl_rm),
            ulimit: change!(ulimit_add, ulimit_rm),
        };
        lists.apply(connection, spec).await
    }
}
