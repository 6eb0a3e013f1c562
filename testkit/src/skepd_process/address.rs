//! Addresses for daemons: each gets a loopback address at random, and a port that is free there.
//!
//! The whole of 127.0.0.0/8 is loopback on Linux. A port of 127.0.0.1 that was free a moment ago may be taken by any
//! outgoing connection before the daemon binds it; on an address that nobody else uses it stays free.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use rand::Rng as _;

/// An address and port that nobody uses.
pub fn free_loopback() -> io::Result<SocketAddr> {
    let mut rng = rand::rng();
    // Not 127.0.x.x, where others are.
    let addr =
        Ipv4Addr::new(127, rng.random_range(1..=254), rng.random(), rng.random_range(1..=254));
    TcpListener::bind((addr, 0))?.local_addr()
}
