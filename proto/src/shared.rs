//! A message that many others hold: kept once, however many hold it, and encoded once.
//!
//! Every task carries the spec of its service. With hundreds of thousands of tasks that is most of their memory, and most of
//! the work of copying, encoding and freeing them.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};

/// A message behind a counted reference: cloning is O(1) and shares it, and so does encoding after the first time. It reads
/// as the message itself; writing to it copies what others hold too.
#[derive(Default)]
pub struct Shared<M>(Arc<Once<M>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Shared<M> {
        Shared(self.0.clone())
    }
}

/// The message, and its encoded form once somebody asked for it.
#[derive(Default)]
struct Once<M> {
    message: M,
    encoded: OnceLock<Bytes>,
}

impl<M: Clone> Clone for Once<M> {
    fn clone(&self) -> Once<M> {
        // To be changed: what it was encoded to does not hold for the copy.
        Once { message: self.message.clone(), encoded: OnceLock::new() }
    }
}

impl<M> Shared<M> {
    /// Whether both are one and the same in memory. If so they are equal; if not, they may be.
    pub fn is_same(this: &Shared<M>, other: &Shared<M>) -> bool {
        Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<M: Clone> Shared<M> {
    /// The message on its own; copied where others hold it too.
    pub fn into_message(this: Shared<M>) -> M {
        Arc::unwrap_or_clone(this.0).message
    }
}

impl<M: Message + Default> Shared<M> {
    /// Decodes a message, which from then on is encoded as it came: another writer may order the same content in another way.
    pub fn from_encoded(encoded: &[u8]) -> Result<Shared<M>, DecodeError> {
        let message = M::decode(encoded)?;
        let encoded = OnceLock::from(Bytes::copy_from_slice(encoded));
        Ok(Shared(Arc::new(Once { message, encoded })))
    }
}

impl<M: Message> Shared<M> {
    /// The encoded message, without tag and length.
    pub fn encoded(this: &Shared<M>) -> &[u8] {
        this.0.encoded.get_or_init(|| this.0.message.encode_to_vec().into())
    }
}

impl<M> From<M> for Shared<M> {
    fn from(message: M) -> Shared<M> {
        Shared(Arc::new(Once { message, encoded: OnceLock::new() }))
    }
}

impl<M> Deref for Shared<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.message
    }
}

impl<M: Clone> DerefMut for Shared<M> {
    fn deref_mut(&mut self) -> &mut M {
        let once = Arc::make_mut(&mut self.0);
        once.encoded.take();
        &mut once.message
    }
}

impl<M: PartialEq> PartialEq for Shared<M> {
    fn eq(&self, other: &Shared<M>) -> bool {
        Shared::is_same(self, other) || self.0.message == other.0.message
    }
}

impl<M: PartialEq> PartialEq<M> for Shared<M> {
    fn eq(&self, other: &M) -> bool {
        self.0.message == *other
    }
}

impl<M: fmt::Debug> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.message.fmt(f)
    }
}

impl<M: Message + Clone + Default> Message for Shared<M> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(Shared::encoded(self));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        (**self).merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        Shared::encoded(self).len()
    }

    fn clear(&mut self) {
        *self = Shared::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarmkit::{ContainerSpec, Task, TaskSpec, task_spec::Runtime};

    fn spec(image: &str) -> TaskSpec {
        let container = ContainerSpec { image: image.to_owned(), ..Default::default() };
        TaskSpec {
            runtime: Some(Runtime::Container(container)),
            force_update: 7,
            ..Default::default()
        }
    }

    #[test]
    fn it_is_on_the_wire_what_the_message_is() {
        let (own, shared) = (spec("web:1"), Shared::from(spec("web:1")));
        assert_eq!(shared.encode_to_vec(), own.encode_to_vec());
        assert_eq!(Shared::<TaskSpec>::decode(&*own.encode_to_vec()).unwrap(), own);
        assert_eq!(Shared::<TaskSpec>::from_encoded(&own.encode_to_vec()).unwrap(), own);
        let empty = Task { spec: Some(Shared::default()), ..Default::default() };
        assert_eq!(empty.encode_to_vec(), [3 << 3 | 2, 0], "an empty message is not none");
    }

    #[test]
    fn a_change_is_seen_by_its_holder_alone_and_encoded_anew() {
        let first = Shared::from(spec("web:1"));
        let before = first.encode_to_vec();
        let mut second = first.clone();
        assert!(Shared::is_same(&first, &second));
        second.force_update = 8;
        assert!(!Shared::is_same(&first, &second));
        assert_eq!((first.force_update, second.force_update), (7, 8));
        assert_eq!(first.encode_to_vec(), before);
        assert_eq!(TaskSpec::decode(&*second.encode_to_vec()).unwrap().force_update, 8);
        // Nobody else holds it now, so it is changed in place.
        second.force_update = 9;
        assert_eq!(TaskSpec::decode(&*second.encode_to_vec()).unwrap().force_update, 9);
    }

    #[test]
    fn what_another_wrote_is_written_again_as_it_was() {
        // The same fields in another order.
        let (runtime, force) =
            (spec("a").encode_to_vec(), TaskSpec { force_update: 3, ..Default::default() });
        let foreign = [force.encode_to_vec(), runtime].concat();
        let shared = Shared::<TaskSpec>::from_encoded(&foreign).unwrap();
        assert_eq!(shared.encode_to_vec(), foreign);
        assert_ne!(TaskSpec::clone(&shared).encode_to_vec(), foreign);
    }
}
