//! What differs between two specs, field by field, in the words of an inspected service.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::errors::one_line;

/// One field that differs.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// There was nothing.
    Added { field: String, new: String },
    /// There is nothing any more.
    Removed { field: String, old: String },
    /// There was something else.
    Changed { field: String, old: String, new: String },
}

impl Difference {
    /// A line: `+ field: new`, `- field: old` or `~ field: old -> new`.
    pub fn line(&self) -> String {
        match self {
            Difference::Added { field, new } => format!("+ {field}: {}", one_line(new)),
            Difference::Removed { field, old } => format!("- {field}: {}", one_line(old)),
            Difference::Changed { field, old, new } => {
                format!("~ {field}: {} -> {}", one_line(old), one_line(new))
            }
        }
    }
}

/// The differences of two JSON objects, in the order of their fields. Elements of a list are compared as wholes, and
/// wherever they stand.
pub fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    fields(String::new(), old, &mut before);
    fields(String::new(), new, &mut after);
    let mut found = Vec::new();
    for (field, olds) in &before {
        let news = after.get(field).map(Vec::as_slice).unwrap_or_default();
        let gone = without(olds, news);
        let come = without(news, olds);
        match (gone.as_slice(), come.as_slice()) {
            ([old], [new]) => found.push(Difference::Changed {
                field: field.clone(),
                old: old.clone(),
                new: new.clone(),
            }),
            (gone, come) => {
                found.extend(gone.iter().map(|old| removed(field, old)));
                found.extend(come.iter().map(|new| added(field, new)));
            }
        }
    }
    for (field, news) in after.iter().filter(|(field, _)| !before.contains_key(*field)) {
        found.extend(news.iter().map(|new| added(field, new)));
    }
    found
}

fn added(field: &str, new: &str) -> Difference {
    Difference::Added { field: field.into(), new: new.into() }
}

fn removed(field: &str, old: &str) -> Difference {
    Difference::Removed { field: field.into(), old: old.into() }
}

/// The values of each field by its path; a list has several.
fn fields(path: String, value: &Value, found: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::Null => {}
        Value::Object(inner) => {
            for (name, value) in inner {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(path, value, found);
            }
        }
        Value::Array(items) => {
            let texts = items.iter().map(text);
            found.entry(path).or_default().extend(texts);
        }
        scalar => found.entry(path).or_default().push(text(scalar)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Those of `these` that `others` lack; of equal ones as many as there are more.
fn without(these: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let mut left = Vec::new();
    for this in these {
        match others.iter().position(|other| other == this) {
            Some(at) => drop(others.swap_remove(at)),
            None => left.push(this.clone()),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_compared_one_by_one() {
        let old = json!({
            "Name": "web",
            "Labels": {"gone": "1", "kept": "2"},
            "Task": {"Image": "nginx:1", "Env": ["A=1", "B=2", "C=3"], "Args": ["x"]},
            "Ports": [{"Target": 80}],
        });
        let new = json!({
            "Name": "web",
            "Labels": {"kept": "2"},
            "Task": {"Image": "nginx:2", "Env": ["C=3", "A=1", "D=4", "E=5"], "TTY": true},
            "Ports": [{"Target": 81}],
        });
        let lines: Vec<String> = differences(&old, &new).iter().map(Difference::line).collect();
        assert_eq!(
            lines,
            [
                "- Labels.gone: 1",
                r#"~ Ports: {"Target":80} -> {"Target":81}"#,
                "- Task.Args: x",
                "- Task.Env: B=2",
                "+ Task.Env: D=4",
                "+ Task.Env: E=5",
                "~ Task.Image: nginx:1 -> nginx:2",
                "+ Task.TTY: true",
            ]
        );
        assert!(differences(&new, &new).is_empty());
    }
}
