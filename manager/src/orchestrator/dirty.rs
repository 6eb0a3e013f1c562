//! Whether a task has to be replaced for its service's spec to take effect.

use skep_proto::swarmkit::{Node, Service, Task, TaskSpec, TaskState, task_spec::Runtime};

use super::{
    nodes::meets_constraints,
    task::{is_wanted, state},
};

/// Whether the task differs from what its service would create now, in a way that counts. `node` is the task's own.
///
/// Constraints alone do not count where the node meets the new ones, nor does the way to pull an image that is there.
pub(super) fn is_dirty(service: &Service, task: &Task, node: Option<&Node>) -> bool {
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return false;
    }
    let spec = service.spec.as_ref();
    if let Some(endpoint) = &task.endpoint
        && endpoint.spec.as_ref() != spec.and_then(|spec| spec.endpoint.as_ref())
    {
        return true;
    }
    let wanted = spec.and_then(|spec| spec.task.as_ref());
    if wanted == task.spec.as_ref() {
        return false;
    }
    let (Some(wanted), Some(own)) = (wanted, task.spec.as_ref()) else { return true };
    if node.is_some_and(|node| meets_constraints(service, node))
        && *wanted == with_constraints_of(own, wanted)
    {
        return false;
    }
    !has_its_image(task) || *wanted != with_pull_options_of(own, wanted)
}

fn with_constraints_of(spec: &TaskSpec, other: &TaskSpec) -> TaskSpec {
    let mut spec = spec.clone();
    let constraints = other.placement.as_ref().map(|p| p.constraints.clone()).unwrap_or_default();
    match &mut spec.placement {
        Some(placement) => placement.constraints = constraints,
        None => spec.placement.clone_from(&other.placement),
    }
    // No placement and an empty one are the same.
    if other.placement.is_none() && spec.placement == Some(Default::default()) {
        spec.placement = None;
    }
    spec
}

fn with_pull_options_of(spec: &TaskSpec, other: &TaskSpec) -> TaskSpec {
    let mut spec = spec.clone();
    if let (Some(Runtime::Container(own)), Some(Runtime::Container(other))) =
        (&mut spec.runtime, &other.runtime)
    {
        own.pull_options.clone_from(&other.pull_options);
    }
    spec
}

/// Whether the image was pulled, or did not have to be, and the task is to go on.
fn has_its_image(task: &Task) -> bool {
    let pulled = TaskState::Ready as i32..=TaskState::Running as i32;
    is_wanted(task) && pulled.contains(&state(task))
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{
        ContainerSpec, Endpoint, EndpointSpec, NodeSpec, Placement, ServiceSpec, TaskStatus,
        Version, container_spec::PullOptions,
    };

    use super::*;

    fn spec(image: &str, auth: &str, constraint: &str) -> TaskSpec {
        TaskSpec {
            runtime: Some(Runtime::Container(ContainerSpec {
                image: image.into(),
                pull_options: Some(PullOptions { registry_auth: auth.into() }),
                ..Default::default()
            })),
            placement: (!constraint.is_empty())
                .then(|| Placement { constraints: vec![constraint.into()], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn only_what_the_task_would_feel_makes_it_dirty() {
        let node = Node { id: "n1".into(), spec: Some(NodeSpec::default()), ..Default::default() };
        let base = spec("v1", "", "");
        let running = TaskState::Running;
        for (what, new, version, state, expected) in [
            ("the same version", spec("v2", "", ""), 1, running, false),
            ("another version alone", base.clone(), 2, running, false),
            ("another image", spec("v2", "", ""), 2, running, true),
            ("another login, image pulled", spec("v1", "me", ""), 2, TaskState::Ready, false),
            ("another login, image not there", spec("v1", "me", ""), 2, TaskState::Preparing, true),
            ("constraints that its node meets", spec("v1", "", "node.id == n1"), 2, running, false),
            ("constraints that it does not", spec("v1", "", "node.id != n1"), 2, running, true),
            ("constraints and an image", spec("v2", "", "node.id == n1"), 2, running, true),
        ] {
            let service = Service {
                spec: Some(ServiceSpec { task: Some(new.into()), ..Default::default() }),
                spec_version: Some(Version { index: version }),
                ..Default::default()
            };
            let task = Task {
                spec: Some(base.clone().into()),
                spec_version: Some(Version { index: 1 }),
                desired_state: running.into(),
                status: Some(TaskStatus { state: state.into(), ..Default::default() }),
                endpoint: Some(Endpoint::default().into()),
                ..Default::default()
            };
            assert_eq!(is_dirty(&service, &task, Some(&node)), expected, "{what}");
        }
    }

    #[test]
    fn another_endpoint_makes_a_task_dirty() {
        let service = Service {
            spec: Some(ServiceSpec {
                endpoint: Some(EndpointSpec::default()),
                ..Default::default()
            }),
            spec_version: Some(Version { index: 2 }),
            ..Default::default()
        };
        let task = Task { endpoint: Some(Endpoint::default().into()), ..Default::default() };
        assert!(is_dirty(&service, &task, None));
    }
}
