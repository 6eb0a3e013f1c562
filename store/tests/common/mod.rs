//! What the tests of the store share: recorded bytes, and a proposer that does what it is told.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use skep_proto::swarmkit::{
    Annotations, Service, ServiceSpec, Task, TaskStatus, store_action::Target,
};
use skep_store::{Proposer, Refusal, Store};

/// A line of a recorded log.
pub struct Recorded {
    pub index: u64,
    pub normal: bool,
    pub data: Bytes,
}

/// The entries of a recorded log.
pub fn recorded_log(text: &str) -> Vec<Recorded> {
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            Recorded {
                index: line["index"].as_u64().unwrap(),
                normal: line["type"] == "normal",
                data: STANDARD.decode(line["data"].as_str().unwrap()).unwrap().into(),
            }
        })
        .collect()
}

/// Index and bytes of a recorded snapshot.
pub fn recorded_snapshot(text: &str) -> (u64, Bytes) {
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let data = STANDARD.decode(file["data"].as_str().unwrap()).unwrap();
    (file["index"].as_u64().unwrap(), data.into())
}

/// A store whose clock stands still and whose randomness is always the same.
pub fn store() -> Store {
    let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    Store::new(Arc::new(clock), StdRng::seed_from_u64(7))
}

/// Takes proposals and keeps them, until the test says what becomes of them.
#[derive(Default)]
pub struct Script {
    proposed: Mutex<Vec<(u64, u64, Bytes)>>,
    refuse: Mutex<Option<Refusal>>,
}

impl Script {
    /// Makes the store lead with a script as its proposer.
    pub fn lead(store: &Store, epoch: u64) -> Arc<Script> {
        let script = Arc::new(Script::default());
        store.lead(epoch, store.view().version(), script.clone());
        script
    }

    /// What was proposed since the last call: epoch, ticket, entry.
    pub fn take(&self) -> Vec<(u64, u64, Bytes)> {
        std::mem::take(&mut *self.proposed.lock().unwrap())
    }

    /// From now on everything is refused, or nothing.
    pub fn refuse(&self, why: Option<Refusal>) {
        *self.refuse.lock().unwrap() = why;
    }
}

impl Proposer for Script {
    fn propose(&self, epoch: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal> {
        if let Some(why) = *self.refuse.lock().unwrap() {
            return Err(why);
        }
        self.proposed.lock().unwrap().push((epoch, ticket, entry));
        Ok(())
    }
}

/// A service with a name.
pub fn service(id: &str, name: &str) -> Service {
    Service {
        id: id.into(),
        spec: Some(ServiceSpec { annotations: annotations(name), ..Default::default() }),
        ..Default::default()
    }
}

/// A task in a slot of a service.
pub fn task(id: &str, service: &str, slot: u64) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        service_annotations: annotations(service),
        slot,
        status: Some(TaskStatus::default()),
        ..Default::default()
    }
}

/// Annotations with a name.
pub fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

/// Kind and id of an action's object.
pub fn target_name(target: &Target) -> String {
    match target {
        Target::Node(o) => format!("node {}", o.id),
        Target::Service(o) => format!("service {}", o.id),
        Target::Task(o) => format!("task {}", o.id),
        Target::Network(o) => format!("network {}", o.id),
        Target::Cluster(o) => format!("cluster {}", o.id),
        Target::Secret(o) => format!("secret {}", o.id),
        Target::Resource(o) => format!("resource {}", o.id),
        Target::Extension(o) => format!("extension {}", o.id),
        Target::Config(o) => format!("config {}", o.id),
        Target::Volume(o) => format!("volume {}", o.id),
    }
}
