//! What may be stored: SwarmKit's rules with SwarmKit's words, and batches.

mod common;

use common::{Script, annotations, service, store, task};
use futures::poll;
use prost::Message as _;
use skep_proto::swarmkit::{
    Extension, InternalRaftRequest, Node, Resource, Service, Snapshot, StoreAction, Task,
};
use skep_store::{
    ApplyError, BATCH_CHANGES_MAX, BATCH_PART_BYTES_MAX, EntryError, PROPOSAL_BYTES_MAX, Refusal,
    RestoreError, Store, StoreError, Tx, UpdateError, solo::lead_alone,
};

fn extension(id: &str, name: &str) -> Extension {
    Extension { id: id.into(), annotations: annotations(name), ..Default::default() }
}

fn resource(id: &str, kind: &str) -> Resource {
    Resource {
        id: id.into(),
        annotations: annotations(id),
        kind: kind.into(),
        ..Default::default()
    }
}

/// The text of the error that a transaction ends in.
async fn refusal<R>(
    store: &Store,
    change: impl FnOnce(&mut Tx) -> Result<R, StoreError>,
) -> String {
    store.update(change).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn errors_have_swarmkits_words() {
    let store = store();
    store.apply(1, None, &Default::default()).unwrap();
    let _solo = lead_alone(&store);
    store
        .update(|tx| {
            tx.create(service("s1", "web"))?;
            tx.create(service("s2", "db"))?;
            tx.create(extension("e1", "kind"))?;
            tx.create(resource("r1", "kind"))
        })
        .await
        .unwrap();
    let s2 = "s2".parse().unwrap();
    let rename = |s: &mut Service| *s = Service { meta: s.meta, ..service("s2", "Web") };
    let store = &store;
    for (text, expected) in [
        (refusal(store, |tx| tx.create(service("s1", "other"))).await, "object already exists"),
        (
            refusal(store, |tx| tx.create(service("s3", "WEB"))).await,
            "name conflicts with an existing object",
        ),
        (
            refusal(store, |tx| tx.modify(&s2, rename)).await,
            "name conflicts with an existing object",
        ),
        (refusal(store, |tx| tx.update(service("s9", "x"))).await, "object does not exist"),
        (
            refusal(store, |tx| tx.remove::<Node>(&"n1".parse().unwrap())).await,
            "object does not exist",
        ),
        (refusal(store, |tx| tx.update(service("s1", "web"))).await, "update out of sequence"),
        (
            refusal(store, |tx| tx.create(resource("r2", "none"))).await,
            "object kind is unregistered",
        ),
        (
            refusal(store, |tx| tx.remove::<Extension>(&"e1".parse().unwrap())).await,
            "cannot delete extension because objects of this type exist in the data store",
        ),
        (
            refusal(store, |tx| {
                tx.modify::<Extension>(&"e1".parse().unwrap(), |e| e.description = "x".into())
            })
            .await,
            "extensions are immutable",
        ),
    ] {
        assert_eq!(text, expected);
    }
    // Once its resources are gone, an extension may go.
    store
        .update(|tx| {
            tx.remove::<Resource>(&"r1".parse().unwrap())?;
            tx.remove::<Extension>(&"e1".parse().unwrap())
        })
        .await
        .unwrap();
    // Nodes and tasks may share their names.
    store
        .update(|tx| {
            tx.create(Node { id: "n1".into(), ..Default::default() })?;
            tx.create(Node { id: "n2".into(), ..Default::default() })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn an_id_that_cannot_be_a_key_is_refused_wherever_it_comes_from() {
    let store = store();
    let _solo = lead_alone(&store);
    let long = "x".repeat(40);
    let error = store.update(|tx| tx.create(service(&long, "web"))).await.unwrap_err();
    assert!(matches!(error, UpdateError::Aborted(StoreError::InvalidId { .. })));

    let other = common::store();
    let snapshot = Snapshot {
        store: Some(skep_proto::swarmkit::StoreSnapshot {
            services: vec![service(&long, "web")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let error = other.restore(1, &snapshot.encode_to_vec()).unwrap_err();
    assert!(matches!(error, RestoreError::Object { source: StoreError::InvalidId { .. }, .. }));
    assert_eq!(other.view().version(), 0);
}

#[test]
fn a_snapshot_of_an_unknown_version_is_refused() {
    let snapshot = Snapshot { version: 1, ..Default::default() };
    assert_eq!(
        store().restore(1, &snapshot.encode_to_vec()),
        Err(RestoreError::UnknownVersion { version: 1 })
    );
}

#[test]
fn a_snapshot_restores_resources_after_their_extensions() {
    let snapshot = Snapshot {
        store: Some(skep_proto::swarmkit::StoreSnapshot {
            resources: vec![resource("r1", "kind")],
            extensions: vec![extension("e1", "kind")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let store = store();
    store.restore(1, &snapshot.encode_to_vec()).unwrap();
    assert_eq!(store.view().count::<Resource>(), 1);
    // And both can go in one snapshot.
    store.restore(2, &Snapshot::default().encode_to_vec()).unwrap();
    assert_eq!(store.view().count::<Extension>(), 0);
}

#[test]
fn an_entry_without_a_known_meaning_is_an_error() {
    let apply = |action: StoreAction| {
        let entry = InternalRaftRequest { id: 1, action: vec![action] }.encode_to_vec();
        let error = store().apply(1, None, &entry.into()).unwrap_err();
        let ApplyError::Entry { source, .. } = error else { panic!("{error}") };
        source
    };
    let target = skep_proto::swarmkit::store_action::Target::Task(task("t1", "s1", 1));
    assert_eq!(
        apply(StoreAction { action: 1, target: None }),
        EntryError::UnknownTarget { position: 0 }
    );
    for action in [0, 4, -1] {
        assert!(matches!(
            apply(StoreAction { action, target: Some(target.clone()) }),
            EntryError::UnknownAction { .. }
        ));
    }
}

#[tokio::test]
async fn a_removal_needs_only_the_id() {
    let store = store();
    let solo = lead_alone(&store);
    store.update(|tx| tx.create(task("t1", "s1", 1))).await.unwrap();
    drop(solo);
    let target = skep_proto::swarmkit::store_action::Target::Task(Task {
        id: "t1".into(),
        ..Default::default()
    });
    let action = StoreAction { action: 3, target: Some(target) };
    let entry = InternalRaftRequest { id: 1, action: vec![action] }.encode_to_vec();
    store.apply(2, None, &entry.into()).unwrap();
    assert_eq!(store.view().count::<Task>(), 0);
}

#[tokio::test]
async fn a_batch_is_cut_into_proposals_and_a_failing_part_leaves_nothing() {
    let store = store();
    let solo = lead_alone(&store);
    store.update(|tx| tx.create(service("taken", "taken"))).await.unwrap();
    drop(solo);
    let script = Script::lead(&store, 2);
    let parts = 0..BATCH_CHANGES_MAX + 1;
    let mut batch = Box::pin(store.batch(parts, |tx, n| {
        tx.create(task(&format!("t{n}"), "s1", n as u64))?;
        match n {
            3 => tx.create(service("taken", "x")).map(drop),
            _ => Ok(()),
        }
    }));
    // Between two proposals it lets others have a turn.
    assert!(poll!(&mut batch).is_pending());
    assert!(poll!(&mut batch).is_pending());
    let proposed = script.take();
    let sizes: Vec<usize> = proposed
        .iter()
        .map(|(_, _, entry)| InternalRaftRequest::decode(&entry[..]).unwrap().action.len())
        .collect();
    assert_eq!(sizes, [BATCH_CHANGES_MAX], "one part failed, the rest just fits");
    let (_, ticket, entry) = &proposed[0];
    store.apply(2, Some(*ticket), entry).unwrap();
    let results = batch.await;
    let failed: Vec<usize> =
        (0..).zip(&results).filter(|(_, r)| r.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [3]);
    let view = store.view();
    assert_eq!(view.count::<Task>(), BATCH_CHANGES_MAX);
    assert!(view.get_text::<Task>("t3").is_none());
}

#[tokio::test]
async fn the_proposals_of_a_batch_do_not_wait_for_each_other() {
    let store = store();
    let script = Script::lead(&store, 1);
    let mut batch = Box::pin(store.batch(0..3 * BATCH_CHANGES_MAX, |tx, n| {
        tx.create(task(&format!("t{n}"), "s1", n as u64)).map(drop)
    }));
    for _ in 0..3 {
        assert!(poll!(&mut batch).is_pending());
    }
    let proposed = script.take();
    assert_eq!(proposed.len(), 3);
    // The second is refused: with it the third, but not the first.
    store.refused(proposed[1].1, Refusal::Busy);
    store.apply(1, Some(proposed[0].1), &proposed[0].2).unwrap();
    let results = batch.await;
    assert_eq!(results.len(), 3 * BATCH_CHANGES_MAX);
    for (n, result) in results.iter().enumerate() {
        match n < BATCH_CHANGES_MAX {
            true => assert_eq!(*result, Ok(())),
            false => assert_eq!(*result, Err(UpdateError::Refused(Refusal::Busy))),
        }
    }
}

#[tokio::test]
async fn a_batch_cuts_by_size_and_refuses_a_part_that_is_too_large() {
    let store = store();
    let script = Script::lead(&store, 1);
    let large = BATCH_PART_BYTES_MAX - 200;
    let lengths = [large, large, large, large, BATCH_PART_BYTES_MAX + 1, 10];
    let mut batch = Box::pin(store.batch(lengths.into_iter().enumerate(), |tx, (n, length)| {
        tx.create(service(&format!("s{n}"), &format!("{n}{}", "x".repeat(length)))).map(drop)
    }));
    assert!(poll!(&mut batch).is_pending());
    assert!(poll!(&mut batch).is_pending());
    let proposed = script.take();
    assert_eq!(proposed.len(), 2);
    for (index, (_, ticket, entry)) in (1..).zip(&proposed) {
        assert!(entry.len() <= PROPOSAL_BYTES_MAX);
        store.apply(index, Some(*ticket), entry).unwrap();
    }
    let results = batch.await;
    assert_eq!(results[4], Err(UpdateError::Refused(Refusal::TooLarge)));
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 5);
}
