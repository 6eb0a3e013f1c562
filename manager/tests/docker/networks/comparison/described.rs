//! Objects as lines of `path = value`, so that those of two swarms can be compared field by field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
};

use serde_json::Value;

/// What there is, by its path. A field that is not set has a line too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described(BTreeMap<String, String>);

impl Described {
    /// Adds all fields of an object of the wire.
    pub fn add(&mut self, path: &str, object: &impl Debug) {
        // Generated messages print every field in a line of its own, and what holds others opens and closes a bracket.
        let text = format!("{object:#?}");
        let mut open = vec![Open { path: path.to_owned(), elements: 0 }];
        for line in text.lines().map(str::trim) {
            let line = line.strip_suffix(',').unwrap_or(line);
            let parent = open.last_mut().expect("brackets are balanced");
            if matches!(line, "}" | "]" | ")") {
                open.pop();
                continue;
            }
            let opens = line.ends_with(['{', '[', '(']);
            let (name, value) = match name_and_value(line) {
                Some((name, value)) => (format!("{}.{name}", parent.path), value),
                // What is optional is printed with one thing in it, as is the object itself.
                None if parent.elements == NAMELESS => (parent.path.clone(), line),
                None if open.len() == 1 => (path.to_owned(), line),
                None => {
                    let parent = open.last_mut().expect("brackets are balanced");
                    parent.elements += 1;
                    (format!("{}[{}]", parent.path, parent.elements - 1), line)
                }
            };
            if opens {
                let elements = if value.ends_with("Some(") { NAMELESS } else { 0 };
                open.push(Open { path: name, elements });
            } else {
                self.0.insert(name, value.to_owned());
            }
        }
    }

    /// Adds what an engine printed.
    pub fn add_json(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    self.add_json(&format!("{path}.{name}"), value);
                }
            }
            Value::Array(elements) if !elements.is_empty() => {
                for (place, value) in elements.iter().enumerate() {
                    self.add_json(&format!("{path}[{place}]"), value);
                }
            }
            value => self.add_line(path, value),
        }
    }

    /// Adds one line.
    pub fn add_line(&mut self, path: &str, value: impl fmt::Display) {
        self.0.insert(path.to_owned(), value.to_string());
    }

    /// With names in place of what differs between any two swarms, such as the ids of their objects.
    pub fn renamed(self, names: &BTreeMap<String, String>) -> Described {
        let rename = |text: String| {
            names.iter().fold(text, |text, (id, name)| text.replace(id.as_str(), name))
        };
        let lines = self.0.into_iter();
        Described(lines.map(|(path, value)| (rename(path), rename(value))).collect())
    }
}

/// Something that is being printed: an object, a list or a map, or what is optional.
struct Open {
    path: String,
    /// How many elements without a name there were.
    elements: usize,
}

/// The one thing in it has the path of the whole.
const NAMELESS: usize = usize::MAX;

/// `name: value`, where the name of an element of a map is quoted.
fn name_and_value(line: &str) -> Option<(&str, &str)> {
    if line.starts_with('"') {
        let (name, value) = line.split_once("\": ")?;
        return Some((name.strip_prefix('"')?, value));
    }
    let (name, value) = line.split_once(": ")?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '#');
    is_name.then_some((name, value))
}

/// A difference that is known and wanted.
pub struct Allowed {
    /// Paths that contain this.
    pub path: &'static str,
    /// Why the two may differ there.
    pub reason: &'static str,
}

/// Where the two differ, a line each, but for what is allowed.
pub fn differences(stock: &Described, ours: &Described, allowed: &[Allowed]) -> Vec<String> {
    let paths: BTreeSet<&String> = stock.0.keys().chain(ours.0.keys()).collect();
    let is_allowed = |path: &str| allowed.iter().any(|allowed| path.contains(allowed.path));
    let differ = paths.into_iter().filter(|path| stock.0.get(*path) != ours.0.get(*path));
    let shown = |side: &Described, path: &str| {
        side.0.get(path).cloned().unwrap_or("(no such field)".into())
    };
    differ
        .filter(|path| !is_allowed(path))
        .map(|path| {
            format!("{path}\n    stock: {}\n    ours:  {}", shown(stock, path), shown(ours, path))
        })
        .collect()
}

/// Allowed differences that are none any more.
pub fn unused(stock: &Described, ours: &Described, allowed: &[Allowed]) -> Vec<String> {
    let differs = |path: &str| {
        let paths = stock.0.keys().chain(ours.0.keys());
        paths.filter(|p| p.contains(path)).any(|p| stock.0.get(p) != ours.0.get(p))
    };
    let unused = allowed.iter().filter(|allowed| !differs(allowed.path));
    unused.map(|allowed| format!("{}: {}", allowed.path, allowed.reason)).collect()
}

#[test]
fn objects_are_described_field_by_field() {
    use skep_proto::swarmkit::{Driver, IpamConfig, IpamOptions, Network};
    let options = [("a.b".to_owned(), "c: d".to_owned())].into();
    let network = Network {
        id: "n".into(),
        driver_state: Some(Driver { name: "overlay".into(), options }),
        ipam: Some(IpamOptions {
            driver: None,
            configs: vec![IpamConfig { subnet: "10.0.0.0/24".into(), ..Default::default() }],
        }),
        ..Default::default()
    };
    let mut described = Described::default();
    described.add("net", &network);
    let line = |path: &str| described.0.get(path).map(String::as_str);
    assert_eq!(line("net.id"), Some("\"n\""));
    assert_eq!(line("net.spec"), Some("None"));
    assert_eq!(line("net.driver_state.name"), Some("\"overlay\""));
    assert_eq!(line("net.driver_state.options.a.b"), Some("\"c: d\""));
    assert_eq!(line("net.ipam.driver"), Some("None"));
    assert_eq!(line("net.ipam.configs[0].subnet"), Some("\"10.0.0.0/24\""));
    let other = described.clone().renamed(&[("10.0.0".to_owned(), "x".to_owned())].into());
    let differences = differences(&described, &other, &[]);
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].starts_with("net.ipam.configs[0].subnet\n"), "{differences:?}");
}
