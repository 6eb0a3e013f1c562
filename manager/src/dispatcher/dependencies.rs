//! What the tasks and volumes of a node need besides themselves: secrets and configs, each sent once, and counted by its
//! users. Pure.

use std::collections::HashMap;

use skep_proto::{
    ids::{ConfigId, Id, SecretId},
    swarmkit::{Config, ResourceType, Secret, Task, Volume, assignment::Item, task_spec::Runtime},
};
use skep_store::Tables;

/// A secret or config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// A secret.
    Secret(SecretId),
    /// A config.
    Config(ConfigId),
}

/// Which dependencies a node holds, and how many tasks and volumes use each.
#[derive(Debug, Default)]
pub struct Dependencies {
    used: HashMap<Dependency, Use>,
    /// What each user took. Users without dependencies, which most are, take no room.
    users: HashMap<Id, Vec<Dependency>>,
}

#[derive(Debug)]
struct Use {
    users: usize,
    sent: bool,
}

impl Dependencies {
    /// Counts what a task or volume uses, and gives what the node does not hold yet. A reference that leads nowhere, or
    /// to a secret whose data a driver holds, is left out: the node reports what it lacks.
    pub fn take(&mut self, tables: &Tables, user: Id, wanted: Vec<Dependency>) -> Vec<Item> {
        if wanted.is_empty() || self.users.contains_key(&user) {
            return Vec::new();
        }
        let mut items = Vec::new();
        for dependency in &wanted {
            let held = self.used.entry(*dependency).or_insert(Use { users: 0, sent: false });
            held.users += 1;
            if held.users == 1
                && let Some(item) = dependency.item(tables)
            {
                held.sent = true;
                items.push(item);
            }
        }
        self.users.insert(user, wanted);
        items
    }

    /// Lets go of what a task or volume used, and gives what the node is to forget: only the ids.
    pub fn release(&mut self, user: Id) -> Vec<Item> {
        let mut items = Vec::new();
        for dependency in self.users.remove(&user).unwrap_or_default() {
            let Some(held) = self.used.get_mut(&dependency) else { continue };
            held.users -= 1;
            if held.users == 0 {
                if held.sent {
                    items.push(dependency.name_only());
                }
                self.used.remove(&dependency);
            }
        }
        items
    }
}

impl Dependency {
    fn item(self, tables: &Tables) -> Option<Item> {
        match self {
            Dependency::Secret(id) => {
                let Some(secret) = tables.get::<Secret>(&id) else {
                    tracing::warn!(secret = %id, "a task needs a secret that does not exist: it goes without");
                    return None;
                };
                if secret.spec.as_ref().is_none_or(|spec| spec.driver.is_some()) {
                    tracing::warn!(
                        secret = %id,
                        "a task needs a secret whose data a driver holds, and secret drivers are not supported: it \
                         goes without"
                    );
                    return None;
                }
                Some(Item::Secret(Secret::clone(secret)))
            }
            Dependency::Config(id) => {
                let config = tables.get::<Config>(&id);
                if config.is_none() {
                    tracing::warn!(config = %id, "a task needs a config that does not exist: it goes without");
                }
                Some(Item::Config(Config::clone(config?)))
            }
        }
    }

    fn name_only(self) -> Item {
        match self {
            Dependency::Secret(id) => {
                Item::Secret(Secret { id: id.to_string(), ..Default::default() })
            }
            Dependency::Config(id) => {
                Item::Config(Config { id: id.to_string(), ..Default::default() })
            }
        }
    }
}

/// What a task refers to, each once.
pub fn of_task(task: &Task) -> Vec<Dependency> {
    let secret = |id: &str| id.parse().ok().map(Dependency::Secret);
    let config = |id: &str| id.parse().ok().map(Dependency::Config);
    let mut found = Vec::new();
    let Some(spec) = &task.spec else { return found };
    for reference in &spec.resource_references {
        match reference.resource_type() {
            ResourceType::Secret => found.extend(secret(&reference.resource_id)),
            ResourceType::Config => found.extend(config(&reference.resource_id)),
            ResourceType::Task | ResourceType::Volume => {}
        }
    }
    if let Some(Runtime::Container(container)) = &spec.runtime {
        found.extend(container.secrets.iter().filter_map(|s| secret(&s.secret_id)));
        found.extend(container.configs.iter().filter_map(|c| config(&c.config_id)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The secrets that a volume's plugin needs on the node, each once.
pub fn of_volume(volume: &Volume) -> Vec<Dependency> {
    let secrets = volume.spec.iter().flat_map(|spec| &spec.secrets);
    let mut found: Vec<_> =
        secrets.filter_map(|s| s.secret.parse().ok().map(Dependency::Secret)).collect();
    found.sort_unstable();
    found.dedup();
    found
}
