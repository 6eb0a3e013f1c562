//! Judges one object by a condition. Indexes only propose; what stands here decides.

use std::borrow::Cow;

use crate::{By, Object};

/// Whether the condition holds for the object.
pub(crate) fn matches<T: Object>(object: &T, by: &By) -> bool {
    let indices = || object.annotations().map_or(&[][..], |a| &a.indices);
    match by {
        By::All => true,
        By::Or(any) => any.iter().any(|by| object.matches(by)),
        By::Id(id) => object.id() == id.as_str(),
        By::IdPrefix(prefix) => object.id().starts_with(prefix.as_str()),
        By::Name(name) => object.name().is_some_and(|own| lower(&own) == lower(name)),
        By::NamePrefix(prefix) => {
            object.name().is_some_and(|own| lower(&own).starts_with(&*lower(prefix)))
        }
        By::Custom { key, value } => indices().iter().any(|e| e.key == *key && e.val == *value),
        By::CustomPrefix { key, value_prefix } => {
            indices().iter().any(|e| e.key == *key && e.val.starts_with(value_prefix.as_str()))
        }
        _ => object.matches_own(by),
    }
}

/// Lower case, without a copy when it is that already.
fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}
