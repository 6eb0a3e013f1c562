//! What the store knows of each kind of object: its name, its indexes, its own conditions and rules.

mod attachments;
mod extension;
mod named;
mod node;
mod references;
mod resource;
mod service;
mod task;
mod volume;

/// The part of `Object` and `Row` that is the same for every kind.
macro_rules! object {
    (
        $Kind:ident, $field:ident, $Id:ident, $tag:literal, unique_name: $unique:literal, indexes: $Indexes:ty,
        annotations: $annotations:expr, name: $name:expr, $(own: { $($own:tt)* })?
    ) => {
        impl $crate::Object for skep_proto::swarmkit::$Kind {
            type Id = skep_proto::ids::$Id;
            const KIND: $crate::Kind = $crate::Kind::$Kind;

            fn id(&self) -> &str {
                &self.id
            }
            fn meta(&self) -> Option<&skep_proto::swarmkit::Meta> {
                self.meta.as_ref()
            }
            fn set_meta(&mut self, meta: skep_proto::swarmkit::Meta) {
                self.meta = Some(meta);
            }
            fn annotations(&self) -> Option<&skep_proto::swarmkit::Annotations> {
                let of: fn(&Self) -> Option<&skep_proto::swarmkit::Annotations> = $annotations;
                of(self)
            }
            fn name(&self) -> Option<std::borrow::Cow<'_, str>> {
                let of: fn(&Self) -> Option<std::borrow::Cow<'_, str>> = $name;
                of(self)
            }
            fn event(change: $crate::Change<Self>) -> $crate::Event {
                $crate::Event::$Kind(change)
            }
        }

        impl $crate::object::sealed::Row for skep_proto::swarmkit::$Kind {
            type Indexes = $Indexes;
            const UNIQUE_NAME: bool = $unique;

            fn table(tables: &$crate::Tables) -> &$crate::tables::Table<Self> {
                &tables.$field
            }
            fn table_mut(tables: &mut $crate::Tables) -> &mut $crate::tables::Table<Self> {
                std::sync::Arc::make_mut(&mut tables.$field)
            }
            $($($own)*)?
        }
    };
}
pub(crate) use object;
