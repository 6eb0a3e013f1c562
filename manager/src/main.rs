//! `skepd`: the manager daemon.

#![forbid(unsafe_code)]

fn main() {}
