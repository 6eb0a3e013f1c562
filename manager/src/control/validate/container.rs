//! What runs in a task: image, environment, mounts, health check, secrets and configs.

use std::time::Duration;

use skep_proto::swarmkit::{
    ContainerSpec, HealthConfig,
    container_spec::Isolation,
    privileges::{app_armor_opts::AppArmorMode, seccomp_opts::SeccompMode},
};

use super::{
    Checked,
    duration::non_negative,
    ensure,
    image::image_reference,
    known,
    mount::mounts,
    reference::{config_references, secret_references},
    shown,
    template::expandable,
};

/// The shortest period that engines take for a health check.
const HEALTH_PERIOD_MIN: Duration = Duration::from_millis(1);
/// What the kernel takes as an OOM score adjustment.
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i64> = -1000..=1000;

/// A container's spec.
pub(super) fn container_spec(spec: &ContainerSpec) -> Checked {
    image_reference(&spec.image)?;
    expandable(&spec.hostname, "the hostname")?;
    for entry in &spec.env {
        let name = entry.split('=').next().unwrap_or_default();
        ensure(!entry.contains('\0'), || {
            format!("container: the environment variable {} contains a NUL", shown(name))
        })?;
        expandable(entry, &format!("the environment variable {}", shown(name)))?;
    }
    mounts(&spec.mounts)?;
    health(spec.healthcheck.as_ref())?;
    non_negative(spec.stop_grace_period.as_ref(), "stop grace period")?;
    known::<Isolation>(spec.isolation, "isolation")?;
    ensure(spec.pids_limit >= -1, || {
        format!(
            "container: pids limit {}: give a number, 0 for none, or -1 for unlimited",
            spec.pids_limit
        )
    })?;
    ensure(OOM_SCORE_ADJ.contains(&spec.oom_score_adj), || {
        format!("container: OOM score adjustment {}: give -1000 to 1000", spec.oom_score_adj)
    })?;
    for ulimit in &spec.ulimits {
        ensure(!ulimit.name.is_empty(), || "container: a ulimit has no name".into())?;
        ensure(ulimit.hard == -1 || (ulimit.soft != -1 && ulimit.soft <= ulimit.hard), || {
            format!(
                "container: the soft limit {} of ulimit {} is above the hard limit {}",
                ulimit.soft,
                shown(&ulimit.name),
                ulimit.hard
            )
        })?;
    }
    if let Some(privileges) = &spec.privileges {
        if let Some(seccomp) = &privileges.seccomp {
            known::<SeccompMode>(seccomp.mode, "seccomp mode")?;
        }
        if let Some(apparmor) = &privileges.apparmor {
            known::<AppArmorMode>(apparmor.mode, "apparmor mode")?;
        }
    }
    secret_references(&spec.secrets)?;
    config_references(spec)
}

fn health(health: Option<&HealthConfig>) -> Checked {
    let Some(health) = health else { return Ok(()) };
    for (period, what) in [
        (&health.interval, "health check interval"),
        (&health.timeout, "health check timeout"),
        (&health.start_period, "health check start period"),
        (&health.start_interval, "health check start interval"),
    ] {
        let period = non_negative(period.as_ref(), what)?.unwrap_or_default();
        ensure(period.is_zero() || period >= HEALTH_PERIOD_MIN, || {
            format!("{what} cannot be less than {} ms", HEALTH_PERIOD_MIN.as_millis())
        })?;
    }
    ensure(health.retries >= 0, || {
        format!("health check retries cannot be negative, these are {}", health.retries)
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::{prost_types, swarmkit::container_spec::Ulimit};

    use super::super::says;
    use super::*;

    fn container() -> ContainerSpec {
        ContainerSpec { image: "nginx".into(), ..Default::default() }
    }

    #[test]
    fn a_container_is_well_formed() {
        let ulimit = |soft, hard| vec![Ulimit { name: "nofile".into(), soft, hard }];
        let minus = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        for (spec, expected) in [
            (container(), "ok"),
            (ContainerSpec::default(), "container: an image reference must be provided"),
            (
                ContainerSpec {
                    hostname: "{{.Node.Hostname}}-{{.Task.Slot}}".into(),
                    ..container()
                },
                "ok",
            ),
            (
                ContainerSpec { hostname: "{{.Nod}}".into(), ..container() },
                "the hostname is not a template: there is no field \".Nod\" (in the action at character 1)",
            ),
            (
                ContainerSpec { env: vec!["A=b".into(), "X={{foo}}".into()], ..container() },
                "the environment variable \"X\" is not a template: function \"foo\" not defined (in the action at character 3)",
            ),
            (
                ContainerSpec { env: vec!["A=\0".into()], ..container() },
                "container: the environment variable \"A\" contains a NUL",
            ),
            (
                ContainerSpec { stop_grace_period: minus, ..container() },
                "stop grace period cannot be negative",
            ),
            (ContainerSpec { isolation: 5, ..container() }, "isolation 5 is not a known value"),
            (
                ContainerSpec { pids_limit: -2, ..container() },
                "container: pids limit -2: give a number, 0 for none, or -1 for unlimited",
            ),
            (
                ContainerSpec { oom_score_adj: 1001, ..container() },
                "container: OOM score adjustment 1001: give -1000 to 1000",
            ),
            (ContainerSpec { ulimits: ulimit(1, 2), ..container() }, "ok"),
            (ContainerSpec { ulimits: ulimit(-1, -1), ..container() }, "ok"),
            (
                ContainerSpec { ulimits: ulimit(3, 2), ..container() },
                "container: the soft limit 3 of ulimit \"nofile\" is above the hard limit 2",
            ),
        ] {
            assert_eq!(says(container_spec(&spec)), expected);
        }
    }

    #[test]
    fn health_checks_are_neither_negative_nor_busy() {
        let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        for (health, expected) in [
            (HealthConfig::default(), "ok"),
            (HealthConfig { interval: duration(0, 1_000_000), ..Default::default() }, "ok"),
            (
                HealthConfig { interval: duration(0, 999_999), ..Default::default() },
                "health check interval cannot be less than 1 ms",
            ),
            (
                HealthConfig { timeout: duration(-1, 0), ..Default::default() },
                "health check timeout cannot be negative",
            ),
            (
                HealthConfig { start_period: duration(0, 1), ..Default::default() },
                "health check start period cannot be less than 1 ms",
            ),
            (
                HealthConfig { retries: -1, ..Default::default() },
                "health check retries cannot be negative, these are -1",
            ),
        ] {
            let spec = ContainerSpec { healthcheck: Some(health), ..container() };
            assert_eq!(says(container_spec(&spec)), expected);
        }
    }
}
