//! Rotation of the root: what a change of the cluster's CA settings means, and when a rotation is done.
//!
//! Pure decisions over the cluster object. Reaching external CAs and writing the store are for the caller. While a
//! rotation goes on, nodes keep trusting the old root; what the new key signs comes with a certificate of the new root
//! signed by the old, so that every node verifies throughout.

mod plan;
mod progress;

pub use plan::{MustReach, Plan, Refusal, Step, Which, begin, decide, signs_locally};
pub use progress::{Issuer, ROTATE_BATCH, finish, lagging, rotate_batch, target_issuer};
