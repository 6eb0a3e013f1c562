//! What a task sets aside for itself on its node.

use std::collections::BTreeMap;

use skep_proto::swarmkit::{Resources, TaskSpec, generic_resource::Resource};

/// CPU, memory and generic resources that a task reserves. Limits do not count: they set nothing aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// How many of each kind.
    pub generic: BTreeMap<String, i64>,
}

impl Reservation {
    /// Of a task with this spec.
    pub fn of(spec: Option<&TaskSpec>) -> Reservation {
        let resources = spec.and_then(|spec| spec.resources.as_ref());
        resources.and_then(|r| r.reservations.as_ref()).map_or_else(Reservation::default, asked)
    }

    /// Whether nothing is reserved: then no node lacks it.
    pub fn is_empty(&self) -> bool {
        self.nano_cpus == 0 && self.memory_bytes == 0 && self.generic.is_empty()
    }
}

fn asked(resources: &Resources) -> Reservation {
    let mut generic = BTreeMap::new();
    for resource in &resources.generic {
        // A task asks by number; a named value in a reservation is refused when the spec comes in.
        if let Some(Resource::DiscreteResourceSpec(discrete)) = &resource.resource
            && discrete.value > 0
        {
            let count: &mut i64 = generic.entry(discrete.kind.clone()).or_default();
            *count = count.saturating_add(discrete.value);
        }
    }
    // Below nothing is nothing: stored specs of other managers are not checked again.
    Reservation {
        nano_cpus: resources.nano_cpus.max(0),
        memory_bytes: resources.memory_bytes.max(0),
        generic,
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{
        DiscreteGenericResource, GenericResource, NamedGenericResource, ResourceRequirements,
    };

    use super::*;

    fn spec(nano_cpus: i64, memory_bytes: i64, generic: Vec<GenericResource>) -> TaskSpec {
        TaskSpec {
            resources: Some(ResourceRequirements {
                limits: Some(Resources { nano_cpus: 9, memory_bytes: 9, generic: Vec::new() }),
                reservations: Some(Resources { nano_cpus, memory_bytes, generic }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn only_what_is_reserved_counts() {
        assert!(Reservation::of(None).is_empty());
        assert!(Reservation::of(Some(&TaskSpec::default())).is_empty());
        assert!(Reservation::of(Some(&spec(0, 0, Vec::new()))).is_empty());
        assert!(Reservation::of(Some(&spec(-5, -5, Vec::new()))).is_empty());
        let discrete = |value| GenericResource {
            resource: Some(Resource::DiscreteResourceSpec(DiscreteGenericResource {
                kind: "gpu".into(),
                value,
            })),
        };
        let named = GenericResource {
            resource: Some(Resource::NamedResourceSpec(NamedGenericResource {
                kind: "gpu".into(),
                value: "a".into(),
            })),
        };
        let own = Reservation::of(Some(&spec(1, 2, vec![discrete(1), discrete(2), named])));
        assert_eq!((own.nano_cpus, own.memory_bytes), (1, 2));
        assert_eq!(own.generic, BTreeMap::from([("gpu".to_owned(), 3)]));
    }
}
