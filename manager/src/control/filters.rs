//! Filters of lists: what every kind of object is filtered by. Values of one filter are alternatives, filters add up.

use std::collections::{BTreeMap, HashSet};

use skep_store::{By, Object, Tables};

use super::errors::ControlError;

/// The most values of one filter: each object is held against them.
pub(super) const FILTER_VALUES_MAX: usize = 1000;

/// The filters that the list of any kind has.
#[derive(Default)]
pub(super) struct Filter<'a> {
    names: HashSet<&'a str>,
    id_prefixes: &'a [String],
    name_prefixes: &'a [String],
    labels: Option<&'a BTreeMap<String, String>>,
}

/// The [`Filter`] in a request's own filters, which are a type of their own for each kind.
macro_rules! common_filter {
    ($filters:expr) => {
        match &$filters {
            Some(f) => $crate::control::filters::Filter::new(
                &f.names,
                &f.id_prefixes,
                &f.name_prefixes,
                &f.labels,
            ),
            None => Ok($crate::control::filters::Filter::default()),
        }
    };
}
pub(super) use common_filter;

impl<'a> Filter<'a> {
    /// The filter with these values; empty ones let everything through.
    pub(super) fn new(
        names: &'a [String],
        id_prefixes: &'a [String],
        name_prefixes: &'a [String],
        labels: &'a BTreeMap<String, String>,
    ) -> Result<Filter<'a>, ControlError> {
        bounded(names.len(), "names")?;
        bounded(id_prefixes.len(), "id prefixes")?;
        bounded(name_prefixes.len(), "name prefixes")?;
        bounded(labels.len(), "labels")?;
        let names = names.iter().map(String::as_str).collect();
        Ok(Filter { names, id_prefixes, name_prefixes, labels: Some(labels) })
    }

    /// The narrowest question to an index that covers the filter.
    pub(super) fn by(&self) -> By {
        if !self.names.is_empty() {
            By::Or(self.names.iter().map(|name| By::Name((*name).to_owned())).collect())
        } else if !self.id_prefixes.is_empty() {
            By::Or(self.id_prefixes.iter().cloned().map(By::IdPrefix).collect())
        } else if !self.name_prefixes.is_empty() {
            By::Or(self.name_prefixes.iter().cloned().map(By::NamePrefix).collect())
        } else {
            By::All
        }
    }

    fn admits(&self, id: &str, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let prefixed = |prefixes: &[String], text: &str| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()))
        };
        (self.names.is_empty() || self.names.contains(name))
            && prefixed(self.id_prefixes, id)
            && prefixed(self.name_prefixes, name)
            && self.labels.is_none_or(|wanted| labels_match(wanted, labels))
    }

    /// The objects that pass, by id. `labels` says which labels of an object count.
    pub(super) fn list<T: Object>(
        &self,
        tables: &Tables,
        labels: impl Fn(&T) -> Option<&BTreeMap<String, String>>,
        admits: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        tables
            .find::<T>(self.by())
            .filter(|object| {
                self.admits(object.id(), &object.name().unwrap_or_default(), labels(object))
                    && admits(object)
            })
            .map(|object| T::clone(object))
            .collect()
    }
}

/// The labels that users put on an object.
pub(super) fn own_labels<T: Object>(object: &T) -> Option<&BTreeMap<String, String>> {
    object.annotations().map(|annotations| &annotations.labels)
}

/// Every wanted label is there, with the wanted value when one is given.
pub(super) fn labels_match(
    wanted: &BTreeMap<String, String>,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    wanted.iter().all(|(key, value)| {
        labels
            .and_then(|labels| labels.get(key))
            .is_some_and(|own| value.is_empty() || own == value)
    })
}

/// The values contain it, or there are none.
pub(super) fn any_or_empty<T: PartialEq>(values: &[T], own: &T) -> bool {
    values.is_empty() || values.contains(own)
}

/// No filter has more values than are worth holding each object against.
pub(super) fn bounded(len: usize, what: &str) -> Result<(), ControlError> {
    if len <= FILTER_VALUES_MAX {
        Ok(())
    } else {
        Err(ControlError::argument(format!(
            "a filter of {len} {what} is too long; at most {FILTER_VALUES_MAX} are allowed"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn values_are_alternatives_and_filters_add_up() {
        let labels = map(&[("zone", "eu"), ("ssd", "")]);
        for (names, ids, prefixes, wanted, passes) in [
            (&[][..], &[][..], &[][..], map(&[]), true),
            (&["web", "db"], &[], &[], map(&[]), true),
            (&["Web"], &[], &[], map(&[]), false),
            (&[], &["x", "ab"], &[], map(&[]), true),
            (&[], &["b"], &[], map(&[]), false),
            (&[], &[], &["we"], map(&[]), true),
            (&["web"], &["b"], &[], map(&[]), false),
            (&[], &[], &[], map(&[("zone", "eu")]), true),
            (&[], &[], &[], map(&[("zone", "")]), true),
            (&[], &[], &[], map(&[("zone", "us")]), false),
            (&[], &[], &[], map(&[("zone", "eu"), ("rack", "")]), false),
        ] {
            let (names, ids, prefixes) = (texts(names), texts(ids), texts(prefixes));
            let filter = Filter::new(&names, &ids, &prefixes, &wanted).unwrap();
            assert_eq!(
                filter.admits("abc", "web", Some(&labels)),
                passes,
                "{names:?} {ids:?} {prefixes:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn a_filter_is_bounded() {
        let names = vec![String::new(); FILTER_VALUES_MAX + 1];
        let error = Filter::new(&names, &[], &[], &BTreeMap::new()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "a filter of 1001 names is too long; at most 1000 are allowed"
        );
    }
}
