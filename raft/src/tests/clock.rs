//! A node whose time belongs to somebody else.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    Clock, Config, Member, NodeHandle, Start, Timing, start_with_clock,
    testing::{Channels, MemStore, Recorder},
};

/// Ticks when told to.
struct Told(mpsc::UnboundedReceiver<()>);

impl Clock for Told {
    fn poll_tick(&mut self, cx: &mut Context<'_>, _: Duration) -> Poll<()> {
        // When nobody can tell it any more, time stands still.
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

async fn node(
    channels: &Channels,
    seed: u64,
    how: Start,
) -> (NodeHandle, mpsc::UnboundedSender<()>) {
    let (ticks, told) = mpsc::unbounded_channel();
    // By the system's clock nothing would ever happen.
    let timing = Timing { tick: Duration::from_secs(3600), ..Timing::fast() };
    let config = Config::new(timing, seed);
    let (store, machine) = (MemStore::default(), Recorder::default());
    let starting = start_with_clock(config, how, store, machine, channels.wire(), Told(told));
    let node = starting.await.unwrap();
    channels.connect(node.clone());
    (node, ticks)
}

/// Gives each a tick, and what that sets off the time to get through.
async fn tick(clocks: &[&mpsc::UnboundedSender<()>]) {
    for clock in clocks {
        clock.send(()).unwrap();
    }
    // The log is written on a thread of its own, which nothing here can wait for.
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[tokio::test]
async fn a_node_campaigns_after_the_ticks_that_it_was_given() {
    let channels = Channels::default();
    let how = Start::Bootstrap { node_id: "node0".into(), addr: "host0:1".into() };
    let (founder, founder_ticks) = node(&channels, 1, how).await;
    let mut status = founder.watch_status();
    status.wait_for(|status| status.leads()).await.unwrap();
    let mut others = Vec::new();
    for place in 1..3 {
        let (node_id, addr) = (format!("node{place}"), format!("host{place}:1"));
        let joined = founder.join(node_id.clone(), addr.clone()).await.unwrap();
        let own = Member { raft_id: joined.raft_id, node_id, addr };
        others.push(node(&channels, place, Start::Join { own, members: joined.members }).await);
        // What the leader sent before the new one was there is sent again at a tick of its own.
        while others.last().unwrap().0.status().members.len() as u64 <= place {
            tick(&[&founder_ticks]).await;
        }
    }
    founder.stop(false).await;
    channels.disconnect(founder.own());

    // For as long as nobody gives it time, a follower waits. How many ticks it takes is its own choice; it is no more than
    // two election timeouts, or as many again when both have chosen the same.
    let [(first, first_ticks), (second, second_ticks)] = &others[..] else {
        panic!("two are left")
    };
    assert!(!first.status().leads() && !second.status().leads());
    let mut given = 0;
    while !first.status().leads() && !second.status().leads() {
        assert!(given < 5_000, "nobody campaigns");
        given += 1;
        tick(&[first_ticks, second_ticks]).await;
    }
    assert!(given >= Timing::fast().election_ticks, "{given} ticks are no election timeout");
}
