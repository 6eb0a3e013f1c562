//! The two heads: what a leader has proposed, what becomes of it, and what its callers are told.

mod common;

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, task::Poll};

use common::{Script, service, store, task};
use futures::{FutureExt as _, poll};
use prost::Message as _;
use skep_proto::{
    ids::{ServiceId, TaskId},
    swarmkit::{InternalRaftRequest, Service, Task},
};
use skep_store::{
    ApplyError, EntryError, IN_FLIGHT_BYTES_EACH_MIN, IN_FLIGHT_BYTES_MAX, Kind,
    PROPOSAL_BYTES_MAX, Refusal, Selector, Store, StoreError, Tx, UpdateError,
};

type Updated<R> = Result<R, UpdateError<StoreError>>;

/// Runs a future up to where it waits; it must wait.
macro_rules! started {
    ($future:expr) => {{
        let mut future = Box::pin($future);
        assert!(poll!(&mut future).is_pending(), "it should wait for its commit");
        future
    }};
}

fn create(store: &Store, id: &str, name: &str) -> impl Future<Output = Updated<u64>> + use<> {
    let (store, object) = (store.clone(), service(id, name));
    async move {
        store
            .update(|tx| tx.create(object).map(|s| s.meta.as_ref().unwrap().version.unwrap().index))
            .await
    }
}

fn sees(tx: &Tx, id: &str) -> bool {
    tx.get_text::<Service>(id).is_some()
}

fn service_ids(store: &Store) -> Vec<String> {
    store.view().all::<Service>().map(|s| s.id.clone()).collect()
}

#[tokio::test]
async fn transactions_in_flight_see_each_other_and_commit_one_by_one() {
    let store = store();
    let script = Script::lead(&store, 1);
    let first = started!(create(&store, "s1", "one"));
    let second = started!(store.update(|tx| {
        assert!(sees(tx, "s1"));
        tx.create(service("s2", "two"))
    }));
    assert!(store.view().get_text::<Service>("s1").is_none(), "nothing is committed yet");

    let proposed = script.take();
    assert_eq!(proposed.len(), 2);
    let (epoch, ticket, entry) = &proposed[0];
    assert_eq!(*epoch, 1);
    store.apply(1, Some(*ticket), entry).unwrap();
    assert_eq!(first.await, Ok(0));
    assert_eq!(service_ids(&store), ["s1"]);

    let mut second = second;
    assert!(poll!(&mut second).is_pending());
    store.apply(2, Some(proposed[1].1), &proposed[1].2).unwrap();
    second.await.unwrap();
    assert_eq!(service_ids(&store), ["s1", "s2"]);
}

#[tokio::test]
async fn pipelined_transactions_never_share_a_version() {
    let store = store();
    let script = Script::lead(&store, 1);
    store.apply(10, None, &Default::default()).unwrap();
    let first = started!(create(&store, "s1", "one"));
    let second = started!(create(&store, "s2", "two"));
    // A configuration change moves the commit index without moving the store.
    for (index, (_, ticket, entry)) in (11..).zip(script.take()) {
        store.apply(index, Some(ticket), &entry).unwrap();
    }
    assert_eq!((first.await, second.await), (Ok(10), Ok(11)));
    let third = started!(create(&store, "s3", "three"));
    store.apply(20, None, &script.take()[0].2).unwrap();
    assert_eq!(third.await, Ok(12), "the index of the last entry that was applied");
}

#[tokio::test]
async fn an_entry_is_what_swarmkit_writes() {
    let store = store();
    let script = Script::lead(&store, 1);
    let id: TaskId = "t1".parse().unwrap();
    let _writing = started!(store.update(|tx| {
        tx.create(service("s1", "web"))?;
        tx.create(task("t1", "s1", 1))?;
        tx.modify::<Task>(&id, |t| t.slot = 2)?;
        tx.remove::<Task>(&id)
    }));
    let entry = script.take().remove(0).2;
    let request = InternalRaftRequest::decode(&entry[..]).unwrap();
    assert!(request.id >= 1 << 63);
    let actions: Vec<String> = request
        .action
        .iter()
        .map(|a| format!("{} {}", a.action, common::target_name(a.target.as_ref().unwrap())))
        .collect();
    assert_eq!(actions, ["1 service s1", "1 task t1", "2 task t1", "3 task t1"]);
    assert_eq!(request.encode_to_vec(), entry);
}

