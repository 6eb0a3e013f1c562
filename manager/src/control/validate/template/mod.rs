//! Templates in the hostname, the environment and the mounts of a container.
//!
//! Agents expand them with Go's `text/template`. This reads the same language: what Go reads is accepted, and what can
//! never be expanded (a syntax error, a function or variable that does not exist, a field that the context does not
//! have) is refused before a task fails on it. Nothing is evaluated, so a template that fails on its values alone passes.

mod lexer;
mod parser;

use skep_proto::swarmkit::Driver;

use self::parser::{Fault, Of};
use super::{Checked, Invalid, ensure, shown};

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

/// The only language of templates that agents know.
const GOLANG: &str = "golang";

/// A template in a container's spec.
pub(super) fn expandable(template: &str, what: &str) -> Checked {
    if !template.contains("{{") {
        return Ok(());
    }
    parser::parse(template, Of::Spec).map_err(|Fault { at, text }| {
        let at = character(template.as_bytes(), at);
        Invalid::Argument(format!(
            "{what} is not a template: {text} (in the action at character {at})"
        ))
    })
}

/// The data of a secret or config, when it is a template. The text quotes nothing of it: it may be secret.
pub(super) fn expandable_payload(data: &[u8], templating: Option<&Driver>, what: &str) -> Checked {
    let Some(templating) = templating else { return Ok(()) };
    ensure(templating.name == GOLANG, || {
        format!(
            "{what}: the template driver {} is not known; use {GOLANG}",
            shown(&templating.name)
        )
    })?;
    // Bytes that are no text stand outside of actions, where anything may stand, or are refused by the agent.
    let Ok(template) = std::str::from_utf8(data) else { return Ok(()) };
    parser::parse(template, Of::Payload).map_err(|Fault { at, .. }| {
        let at = character(data, at);
        Invalid::Argument(format!(
            "{what}: the data is not a template that can be expanded: look at the action at character {at}"
        ))
    })
}

/// The number of the character that begins at a byte, counted from 1.
fn character(template: &[u8], at: usize) -> usize {
    String::from_utf8_lossy(&template[..at.min(template.len())]).chars().count() + 1
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
            let said = says(expandable(template, "it"));
            let expected = format!("it is not a template: {fault} (in the action at character ");
            assert!(said.starts_with(&expected), "{template}: {said}");
        }
    }

    #[test]
    fn a_fault_is_found_where_its_action_begins() {
        for (template, at) in [
            ("{{", 1),
            ("{{.Task.ID}} é{{/* x */}}{{.Foo}}", 26),
            ("a{{if .}}b{{with .}}c{{end}}", 2),
            ("{{.}}\n\n  {{foo}}", 10),
        ] {
            let said = says(expandable(template, "it"));
            assert!(said.ends_with(&format!("(in the action at character {at})")), "{said}");
        }
    }

    #[test]
    fn data_may_be_a_template_too_and_is_never_quoted() {
        let golang = Driver { name: "golang".into(), ..Driver::default() };
        let check = |data: &[u8], driver| says(expandable_payload(data, driver, "secret"));
        let good = b"{{secret \"key\"}} {{config \"c\"}} {{env \"HOME\"}} {{.Task.Slot}}";
        assert_eq!(check(good, Some(&golang)), "ok");
        assert_eq!(check(b"{{hunter2", None), "ok");
        assert_eq!(check(b"\xff{{", Some(&golang)), "ok");
        assert_eq!(
            check(b"password: {{hunter2}}", Some(&golang)),
            "secret: the data is not a template that can be expanded: look at the action at character 11"
        );
        let other = Driver { name: "jinja".into(), ..Driver::default() };
        assert_eq!(
            check(b"x", Some(&other)),
            "secret: the template driver \"jinja\" is not known; use golang"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{{{{}.{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(
            says(expandable(&deep, "it")),
            "it is not a template: more than 100 nested parentheses (in the action at character 1)"
        );
        let blocks = "{{if .}}".repeat(10_000);
        assert_eq!(
            says(expandable(&blocks, "it")),
            "it is not a template: more than 100 nested blocks (in the action at character 801)"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(
            template in "(\\{\\{|\\}\\}|[ .$|():=,\"'`a-z0-9é-]|if|end|else|range|\\n|/\\*|\\*/){0,40}"
        ) {
            let _ = expandable(&template, "it");
            let golang = Driver { name: "golang".into(), ..Driver::default() };
            let _ = expandable_payload(template.as_bytes(), Some(&golang), "it");
        }
    }
}
