//! The Control service: the operator's view of the cluster's objects, with the validation of what comes in.

pub mod validate;