#[tokio::test]
async fn what_was_in_flight_when_leadership_was_lost_may_happen() {
    let store = store();
    let script = Script::lead(&store, 1);
    let lost = started!(create(&store, "s1", "one"));
    store.follow();
    let error = lost.await.unwrap_err();
    assert_eq!(error, UpdateError::Unknown);
    assert!(error.may_happen());
    assert!(store.view().get_text::<Service>("s1").is_none());
    assert_eq!(
        create(&store, "s2", "two").await,
        Err(UpdateError::Refused(Refusal::NotLeader)),
        "a follower takes no transactions"
    );

    // It happens: the next leader had it in its log.
    store.apply(1, None, &script.take()[0].2).unwrap();
    assert_eq!(service_ids(&store), ["s1"]);
}

#[tokio::test]
async fn a_refused_proposal_takes_down_what_is_built_on_it_and_nothing_else() {
    let store = store();
    let script = Script::lead(&store, 1);
    let kept = started!(create(&store, "s1", "one"));
    let refused = started!(create(&store, "s2", "two"));
    let built_on_it = started!(create(&store, "s3", "three"));
    let proposed = script.take();
    store.refused(proposed[1].1, Refusal::StaleEpoch);
    for error in [refused.await.unwrap_err(), built_on_it.await.unwrap_err()] {
        assert_eq!(error, UpdateError::Refused(Refusal::StaleEpoch));
        assert!(!error.may_happen());
    }
    assert_eq!(
        create(&store, "s4", "four").await,
        Err(UpdateError::Refused(Refusal::NotLeader)),
        "the epoch is over"
    );
    // The raft group names every refused proposal; the ones that are gone do no harm.
    store.refused(proposed[2].1, Refusal::StaleEpoch);

    let script = Script::lead(&store, 2);
    let later = started!(store.update(|tx| {
        assert!(sees(tx, "s1") && !sees(tx, "s2"));
        tx.create(service("s2", "two"))
    }));
    store.apply(1, Some(proposed[0].1), &proposed[0].2).unwrap();
    kept.await.unwrap();
    let (_, ticket, entry) = script.take().remove(0);
    store.apply(2, Some(ticket), &entry).unwrap();
    later.await.unwrap();
    assert_eq!(service_ids(&store), ["s1", "s2"]);
}

#[tokio::test]
async fn a_proposal_that_is_refused_at_once_leaves_the_head_as_it_was() {
    let store = store();
    let script = Script::lead(&store, 1);
    script.refuse(Some(Refusal::Busy));
    assert_eq!(create(&store, "s1", "one").await, Err(UpdateError::Refused(Refusal::Busy)));
    script.refuse(None);
    let _next = started!(store.update(|tx| {
        assert!(!sees(tx, "s1"));
        tx.create(service("s1", "one"))
    }));
    assert_eq!(store.in_flight(), 1);
}

#[tokio::test]
async fn another_managers_entry_below_ours_takes_the_head_down() {
    let theirs = {
        let other = common::store();
        let script = Script::lead(&other, 1);
        let _writing = started!(create(&other, "s9", "nine"));
        script.take().remove(0).2
    };
    let store = store();
    let script = Script::lead(&store, 1);
    // The other store drew the same random numbers; this one is one entry further.
    drop(started!(create(&store, "s0", "zero")));
    store.apply(1, None, &script.take()[0].2).unwrap();

    let ours = started!(create(&store, "s1", "one"));
    store.apply(2, None, &theirs).unwrap();
    assert_eq!(ours.await, Err(UpdateError::Unknown));
    assert_eq!(service_ids(&store), ["s0", "s9"]);
    assert!(!store.leads(), "what is in flight may commit yet, so nothing may be built without it");
    store.apply(3, Some(script.take()[0].1), &Default::default()).unwrap();
    store.lead(2, 3, Script::lead(&store, 2));
}

#[tokio::test]
async fn a_result_is_told_only_when_what_it_was_read_from_is_committed() {
    let store = store();
    let script = Script::lead(&store, 1);
    let writing = started!(create(&store, "s1", "web"));
    let reading = started!(store.update(|tx| Ok::<_, StoreError>(sees(tx, "s1"))));
    let conflicting = started!(create(&store, "s2", "web"));
    assert_eq!(store.in_flight(), 1);
    let (_, ticket, entry) = script.take().remove(0);
    store.apply(1, Some(ticket), &entry).unwrap();
    writing.await.unwrap();
    assert_eq!(reading.await, Ok(true));
    let conflict = StoreError::NameConflict { kind: Kind::Service, name: "web".into() };
    assert_eq!(conflicting.await, Err(UpdateError::Aborted(conflict)));

    let writing = started!(create(&store, "s3", "db"));
    let conflicting = started!(create(&store, "s4", "db"));
    store.follow();
    assert_eq!(writing.await, Err(UpdateError::Unknown));
    // The name was perhaps never taken, but this one was certainly not made.
    assert_eq!(conflicting.await, Err(UpdateError::Refused(Refusal::NotLeader)));
}

