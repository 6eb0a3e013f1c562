//! Keys: `/kv/KEY`, with KEY percent-encoded where it is not plain text; `/kv?prefix=` lists them.

use std::borrow::Cow;

use axum::{
    Json,
    body::Body,
    extract::{Query, RawQuery, State},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

use super::error::HttpError;
use crate::{
    command::{Action, Command, Delete, Outcome, Put},
    member::Member,
};

/// Items in one list at most; what comes after is asked for with `after`.
const LIST_MAX: usize = 1000;
/// Bytes of values in one list, but for one item alone that has more: an answer is made in memory.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What need not be encoded in a key that is shown.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A key as it stands in a URL.
pub fn shown(key: &[u8]) -> String {
    percent_encode(key, PLAIN).to_string()
}

/// What stands after a part of the path, as bytes.
pub fn after(uri: &Uri, part: &str) -> Bytes {
    let rest = uri.path().strip_prefix(part).unwrap_or_default();
    match Cow::from(percent_decode_str(rest)) {
        Cow::Borrowed(plain) => Bytes::copy_from_slice(plain),
        Cow::Owned(decoded) => decoded.into(),
    }
}

#[derive(Serialize)]
pub struct Written {
    revision: u64,
    before: u64,
}

/// The revision that a request depends on. A revision is its ETag.
fn condition(headers: &HeaderMap) -> Result<Option<u64>, HttpError> {
    let bad = || {
        let text = "If-Match takes one revision, and If-None-Match only *";
        HttpError::new(StatusCode::BAD_REQUEST, text)
    };
    if let Some(none) = headers.get(header::IF_NONE_MATCH) {
        return (none == "*").then_some(Some(0)).ok_or_else(bad);
    }
    let Some(wanted) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let revision = wanted.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    revision.filter(|revision| *revision > 0).map(Some).ok_or_else(bad)
}

fn answer(outcome: Outcome) -> Result<Json<Written>, HttpError> {
    if outcome.conflict {
        let text = match outcome.before {
            0 => "there is no such key".to_owned(),
            revision => format!("the key has revision {revision}"),
        };
        return Err(HttpError::new(StatusCode::PRECONDITION_FAILED, text));
    }
    Ok(Json(Written { revision: outcome.revision, before: outcome.before }))
}

pub async fn put(
    State(member): State<Member>,
    uri: Uri,
    headers: HeaderMap,
    value: Bytes,
) -> Result<Json<Written>, HttpError> {
    let if_revision = condition(&headers)?;
    let put = Put { key: after(&uri, "/kv/"), value, if_revision };
    answer(member.write(Command::new(Action::Put(put))).await?)
}

pub async fn delete(
    State(member): State<Member>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Written>, HttpError> {
    let if_revision = condition(&headers)?;
    let delete = Delete { key: after(&uri, "/kv/"), if_revision };
    answer(member.write(Command::new(Action::Delete(delete))).await?)
}

fn is_stale(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("stale")))
}

pub async fn get(
    State(member): State<Member>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    if !is_stale(query.as_deref()) {
        member.barrier().await?;
    }
    let item = member.store().get(&after(&uri, "/kv/"));
    let item = item.ok_or_else(|| HttpError::new(StatusCode::NOT_FOUND, "there is no such key"))?;
    let mut response = Response::new(Body::from(item.value));
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", item.revision)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    prefix: String,
    /// The last key of the list before.
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub struct List {
    revision: u64,
    items: Vec<Listed>,
    /// There are more, after the last one.
    more: bool,
}

#[derive(Serialize)]
pub struct Listed {
    key: String,
    value: String,
    revision: u64,
}

pub fn base64(value: &[u8]) -> String {
    BASE64_STANDARD.encode(value)
}

/// Lists keys in order. The keys in the answer are as in a URL, and so are `prefix` and `after`.
pub async fn list(
    State(member): State<Member>,
    RawQuery(raw): RawQuery,
    Query(query): Query<ListQuery>,
) -> Result<Json<List>, HttpError> {
    if !is_stale(raw.as_deref()) {
        member.barrier().await?;
    }
    let bytes = |text: &str| Bytes::from(percent_decode_str(text).collect::<Vec<u8>>());
    let prefix = bytes(&query.prefix);
    let after = query.after.as_deref().map(bytes);
    let limit = query.limit.unwrap_or(LIST_MAX).clamp(1, LIST_MAX);
    let state = member.store().state();
    let from = after.clone().filter(|after| *after > prefix).unwrap_or_else(|| prefix.clone());
    let found = state
        .items
        .range(from..)
        .take_while(|(key, _)| key.starts_with(&prefix))
        .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
    let listed = |(key, item): (&Bytes, &crate::state::Item)| Listed {
        key: shown(key),
        value: base64(&item.value),
        revision: item.revision,
    };
    let (mut items, mut bytes, mut more) = (Vec::new(), 0, false);
    for (key, item) in found {
        bytes += item.value.len();
        more = items.len() >= limit || (bytes > LIST_BYTES_MAX && !items.is_empty());
        if more {
            break;
        }
        items.push(listed((key, item)));
    }
    Ok(Json(List { revision: state.revision, items, more }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bytes_and_comes_back_as_it_was_shown() {
        for (path, key) in [
            ("/kv/plain", &b"plain"[..]),
            ("/kv/a/b//c", b"a/b//c"),
            ("/kv/with%20space%2Fslash", b"with space/slash"),
            ("/kv/%00%ff", b"\x00\xff"),
            ("/kv/100%", b"100%"),
        ] {
            let decoded = after(&path.parse().unwrap(), "/kv/");
            assert_eq!(decoded, key, "{path}");
            let again = format!("/kv/{}", shown(&decoded)).parse().unwrap();
            assert_eq!(after(&again, "/kv/"), key, "{path}");
        }
    }

    #[test]
    fn conditions_are_revisions() {
        let of = |name: &str, value: &str| {
            let name: header::HeaderName = name.parse().unwrap();
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            condition(&headers).ok()
        };
        assert_eq!(condition(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of("if-match", "\"7\""), Some(Some(7)));
        assert_eq!(of("if-match", "7"), Some(Some(7)));
        assert_eq!(of("if-none-match", "*"), Some(Some(0)));
        for (name, value) in [("if-match", "*"), ("if-match", "0"), ("if-none-match", "\"7\"")] {
            assert_eq!(of(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn stale_is_a_word_of_the_query() {
        assert!(is_stale(Some("stale")) && is_stale(Some("a=1&stale=true")));
        assert!(!is_stale(Some("stalemate")) && !is_stale(None));
    }
}
