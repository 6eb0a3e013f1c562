//! `skep events`: the swarm's changes, live.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        Annotations, Meta, Node, Object, WatchActionKind, WatchRequest, object::Object as Of,
        watch_message::Event, watch_request::WatchEntry,
    },
};

use crate::{
    commands::Session,
    errors::{Failure, one_line},
    fields::Template,
    output::Format,
    shapes::words,
};

/// The kinds of objects that can be watched.
const KINDS: [&str; 9] =
    ["node", "service", "network", "task", "cluster", "secret", "config", "extension", "volume"];

/// Creations, updates and removals, as the bits of one number.
const EVERY_ACTION: i32 = WatchActionKind::WatchActionCreate as i32
    | WatchActionKind::WatchActionUpdate as i32
    | WatchActionKind::WatchActionRemove as i32;

/// Print the swarm's changes as they are committed, until interrupted.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Show only changes of this kind of object; may be given several times
    #[arg(long = "type", value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    kinds: Vec<String>,
    /// How to print: table (a line of text), json (one object a line), or a template such as
    /// '{{.Type}} {{.Action}} {{.Actor.ID}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Stop after this many changes
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
}

impl Events {
    /// Prints a line for each change.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let template = match &self.format {
            Format::Fields(_) => {
                let text = "--format: events are lines, no table; write a template".to_owned();
                return Err(Failure::Usage(text));
            }
            Format::Template(template) => Some(template),
            Format::Table | Format::Json => None,
        };
        // No deadline: the stream goes on until somebody ends it.
        let stream = session.connection.watch().watch(self.request()).await;
        let mut stream = stream.map_err(Failure::call("watch the swarm"))?.into_inner();
        let mut left = self.limit.unwrap_or(u64::MAX);
        while left > 0 {
            let message = stream.message().await.map_err(Failure::call("watch the swarm"))?;
            for event in message.ok_or(Failure::StreamEnded)?.events {
                if left > 0 && self.print(&event, template, &mut session)? {
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> WatchRequest {
        let kinds: Vec<&str> = if self.kinds.is_empty() {
            KINDS.to_vec()
        } else {
            self.kinds.iter().map(String::as_str).collect()
        };
        let entry = |kind: &str| WatchEntry {
            kind: kind.to_owned(),
            action: EVERY_ACTION,
            filters: Vec::new(),
        };
        WatchRequest {
            entries: kinds.into_iter().map(entry).collect(),
            resume_from: None,
            include_old_object: true,
        }
    }

    /// Prints the event; false for one of a kind that is not known here.
    fn print(
        &self,
        event: &Event,
        template: Option<&Template>,
        session: &mut Session,
    ) -> Result<bool, Failure> {
        let Some(described) = Described::of(event) else { return Ok(false) };
        let line = match template {
            Some(template) => template
                .render(&described.json())
                .map_err(|error| Failure::Usage(format!("--format: {error}")))?,
            None if self.format == Format::Json => described.json().to_string(),
            None => described.text(),
        };
        session.output.line(line)?;
        Ok(true)
    }
}

/// What a change is about, for any kind of object.
struct Described {
    kind: &'static str,
    action: &'static str,
    id: String,
    attributes: BTreeMap<String, String>,
    at: Timestamp,
}

impl Described {
    fn of(event: &Event) -> Option<Described> {
        let action = match event.action() {
            WatchActionKind::WatchActionCreate => "create",
            WatchActionKind::WatchActionUpdate => "update",
            WatchActionKind::WatchActionRemove => "remove",
            WatchActionKind::WatchActionUnknown => return None,
        };
        let object = event.object.as_ref().and_then(|o| o.object.as_ref())?;
        let (kind, id, name, meta) = head(object);
        let mut attributes = BTreeMap::new();
        if !name.is_empty() {
            attributes.insert("name".to_owned(), name.to_owned());
        }
        if let (Of::Node(new), Some(Object { object: Some(Of::Node(old)) })) =
            (object, &event.old_object)
        {
            attributes.extend(node_changes(old, new));
        }
        // A removed object carries the time of its last update, which is not now.
        let stored = meta.as_ref().and_then(|m| m.updated_at).filter(|_| action != "remove");
        let at = stored.unwrap_or_else(now);
        Some(Described { kind, action, id: id.to_owned(), attributes, at })
    }

    fn text(&self) -> String {
        let attributes: Vec<String> =
            self.attributes.iter().map(|(k, v)| format!("{k}={}", one_line(v))).collect();
        let Described { kind, action, id, at, .. } = self;
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            format!(" ({})", attributes.join(", "))
        };
        format!("{at} {kind} {action} {id}{attributes}")
    }

    fn json(&self) -> Value {
        json!({
            "Type": self.kind,
            "Action": self.action,
            "Actor": { "ID": self.id, "Attributes": self.attributes },
            "scope": "swarm",
            "time": self.at.seconds,
            "timeNano": self.at.seconds.saturating_mul(1_000_000_000).saturating_add(self.at.nanos.into()),
        })
    }
}

/// Kind, id, name and meta of an object.
fn head(object: &Of) -> (&'static str, &str, &str, &Option<Meta>) {
    fn name(annotations: Option<&Annotations>) -> &str {
        annotations.map_or("", |a| &a.name)
    }
    macro_rules! with_spec {
        ($kind:literal, $object:expr) => {{
            let annotations = $object.spec.as_ref().and_then(|s| s.annotations.as_ref());
            ($kind, &$object.id, name(annotations), &$object.meta)
        }};
    }
    match object {
        Of::Node(node) => {
            let hostname = node.description.as_ref().map_or("", |d| &d.hostname);
            ("node", &node.id, hostname, &node.meta)
        }
        Of::Service(service) => with_spec!("service", service),
        Of::Network(network) => with_spec!("network", network),
        Of::Task(task) => ("task", &task.id, name(task.annotations.as_ref()), &task.meta),
        Of::Cluster(cluster) => with_spec!("cluster", cluster),
        Of::Secret(secret) => with_spec!("secret", secret),
        Of::Resource(resource) => {
            ("resource", &resource.id, name(resource.annotations.as_ref()), &resource.meta)
        }
        Of::Extension(extension) => {
            ("extension", &extension.id, name(extension.annotations.as_ref()), &extension.meta)
        }
        Of::Config(config) => with_spec!("config", config),
        Of::Volume(volume) => with_spec!("volume", volume),
    }
}

/// What an operator wants to see change on a node.
fn node_changes(old: &Node, new: &Node) -> BTreeMap<String, String> {
    let role =
        |n: &Node| words::role(n.spec.as_ref().map(|s| s.desired_role()).unwrap_or_default());
    let leader = |n: &Node| match n.manager_status.as_ref() {
        Some(status) if status.leader => "true",
        _ => "false",
    };
    let table = [
        ("state", words::node_state(old), words::node_state(new)),
        ("availability", words::availability(old), words::availability(new)),
        ("role", role(old), role(new)),
        ("leader", leader(old), leader(new)),
        ("reachability", words::reachability(old), words::reachability(new)),
    ];
    let changed = table.into_iter().filter(|(_, old, new)| old != new);
    changed
        .flat_map(|(what, old, new)| {
            [(format!("{what}.old"), old.to_owned()), (format!("{what}.new"), new.to_owned())]
        })
        .collect()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
