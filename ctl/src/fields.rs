//! Field lists: `{{.ID}} {{.Hostname}}` and `id,hostname`, filled in from JSON objects.
//!
//! It is the part of Go's templates that operators use: fields by path, `json`, and literal text.

use serde_json::Value;

/// A parsed template: literal text and fields in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field { path: Vec<String>, as_json: bool },
}

/// Fields that an object has only when there is something to say: they are empty elsewhere, and no mistake.
const SOMETIMES: &[&str] = &["Created", "CreatedAt", "ManagerStatus", "PreviousSpec", "UpdatedAt"];

/// Why a text is no field list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A `{{` without its `}}`.
    #[error("the template has a '{{{{' without '}}}}'")]
    Unclosed,
    /// Something between the braces that is no field.
    #[error("'{{{{{0}}}}}' is no field: write {{{{.Name}}}}, {{{{.Spec.Name}}}} or {{{{json .}}}}")]
    NoField(String),
    /// A field that the objects do not have.
    #[error("there is no field '{name}'; there are: {known}")]
    Unknown { name: String, known: String },
}

impl Template {
    /// Parses `{{.Field}}` text; `\t` and `\n` stand for tab and line end, as a shell passes them on.
    pub fn parse(text: &str) -> Result<Template, FieldsError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("{{") {
            let (inside, after) = from.split_once("}}").ok_or(FieldsError::Unclosed)?;
            push_text(&mut pieces, before);
            pieces.push(field(inside.trim())?);
            rest = after;
        }
        push_text(&mut pieces, rest);
        Ok(Template(pieces))
    }

    /// The paths of the fields, for the columns of a table.
    pub fn paths(&self) -> Vec<String> {
        let path = |piece: &Piece| match piece {
            Piece::Field { path, .. } => Some(path.join(".")),
            Piece::Text(_) => None,
        };
        self.0.iter().filter_map(path).collect()
    }

    /// Fills the fields in from `object`.
    pub fn render(&self, object: &Value) -> Result<String, FieldsError> {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field { path, as_json: true } => {
                    line.push_str(&look_up(object, path)?.to_string());
                }
                Piece::Field { path, as_json: false } => {
                    line.push_str(&plain(look_up(object, path)?));
                }
            }
        }
        Ok(line)
    }
}

/// The value at `path`. Upper and lower case are alike; a part that is absent inside the object gives null,
/// since what is empty is left out, but the first part must be known.
pub fn look_up<'v>(object: &'v Value, path: &[String]) -> Result<&'v Value, FieldsError> {
    let mut value = object;
    for (depth, name) in path.iter().enumerate() {
        let fields = value.as_object();
        let found = fields.and_then(|f| f.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
        match found {
            Some((_, inner)) => value = inner,
            None if depth > 0 || SOMETIMES.iter().any(|s| s.eq_ignore_ascii_case(name)) => {
                return Ok(&Value::Null);
            }
            None => {
                let known = fields.map(|f| f.keys().cloned().collect::<Vec<_>>().join(", "));
                return Err(FieldsError::Unknown {
                    name: name.clone(),
                    known: known.unwrap_or_default(),
                });
            }
        }
    }
    Ok(value)
}

/// A value as a person reads it: strings without quotes, nothing for null, the rest as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

fn field(inside: &str) -> Result<Piece, FieldsError> {
    let (as_json, path) = match inside.strip_prefix("json ") {
        Some(path) => (true, path.trim()),
        None => (false, inside),
    };
    let names = path.strip_prefix('.').ok_or_else(|| FieldsError::NoField(inside.into()))?;
    let names = if names.is_empty() { Vec::new() } else { names.split('.').collect() };
    let is_name = |n: &&str| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !names.iter().all(is_name) {
        return Err(FieldsError::NoField(inside.into()));
    }
    Ok(Piece::Field { path: names.into_iter().map(str::to_owned).collect(), as_json })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, FieldsError> {
        let node = json!({"ID": "n1", "Self": true, "Spec": {"Role": "manager", "Labels": {}}});
        Template::parse(template)?.render(&node)
    }

    #[test]
    fn fields_are_filled_in_by_path() {
        let table = [
            ("{{.ID}}", "n1"),
            ("{{ .ID }}/{{.Spec.Role}}", "n1/manager"),
            ("{{.id}}\\t{{.self}}", "n1\ttrue"),
            ("{{json .Spec}}", r#"{"Role":"manager","Labels":{}}"#),
            ("{{.Spec.Nothing.Deeper}}.", "."),
            ("no field at all", "no field at all"),
        ];
        for (template, expected) in table {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert_eq!(render("{{.ID"), Err(FieldsError::Unclosed));
        assert_eq!(render("{{range .}}"), Err(FieldsError::NoField("range .".into())));
        assert_eq!(render("{{..}}"), Err(FieldsError::NoField("..".into())));
        assert!(matches!(render("{{.Name}}"), Err(FieldsError::Unknown { .. })));
    }
}
