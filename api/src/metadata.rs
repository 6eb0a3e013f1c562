//! The metadata with which managers pass calls on to the leader. Keys have underscores, as SwarmKit writes them.
//!
//! Blank values are written for a caller without a certificate: were they left out, the leader would take the call
//! for the passing manager's own, and would for example renew that manager's certificate instead of the caller's.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::caller::{Caller, CallerKind};

/// `true` when the call is passed on for somebody else.
pub const FORWARDED: HeaderName = HeaderName::from_static("forwarded_cert");
/// The caller's CN, or blank.
pub const FORWARDED_CN: HeaderName = HeaderName::from_static("forwarded_cert_cn");
/// The caller's first O, or blank.
pub const FORWARDED_ORG: HeaderName = HeaderName::from_static("forwarded_cert_org");
/// The caller's OUs, one value each.
pub const FORWARDED_OU: HeaderName = HeaderName::from_static("forwarded_cert_ou");
/// `ip:port` of the caller as the passing manager saw it.
pub const REMOTE_ADDR: HeaderName = HeaderName::from_static("remote_addr");
/// Set by a manager that passes a call on, so that it is passed on once only.
pub const REDIRECT: HeaderName = HeaderName::from_static("redirect");

/// What speaks of the connection or of its encoding and not of the call. `grpc-encoding` and its kin stay: the frames
/// that they describe are passed on as they are.
fn is_reserved(name: &HeaderName) -> bool {
    const KEPT: [&str; 2] = ["grpc-encoding", "grpc-accept-encoding"];
    let hop = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    hop.contains(name)
        || (name.as_str().starts_with("grpc-") && !KEPT.contains(&name.as_str()))
        || name.as_str().starts_with(':')
}

fn is_ours(name: &HeaderName) -> bool {
    [FORWARDED, FORWARDED_CN, FORWARDED_ORG, FORWARDED_OU, REMOTE_ADDR].contains(name)
}

/// What a call claims about being passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The CN of the caller; blank for one without a certificate.
    pub node_id: String,
    /// Its O; blank for one without a certificate.
    pub cluster_id: String,
    /// Its OUs; none for one without a certificate.
    pub units: Vec<String>,
    /// Where it called from.
    pub remote_addr: String,
}

/// The claim of a request: there is one only if `forwarded_cert` has exactly one value and that is `true`, as with
/// SwarmKit. Whether to believe it is the authorization's business.
pub fn claim(headers: &HeaderMap) -> Option<Claim> {
    let mut values = headers.get_all(FORWARDED).iter();
    if values.next()?.as_bytes() != b"true" || values.next().is_some() {
        return None;
    }
    let first = |name: HeaderName| {
        headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    Some(Claim {
        node_id: first(FORWARDED_CN),
        cluster_id: first(FORWARDED_ORG),
        units: headers
            .get_all(FORWARDED_OU)
            .iter()
            .filter_map(|v| v.to_str().ok().map(str::to_owned))
            .collect(),
        remote_addr: first(REMOTE_ADDR),
    })
}

/// Takes every word about forwarding out of a request, before it reaches a service.
pub fn strip(headers: &mut HeaderMap) {
    for name in [FORWARDED, FORWARDED_CN, FORWARDED_ORG, FORWARDED_OU, REMOTE_ADDR] {
        headers.remove(name);
    }
}

/// The metadata of a call to the leader, from the metadata of the call that came in.
///
/// For the control socket nothing is said of the caller: the call is this manager's own.
pub fn outgoing(incoming: &HeaderMap, caller: &Caller) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(incoming.len() + 8);
    for (name, value) in incoming {
        if !is_reserved(name) && !is_ours(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.append(REDIRECT, value(&caller.remote_addr));
    if caller.kind == CallerKind::Local {
        return headers;
    }
    headers.insert(FORWARDED, HeaderValue::from_static("true"));
    headers.insert(FORWARDED_CN, value(&caller.node_id));
    headers.insert(FORWARDED_ORG, value(&caller.cluster_id));
    for unit in caller.units.iter() {
        headers.append(FORWARDED_OU, value(unit));
    }
    headers.insert(REMOTE_ADDR, value(&caller.remote_addr));
    headers
}

/// The values of `redirect`, as SwarmKit prints them, if the call was passed on before.
pub fn redirects(headers: &HeaderMap) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(REDIRECT).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    (!values.is_empty()).then(|| format!("[{}]", values.join(" ")))
}

/// What cannot stand in a header is sent blank: the leader refuses it rather than believing half of it.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
