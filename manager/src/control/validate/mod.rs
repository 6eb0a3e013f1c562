//! What a spec must look like before it may enter the store.
//!
//! Pure functions from a spec to its first fault: no store, no clock, no network. Whether the things that a spec refers
//! to exist is asked inside the transaction that writes it, not here. The texts say which part of the spec is wrong and
//! what to write instead; what they quote of the input is cut short ([`shown`]).

mod annotations;
mod cluster;
mod constraint;
mod container;
mod duration;
mod endpoint;
mod image;
mod mount;
mod network;
mod node;
mod reference;
mod resources;
mod restart;
mod secret;
mod service;
mod task;
mod template;
mod update;
mod volume;

pub use annotations::{extension, resource};
pub use cluster::cluster_spec;
pub use network::{INTERNAL_LABEL, PREDEFINED_LABEL, network_spec};
pub use node::node_spec;
pub use secret::{config_labels, config_spec, secret_labels, secret_spec};
pub use service::service_spec;
pub use volume::volume_spec;

use prost::Message;

/// Why a spec is refused. The variant decides the gRPC code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It can never be right: InvalidArgument.
    #[error("{0}")]
    Argument(String),
    /// It asks for something that is not supported: Unimplemented.
    #[error("{0}")]
    Unsupported(String),
    /// It is kept for the managers' own use: PermissionDenied.
    #[error("{0}")]
    Forbidden(String),
}

/// The outcome of a validation.
pub type Checked<T = ()> = Result<T, Invalid>;

/// The longest spec of a service. A service keeps its previous spec beside the present one and every task carries its
/// part, and the object must fit a raft entry of 1.5 MiB.
pub const SPEC_BYTES_MAX: usize = 512 * 1024;
/// The most characters of the input that a text quotes: it travels in a header.
const SHOWN_CHARS_MAX: usize = 80;

/// `Ok` when it holds; else an InvalidArgument with the text.
fn ensure(holds: bool, text: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Invalid::Argument(text())) }
}

/// An InvalidArgument with the text.
fn refuse<T>(text: impl Into<String>) -> Checked<T> {
    Err(Invalid::Argument(text.into()))
}

/// The spec, which must be there.
fn required<'a, T>(spec: &'a Option<T>, what: &str) -> Checked<&'a T> {
    spec.as_ref().ok_or_else(|| Invalid::Argument(format!("{what} is missing")))
}

/// A piece of the input as a text may quote it: escaped and cut short.
pub fn shown(input: &str) -> String {
    match input.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &input[..end]),
        None => format!("{input:?}"),
    }
}

/// The value of an enum off the wire, which may be any number.
pub fn known<E: TryFrom<i32>>(value: i32, what: &str) -> Checked<E> {
    E::try_from(value).or_else(|_| refuse(format!("{what} {value} is not a known value")))
}

/// The encoded message must not be longer than `max` bytes.
fn at_most(message: &impl Message, max: usize, what: &str) -> Checked {
    let len = message.encoded_len();
    ensure(len <= max, || format!("{what} takes {len} bytes; at most {max} are allowed"))
}

/// A driver, when there is one, needs a name.
fn driver(driver: Option<&skep_proto::swarmkit::Driver>, what: &str) -> Checked {
    match driver {
        Some(driver) => ensure(!driver.name.is_empty(), || {
            format!("{what}: a driver was given without a name; name it or leave the driver out")
        }),
        None => Ok(()),
    }
}

/// What a validation says, as the tables of the tests spell it.
#[cfg(test)]
pub(crate) fn says<T>(checked: Checked<T>) -> String {
    match checked {
        Ok(_) => "ok".into(),
        Err(Invalid::Argument(text)) => text,
        Err(Invalid::Unsupported(text)) => format!("unsupported: {text}"),
        Err(Invalid::Forbidden(text)) => format!("forbidden: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_of_the_input_is_short_and_printable() {
        assert_eq!(shown("a\nb"), r#""a\nb""#);
        let long = "ü".repeat(1 << 20);
        assert_eq!(shown(&long), format!("\"{}\"…", "ü".repeat(SHOWN_CHARS_MAX)));
    }

    #[test]
    fn a_number_that_no_enum_has_is_refused() {
        use skep_proto::swarmkit::NodeRole;
        assert_eq!(known::<NodeRole>(1, "node role"), Ok(NodeRole::Manager));
        assert_eq!(says(known::<NodeRole>(7, "node role")), "node role 7 is not a known value");
    }

    #[test]
    fn a_driver_needs_a_name() {
        use skep_proto::swarmkit::Driver;
        assert_eq!(says(driver(None, "log driver")), "ok");
        let named = Driver { name: "json-file".into(), ..Default::default() };
        assert_eq!(says(driver(Some(&named), "log driver")), "ok");
        assert_eq!(
            says(driver(Some(&Driver::default()), "log driver")),
            "log driver: a driver was given without a name; name it or leave the driver out"
        );
    }
}
