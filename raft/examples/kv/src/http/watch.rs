//! `/watch/PREFIX`: server-sent events. First a `put` for everything that is there and `synced`, then every change in
//! order; `restart` when changes were missed.

use std::convert::Infallible;

use axum::{
    extract::{RawQuery, State},
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{StatusCode, Uri};
use serde_json::json;

use super::{
    ALIVE_EVERY,
    error::HttpError,
    keys::{after, base64, shown},
};
use crate::{
    member::Member,
    state::{Change, State as Keys},
    watch::{Told, Watch},
};

fn event(name: &str, data: &serde_json::Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn change(change: &Change) -> Event {
    let (key, revision) = (shown(&change.key), change.revision);
    match &change.value {
        Some(value) => {
            event("put", &json!({ "key": key, "revision": revision, "value": base64(value) }))
        }
        None => event("delete", &json!({ "key": key, "revision": revision })),
    }
}

/// What is there, read as the client takes it: the state is a value of its own.
fn present(state: Keys, prefix: Bytes) -> impl Stream<Item = Event> {
    let first = prefix.clone();
    let items = stream::unfold((state, first, true), move |(state, from, inclusive)| {
        let prefix = prefix.clone();
        async move {
            let mut rest = state.items.range(from.clone()..);
            let next = rest.find(|(key, _)| inclusive || **key != from);
            let (key, item) = next.filter(|(key, _)| key.starts_with(&prefix))?;
            let (key, value, revision) = (key.clone(), Some(item.value.clone()), item.revision);
            drop(rest);
            let event = change(&Change { key: key.clone(), value, revision });
            Some((event, (state, key, false)))
        }
    });
    items.boxed()
}

fn changes(watch: Watch) -> impl Stream<Item = Event> {
    stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Told::Change(next) => Some((change(&next), Some(watch))),
            Told::Restart => {
                let reason = json!({ "reason": "changes were missed: watch again from the start" });
                Some((event("restart", &reason), None))
            }
            Told::End => None,
        }
    })
}

pub async fn watch(
    State(member): State<Member>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, HttpError> {
    // Nobody is shown less than was acknowledged before.
    member.barrier().await?;
    let prefix = after(&uri, "/watch/");
    let mut watch = member.store().watch(prefix.clone()).ok_or_else(|| {
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "there are too many watchers here")
    })?;
    // Taken out, so that the past is not kept for as long as the watch goes on.
    let state = std::mem::take(&mut watch.state);
    let synced = event("synced", &json!({ "revision": state.revision }));
    let state = match query.as_deref() {
        Some("new") => Keys::default(),
        _ => state,
    };
    let events =
        present(state, prefix).chain(stream::once(async { synced })).chain(changes(watch)).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}
