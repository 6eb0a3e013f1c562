//! Generic resources of a node: counted ones ("4 of ssd-slots") and named ones ("gpu: a, b, c").
//!
//! A task asks for a number of a kind. Of a counted kind it gets that number, of a named kind that many names, which are
//! then its own until it stops. A kind that a node reports in both ways is taken as named, as far as its names go.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::swarmkit::{
    DiscreteGenericResource, GenericResource, NamedGenericResource, generic_resource::Resource,
};

/// What of one kind is free on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Free {
    Counted(i64),
    Named(BTreeSet<String>),
}

impl Free {
    fn count(&self) -> i64 {
        match self {
            Free::Counted(count) => *count,
            Free::Named(names) => i64::try_from(names.len()).unwrap_or(i64::MAX),
        }
    }
}

/// A task asks for more of a kind than is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The kind.
    pub kind: String,
    /// How many are asked for.
    pub wanted: i64,
    /// How many are free.
    pub free: i64,
}

/// The generic resources that are free on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenericPool {
    kinds: BTreeMap<String, Free>,
}

impl GenericPool {
    /// Everything that a node reports.
    pub fn of(reported: &[GenericResource]) -> GenericPool {
        let mut pool = GenericPool::default();
        reported.iter().for_each(|resource| pool.add(resource));
        pool
    }

    /// The first kind of which less is free than is wanted.
    pub fn shortage(&self, wanted: &BTreeMap<String, i64>) -> Option<Shortage> {
        let short = |(kind, &wanted): (&String, &i64)| {
            let free = self.kinds.get(kind).map_or(0, Free::count);
            (wanted > free).then(|| Shortage { kind: kind.clone(), wanted, free })
        };
        wanted.iter().find_map(short)
    }

    /// Whether as much is free as is wanted. Allocates nothing.
    pub fn has(&self, wanted: &BTreeMap<String, i64>) -> bool {
        let enough = |(kind, &wanted): (&String, &i64)| {
            wanted <= self.kinds.get(kind).map_or(0, Free::count)
        };
        wanted.iter().all(enough)
    }

    /// Takes what is wanted, the first names first; all of it or, if it is not there, nothing.
    pub fn claim(&mut self, wanted: &BTreeMap<String, i64>) -> Option<Vec<GenericResource>> {
        if !self.has(wanted) {
            return None;
        }
        let mut claimed = Vec::new();
        for (kind, &count) in wanted {
            match self.kinds.get_mut(kind) {
                Some(Free::Counted(free)) => {
                    *free -= count;
                    claimed.push(counted(kind, count));
                }
                Some(Free::Named(names)) => {
                    for _ in 0..count {
                        claimed.extend(names.pop_first().map(|name| named(kind, name)));
                    }
                }
                None => {}
            }
        }
        Some(claimed)
    }

    /// Takes exactly these, which a task already holds. Says whether all of them were free; what was not is left out, so
    /// that a pool never owes anything.
    pub fn take(&mut self, held: &[GenericResource]) -> bool {
        let mut all = true;
        for resource in held {
            all &= match &resource.resource {
                Some(Resource::NamedResourceSpec(named)) => match self.kinds.get_mut(&named.kind) {
                    Some(Free::Named(names)) => names.remove(&named.value),
                    _ => false,
                },
                Some(Resource::DiscreteResourceSpec(own)) => match self.kinds.get_mut(&own.kind) {
                    Some(Free::Counted(free)) => {
                        let enough = *free >= own.value;
                        *free = (*free - own.value).max(0);
                        enough
                    }
                    _ => false,
                },
                None => true,
            };
        }
        all
    }

    fn add(&mut self, resource: &GenericResource) {
        match &resource.resource {
            Some(Resource::NamedResourceSpec(named)) => {
                let free = self.kinds.entry(named.kind.clone());
                let free = free.or_insert_with(|| Free::Named(BTreeSet::new()));
                match free {
                    Free::Named(names) => {
                        names.insert(named.value.clone());
                    }
                    counted => *counted = Free::Named(BTreeSet::from([named.value.clone()])),
                }
            }
            Some(Resource::DiscreteResourceSpec(own)) => {
                let free = self.kinds.entry(own.kind.clone()).or_insert(Free::Counted(0));
                if let Free::Counted(count) = free {
                    *count = count.saturating_add(own.value.max(0));
                }
            }
            None => {}
        }
    }
}

fn counted(kind: &str, value: i64) -> GenericResource {
    let discrete = DiscreteGenericResource { kind: kind.to_owned(), value };
    GenericResource { resource: Some(Resource::DiscreteResourceSpec(discrete)) }
}

fn named(kind: &str, value: String) -> GenericResource {
    let named = NamedGenericResource { kind: kind.to_owned(), value };
    GenericResource { resource: Some(Resource::NamedResourceSpec(named)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        pairs.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    fn node() -> GenericPool {
        GenericPool::of(&[
            counted("ssd", 3),
            named("gpu", "b".into()),
            named("gpu", "a".into()),
            named("gpu", "c".into()),
        ])
    }

    #[test]
    fn a_task_gets_a_number_of_counted_ones_and_names_of_named_ones() {
        let mut pool = node();
        assert_eq!(
            pool.claim(&wanted(&[("gpu", 2), ("ssd", 2)])),
            Some(vec![named("gpu", "a".into()), named("gpu", "b".into()), counted("ssd", 2)])
        );
        assert!(pool.has(&wanted(&[("gpu", 1), ("ssd", 1)])));
        let before = pool.clone();
        assert_eq!(pool.claim(&wanted(&[("gpu", 1), ("ssd", 2)])), None);
        assert_eq!(pool, before, "a claim that fails takes nothing");
    }

    #[test]
    fn what_is_short_is_named() {
        let short = |pairs: &[(&str, i64)]| node().shortage(&wanted(pairs));
        assert_eq!(short(&[("gpu", 3), ("ssd", 3)]), None);
        assert_eq!(short(&[("gpu", 4)]), Some(Shortage { kind: "gpu".into(), wanted: 4, free: 3 }));
        assert_eq!(
            short(&[("fpga", 1)]),
            Some(Shortage { kind: "fpga".into(), wanted: 1, free: 0 })
        );
    }

    #[test]
    fn what_tasks_hold_already_is_taken_as_it_is() {
        let mut pool = node();
        assert!(pool.take(&[named("gpu", "b".into()), counted("ssd", 2)]));
        assert_eq!(
            pool.claim(&wanted(&[("gpu", 2)])),
            Some(vec![named("gpu", "a".into()), named("gpu", "c".into())])
        );
        // Twice the same name, more than there is, and a kind of the other sort.
        assert!(!pool.take(&[named("gpu", "b".into())]));
        assert!(!pool.take(&[counted("ssd", 2)]));
        assert!(!pool.take(&[named("ssd", "x".into())]));
        assert!(!pool.has(&wanted(&[("ssd", 1)])));
    }

    #[test]
    fn a_kind_that_is_both_is_taken_as_named() {
        for reported in [
            [counted("gpu", 9), named("gpu", "a".into())],
            [named("gpu", "a".into()), counted("gpu", 9)],
        ] {
            let pool = GenericPool::of(&reported);
            assert!(pool.has(&wanted(&[("gpu", 1)])));
            assert!(!pool.has(&wanted(&[("gpu", 2)])));
        }
    }
}
