//! Placement constraints: `key == value` and `key != value`, as the scheduler reads them.

use super::{Checked, ensure, refuse, shown};

/// The constraints of one task. A key that no node has is not an error: then no node matches.
pub(super) fn constraints(constraints: &[String]) -> Checked {
    constraints.iter().try_for_each(|constraint| one(constraint))
}

fn one(constraint: &str) -> Checked {
    let (key, value) = match (constraint.split_once("=="), constraint.split_once("!=")) {
        (Some((key, value)), None) | (None, Some((key, value))) => (key.trim(), value.trim()),
        // Both: the operator that comes first splits, the other one is part of the value.
        (Some(equal), Some(unequal)) => {
            let (key, value) = if equal.0.len() < unequal.0.len() { equal } else { unequal };
            (key.trim(), value.trim())
        }
        (None, None) => {
            return refuse(format!(
                "constraint expected one operator from ==, != in {}; write key==value or key!=value",
                shown(constraint)
            ));
        }
    };
    ensure(is_key(key), || {
        format!(
            "key {} of constraint {} is invalid: write letters, digits, '-', '_' and '.', a letter or '_' first, \
             such as node.labels.zone",
            shown(key),
            shown(constraint)
        )
    })?;
    ensure(is_value(value), || {
        format!("value {} of constraint {} is invalid", shown(value), shown(constraint))
    })
}

fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && key.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_value(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || br":-_ .*()?+[]\^$|/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn constraints_are_comparisons() {
        for text in [
            "node.id==abc",
            " node.labels.zone != eu-1 ",
            "engine.labels.x==a b",
            "node.ip==10.0.0.0/8",
            "node.hostname == ^x*[1]$",
            "unknown==x",
            "_x==y",
        ] {
            assert_eq!(says(constraints(&[text.to_owned()])), "ok", "{text}");
        }
        for (text, expected) in [
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
                "key \"1a\" of constraint \"1a==b\" is invalid: write letters, digits, '-', '_' and '.', a letter \
                 or '_' first, such as node.labels.zone",
            ),
            (
                "==b",
                "key \"\" of constraint \"==b\" is invalid: write letters, digits, '-', '_' and '.', a letter or \
                 '_' first, such as node.labels.zone",
            ),
            ("ab==", "value \"\" of constraint \"ab==\" is invalid"),
            ("ab==c,d", "value \"c,d\" of constraint \"ab==c,d\" is invalid"),
            ("ab==é", "value \"é\" of constraint \"ab==é\" is invalid"),
            ("ab==c!=d", "value \"c!=d\" of constraint \"ab==c!=d\" is invalid"),
        ] {
            assert_eq!(says(constraints(&[text.to_owned()])), expected);
        }
    }
}
