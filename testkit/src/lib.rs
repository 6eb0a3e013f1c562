//! Real peers for tests and measurements: [`skepd_process`] starts our daemon as processes of its own on loopback,
//! [`docker_hosts`] starts stock Docker Engines, each in a network namespace of its own.
//!
//! Whatever is started here is gone when the value that stands for it is dropped, also after a panic; the hosts even
//! when the process is killed. Only processes that were started here are ever signalled.

#![forbid(unsafe_code)]

pub mod docker_hosts;
pub mod examples;
pub mod skepd_process;
pub mod wait;

mod log_tail;
