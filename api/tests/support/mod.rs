//! Fakes for everything around the door: clusters with certificates, managers on loopback, a service that does what
//! the request says, callers that see every header and frame, and raft nodes that only take notes.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod caller;
pub mod cluster;
pub mod manager;
pub mod raft;
pub mod script;

use std::time::Duration;

/// How long a test waits for something that has to happen. Long, because the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and fails the test when it does not.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "never happened: {what}");
}

/// Waits for a future, and fails the test when it takes too long.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("took too long: {what}"),
    }
}
