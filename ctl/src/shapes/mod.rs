//! Objects in the shape that `docker … inspect` gives them, so that scripts written for it go on working: the same
//! names, units and nesting, as far as the objects have the parts. Words and times are as Docker writes them.

pub mod cluster;
pub mod network;
pub mod node;
pub mod payload;
pub mod service;
pub mod task;
pub mod time;
pub mod words;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use skep_proto::{prost_types::Timestamp, swarmkit};

/// The head that every object has.
#[derive(Debug, Serialize)]
pub struct Meta {
    #[serde(rename = "Version")]
    version: Version,
    #[serde(rename = "CreatedAt", skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(rename = "UpdatedAt", skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Version {
    #[serde(rename = "Index")]
    index: u64,
}

/// A driver with its options.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Driver {
    name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
}

impl From<&swarmkit::Driver> for Driver {
    fn from(driver: &swarmkit::Driver) -> Driver {
        Driver { name: driver.name.clone(), options: driver.options.clone() }
    }
}

impl From<&Option<swarmkit::Meta>> for Meta {
    fn from(meta: &Option<swarmkit::Meta>) -> Meta {
        let meta = meta.unwrap_or_default();
        let text = |t: Option<Timestamp>| t.as_ref().map(Timestamp::to_string);
        Meta {
            version: Version { index: meta.version.unwrap_or_default().index },
            created_at: text(meta.created_at),
            updated_at: text(meta.updated_at),
        }
    }
}

/// A shape as a JSON value.
fn value(shape: &impl Serialize) -> Value {
    // Only maps with keys that are no strings fail, and the shapes have none.
    serde_json::to_value(shape).unwrap_or_default()
}

/// Nanoseconds, as Go's durations are written in JSON.
fn nanoseconds(duration: &Option<skep_proto::prost_types::Duration>) -> Option<i64> {
    duration.map(|d| d.seconds.saturating_mul(1_000_000_000).saturating_add(d.nanos.into()))
}

/// An object without its empty fields, as Docker leaves them out.
fn pruned(mut object: Value) -> Value {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if let Value::Object(fields) = &mut object {
        fields.retain(|_, value| !empty(value));
    }
    object
}
