//! Templates in the hostname, the environment and the mounts of a container.
//!
//! Agents expand them with Go's `text/template`. This reads the same language: what Go reads is accepted, and what can
//! never be expanded (a syntax error, a function or variable that does not exist, a field that the context does not
//! have) is refused before a task fails on it. Nothing is evaluated, so a template that fails on its values alone passes.

mod lexer;
mod parser;

use super::{Checked, Invalid, shown};

/// The fields that the context has; a name that ends with `*` is a map, which may have any key.
const CONTEXT: &[&str] = &[
    "Service.ID",
    "Service.Name",
    "Service.Labels*",
    "Node.ID",
    "Node.Hostname",
    "Node.Platform.Architecture",
    "Node.Platform.OS",
    "Task.ID",
    "Task.Name",
    "Task.Slot",
];

/// A template in a container's spec.
pub(super) fn expandable(template: &str, what: &str) -> Checked {
    if !template.contains("{{") {
        return Ok(());
    }
    parser::parse(template)
        .map_err(|fault| Invalid::Argument(format!("{what} is not a template: {fault}")))
}

/// The context has the field at this path, or it is a key of a map in it.
fn in_context(path: &[String]) -> Result<(), String> {
    let joined = path.join(".");
    let known = CONTEXT.iter().any(|field| match field.strip_suffix('*') {
        Some(map) => {
            joined == map
                || joined.strip_prefix(map).is_some_and(|key| key.matches('.').count() == 1)
        }
        None => {
            *field == joined
                || field.strip_prefix(&joined).is_some_and(|rest| rest.starts_with('.'))
        }
    });
    if known { Ok(()) } else { Err(format!("there is no field {}", shown(&format!(".{joined}")))) }
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn what_go_reads_is_accepted() {
        for template in [
            "plain",
            "}} plain",
            "{{.Service.ID}}-{{ .Service.Name }}.{{.Task.Slot}}",
            "{{.Service.Labels.zone}}",
            "{{index .Service.Labels \"a.b\"}}",
            "{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}@{{.Node.Hostname}}",
            "{{- .Task.Name -}}",
            "{{/* a comment */}}{{- /* another */ -}}",
            "{{if eq .Task.Slot \"1\"}}first{{else if .Task.ID}}x{{else}}rest{{end}}",
            "{{with .Service.Labels}}{{.zone}}{{end}}",
            "{{range $k, $v := .Service.Labels}}{{$k}}={{$v}}{{break}}{{else}}none{{end}}",
            "{{$x := .Node.ID}}{{$x = \"y\"}}{{$x | printf \"%q\"}}",
            "{{join \"a\" `b`}} {{print 1 -2.5e+3 0x1F 'c' true nil}}",
            "{{(index .Service.Labels \"x\").y}}",
            "{{define \"t\"}}{{.}}{{end}}{{template \"t\" .}}{{template \"t\"}}",
            "{{block \"b\" .}}x{{end}}",
            "{{.Service}} {{$.Service.Name}} {{.}}",
            "{{if false}}{{.Nothing}}{{end}}",
            "{{define \"u\"}}{{$.Own}}{{end}}",
            "{{printf \"%s }} {{\" .Task.ID}}",
            "{{ . | print }}",
        ] {
            assert_eq!(says(expandable(template, "it")), "ok", "{template}");
        }
    }

    #[test]
    fn what_can_never_be_expanded_is_refused() {
        for (template, fault) in [
            ("{{", "unclosed action"),
            ("{{.Service.ID", "unclosed action"),
            ("{{}}", "missing value for command"),
            ("{{.Service.ID |}}", "missing value for command"),
            ("{{| print}}", "missing value for command"),
            ("{{.Foo}}", "there is no field \".Foo\""),
            ("{{.Service.Nope}}", "there is no field \".Service.Nope\""),
            ("{{.Service.Name.X}}", "there is no field \".Service.Name.X\""),
            ("{{.Service.Labels.a.b}}", "there is no field \".Service.Labels.a.b\""),
            ("{{$.Foo}}", "there is no field \".Foo\""),
            ("{{foo}}", "function \"foo\" not defined"),
            ("{{env \"X\"}}", "function \"env\" not defined"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{if .Task.ID}}", "if has no end"),
            ("{{end}}", "end without a block"),
            ("{{else}}", "else without a block"),
            ("{{if .}}{{else}}{{else}}{{end}}", "unexpected else"),
            ("{{if}}{{end}}", "missing value for command"),
            ("{{with $x := .}}{{end}}{{$x}}", "undefined variable \"$x\""),
            ("{{print (1}}", "unclosed left paren"),
            ("{{print 1)}}", "unexpected operand in an action"),
            ("{{\"abc}}", "unterminated quoted string"),
            ("{{`abc}}", "unterminated raw quoted string"),
            ("{{'a}}", "unterminated character constant"),
            ("{{/* x }}", "unclosed comment"),
            ("{{/* x */ .}}", "comment ends before closing delimiter"),
            ("{{&}}", "unexpected character in an action"),
            ("{{1 2}}", "can't give argument to a constant"),
            ("{{. | 1}}", "can't give argument to a constant"),
            ("{{\"a\"\"b\"}}", "two operands without a space between them"),
            ("{{break}}", "break outside of range"),
            ("{{template x}}", "expected a quoted name"),
            ("{{print +}}", "bad number syntax"),
        ] {
            assert_eq!(
                says(expandable(template, "it")),
                format!("it is not a template: {fault}"),
                "{template}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{{{{}.{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(
            says(expandable(&deep, "it")),
            "it is not a template: more than 100 nested parentheses"
        );
        let blocks = "{{if .}}".repeat(10_000);
        assert_eq!(
            says(expandable(&blocks, "it")),
            "it is not a template: more than 100 nested blocks"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(
            template in "(\\{\\{|\\}\\}|[ .$|():=,\"'`a-z0-9é-]|if|end|else|range|\\n|/\\*|\\*/){0,40}"
        ) {
            let _ = expandable(&template, "it");
        }
    }
}
