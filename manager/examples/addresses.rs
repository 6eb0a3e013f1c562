//! Measures address management: what giving out an address and taking it back costs, by how many are in use.
//!
//! `cargo run --release -p skepd --example addresses`
//!
//! The first table is one network with a /16, nearly full in its last line, and with every other address free in the column
//! "in fragments". The second is many networks with ten addresses in use in each; the last column is a network that comes
//! and goes, its subnet from the default pools.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use skep_manager::allocator::ipam::{DefaultPools, Ipam, Owner, SubnetRequest};
use skep_proto::ids::{NetworkId, TaskId};

/// Steps timed together: a clock's own cost is some tens of ns.
const STEPS: usize = 100_000;
const ROUNDS: usize = 5;

fn network(number: usize) -> NetworkId {
    format!("network{number:05}").parse().unwrap()
}

fn task(number: usize) -> Owner {
    Owner::Task(format!("task{number:06}").parse::<TaskId>().unwrap())
}

/// The median of some rounds, by step.
fn each(mut round: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2].as_secs_f64() * 1e9 / STEPS as f64
}

/// One network with so many addresses in use.
fn filled(count: usize) -> Ipam {
    let mut ipam = Ipam::new(DefaultPools::default());
    let subnet = SubnetRequest { subnet: "10.1.0.0/16".parse().ok(), ..Default::default() };
    ipam.add_network(network(0), &[subnet]).unwrap();
    for number in 0..count {
        ipam.assign(&network(0), task(number), None).unwrap();
    }
    ipam
}

/// Gives an address and takes it back; the search goes round the network as it would in use.
fn give_and_take_back(ipam: &mut Ipam, networks: usize) -> f64 {
    let networks: Vec<NetworkId> = (0..networks).map(network).collect();
    let owner = task(999_999);
    each(|| {
        for step in 0..STEPS {
            let network = &networks[step % networks.len()];
            let address = ipam.assign(network, owner, None).unwrap();
            assert!(black_box(ipam.release(network, owner, address.addr())));
        }
    })
}

/// Takes back the address that was given the longest ago and gives the next one: a rolling update.
fn renew(ipam: &mut Ipam) -> f64 {
    let network = network(0);
    let held: Vec<_> = ipam.held(&network).filter(|(_, owner)| *owner != Owner::Gateway).collect();
    let mut held: std::collections::VecDeque<_> = held.into();
    each(|| {
        for _ in 0..STEPS {
            let (address, owner) = held.pop_front().unwrap();
            assert!(ipam.release(&network, owner, address));
            let address = ipam.assign(&network, owner, None).unwrap();
            held.push_back((address.addr(), owner));
        }
    })
}

fn main() {
    println!("one network, ns for an address given and taken back");
    println!("  in use   one more    renewed   in fragments");
    for count in [100, 10_000, 65_000] {
        let mut ipam = filled(count);
        let one_more = give_and_take_back(&mut ipam, 1);
        let renewed = renew(&mut ipam);
        let mut fragments = filled(count);
        let held: Vec<_> = fragments.held(&network(0)).collect();
        for (address, owner) in held.into_iter().skip(1).step_by(2) {
            fragments.release(&network(0), owner, address);
        }
        let fragments = give_and_take_back(&mut fragments, 1);
        println!("{count:>8}{one_more:>11.0}{renewed:>11.0}{fragments:>15.0}");
    }
    println!("\nmany networks, ns");
    println!("networks   an address given and taken back   a network added and removed");
    for count in [1, 100, 1_000, 10_000] {
        let mut ipam = Ipam::new(DefaultPools::default());
        for number in 0..count {
            let id = network(number);
            ipam.add_network(id, &[]).unwrap();
            for number in 0..10 {
                ipam.assign(&id, task(number), None).unwrap();
            }
        }
        let address = give_and_take_back(&mut ipam, count);
        let added = each(|| {
            for _ in 0..STEPS {
                black_box(ipam.add_network(network(99_999), &[]).unwrap());
                ipam.remove_network(&network(99_999));
            }
        });
        println!("{count:>8}{address:>34.0}{added:>30.0}");
    }
}
