//! What a command prints: tables, JSON, field lists, or identifiers alone.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::{
    errors::{Failure, one_line},
    fields::{self, FieldsError, Template},
};

/// Spaces between two columns.
const COLUMN_GAP: u16 = 3;

/// How a command prints what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: a table of a listing, indented JSON of an inspection.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// One line of filled-in text per object.
    Template(Template),
    /// A table of these fields.
    Fields(Vec<String>),
}

impl std::str::FromStr for Format {
    type Err = FieldsError;

    fn from_str(text: &str) -> Result<Format, FieldsError> {
        if let Some(template) = text.strip_prefix("table ") {
            return Ok(Format::Fields(Template::parse(template)?.paths()));
        }
        Ok(match text {
            "" | "table" => Format::Table,
            "json" => Format::Json,
            _ if text.contains("{{") => Format::Template(Template::parse(text)?),
            list => Format::Fields(list.split(',').map(|f| f.trim().to_owned()).collect()),
        })
    }
}

/// The options of every listing.
#[derive(Clone, Debug, clap::Args)]
pub struct ListOptions {
    /// How to print: table, json (one object a line), a template such as '{{.ID}} {{.Name}}',
    /// or fields such as id,name
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Print IDs only
    #[arg(short, long)]
    pub quiet: bool,
}

/// The option of every inspection.
#[derive(Clone, Debug, clap::Args)]
pub struct InspectOptions {
    /// How to print: json (one line), a template such as '{{.Spec.Name}}', or fields such as
    /// id,spec.name [default: indented JSON]
    #[arg(short, long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    pub format: Format,
}

/// A column of a listing: the field in JSON and templates, and the heading in a table.
pub struct Column {
    /// The field's name.
    pub field: &'static str,
    /// The heading.
    pub heading: &'static str,
}

/// Shorthand for a list of columns.
pub const fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, heading }
}

/// The standard output.
pub struct Output(io::Stdout);

impl Output {
    /// The output of this process.
    pub fn stdout() -> Output {
        Output(io::stdout())
    }

    /// Prints a line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.0, "{}", text.as_ref())?;
        Ok(())
    }

    /// Prints text that ends its own lines, or bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes)?;
        self.0.flush()?;
        Ok(())
    }

    /// Prints a listing as asked. Every row has every field of `columns`, and "ID".
    pub fn list(
        &mut self,
        columns: &[Column],
        rows: &[Value],
        options: &ListOptions,
    ) -> Result<(), Failure> {
        if options.quiet {
            return rows.iter().try_for_each(|row| self.line(fields::plain(&row["ID"])));
        }
        match &options.format {
            Format::Table => self.table(columns, rows),
            Format::Fields(names) => self.fields(names, columns, rows),
            Format::Json => rows.iter().try_for_each(|row| self.line(row.to_string())),
            Format::Template(template) => self.filled_in(template, rows),
        }
    }

    /// Prints inspected objects as asked: by default as one indented JSON array.
    pub fn inspect(&mut self, objects: &[Value], options: &InspectOptions) -> Result<(), Failure> {
        match &options.format {
            Format::Table => self.indented(&objects),
            Format::Fields(names) => self.fields(names, &[], objects),
            Format::Json => objects.iter().try_for_each(|o| self.line(o.to_string())),
            Format::Template(template) => self.filled_in(template, objects),
        }
    }

    /// Prints JSON with four spaces a level, as Docker does.
    pub fn indented(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        value.serialize(&mut serializer).map_err(io::Error::from)?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// Prints rows under headings.
    pub fn table(&mut self, columns: &[Column], rows: &[Value]) -> Result<(), Failure> {
        let headings = columns.iter().map(|c| c.heading.to_owned()).collect();
        let cells = |row: &Value| columns.iter().map(|c| fields::plain(&row[c.field])).collect();
        self.grid(headings, rows.iter().map(cells).collect())
    }

    fn fields(
        &mut self,
        names: &[String],
        columns: &[Column],
        rows: &[Value],
    ) -> Result<(), Failure> {
        let heading = |name: &String| {
            let known = columns.iter().find(|c| c.field.eq_ignore_ascii_case(name));
            known.map_or_else(|| name.to_uppercase(), |c| c.heading.to_owned())
        };
        let paths: Vec<Vec<String>> =
            names.iter().map(|n| n.split('.').map(str::to_owned).collect()).collect();
        let cells = |row: &Value| -> Result<Vec<String>, Failure> {
            let cell = |path: &Vec<String>| fields::look_up(row, path).map(fields::plain);
            paths.iter().map(cell).collect::<Result<_, _>>().map_err(unknown_field)
        };
        let cells = rows.iter().map(cells).collect::<Result<_, _>>()?;
        self.grid(names.iter().map(heading).collect(), cells)
    }

    fn filled_in(&mut self, template: &Template, rows: &[Value]) -> Result<(), Failure> {
        let mut print = |row| self.line(template.render(row).map_err(unknown_field)?);
        rows.iter().try_for_each(&mut print)
    }

    fn grid(&mut self, headings: Vec<String>, rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(headings);
        for row in rows {
            // Names come from other machines: nothing in them may drive the terminal.
            table.add_row(row.iter().map(|cell| visible(cell)).collect::<Vec<_>>());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, COLUMN_GAP));
        }
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }
}

/// As many characters of an id as tell it from others for a person.
const SHORT_ID_LEN: usize = 12;

/// The beginning of an id, as tables show it.
pub fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID_LEN).unwrap_or(id)
}

/// A cell's text without what could drive the terminal or break the row; spaces stay.
fn visible(cell: &str) -> String {
    if cell.chars().any(char::is_control) { one_line(cell) } else { cell.to_owned() }
}

fn unknown_field(error: FieldsError) -> Failure {
    Failure::Usage(format!("--format: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_told_from_its_text() {
        let template = Template::parse("{{.ID}}").unwrap();
        let table = [
            ("table", Format::Table),
            ("json", Format::Json),
            ("{{.ID}}", Format::Template(template)),
            ("id, name", Format::Fields(vec!["id".into(), "name".into()])),
            (
                "table {{.ID}}\\t{{.Spec.Name}}",
                Format::Fields(vec!["ID".into(), "Spec.Name".into()]),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_cell_cannot_drive_the_terminal() {
        assert_eq!(visible("host\u{1b}[2J\nroot"), "host [2J root");
        assert_eq!(visible("a  b"), "a  b");
    }
}
