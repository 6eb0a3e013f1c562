//! CPU, memory, swap and generic resources of a task.

use skep_proto::swarmkit::{
    GenericResource, ResourceRequirements, Resources, generic_resource::Resource,
};

use super::{Checked, ensure, refuse};

/// The least CPU that can be asked for, in billionths of a CPU: below it the kernel's quota is meaningless.
const NANO_CPUS_MIN: i64 = 1_000_000;
/// The least memory that can be asked for, in bytes: a container does not start with less.
const MEMORY_BYTES_MIN: i64 = 4 * 1024 * 1024;

/// Limits and reservations of a task.
pub(super) fn requirements(requirements: Option<&ResourceRequirements>) -> Checked {
    let Some(requirements) = requirements else { return Ok(()) };
    resources(requirements.limits.as_ref(), "resource limits")?;
    resources(requirements.reservations.as_ref(), "resource reservations")?;
    let limited = requirements.limits.as_ref().is_some_and(|l| l.memory_bytes > 0);
    if let Some(swap) = requirements.swap_bytes {
        ensure(swap >= -1, || format!("swap of {swap} bytes: give 0 or more, or -1 for no limit"))?;
        ensure(swap <= 0 || limited, || {
            "a limit of swap needs a limit of memory beside it".into()
        })?;
    }
    if let Some(swappiness) = requirements.memory_swappiness {
        ensure((-1..=100).contains(&swappiness), || {
            format!("memory swappiness {swappiness}: give 0 to 100, or -1 for the system's own")
        })?;
    }
    Ok(())
}

fn resources(resources: Option<&Resources>, what: &str) -> Checked {
    let Some(resources) = resources else { return Ok(()) };
    let (cpus, memory) = (resources.nano_cpus, resources.memory_bytes);
    ensure(cpus == 0 || cpus >= NANO_CPUS_MIN, || {
        format!(
            "{what}: invalid cpu value {}: must be at least {}",
            cpus as f64 / 1e9,
            NANO_CPUS_MIN as f64 / 1e9
        )
    })?;
    ensure(memory == 0 || memory >= MEMORY_BYTES_MIN, || {
        format!("{what}: invalid memory value {memory}: must be at least 4 MiB")
    })?;
    resources.generic.iter().try_for_each(|generic| generic_resource(generic, what))
}

/// A task asks for a number of a kind; which named ones it gets is the scheduler's choice.
fn generic_resource(generic: &GenericResource, what: &str) -> Checked {
    match &generic.resource {
        Some(Resource::DiscreteResourceSpec(discrete)) => {
            ensure(!discrete.kind.is_empty(), || {
                format!("{what}: a generic resource has no kind")
            })?;
            ensure(discrete.value >= 0, || {
                format!("{what}: {} of a generic resource is less than none", discrete.value)
            })
        }
        Some(Resource::NamedResourceSpec(_)) => refuse(format!(
            "{what}: a task cannot ask for a generic resource by its value; give the kind and how many"
        )),
        None => refuse(format!("{what}: a generic resource is empty")),
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{DiscreteGenericResource, NamedGenericResource};

    use super::super::says;
    use super::*;

    fn limits(nano_cpus: i64, memory_bytes: i64, generic: Vec<Option<Resource>>) -> String {
        let generic = generic.into_iter().map(|resource| GenericResource { resource }).collect();
        let limits = Some(Resources { nano_cpus, memory_bytes, generic });
        says(requirements(Some(&ResourceRequirements { limits, ..Default::default() })))
    }

    #[test]
    fn cpu_and_memory_have_least_values() {
        assert_eq!(limits(0, 0, vec![]), "ok");
        assert_eq!(limits(1_000_000, 4 << 20, vec![]), "ok");
        assert_eq!(
            limits(999_999, 0, vec![]),
            "resource limits: invalid cpu value 0.000999999: must be at least 0.001"
        );
        assert_eq!(
            limits(-1, 0, vec![]),
            "resource limits: invalid cpu value -0.000000001: must be at least 0.001"
        );
        assert_eq!(
            limits(0, (4 << 20) - 1, vec![]),
            "resource limits: invalid memory value 4194303: must be at least 4 MiB"
        );
        let reservations = Some(Resources { memory_bytes: -1, ..Default::default() });
        assert_eq!(
            says(requirements(Some(&ResourceRequirements { reservations, ..Default::default() }))),
            "resource reservations: invalid memory value -1: must be at least 4 MiB"
        );
    }

    #[test]
    fn generic_resources_are_counted_by_kind() {
        let discrete = |kind: &str, value| {
            Some(Resource::DiscreteResourceSpec(DiscreteGenericResource {
                kind: kind.into(),
                value,
            }))
        };
        let named = Some(Resource::NamedResourceSpec(NamedGenericResource {
            kind: "gpu".into(),
            value: "a".into(),
        }));
        assert_eq!(limits(0, 0, vec![discrete("gpu", 2)]), "ok");
        assert_eq!(
            limits(0, 0, vec![discrete("", 2)]),
            "resource limits: a generic resource has no kind"
        );
        assert_eq!(
            limits(0, 0, vec![discrete("gpu", -2)]),
            "resource limits: -2 of a generic resource is less than none"
        );
        assert_eq!(
            limits(0, 0, vec![named]),
            "resource limits: a task cannot ask for a generic resource by its value; give the kind and how many"
        );
        assert_eq!(limits(0, 0, vec![None]), "resource limits: a generic resource is empty");
    }

    #[test]
    fn swap_goes_with_memory() {
        for (memory_bytes, swap, swappiness, expected) in [
            (0, None, None, "ok"),
            (0, Some(-1), Some(-1), "ok"),
            (8 << 20, Some(1 << 20), Some(100), "ok"),
            (0, Some(1), None, "a limit of swap needs a limit of memory beside it"),
            (0, Some(-2), None, "swap of -2 bytes: give 0 or more, or -1 for no limit"),
            (
                0,
                None,
                Some(101),
                "memory swappiness 101: give 0 to 100, or -1 for the system's own",
            ),
        ] {
            let limits = Some(Resources { memory_bytes, ..Default::default() });
            let asked = ResourceRequirements {
                limits,
                swap_bytes: swap,
                memory_swappiness: swappiness,
                ..Default::default()
            };
            assert_eq!(says(requirements(Some(&asked))), expected);
        }
    }
}
