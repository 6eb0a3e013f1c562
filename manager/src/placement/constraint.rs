//! The language of placement constraints: `key == value` and `key != value`.
//!
//! SwarmKit's semantics: the comparison is of whole texts and blind to the case of ASCII letters, a label that a node does
//! not have compares as the empty text, and a key that no node has is matched by no node, whatever the operator. Names of
//! labels keep their case, the prefixes before them do not.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_proto::swarmkit::{Node, NodeRole};

use crate::control::validate::shown;

/// Prefix of keys that stand for labels that an operator gave a node.
pub const NODE_LABELS: &str = "node.labels.";
/// Prefix of keys that stand for labels that the engine was started with.
pub const ENGINE_LABELS: &str = "engine.labels.";

/// Why a text is no constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Neither `==` nor `!=` is in it.
    #[error(
        "constraint expected one operator from ==, != in {}; write key==value or key!=value",
        shown(.constraint)
    )]
    Operator {
        /// The whole text.
        constraint: String,
    },
    /// The key has characters that no key has.
    #[error(
        "key {} of constraint {} is invalid: write letters, digits, '-', '_' and '.', a letter or '_' first, \
         such as node.labels.zone",
        shown(.key),
        shown(.constraint)
    )]
    Key {
        /// What stands before the operator.
        key: String,
        /// The whole text.
        constraint: String,
    },
    /// The value is empty or has characters that no value has.
    #[error("value {} of constraint {} is invalid", shown(.value), shown(.constraint))]
    Value {
        /// What stands behind the operator.
        value: String,
        /// The whole text.
        constraint: String,
    },
}

/// How a constraint compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Operator {
    fn holds(self, equal: bool) -> bool {
        match self {
            Operator::Equal => equal,
            Operator::Unequal => !equal,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::Unequal => "!=",
        }
    }
}

/// What of a node a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Id,
    Hostname,
    Ip(Option<Network>),
    Role,
    Os,
    Arch,
    NodeLabel(String),
    EngineLabel(String),
    /// No node has it.
    Unknown,
}

/// The addresses that a constraint on `node.ip` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    One(IpAddr),
    Range(IpNet),
}

impl Network {
    fn parse(value: &str) -> Option<Network> {
        let one = value.parse::<IpAddr>().ok().map(|ip| Network::One(ip.to_canonical()));
        one.or_else(|| value.parse().ok().map(Network::Range))
    }

    fn contains(self, addr: IpAddr) -> bool {
        match self {
            Network::One(own) => own == addr,
            Network::Range(range) => range.contains(&addr),
        }
    }
}

/// One constraint, taken apart once so that judging a node allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    key: String,
    operator: Operator,
    value: String,
    subject: Subject,
}

impl Constraint {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Constraint, ConstraintError> {
        let constraint = || text.to_owned();
        // The first operator splits; another one would be part of the value, where it is not allowed.
        let split = |operator: Operator| {
            let (key, value) = text.split_once(operator.as_str())?;
            Some((key, operator, value))
        };
        let (key, operator, value) = match (split(Operator::Equal), split(Operator::Unequal)) {
            (Some(equal), Some(unequal)) if equal.0.len() < unequal.0.len() => equal,
            (_, Some(unequal)) => unequal,
            (Some(equal), None) => equal,
            (None, None) => return Err(ConstraintError::Operator { constraint: constraint() }),
        };
        let (key, value) = (key.trim(), value.trim());
        if !is_key(key) {
            return Err(ConstraintError::Key { key: key.to_owned(), constraint: constraint() });
        }
        if !is_value(value) {
            let value = value.to_owned();
            return Err(ConstraintError::Value { value, constraint: constraint() });
        }
        let subject = subject(key, value);
        Ok(Constraint { key: key.to_owned(), operator, value: value.to_owned(), subject })
    }

    /// Whether the node is as it says.
    pub fn matches(&self, node: &Node) -> bool {
        match &self.subject {
            Subject::Unknown => false,
            // An address that cannot be read matches no node either, with both operators.
            Subject::Ip(None) => false,
            Subject::Ip(Some(network)) => {
                let addr = node.status.as_ref().and_then(|status| status.addr.parse().ok());
                let inside = addr.is_some_and(|ip: IpAddr| network.contains(ip.to_canonical()));
                self.operator.holds(inside)
            }
            _ => self.operator.holds(self.value.eq_ignore_ascii_case(self.found_on(node))),
        }
    }

