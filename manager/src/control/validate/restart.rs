//! When a task that ended is replaced.

use skep_proto::swarmkit::{RestartPolicy, restart_policy::RestartCondition};

use super::{Checked, duration::non_negative, known};

/// The restart policy of a task, when there is one.
pub(super) fn restart_policy(policy: Option<&RestartPolicy>) -> Checked {
    let Some(policy) = policy else { return Ok(()) };
    known::<RestartCondition>(policy.condition, "restart condition")?;
    non_negative(policy.delay.as_ref(), "restart delay")?;
    non_negative(policy.window.as_ref(), "restart window")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_proto::prost_types::Duration;

    use super::super::says;
    use super::*;

    #[test]
    fn a_restart_policy_has_a_known_condition_and_durations_that_are_not_negative() {
        let minus = Some(Duration { seconds: -1, nanos: 0 });
        for (policy, expected) in [
            (RestartPolicy::default(), "ok"),
            (
                RestartPolicy { condition: 3, ..Default::default() },
                "restart condition 3 is not a known value",
            ),
            (
                RestartPolicy { delay: minus, ..Default::default() },
                "restart delay cannot be negative",
            ),
            (
                RestartPolicy { window: minus, ..Default::default() },
                "restart window cannot be negative",
            ),
        ] {
            assert_eq!(says(restart_policy(Some(&policy))), expected);
        }
        assert_eq!(says(restart_policy(None)), "ok");
    }
}
