//! What the fake daemon knows, and how it answers. As far as the commands can tell, it follows the rules of the control
//! interface: versions are checked, names are unique, what is not there is not found.
//!
//! `state` is what it knows; the others answer, each the methods of one kind of object.

mod cluster;
mod daemon;
mod networks;
mod nodes;
mod samples;
mod services;
mod state;
mod stored;

pub use cluster::*;
pub use daemon::*;
pub use networks::*;
pub use nodes::*;
pub use samples::{manager, worker};
pub use services::*;
pub use state::World;
pub use stored::*;

/// No wishes: anything; else one of them.
pub(super) fn any<T>(wishes: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wishes.is_empty() || wishes.iter().any(fits)
}