    /// What the node has where this constraint looks; empty where it has nothing.
    pub fn found_on<'a>(&self, node: &'a Node) -> &'a str {
        let description = node.description.as_ref();
        let platform = || description.and_then(|d| d.platform.as_ref());
        match &self.subject {
            Subject::Id => &node.id,
            Subject::Hostname => description.map_or("", |d| &d.hostname),
            Subject::Ip(_) => node.status.as_ref().map_or("", |status| &status.addr),
            Subject::Role => NodeRole::try_from(node.role).map_or("", |role| role.as_str_name()),
            Subject::Os => platform().map_or("", |p| &p.os),
            Subject::Arch => platform().map_or("", |p| &p.architecture),
            Subject::NodeLabel(name) => node_label(node, name),
            Subject::EngineLabel(name) => engine_label(node, name),
            Subject::Unknown => "",
        }
    }

    /// The key as it was written.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The value as it was written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether any node could ever have what it looks at.
    pub fn is_known(&self) -> bool {
        !matches!(self.subject, Subject::Unknown | Subject::Ip(None))
    }

    /// Whether it looks at a label that an operator can give.
    pub fn is_node_label(&self) -> bool {
        matches!(self.subject, Subject::NodeLabel(_))
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.key, self.operator.as_str(), self.value)
    }
}

/// The constraints of one task: all of them have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints(Vec<Constraint>);

impl Constraints {
    /// Takes the texts of a spec apart. A key that no node has is not an error: then no node matches.
    pub fn parse(texts: &[String]) -> Result<Constraints, ConstraintError> {
        texts.iter().map(|text| Constraint::parse(text)).collect::<Result<_, _>>().map(Constraints)
    }

    /// Whether the node is as all of them say.
    pub fn matches(&self, node: &Node) -> bool {
        self.0.iter().all(|constraint| constraint.matches(node))
    }

    /// Each of them, in the order of the spec.
    pub fn iter(&self) -> impl Iterator<Item = &Constraint> {
        self.0.iter()
    }

    /// Whether there are none: every node matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value of a label on a node by the key of a constraint or a preference; `None` if the key stands for no label, and
/// empty if the node does not have it.
pub fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    if let Some(name) = after(key, NODE_LABELS) {
        return Some(node_label(node, name));
    }
    after(key, ENGINE_LABELS).map(|name| engine_label(node, name))
}

fn node_label<'a>(node: &'a Node, name: &str) -> &'a str {
    let annotations = node.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.and_then(|a| a.labels.get(name)).map_or("", String::as_str)
}

fn engine_label<'a>(node: &'a Node, name: &str) -> &'a str {
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
    engine.and_then(|e| e.labels.get(name)).map_or("", String::as_str)
}

fn subject(key: &str, value: &str) -> Subject {
    const PLAIN: &[(&str, Subject)] = &[
        ("node.id", Subject::Id),
        ("node.hostname", Subject::Hostname),
        ("node.role", Subject::Role),
        ("node.platform.os", Subject::Os),
        ("node.platform.arch", Subject::Arch),
    ];
    if let Some((_, subject)) = PLAIN.iter().find(|(name, _)| key.eq_ignore_ascii_case(name)) {
        return subject.clone();
    }
    if key.eq_ignore_ascii_case("node.ip") {
        return Subject::Ip(Network::parse(value));
    }
    if let Some(name) = after(key, NODE_LABELS) {
        return Subject::NodeLabel(name.to_owned());
    }
    match after(key, ENGINE_LABELS) {
        Some(name) => Subject::EngineLabel(name.to_owned()),
        None => Subject::Unknown,
    }
}

/// What follows a prefix, whose case does not count; nothing if that is nothing.
fn after<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, name) = key.split_at_checked(prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && !name.is_empty()).then_some(name)
}

fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && key.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_value(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_ \t\n\x0c\r.*()?+[]\\^$|/".contains(&b);
    !value.is_empty() && value.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
