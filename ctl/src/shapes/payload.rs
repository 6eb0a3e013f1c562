//! Secrets and configs as `docker secret inspect` and `docker config inspect` show them. A secret's data is never
//! shown; a config's is, in base64.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;
use skep_proto::swarmkit::{self, Annotations};

use super::{Driver, Meta, value};

#[derive(Serialize)]
struct Payload<'p> {
    #[serde(rename = "ID")]
    id: &'p str,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Spec")]
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<Driver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templating: Option<Driver>,
}

/// The secret in Docker's shape.
pub fn secret(secret: &swarmkit::Secret) -> Value {
    let spec = secret.spec.clone().unwrap_or_default();
    let driver = spec.driver.as_ref();
    let spec = described(spec.annotations, None, driver, spec.templating.as_ref());
    value(&Payload { id: &secret.id, meta: (&secret.meta).into(), spec })
}

/// The config in Docker's shape.
pub fn config(config: &swarmkit::Config) -> Value {
    let spec = config.spec.clone().unwrap_or_default();
    let data = BASE64_STANDARD.encode(&spec.data);
    let spec = described(spec.annotations, Some(data), None, spec.templating.as_ref());
    value(&Payload { id: &config.id, meta: (&config.meta).into(), spec })
}

fn described(
    annotations: Option<Annotations>,
    data: Option<String>,
    driver: Option<&swarmkit::Driver>,
    templating: Option<&swarmkit::Driver>,
) -> Spec {
    let Annotations { name, labels, .. } = annotations.unwrap_or_default();
    Spec {
        name,
        labels,
        data,
        driver: driver.map(Driver::from),
        templating: templating.map(Driver::from),
    }
}
