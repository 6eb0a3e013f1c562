//! A worker can do what a worker may and no more: with a certificate that the cluster gave it, over real TLS, at the leader
//! and by way of a manager that passes the call on. Each refusal has a code and a text, and leaves nothing in the store.

mod assignments;
mod former_manager;
mod identity;
mod logs;
mod methods;
mod reports;
mod scene;