#[tokio::test]
async fn a_dropped_update_goes_on_without_its_caller() {
    let store = store();
    let script = Script::lead(&store, 1);
    drop(started!(create(&store, "s1", "one")));
    let (_, ticket, entry) = script.take().remove(0);
    store.apply(1, Some(ticket), &entry).unwrap();
    assert_eq!(service_ids(&store), ["s1"]);
    assert_eq!(store.in_flight(), 0);
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    // So many polls in one go are more than the runtime lets a task make otherwise.
    tokio::task::unconstrained(fill_what_may_be_in_flight()).await;
}

async fn fill_what_may_be_in_flight() {
    let store = store();
    let script = Script::lead(&store, 1);
    let fits = (IN_FLIGHT_BYTES_MAX - PROPOSAL_BYTES_MAX) / IN_FLIGHT_BYTES_EACH_MIN + 1;
    let mut writing = Vec::new();
    for n in 0..fits {
        writing.push(started!(create(&store, &format!("s{n}"), &format!("name{n}"))));
    }
    assert_eq!(store.in_flight(), fits);
    let ran = std::cell::Cell::new(false);
    let mut next = pin!(store.update(|tx| {
        ran.set(true);
        tx.create(service("last", "last"))
    }));
    assert!(poll!(&mut next).is_pending());
    assert!(!ran.get(), "it waits for room before it runs");
    let proposed = script.take();
    store.apply(1, Some(proposed[0].1), &proposed[0].2).unwrap();
    assert!(poll!(&mut next).is_pending());
    assert!(ran.get());
    store.follow();
    for writing in writing.into_iter().skip(1) {
        assert_eq!(writing.await, Err(UpdateError::Unknown));
    }
}

#[tokio::test]
async fn a_transaction_that_is_too_large_is_refused_before_it_is_proposed() {
    let store = store();
    let script = Script::lead(&store, 1);
    let error = create(&store, "s1", &"x".repeat(PROPOSAL_BYTES_MAX)).await.unwrap_err();
    assert_eq!(error, UpdateError::Refused(Refusal::TooLarge));
    assert!(error.to_string().contains("raft: raft message is too large and can't be sent"));
    assert!(script.take().is_empty());
}

#[tokio::test]
async fn an_update_must_carry_the_version_it_was_read_with() {
    let store = store();
    let _solo = skep_store::solo::lead_alone(&store);
    let id: ServiceId = "s1".parse().unwrap();
    let first = store.update(|tx| tx.create(service("s1", "one"))).await.unwrap();
    let second = store.update(|tx| tx.update(Service::clone(&first))).await.unwrap();
    assert_ne!(first.meta.as_ref().unwrap().version, second.meta.as_ref().unwrap().version);
    assert_eq!(first.meta.as_ref().unwrap().created_at, second.meta.as_ref().unwrap().created_at);
    let error = store.update(|tx| tx.update(Service::clone(&first))).await.unwrap_err();
    assert_eq!(error.to_string(), "update out of sequence");
    let error = store.update(|tx| tx.update(service("s2", "two"))).await.unwrap_err();
    assert_eq!(error.to_string(), "object does not exist");
    store.update(|tx| tx.remove::<Service>(&id)).await.unwrap();
    let error = store.update(|tx| tx.remove::<Service>(&id)).await.unwrap_err();
    assert_eq!(error.to_string(), "object does not exist");
}

