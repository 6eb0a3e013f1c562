//! What clients ask over HTTP.

mod error;
mod keys;
mod members;
mod watch;

use std::time::Duration;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, get, put},
};

use crate::{command::VALUE_BYTES_MAX, member::Member};

/// A sign of life on streams of events where nothing happens.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// The routes.
pub fn router(member: Member) -> Router {
    Router::new()
        .route("/kv/{*key}", put(keys::put).get(keys::get).delete(keys::delete))
        .route("/kv/", get(keys::list))
        .route("/kv", get(keys::list))
        .route("/watch/", get(watch::watch))
        .route("/watch/{*prefix}", get(watch::watch))
        .route("/members", get(members::list).post(members::add))
        .route("/members/{id}", axum::routing::delete(members::remove))
        .route("/status", get(members::status))
        .route("/health", get(members::health))
        .fallback(any(error::no_such_place))
        .layer(DefaultBodyLimit::max(VALUE_BYTES_MAX))
        .with_state(member)
}
