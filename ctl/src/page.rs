//! What an inspection prints for people: names and values, a line each, under Docker's headings.

use std::collections::BTreeMap;

use crate::errors::one_line;

/// Where values begin: behind the longest of the usual headings.
const VALUES_AT: usize = 16;

/// The lines of a page. Names and texts come from other machines, so nothing in them may drive the terminal.
#[derive(Default)]
pub struct Page(Vec<String>);

impl Page {
    /// A line that names what the lines below it tell.
    pub fn heading(&mut self, depth: usize, name: &str) {
        self.0.push(format!("{:depth$}{name}:", ""));
    }

    /// A value under its name; nothing for an empty one.
    pub fn value(&mut self, depth: usize, name: &str, value: impl AsRef<str>) {
        let value = one_line(value.as_ref());
        if value.is_empty() {
            return;
        }
        let name = format!("{:depth$}{name}:", "");
        let width = VALUES_AT.max(name.len() + 1);
        self.0.push(format!("{name:width$}{value}"));
    }

    /// A value of a list that names its values by themselves.
    pub fn row(&mut self, name: &str, value: impl AsRef<str>) {
        let name = format!(" {}", one_line(name));
        let width = VALUES_AT.max(name.len() + 1);
        self.0.push(format!("{name:width$}{}", one_line(value.as_ref())).trim_end().to_owned());
    }

    /// Keys with their values, nothing for none.
    pub fn pairs(&mut self, name: &str, pairs: &BTreeMap<String, String>) {
        if pairs.is_empty() {
            return;
        }
        self.heading(0, name);
        for (key, value) in pairs {
            let equals = if value.is_empty() { "" } else { "=" };
            self.0.push(format!(" {}", one_line(&format!("{key}{equals}{value}"))));
        }
    }

    /// What was written.
    pub fn into_lines(self) -> Vec<String> {
        self.0
    }
}
