//! The vectors of the metadata that managers exchange.

use super::*;

fn caller(kind: CallerKind) -> Caller {
    Caller {
        node_id: "2nt3f7zyjoe8lkflb5c1ahzp9".into(),
        cluster_id: "8xz1p0d4fqhfo1kysqfs6flpn".into(),
        units: ["swarm-worker".to_owned(), "blue".to_owned()].into(),
        remote_addr: "10.0.0.7:51234".into(),
        kind,
    }
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

#[test]
fn a_callers_certificate_goes_along_with_one_value_for_each_ou() {
    let sent = outgoing(&HeaderMap::new(), &caller(CallerKind::Certificate));
    assert_eq!(
        lines(&sent),
        [
            "content-type: application/grpc",
            "forwarded_cert: true",
            "forwarded_cert_cn: 2nt3f7zyjoe8lkflb5c1ahzp9",
            "forwarded_cert_org: 8xz1p0d4fqhfo1kysqfs6flpn",
            "forwarded_cert_ou: blue",
            "forwarded_cert_ou: swarm-worker",
            "redirect: 10.0.0.7:51234",
            "remote_addr: 10.0.0.7:51234",
            "te: trailers",
        ]
    );
}

#[test]
fn a_caller_without_a_certificate_goes_along_as_blanks() {
    let sent = outgoing(&HeaderMap::new(), &Caller::anonymous("10.0.0.7:51234"));
    assert_eq!(
        lines(&sent),
        [
            "content-type: application/grpc",
            "forwarded_cert: true",
            "forwarded_cert_cn: ",
            "forwarded_cert_org: ",
            "redirect: 10.0.0.7:51234",
            "remote_addr: 10.0.0.7:51234",
            "te: trailers",
        ]
    );
}

#[test]
fn a_call_of_the_control_socket_is_the_managers_own() {
    let incoming = headers(&[("forwarded_cert", "true"), ("forwarded_cert_cn", "somebody")]);
    let sent = outgoing(&incoming, &caller(CallerKind::Local));
    assert_eq!(
        lines(&sent),
        ["content-type: application/grpc", "redirect: 10.0.0.7:51234", "te: trailers"]
    );
}

#[test]
fn the_callers_own_metadata_is_copied_and_what_belongs_to_the_connection_is_not() {
    let incoming = headers(&[
        ("x-trace", "1"),
        ("x-trace", "2"),
        ("token-bin", "AAEC"),
        ("grpc-encoding", "gzip"),
        ("grpc-timeout", "5S"),
        ("grpc-status", "0"),
        ("user-agent", "grpc-go/1.79"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("content-length", "5"),
        ("remote_addr", "6.6.6.6:6"),
        ("forwarded_cert_ou", "swarm-manager"),
    ]);
    let sent = outgoing(&incoming, &Caller::anonymous("10.0.0.7:1"));
    assert_eq!(
        lines(&sent),
        [
            "content-type: application/grpc",
            "forwarded_cert: true",
            "forwarded_cert_cn: ",
            "forwarded_cert_org: ",
            "grpc-encoding: gzip",
            "redirect: 10.0.0.7:1",
            "remote_addr: 10.0.0.7:1",
            "te: trailers",
            "token-bin: AAEC",
            "x-trace: 1",
            "x-trace: 2",
        ]
    );
}

#[test]
fn a_claim_is_one_value_that_says_true() {
    assert_eq!(claim(&headers(&[])), None);
    assert_eq!(claim(&headers(&[("forwarded_cert", "false")])), None);
    assert_eq!(claim(&headers(&[("forwarded_cert", "TRUE")])), None);
    assert_eq!(claim(&headers(&[("forwarded_cert", "true"), ("forwarded_cert", "true")])), None);
    let blank = claim(&headers(&[("forwarded_cert", "true")])).expect("a claim");
    assert_eq!((blank.node_id.as_str(), blank.units.len()), ("", 0));
}

#[test]
fn what_is_sent_is_what_is_read() {
    let from = caller(CallerKind::Certificate);
    let read = claim(&outgoing(&HeaderMap::new(), &from)).expect("a claim");
    assert_eq!(read.node_id, &*from.node_id);
    assert_eq!(read.cluster_id, &*from.cluster_id);
    assert_eq!(read.units, &*from.units);
    assert_eq!(read.remote_addr, &*from.remote_addr);
}

#[test]
fn redirects_are_printed_as_a_list() {
    assert_eq!(redirects(&headers(&[])), None);
    assert_eq!(redirects(&headers(&[("redirect", "a:1")])).as_deref(), Some("[a:1]"));
    let two = headers(&[("redirect", "a:1"), ("redirect", "b:2")]);
    assert_eq!(redirects(&two).as_deref(), Some("[a:1 b:2]"));
}
