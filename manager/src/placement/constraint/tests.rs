//! The language as tables: what parses, and which node matches.

use std::collections::BTreeMap;

use skep_proto::swarmkit::{
    Annotations, EngineDescription, NodeDescription, NodeSpec, NodeStatus, Platform,
};

use super::*;

fn says(text: &str) -> String {
    match Constraint::parse(text) {
        Ok(constraint) => constraint.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn constraints_are_comparisons() {
    for (text, expected) in [
        ("node.id==abc", "node.id==abc"),
        (" node.labels.zone != eu-1 ", "node.labels.zone!=eu-1"),
        ("engine.labels.x==a b", "engine.labels.x==a b"),
        ("node.ip==10.0.0.0/8", "node.ip==10.0.0.0/8"),
        ("node.hostname == ^x*[1]$", "node.hostname==^x*[1]$"),
        ("unknown==x", "unknown==x"),
        ("_x==y", "_x==y"),
        (
            "node.id=abc",
            "constraint expected one operator from ==, != in \"node.id=abc\"; write key==value or key!=value",
        ),
        (
            "",
            "constraint expected one operator from ==, != in \"\"; write key==value or key!=value",
        ),
        (
            "1a==b",
            "key \"1a\" of constraint \"1a==b\" is invalid: write letters, digits, '-', '_' and '.', a letter or '_' \
             first, such as node.labels.zone",
        ),
        (
            "==b",
            "key \"\" of constraint \"==b\" is invalid: write letters, digits, '-', '_' and '.', a letter or '_' \
             first, such as node.labels.zone",
        ),
        ("ab==", "value \"\" of constraint \"ab==\" is invalid"),
        ("ab==c,d", "value \"c,d\" of constraint \"ab==c,d\" is invalid"),
        ("ab==é", "value \"é\" of constraint \"ab==é\" is invalid"),
        ("ab==c!=d", "value \"c!=d\" of constraint \"ab==c!=d\" is invalid"),
        ("ab!=c==d", "value \"c==d\" of constraint \"ab!=c==d\" is invalid"),
        ("ab!==d", "value \"=d\" of constraint \"ab!==d\" is invalid"),
    ] {
        assert_eq!(says(text), expected, "{text:?}");
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn node() -> Node {
    Node {
        id: "node1".into(),
        role: NodeRole::Manager.into(),
        spec: Some(NodeSpec {
            annotations: Some(Annotations {
                labels: labels(&[("zone", "eu-1"), ("Rack", "7")]),
                ..Default::default()
            }),
            ..Default::default()
        }),
        status: Some(NodeStatus { addr: "10.1.2.3".into(), ..Default::default() }),
        description: Some(NodeDescription {
            hostname: "Alpha".into(),
            platform: Some(Platform { os: "linux".into(), architecture: "x86_64".into() }),
            engine: Some(EngineDescription {
                labels: labels(&[("disk", "ssd")]),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_node_matches_what_it_is() {
    let bare = Node { id: "bare".into(), ..Default::default() };
    for (text, on_node, on_bare) in [
        ("node.id==node1", true, false),
        ("node.id==NODE1", true, false),
        ("node.id==node", false, false),
        ("node.id!=node1", false, true),
        ("NODE.ID==node1", true, false),
        ("node.hostname==alpha", true, false),
        ("node.hostname!=alpha", false, true),
        ("node.hostname==alph*", false, false),
        ("node.role==manager", true, false),
        ("node.role!=manager", false, true),
        ("node.role==worker", false, true),
        ("node.platform.os==Linux", true, false),
        ("node.platform.arch==x86_64", true, false),
        // Plain text: the two names of one architecture are two values here.
        ("node.platform.arch==amd64", false, false),
        ("node.labels.zone==EU-1", true, false),
        ("node.labels.zone!=eu-1", false, true),
        ("node.labels.zone!=us", true, true),
        ("Node.Labels.zone==eu-1", true, false),
        // The name of a label keeps its case.
        ("node.labels.rack==7", false, false),
        ("node.labels.Rack==7", true, false),
        ("node.labels.absent!=x", true, true),
        ("engine.labels.disk==ssd", true, false),
        ("engine.labels.disk!=ssd", false, true),
        ("node.ip==10.1.2.3", true, false),
        ("node.ip!=10.1.2.3", false, true),
        ("node.ip==10.1.0.0/16", true, false),
        ("node.ip!=10.1.0.0/16", false, true),
        ("node.ip==10.2.0.0/16", false, false),
        ("node.ip==::1", false, false),
        ("node.ip!=::1", true, true),
        // What cannot be read matches nothing, whatever the operator.
        ("node.ip!=10.1", false, false),
        ("node.ip==10.1", false, false),
        ("node.unknown==x", false, false),
        ("node.unknown!=x", false, false),
        ("node.labels.==x", false, false),
        ("node.labels.!=x", false, false),
    ] {
        let constraint = Constraint::parse(text).unwrap();
        assert_eq!(constraint.matches(&node()), on_node, "{text} on a node with everything");
        assert_eq!(constraint.matches(&bare), on_bare, "{text} on a node with nothing");
    }
}

#[test]
fn addresses_of_both_families_compare_as_addresses() {
    let at = |addr: &str| Node {
        status: Some(NodeStatus { addr: addr.into(), ..Default::default() }),
        ..Default::default()
    };
    for (text, addr, expected) in [
        ("node.ip==2001:db8::1", "2001:0db8:0:0::1", true),
        ("node.ip==2001:db8::/32", "2001:db8:1::1", true),
        ("node.ip!=2001:db8::/32", "2001:db8:1::1", false),
        ("node.ip==10.1.2.3", "::ffff:10.1.2.3", true),
        ("node.ip==10.0.0.0/8", "2001:db8::1", false),
        ("node.ip!=10.0.0.0/8", "not an address", true),
    ] {
        assert_eq!(Constraint::parse(text).unwrap().matches(&at(addr)), expected, "{text} {addr}");
    }
}

#[test]
fn all_constraints_have_to_hold() {
    let parse = |texts: &[&str]| {
        Constraints::parse(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap()
    };
    assert!(parse(&[]).matches(&node()));
    assert!(parse(&["node.id==node1", "node.labels.zone==eu-1"]).matches(&node()));
    assert!(!parse(&["node.id==node1", "node.labels.zone==us-1"]).matches(&node()));
    assert!(Constraints::parse(&["node.id==a".into(), "nonsense".into()]).is_err());
}

#[test]
fn a_label_is_found_by_the_key_of_a_preference() {
    let node = node();
    assert_eq!(label(&node, "node.labels.zone"), Some("eu-1"));
    assert_eq!(label(&node, "Engine.Labels.disk"), Some("ssd"));
    assert_eq!(label(&node, "node.labels.absent"), Some(""));
    assert_eq!(label(&node, "node.labels."), None);
    assert_eq!(label(&node, "node.hostname"), None);
}
