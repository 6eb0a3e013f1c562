//! One ordered index of one table: which ids have which key. It knows no objects, so an object that changes without changing
//! its key costs the index nothing.

use imbl::{OrdMap, OrdSet};
use skep_proto::ids::Id;
use smallvec::SmallVec;

use crate::key::Key;

/// Most objects have few keys in an index of several (networks, secrets, configs).
pub type Keys = SmallVec<[Key; 4]>;

/// Ids that an index offers, in the order of its keys. An id may come twice.
pub type Ids<'a> = Box<dyn Iterator<Item = Id> + Send + 'a>;

/// An ordered set of (key, id).
#[derive(Clone)]
pub struct Index<K: Ord + Copy> {
    entries: OrdSet<(K, Id)>,
}

impl<K: Ord + Copy> Default for Index<K> {
    fn default() -> Index<K> {
        Index { entries: OrdSet::new() }
    }
}

impl<K: Ord + Copy> Index<K> {
    /// Moves an object with at most one key from its old key to its new one.
    pub fn follow<T>(
        &mut self,
        id: Id,
        old: Option<&T>,
        new: Option<&T>,
        key: impl Fn(&T) -> Option<K>,
    ) {
        let (old, new) = (old.and_then(&key), new.and_then(&key));
        if old == new {
            return;
        }
        if let Some(key) = old {
            self.entries.remove(&(key, id));
        }
        if let Some(key) = new {
            self.entries.insert((key, id));
        }
    }

    /// The ids from one key to another, both included.
    pub fn between(&self, first: K, last: K) -> impl Iterator<Item = Id> + '_ {
        self.entries.range((first, Id::MIN)..=(last, Id::MAX)).map(|&(_, id)| id)
    }

    /// The ids with this key.
    pub fn with(&self, key: K) -> impl Iterator<Item = Id> + '_ {
        self.between(key, key)
    }
}

impl Index<Key> {
    /// Moves an object with any number of keys from its old keys to its new ones.
    pub fn follow_many<T>(
        &mut self,
        id: Id,
        old: Option<&T>,
        new: Option<&T>,
        keys: impl Fn(&T) -> Keys,
    ) {
        let mut old = old.map(&keys).unwrap_or_default();
        let mut new = new.map(&keys).unwrap_or_default();
        if old == new {
            return;
        }
        for keys in [&mut old, &mut new] {
            keys.sort_unstable();
            keys.dedup();
        }
        for key in old.iter().filter(|k| !new.contains(k)) {
            self.entries.remove(&(*key, id));
        }
        for key in new.iter().filter(|k| !old.contains(k)) {
            self.entries.insert((*key, id));
        }
    }

    /// The ids whose text may begin with this prefix.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = Id> + '_ {
        let (first, last) = Key::prefix(prefix);
        self.between(first, last)
    }
}

/// Which groups of objects have an object with a key, and how many. A group that has been found is asked for its objects by
/// another index; this one changes only when the first object of a group with a key comes, or the last one goes.
#[derive(Clone, Default)]
pub struct Groups {
    counts: OrdMap<(Key, Key), u64>,
}

impl Groups {
    /// Moves an object from its old keys to its new ones.
    pub fn follow<T>(
        &mut self,
        old: Option<&T>,
        new: Option<&T>,
        group: impl Fn(&T) -> Key,
        keys: impl Fn(&T) -> Keys,
    ) {
        let of = |object: Option<&T>| match object {
            Some(object) => (group(object), keys(object)),
            None => (Key::exact(""), Keys::new()),
        };
        let ((old_group, old), (new_group, new)) = (of(old), of(new));
        if (old_group, &old) == (new_group, &new) {
            return;
        }
        for key in new {
            *self.counts.entry((key, new_group)).or_default() += 1;
        }
        for key in old {
            let count = self.counts.get_mut(&(key, old_group));
            let Some(count) = count else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&(key, old_group));
            }
        }
    }

    /// Groups that have an object with a key from one to another, both included. A group may come more than once.
    fn between(&self, first: Key, last: Key) -> impl Iterator<Item = Key> + '_ {
        let range = (first, Key::FIRST)..=(last, Key::LAST);
        self.counts.range(range).map(|(&(_, group), _)| group)
    }

    /// Groups that have an object with this key.
    pub fn with(&self, key: Key) -> impl Iterator<Item = Key> + '_ {
        self.between(key, key)
    }

    /// Groups that have an object whose text may begin with this prefix.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = Key> + '_ {
        let (first, last) = Key::prefix(prefix);
        self.between(first, last)
    }
}
