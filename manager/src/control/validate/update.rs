//! How a service moves from one spec to the next, and back.

use skep_proto::swarmkit::{
    UpdateConfig,
    update_config::{FailureAction, UpdateOrder},
};

use super::{Checked, duration::non_negative, ensure, known};

/// An update or rollback config, when there is one; `what` is "update" or "rollback".
pub(super) fn update_config(config: Option<&UpdateConfig>, what: &str) -> Checked {
    let Some(config) = config else { return Ok(()) };
    non_negative(config.delay.as_ref(), &format!("{what} delay"))?;
    non_negative(config.monitor.as_ref(), &format!("{what} monitor period"))?;
    known::<FailureAction>(config.failure_action, &format!("{what} failure action"))?;
    known::<UpdateOrder>(config.order, &format!("{what} order"))?;
    ensure((0.0..=1.0).contains(&config.max_failure_ratio), || {
        format!(
            "{what} maximum failure ratio cannot be less than 0 or bigger than 1, this one is {}",
            config.max_failure_ratio
        )
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::prost_types::Duration;

    use super::super::says;
    use super::*;

    #[test]
    fn an_update_config_is_in_range() {
        let minus = Some(Duration { seconds: 0, nanos: -1 });
        let ratio = |max_failure_ratio| UpdateConfig { max_failure_ratio, ..Default::default() };
        for (config, expected) in [
            (ratio(0.0), "ok"),
            (ratio(1.0), "ok"),
            (
                ratio(-0.5),
                "update maximum failure ratio cannot be less than 0 or bigger than 1, this one is -0.5",
            ),
            (
                ratio(1.5),
                "update maximum failure ratio cannot be less than 0 or bigger than 1, this one is 1.5",
            ),
            (
                ratio(f32::NAN),
                "update maximum failure ratio cannot be less than 0 or bigger than 1, this one is NaN",
            ),
            (
                UpdateConfig { delay: minus, ..Default::default() },
                "update delay cannot be negative",
            ),
            (
                UpdateConfig { monitor: minus, ..Default::default() },
                "update monitor period cannot be negative",
            ),
            (
                UpdateConfig { failure_action: 9, ..Default::default() },
                "update failure action 9 is not a known value",
            ),
            (
                UpdateConfig { order: -1, ..Default::default() },
                "update order -1 is not a known value",
            ),
        ] {
            assert_eq!(says(update_config(Some(&config), "update")), expected);
        }
        assert_eq!(says(update_config(None, "update")), "ok");
    }
}