#[tokio::test]
async fn an_entry_that_does_not_fit_is_applied_in_no_part_and_named() {
    let entry = {
        let other = common::store();
        let script = Script::lead(&other, 1);
        let _writing = started!(other.update(|tx| {
            tx.create(service("s1", "one"))?;
            tx.create(service("s2", "two"))
        }));
        script.take().remove(0).2
    };
    let store = store();
    let (_, mut watcher) = store.watch(Selector::all());
    store.apply(1, None, &entry).unwrap();
    let before = store.snapshot().encode(&Default::default());
    assert_eq!(
        store.apply(2, None, &entry),
        Err(ApplyError::Entry {
            index: 2,
            source: EntryError::Action {
                position: 0,
                action: "create",
                kind: Kind::Service,
                id: "s1".into(),
                source: StoreError::Exists { kind: Kind::Service, id: "s1".into() },
            },
        })
    );
    let mut request = InternalRaftRequest::decode(&entry[..]).unwrap();
    request.action.swap(0, 1);
    if let Some(skep_proto::swarmkit::store_action::Target::Service(s)) =
        &mut request.action[0].target
    {
        s.id = "s3".into();
        s.spec.as_mut().unwrap().annotations.as_mut().unwrap().name = "three".into();
    }
    assert!(store.apply(2, None, &request.encode_to_vec().into()).is_err());
    assert_eq!(store.apply(1, None, &entry), Err(ApplyError::OutOfOrder { index: 1, applied: 1 }));
    assert_eq!(store.snapshot().encode(&Default::default()), before);
    assert_eq!(watcher.try_next().unwrap().unwrap().version, 1);
    assert_eq!(watcher.try_next().unwrap(), None);
}

#[tokio::test]
async fn a_closure_that_panics_leaves_the_store_usable() {
    let store = store();
    let script = Script::lead(&store, 1);
    let panicking = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .update(|tx| -> Result<(), StoreError> {
                    tx.create(service("s1", "one"))?;
                    panic!("a bug in a transaction");
                })
                .await
        }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    drop(started!(create(&store, "s1", "one")));
    assert_eq!(script.take().len(), 1);
}

#[allow(dead_code, reason = "checked by the compiler alone")]
fn an_update_can_run_on_any_thread(store: &Store) {
    fn send<F: Future + Send>(_: F) -> Poll<()> {
        Poll::Ready(())
    }
    let _ = send(store.update(|tx| tx.create(service("s1", "one"))));
    let _ = send(store.batch([1, 2], |tx, n| tx.create(service(&format!("s{n}"), ""))));
}

#[tokio::test]
async fn a_transaction_that_panics_takes_nothing_with_it() {
    let store = store();
    let script = Script::lead(&store, 1);
    let first = started!(create(&store, "s1", "one"));
    let panics = AssertUnwindSafe(store.update(|tx| -> Result<(), StoreError> {
        tx.create(service("s2", "two"))?;
        panic!("a mistake in a transaction");
    }));
    panics.catch_unwind().await.unwrap_err();

    let third = started!(store.update(|tx| {
        assert!(sees(tx, "s1"), "what is in flight is still there");
        assert!(!sees(tx, "s2"), "what was not proposed is not");
        tx.create(service("s2", "two"))
    }));
    for (index, (_, ticket, entry)) in (1..).zip(script.take()) {
        store.apply(index, Some(ticket), &entry).unwrap();
    }
    first.await.unwrap();
    third.await.unwrap();
    assert_eq!(service_ids(&store), ["s1", "s2"]);
}

#[tokio::test]
async fn a_line_of_transactions_ends_when_anything_written_is_taken_back() {
    let store = store();
    let script = Script::lead(&store, 1);
    let lineage = |store: &Store| {
        let seen = std::cell::Cell::new(0);
        let looks = store.update(|tx| {
            seen.set(tx.lineage());
            Err::<(), _>("only looks")
        });
        let _ = looks.now_or_never();
        seen.get()
    };
    let first = lineage(&store);
    let _writing = started!(create(&store, "s1", "one"));
    assert_eq!(lineage(&store), first, "what is in flight is in the tables");
    let refused = store.batch(["s2", "s3"], |tx, id| {
        tx.create(service(id, id))?;
        match id {
            "s2" => Err(StoreError::NotFound { kind: Kind::Service, id: "x".into() }),
            _ => Ok(tx.lineage()),
        }
    });
    let _refused = started!(refused);
    let second = lineage(&store);
    assert!(second > first, "a part of a batch was taken back");
    script.refuse(Some(Refusal::Busy));
    create(&store, "s4", "four").await.unwrap_err();
    let third = lineage(&store);
    assert!(third > second, "a proposal was refused");
    let _script = Script::lead(&store, 2);
    assert_eq!(lineage(&store), third, "the same head");
    store.follow();
    let _script = Script::lead(&store, 3);
    assert!(lineage(&store) > third, "what was in flight is given up");
}
