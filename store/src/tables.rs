//! All objects at one moment. Cloning is O(1) and shares everything; a change copies only what it touches, and nothing at
//! all where nobody else holds a clone.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;
use skep_proto::{
    ids::Id,
    swarmkit::{
        Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
    },
};

use crate::{
    By, Change, Object, StoreError,
    object::{for_each_kind, sealed::IndexSet},
};

/// The objects of one kind with their indexes.
#[derive(Clone)]
pub struct Table<T: Object> {
    objects: OrdMap<Id, Arc<T>>,
    indexes: T::Indexes,
}

impl<T: Object> Default for Table<T> {
    fn default() -> Table<T> {
        Table { objects: OrdMap::new(), indexes: T::Indexes::default() }
    }
}

impl<T: Object> Table<T> {
    /// Puts an object in its place or takes it out, and gives back what was there.
    fn replace(&mut self, id: Id, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = match &new {
            Some(object) => self.objects.insert(id, object.clone()),
            None => self.objects.remove(&id),
        };
        self.indexes.replace(id, old.as_deref(), new.as_deref());
        old
    }
}

macro_rules! tables {
    ($($Kind:ident $field:ident $Id:ident $tag:literal,)*) => {
        /// All objects at one moment, and the queries on them. [`View`](crate::View) and [`Tx`](crate::Tx) both
        /// dereference to it, so a function that decides takes this.
        #[derive(Clone, Default)]
        pub struct Tables {
            $(pub(crate) $field: Arc<Table<$Kind>>,)*
        }
    };
}
for_each_kind!(tables);

impl Tables {
    /// The object with this id.
    pub fn get<T: Object>(&self, id: &T::Id) -> Option<&Arc<T>> {
        T::table(self).objects.get(&(*id).into())
    }

    /// The object with this id, when the id is just text.
    pub fn get_text<T: Object>(&self, id: &str) -> Option<&Arc<T>> {
        T::table(self).objects.get(&id.parse::<Id>().ok()?)
    }

    /// How many objects of the kind there are.
    pub fn count<T: Object>(&self) -> usize {
        T::table(self).objects.len()
    }

    /// Every object of the kind, by id.
    pub fn all<T: Object>(&self) -> impl Iterator<Item = &Arc<T>> + '_ {
        T::table(self).objects.values()
    }

    /// The objects that match, each once. All and IdPrefix come by id, the others in the order of their index.
    pub fn find<T: Object>(&self, by: By) -> Found<'_, T> {
        let table = T::table(self);
        match by {
            By::All => Box::new(table.objects.values()),
            By::Id(id) => Box::new(table.objects.get(&id).into_iter()),
            By::IdPrefix(prefix) if prefix.is_empty() => Box::new(table.objects.values()),
            By::IdPrefix(prefix) => match prefix.parse::<Id>() {
                Err(_) => Box::new(std::iter::empty()),
                Ok(first) => Box::new(
                    table
                        .objects
                        .range(first..)
                        .take_while(move |(id, _)| id.as_str().starts_with(prefix.as_str()))
                        .map(|(_, object)| object),
                ),
            },
            By::Or(any) => {
                let ids: BTreeSet<Id> = any
                    .into_iter()
                    .flat_map(|by| self.find::<T>(by))
                    .filter_map(|object| object.id().parse().ok())
                    .collect();
                Box::new(ids.into_iter().filter_map(|id| table.objects.get(&id)))
            }
            by if T::Indexes::judges_all(&by) => {
                Box::new(table.objects.values().filter(move |object| object.matches(&by)))
            }
            by => match table.indexes.candidates(&by) {
                None => Box::new(std::iter::empty()),
                Some(ids) => Box::new(
                    ids.filter_map(|id| table.objects.get(&id))
                        .filter(move |object| object.matches(&by)),
                ),
            },
        }
    }

    /// The first object that matches.
    pub fn find_one<T: Object>(&self, by: By) -> Option<&Arc<T>> {
        self.find(by).next()
    }

    pub(crate) fn create<T: Object>(&mut self, mut object: T) -> Result<Change<T>, StoreError> {
        let id = checked_id(&object)?;
        object.own_bytes();
        object.share(None, self);
        let new = Arc::new(object);
        self.create_shared(id, new.clone())?;
        Ok(Change { id, old: None, new: Some(new) })
    }

    /// Puts in an object that others may hold too.
    pub(crate) fn create_shared<T: Object>(
        &mut self,
        id: Id,
        object: Arc<T>,
    ) -> Result<(), StoreError> {
        if T::table(self).objects.contains_key(&id) {
            return Err(StoreError::Exists { kind: T::KIND, id: object.id().to_owned() });
        }
        T::check(self, None, Some(&object))?;
        self.check_name(id, &*object)?;
        T::table_mut(self).replace(id, Some(object));
        Ok(())
    }

    pub(crate) fn update<T: Object>(&mut self, mut object: T) -> Result<Change<T>, StoreError> {
        let id = checked_id(&object)?;
        let Some(old) = T::table(self).objects.get(&id) else {
            return Err(StoreError::NotFound { kind: T::KIND, id: object.id().to_owned() });
        };
        T::check(self, Some(old), Some(&object))?;
        if T::UNIQUE_NAME && old.name() != object.name() {
            self.check_name(id, &object)?;
        }
        object.own_bytes();
        object.share(Some(old), self);
        let new = Arc::new(object);
        let old = T::table_mut(self).replace(id, Some(new.clone()));
        Ok(Change { id, old, new: Some(new) })
    }

    pub(crate) fn remove<T: Object>(&mut self, id: Id) -> Result<Change<T>, StoreError> {
        let Some(old) = T::table(self).objects.get(&id) else {
            return Err(StoreError::NotFound { kind: T::KIND, id: id.to_string() });
        };
        T::check(self, Some(old), None)?;
        let old = T::table_mut(self).replace(id, None);
        Ok(Change { id, old, new: None })
    }

    /// Takes a change back, however it came about.
    pub(crate) fn undo<T: Object>(&mut self, change: &Change<T>) {
        T::table_mut(self).replace(change.id, change.old.clone());
    }

    /// Does a change that was made elsewhere on the same state.
    pub(crate) fn redo<T: Object>(&mut self, change: &Change<T>) {
        T::table_mut(self).replace(change.id, change.new.clone());
    }

    fn check_name<T: Object>(&self, id: Id, object: &T) -> Result<(), StoreError> {
        if !T::UNIQUE_NAME {
            return Ok(());
        }
        let Some(name) = object.name() else { return Ok(()) };
        match self.find_one::<T>(By::Name(name.to_string())) {
            Some(holder) if holder.id() != id.as_str() => {
                Err(StoreError::NameConflict { kind: T::KIND, name: name.into_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// The answer of a query.
pub type Found<'a, T> = Box<dyn Iterator<Item = &'a Arc<T>> + Send + 'a>;

pub(crate) fn checked_id<T: Object>(object: &T) -> Result<Id, StoreError> {
    object.id().parse().map_err(|source| StoreError::InvalidId { kind: T::KIND, source })
}
