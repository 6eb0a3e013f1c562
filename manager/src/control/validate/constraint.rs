//! Placement constraints of a task, read by the parser that the scheduler uses.

use super::{Checked, Invalid, ensure};
use crate::placement::Constraints;

/// Each node is held against each constraint whenever the service's tasks look for nodes. Nobody writes as many by hand.
const CONSTRAINTS_MAX: usize = 1_000;

/// The constraints of one task. A key that no node has is not an error: then no node matches.
pub(super) fn constraints(constraints: &[String]) -> Checked {
    ensure(constraints.len() <= CONSTRAINTS_MAX, || {
        format!(
            "{} placement constraints are too many: at most {CONSTRAINTS_MAX} are allowed",
            constraints.len()
        )
    })?;
    match Constraints::parse(constraints) {
        Ok(_) => Ok(()),
        Err(error) => Err(Invalid::Argument(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn a_constraint_that_does_not_parse_is_an_invalid_argument() {
        let said = |text: &str| says(constraints(&["node.id!=x".into(), text.into()]));
        assert_eq!(said("node.labels.zone==a"), "ok");
        assert_eq!(said("unknown==a"), "ok");
        assert_eq!(said("ab=="), "value \"\" of constraint \"ab==\" is invalid");
    }
}
