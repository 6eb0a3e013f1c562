//! How the raft group ticks: a label of the cluster object, so that all members tick alike, whenever they came. The same
//! label says that they are all of our own make, so that entries may be packed.

use skep_proto::swarmkit::Cluster;
use skep_raft::{NodeHandle, Settings, Timing};
use skep_store::{Kind, Selector, Store, Tables};

use crate::leader::defaults::{TIMING_FAST, TIMING_LABEL};

/// Whether the cluster's group ticks fast. A manager that knows nothing of the cluster yet ticks as SwarmKit does: as a
/// follower that only means that it is slow to campaign.
pub fn is_fast(tables: &Tables) -> bool {
    tables.all::<Cluster>().any(|cluster| {
        let labels = cluster.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
        labels.and_then(|a| a.labels.get(TIMING_LABEL)).is_some_and(|value| value == TIMING_FAST)
    })
}

/// The cluster's timing.
pub fn timing(tables: &Tables) -> Timing {
    if is_fast(tables) { Timing::fast() } else { Timing::swarmkit() }
}

/// Makes the raft node follow the cluster's timing and snapshot settings for as long as it is polled.
pub async fn follow(store: &Store, raft: &NodeHandle) {
    let mut packed = true;
    loop {
        let (view, mut watcher) = store.watch(Selector::kinds(&[Kind::Cluster]));
        apply(&view, raft, &mut packed).await;
        drop(view);
        while watcher.next().await.is_ok() {
            apply(&store.view(), raft, &mut packed).await;
        }
    }
}

/// `packed` says whether the log may hold packed entries.
async fn apply(tables: &Tables, raft: &NodeHandle, packed: &mut bool) {
    let Some(cluster) = tables.all::<Cluster>().next() else { return };
    let spec = cluster.spec.as_ref().and_then(|spec| spec.raft.as_ref());
    let timing = timing(tables);
    let fast = is_fast(tables);
    if *packed && !fast {
        // A stock manager that comes now reads a snapshot and what follows, of which nothing is packed.
        raft.take_snapshot().await;
    }
    *packed = fast;
    // Zero is what a client that knows nothing of these leaves behind.
    let or_default = |value: Option<u64>, default| value.filter(|&v| v != 0).unwrap_or(default);
    let defaults = skep_raft::Config::new(timing, 0);
    raft.configure(Settings {
        tick: timing.tick,
        pre_vote: timing.pre_vote,
        snapshot_entries: or_default(spec.map(|s| s.snapshot_interval), defaults.snapshot_entries),
        keep_entries: or_default(
            spec.map(|s| s.log_entries_for_slow_followers),
            defaults.keep_entries,
        ),
    })
    .await;
}
