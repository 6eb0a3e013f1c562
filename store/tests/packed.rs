//! Entries are packed while everybody who reads the log can read that.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Script, service, task};
use futures::FutureExt as _;
use prost::Message as _;
use skep_proto::swarmkit::{InternalRaftRequest, Task};
use skep_store::{ApplyError, EntryError, Proposer, Refusal, Store, StoreError, Tables, Tx};

/// Packs unless there is a service of this name.
const STOCK: &str = "stock-managers";

#[derive(Default)]
struct Packs(Script);

impl Proposer for Packs {
    fn propose(&self, epoch: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal> {
        self.0.propose(epoch, ticket, entry)
    }

    fn packs(&self, tables: &Tables) -> bool {
        tables.get_text::<skep_proto::swarmkit::Service>(STOCK).is_none()
    }
}

struct Leader {
    store: Store,
    log: Arc<Packs>,
    index: u64,
}

impl Leader {
    fn new() -> Leader {
        let (store, log) = (common::store(), Arc::new(Packs::default()));
        store.lead(1, 0, log.clone());
        Leader { store, log, index: 0 }
    }

    /// Writes, and gives the entry as the log has it.
    fn write(&mut self, change: impl FnOnce(&mut Tx) -> Result<(), StoreError>) -> Bytes {
        let write = self.store.update(change);
        tokio::pin!(write);
        assert!(write.as_mut().now_or_never().is_none(), "it is not committed");
        let (_, ticket, entry) = self.log.0.take().pop().unwrap();
        self.index += 1;
        self.store.apply(self.index, Some(ticket), &entry).unwrap();
        write.now_or_never().unwrap().unwrap();
        entry
    }

    fn write_tasks(&mut self, prefix: &str, count: u64) -> Bytes {
        self.write(|tx| {
            (0..count).try_for_each(|n| tx.create(task(&format!("{prefix}{n}"), "s1", n)).map(drop))
        })
    }
}

#[test]
fn an_entry_of_many_changes_is_packed_and_applied_as_what_it_was() {
    let mut leader = Leader::new();
    let small = leader.write(|tx| tx.create(service("s1", "web")).map(drop));
    assert!(InternalRaftRequest::decode(small.clone()).is_ok(), "it is not worth while");
    let many = leader.write_tasks("t", 100);
    assert_eq!(many[0], 0);
    let plain: usize = leader.store.view().all::<Task>().map(|task| task.encoded_len()).sum();
    assert!(many.len() < plain / 2, "{} of {plain}", many.len());

    let follower = common::store();
    for (index, entry) in (1..).zip([small, many]) {
        follower.apply(index, None, &entry).unwrap();
    }
    let snapshot = |store: &Store| store.snapshot().encode(&Default::default());
    assert!(snapshot(&follower) == snapshot(&leader.store));
}

#[test]
fn nothing_is_packed_from_the_entry_on_that_says_so() {
    let mut leader = Leader::new();
    assert_eq!(leader.write_tasks("a", 100)[0], 0);
    let says_so = leader.write(|tx| {
        tx.create(service(STOCK, "stock"))?;
        (0..100).try_for_each(|n| tx.create(task(&format!("b{n}"), "s1", 500 + n)).map(drop))
    });
    for entry in [says_so, leader.write_tasks("c", 100)] {
        assert_eq!(InternalRaftRequest::decode(entry).unwrap().action.len() / 100, 1);
    }
}

#[test]
fn one_that_is_damaged_is_an_error_and_changes_nothing() {
    let mut leader = Leader::new();
    let entry = leader.write_tasks("t", 100);
    let follower = common::store();
    let cut = entry.slice(..entry.len() - 1);
    let error = follower.apply(1, None, &cut).unwrap_err();
    assert!(
        matches!(&error, ApplyError::Entry { index: 1, source: EntryError::Packed(_) }),
        "{error:?}"
    );
    assert_eq!(follower.view().all::<Task>().count(), 0);
    follower.apply(1, None, &entry).unwrap();
    assert_eq!(follower.view().all::<Task>().count(), 100);
}
