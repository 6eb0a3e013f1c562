//! Questions about networks: how much of each is in use and by whom, and whether everything that was given out agrees.
//!
//! `holders` gathers who holds which address, `usage` makes an answer of it, `advice` says what would help a task that
//! gets none; all are pure functions of the store's tables. Nothing that the running allocator keeps is asked, so any manager that is up to date gives the same answer. It
//! costs a look at every service, task and node.

mod advice;
mod holders;
mod service;
#[cfg(test)]
mod tests;
mod usage;

pub use advice::advice;
pub use service::NetworksService;
