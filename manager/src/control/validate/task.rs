//! What each task of a service is to be.

use skep_proto::swarmkit::{
    GenericRuntimeSpec, NetworkAttachmentConfig, TaskSpec, task_spec::Runtime,
};

use super::{
    Checked, Invalid, constraint::constraints, container::container_spec, driver, ensure, refuse,
    required, resources::requirements, restart::restart_policy, shown,
};

/// The shortest name of a runtime that a plugin brings.
const GENERIC_KIND_MIN: usize = 3;

/// The task part of a service's spec.
pub(super) fn task_spec(spec: &TaskSpec) -> Checked {
    requirements(spec.resources.as_ref())?;
    restart_policy(spec.restart.as_ref())?;
    if let Some(placement) = &spec.placement {
        constraints(&placement.constraints)?;
    }
    driver(spec.log_driver.as_ref(), "log driver")?;
    networks(&spec.networks)?;
    match &spec.runtime {
        Some(Runtime::Container(container)) => container_spec(container),
        Some(Runtime::Generic(generic)) => generic_runtime(generic),
        Some(Runtime::Attachment(_)) => Err(Invalid::Unsupported(
            "a service cannot run network attachments; engines make those themselves".into(),
        )),
        None => refuse("the task's spec has no runtime: say which container it runs"),
    }
}

fn generic_runtime(generic: &GenericRuntimeSpec) -> Checked {
    let kind = generic.kind.as_str();
    ensure(kind.len() >= GENERIC_KIND_MIN, || {
        format!(
            "generic runtime: invalid name {}: at least {GENERIC_KIND_MIN} characters",
            shown(kind)
        )
    })?;
    ensure(!matches!(kind, "container" | "attachment"), || {
        format!("generic runtime: {kind} is a reserved name; choose another")
    })?;
    let payload = required(&generic.payload, "generic runtime: the payload")?;
    ensure(!payload.type_url.is_empty(), || "generic runtime: the payload has no type".into())?;
    ensure(!payload.value.is_empty(), || "generic runtime: the payload is empty".into())
}

/// Attachments to networks name their network.
pub(super) fn networks(networks: &[NetworkAttachmentConfig]) -> Checked {
    networks.iter().try_for_each(|attachment| {
        ensure(!attachment.target.is_empty(), || {
            "an attachment to a network names no network".into()
        })
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::{
        prost_types::Any,
        swarmkit::{ContainerSpec, Driver, NetworkAttachmentSpec, Placement},
    };

    use super::super::says;
    use super::*;

    fn container() -> TaskSpec {
        let container = ContainerSpec { image: "nginx".into(), ..Default::default() };
        TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
    }

    fn generic(kind: &str, payload: Option<(&str, &str)>) -> TaskSpec {
        let payload = payload.map(|(url, value)| Any { type_url: url.into(), value: value.into() });
        let generic = GenericRuntimeSpec { kind: kind.into(), payload };
        TaskSpec { runtime: Some(Runtime::Generic(generic)), ..Default::default() }
    }

    #[test]
    fn a_task_has_a_runtime() {
        let attachment = Some(Runtime::Attachment(NetworkAttachmentSpec::default()));
        let constraint = Placement { constraints: vec!["x".into()], ..Default::default() };
        for (spec, expected) in [
            (container(), "ok"),
            (TaskSpec::default(), "the task's spec has no runtime: say which container it runs"),
            (
                TaskSpec { runtime: attachment, ..Default::default() },
                "unsupported: a service cannot run network attachments; engines make those themselves",
            ),
            (generic("plugin", Some(("u", "v"))), "ok"),
            (
                generic("ab", Some(("u", "v"))),
                "generic runtime: invalid name \"ab\": at least 3 characters",
            ),
            (
                generic("container", Some(("u", "v"))),
                "generic runtime: container is a reserved name; choose another",
            ),
            (generic("plugin", None), "generic runtime: the payload is missing"),
            (generic("plugin", Some(("", "v"))), "generic runtime: the payload has no type"),
            (generic("plugin", Some(("u", ""))), "generic runtime: the payload is empty"),
            (
                TaskSpec { log_driver: Some(Driver::default()), ..container() },
                "log driver: a driver was given without a name; name it or leave the driver out",
            ),
            (
                TaskSpec { networks: vec![Default::default()], ..container() },
                "an attachment to a network names no network",
            ),
            (
                TaskSpec { placement: Some(constraint), ..container() },
                "constraint expected one operator from ==, != in \"x\"; write key==value or key!=value",
            ),
        ] {
            assert_eq!(says(task_spec(&spec)), expected);
        }
    }
}
