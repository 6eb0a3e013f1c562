//! Adding to, replacing in and removing from lists whose values are told apart by a key.

use std::collections::BTreeMap;

use crate::input::pairs;

/// What is added to a list, and the keys of what is removed.
#[derive(Debug)]
pub struct Change<T, R = String> {
    pub add: Vec<T>,
    pub remove: Vec<R>,
}

impl<T, R> Default for Change<T, R> {
    fn default() -> Change<T, R> {
        Change { add: Vec::new(), remove: Vec::new() }
    }
}

impl<T, R> Change<T, R> {
    pub fn adding(add: Vec<T>) -> Change<T, R> {
        Change { add, remove: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl<T: Clone> Change<T> {
    /// Changes a list; a value that is added replaces the one with its key, where that stands.
    pub fn apply(&self, list: &mut Vec<T>, key: impl Fn(&T) -> String) {
        list.retain(|own| !self.remove.contains(&key(own)));
        for added in &self.add {
            match list.iter_mut().find(|own| key(own) == key(added)) {
                Some(own) => own.clone_from(added),
                None => list.push(added.clone()),
            }
        }
    }

    /// Removes what has one of the names, or ids, that are to go.
    pub fn remove_named<L>(&self, list: &mut Vec<L>, names: impl Fn(&L) -> (String, String)) {
        list.retain(|own| {
            let (name, id) = names(own);
            !self.remove.contains(&name) && !self.remove.contains(&id)
        });
    }
}

impl Change<String> {
    /// Changes a map with `key=value` texts.
    pub fn apply_to_map(&self, map: &mut BTreeMap<String, String>) {
        map.retain(|key, _| !self.remove.contains(key));
        map.extend(pairs(&self.add));
    }
}

/// The key of a `key=value` text.
pub fn key_of_pair(pair: &str) -> String {
    pair.split('=').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(add: &[&str], remove: &[&str]) -> Change<String> {
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect();
        Change { add: texts(add), remove: texts(remove) }
    }

    #[test]
    fn values_are_replaced_where_they_stand_and_removed_by_key() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned(), "C=3".to_owned()];
        change(&["A=9", "D=4"], &["B", "nothing"]).apply(&mut env, |e| key_of_pair(e));
        assert_eq!(env, ["A=9", "C=3", "D=4"]);
        // Removing and adding replaces.
        change(&["A=7"], &["A"]).apply(&mut env, |e| key_of_pair(e));
        assert_eq!(env, ["C=3", "D=4", "A=7"]);
    }

    #[test]
    fn maps_take_pairs() {
        let mut labels = pairs(&["a=1".to_owned(), "b=2".to_owned()]);
        change(&["c", "a=3"], &["b"]).apply_to_map(&mut labels);
        assert_eq!(labels, pairs(&["a=3".to_owned(), "c=".to_owned()]));
    }
}
