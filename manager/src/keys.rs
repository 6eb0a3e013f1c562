//! The key manager: makes the keys with which the engines of a cluster secure their gossip and their overlay traffic,
//! and replaces them as they age. They reach the nodes in the session messages.

use std::time::Duration;

use rand::{CryptoRng, Rng};
use skep_proto::{
    ids::ClusterId,
    swarmkit::{Cluster, EncryptionKey, encryption_key::Algorithm},
};
use skep_store::{Store, StoreError};
use tokio::time::{Instant, sleep, sleep_until};

/// What keys are for; engines know these names.
const SUBSYSTEMS: [&str; 2] = ["networking:gossip", "networking:ipsec"];
/// Keys of each subsystem. Engines take the second newest as the primary one and fail with fewer than two: so the keys
/// before and after it are known everywhere while a rotation spreads.
const KEYS_EACH: usize = 3;
/// Bytes of an AES-128 key.
const KEY_BYTES: usize = 16;
/// How long until the next rotation.
const ROTATION_INTERVAL: Duration = Duration::from_secs(12 * 60 * 60);
/// The logical clock of a new cluster starts somewhere below this.
const CLOCK_START_MAX: u64 = 65_536;
/// Pause before a write that was refused is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Keeps the cluster's network keys for as long as this manager leads: makes them when they are missing, and replaces the
/// oldest of each kind every twelve hours. Never returns; safe to drop.
pub async fn run(store: Store, cluster: ClusterId, mut rng: impl CryptoRng + Send) {
    write(&store, cluster, |cluster| complete(cluster, &mut rng)).await;
    let mut next = Instant::now() + ROTATION_INTERVAL;
    loop {
        sleep_until(next).await;
        next += ROTATION_INTERVAL;
        write(&store, cluster, |cluster| {
            rotate(cluster);
            complete(cluster, &mut rng)
        })
        .await;
        tracing::info!("the network keys were rotated");
    }
}

/// Changes the cluster object, if the change says that it changed it; tries until the store has taken it.
async fn write(store: &Store, id: ClusterId, mut change: impl FnMut(&mut Cluster) -> bool) {
    loop {
        let written = store
            .update(|tx| {
                let Some(stored) = tx.get::<Cluster>(&id) else { return Ok(false) };
                let mut cluster = Cluster::clone(stored);
                if change(&mut cluster) {
                    tx.update(cluster)?;
                }
                Ok::<bool, StoreError>(true)
            })
            .await;
        match written {
            Ok(true) => return,
            Ok(false) => tracing::debug!("there is no cluster object yet to hold network keys"),
            Err(error) => tracing::warn!(%error, "the network keys were not stored; trying again"),
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Adds what is missing to three keys of each subsystem. Says whether anything was.
fn complete(cluster: &mut Cluster, rng: &mut impl CryptoRng) -> bool {
    let keys = &mut cluster.network_bootstrap_keys;
    let clock = &mut cluster.encryption_key_lamport_clock;
    if keys.is_empty() && *clock == 0 {
        *clock = rng.random_range(0..CLOCK_START_MAX);
    }
    let before = keys.len();
    for subsystem in SUBSYSTEMS {
        while keys.iter().filter(|key| key.subsystem == subsystem).count() < KEYS_EACH {
            keys.push(new_key(subsystem, *clock, rng));
            *clock = clock.wrapping_add(1);
        }
    }
    keys.len() > before
}

/// Drops the oldest key of each full subsystem, to make room for a new one.
fn rotate(cluster: &mut Cluster) {
    let keys = &mut cluster.network_bootstrap_keys;
    for subsystem in SUBSYSTEMS {
        while keys.iter().filter(|key| key.subsystem == subsystem).count() >= KEYS_EACH {
            let of_subsystem = keys.iter().enumerate().filter(|(_, k)| k.subsystem == subsystem);
            let Some((oldest, _)) = of_subsystem.min_by_key(|(_, key)| key.lamport_time) else {
                break;
            };
            keys.remove(oldest);
        }
    }
}

fn new_key(subsystem: &str, lamport_time: u64, rng: &mut impl CryptoRng) -> EncryptionKey {
    let mut key = [0; KEY_BYTES];
    rng.fill_bytes(&mut key);
    EncryptionKey {
        subsystem: subsystem.to_owned(),
        algorithm: Algorithm::Aes128Gcm.into(),
        key: key.to_vec().into(),
        lamport_time,
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use skep_store::solo::lead_alone;

    use super::*;

    fn times(cluster: &Cluster, subsystem: &str) -> Vec<u64> {
        let keys = cluster.network_bootstrap_keys.iter();
        keys.filter(|key| key.subsystem == subsystem).map(|key| key.lamport_time).collect()
    }

    #[test]
    fn a_new_cluster_gets_three_keys_of_each_kind_and_a_clock() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut cluster = Cluster::default();
        assert!(complete(&mut cluster, &mut rng));
        let start = cluster.network_bootstrap_keys[0].lamport_time;
        assert!(start > 0 && start < CLOCK_START_MAX);
        assert_eq!(times(&cluster, "networking:gossip"), [start, start + 1, start + 2]);
        assert_eq!(times(&cluster, "networking:ipsec"), [start + 3, start + 4, start + 5]);
        assert_eq!(cluster.encryption_key_lamport_clock, start + 6);
        let mut keys: Vec<_> =
            cluster.network_bootstrap_keys.iter().map(|k| k.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6, "all different");
        assert!(keys.iter().all(|key| key.len() == 16));
        assert!(!complete(&mut cluster, &mut rng), "nothing is missing any more");
    }

    #[test]
    fn a_rotation_replaces_the_oldest_key_of_each_kind() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut cluster = Cluster { encryption_key_lamport_clock: 100, ..Cluster::default() };
        complete(&mut cluster, &mut rng);
        rotate(&mut cluster);
        complete(&mut cluster, &mut rng);
        assert_eq!(times(&cluster, "networking:gossip"), [101, 102, 106]);
        assert_eq!(times(&cluster, "networking:ipsec"), [104, 105, 107]);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_there_from_the_start_and_replaced_every_twelve_hours() {
        let store = Store::system();
        let _solo = lead_alone(&store);
        let id: ClusterId = "c".parse().unwrap();
        let cluster = Cluster { id: id.to_string(), ..Default::default() };
        store.update(|tx| tx.create(cluster)).await.unwrap();
        let manager = tokio::spawn(run(store.clone(), id, StdRng::seed_from_u64(5)));
        let gossip =
            |store: &Store| times(store.view().get::<Cluster>(&id).unwrap(), "networking:gossip");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first = gossip(&store);
        assert_eq!(first.len(), 3);
        tokio::time::sleep(ROTATION_INTERVAL).await;
        let second = gossip(&store);
        assert_eq!((second.len(), &second[..2]), (3, &first[1..]));
        manager.abort();
    }
}
