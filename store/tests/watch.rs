//! Watching: views and events join exactly, selectors choose, and who is too slow is told so.

mod common;

use common::{Script, annotations, service, store, task};
use skep_proto::swarmkit::{Network, NetworkSpec, Service, Task};
use skep_store::{
    Action, By, HISTORY_COMMITS_MAX, Kind, Lagged, LogEntry, ResumeError, Select, Selector, Store,
    StoreError, WATCHER_EVENTS_MAX, Watcher, solo::lead_alone,
};

/// What the watcher has, a line each: version and events.
fn drain(watcher: &mut Watcher) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(commit) = watcher.try_next().unwrap() {
        lines.push(format!("{:?}", commit.events));
    }
    lines
}

async fn history(store: &Store) {
    store
        .update(|tx| {
            tx.create(service("s1", "web"))?;
            tx.create(Network {
                id: "n1".into(),
                spec: Some(NetworkSpec { annotations: annotations("net"), ..Default::default() }),
                ..Default::default()
            })
        })
        .await
        .unwrap();
    store.update(|tx| tx.create(task("t1", "s1", 1))).await.unwrap();
    store.update(|tx| tx.create(task("t2", "s2", 1))).await.unwrap();
    let t1 = "t1".parse().unwrap();
    store.update(|tx| tx.modify::<Task>(&t1, |t| t.slot = 2)).await.unwrap();
    store.update(|tx| tx.remove::<Task>(&t1)).await.unwrap();
}

#[tokio::test]
async fn each_watcher_sees_what_it_selected() {
    let store = store();
    let _solo = lead_alone(&store);
    let (_, mut all) = store.watch(Selector::all());
    let (_, mut services) = store.watch(Selector::kinds(&[Kind::Service]));
    let (_, mut of_s1) = store.watch(Selector::any([Select {
        kind: Kind::Task,
        actions: vec![Action::Update, Action::Remove],
        filters: vec![By::Service("s1".parse().unwrap())],
    }]));
    history(&store).await;
    assert_eq!(
        drain(&mut all),
        [
            "[Create service s1, Create network n1]",
            "[Create task t1]",
            "[Create task t2]",
            "[Update task t1]",
            "[Remove task t1]",
        ]
    );
    assert_eq!(drain(&mut services), ["[Create service s1]"]);
    assert_eq!(drain(&mut of_s1), ["[Update task t1]", "[Remove task t1]"]);
}

#[tokio::test]
async fn a_watch_begins_where_its_view_ends() {
    let store = store();
    let _solo = lead_alone(&store);
    history(&store).await;
    let (view, mut watcher) = store.watch(Selector::all());
    assert_eq!(view.count::<Task>(), 1);
    assert_eq!(drain(&mut watcher), Vec::<String>::new());
    store.update(|tx| tx.create(service("s2", "db"))).await.unwrap();
    assert_eq!(drain(&mut watcher), ["[Create service s2]"]);
    assert_eq!(view.count::<Service>(), 1, "the view stays as it was");
}

#[tokio::test]
async fn a_watch_resumes_after_a_version_it_has_seen() {
    let store = store();
    let _solo = lead_alone(&store);
    history(&store).await;
    let mut watcher = store.watch_from(3, Selector::all()).unwrap();
    let commit = watcher.next().await.unwrap();
    assert_eq!(commit.version, 4);
    let skep_store::Event::Task(change) = &commit.events[0] else { panic!() };
    assert_eq!((change.old.as_ref().unwrap().slot, change.new.as_ref().unwrap().slot), (1, 2));
    assert_eq!(
        store.watch_from(6, Selector::all()).err(),
        Some(ResumeError::Ahead { asked: 6, newest: 5 })
    );
    // A manager that was restored from a snapshot has not seen what led to it.
    let other = common::store();
    other.restore(5, &store.snapshot().encode(&Default::default())).unwrap();
    assert_eq!(
        other.watch_from(4, Selector::all()).err(),
        Some(ResumeError::Compacted { asked: 4, oldest: 5 })
    );
    assert!(other.watch_from(5, Selector::all()).is_ok());
}

/// Applies an entry that changes one service over and over, so that the last index is this one.
async fn apply_up_to(store: &Store, last: u64) {
    let script = Script::lead(store, 1);
    let create = store.update(|tx| tx.create(service("s1", "web")));
    assert!(futures::poll!(Box::pin(create)).is_pending());
    store.apply(1, None, &script.take().remove(0).2).unwrap();
    let update = store.update(|tx| tx.modify::<Service>(&"s1".parse().unwrap(), |_| ()));
    assert!(futures::poll!(Box::pin(update)).is_pending());
    let data = script.take().remove(0).2;
    let entry = |index| LogEntry { index, ticket: None, data: data.clone() };
    store.apply_all((2..=last).map(entry)).unwrap();
}

#[tokio::test]
async fn the_history_is_bounded() {
    let store = store();
    apply_up_to(&store, HISTORY_COMMITS_MAX as u64 + 2).await;
    assert_eq!(
        store.watch_from(1, Selector::all()).err(),
        Some(ResumeError::Compacted { asked: 1, oldest: 2 })
    );
    assert!(store.watch_from(2, Selector::all()).is_ok());
}

#[tokio::test]
async fn who_falls_behind_is_told_and_holds_up_nobody() {
    let store = store();
    let (_, mut slow) = store.watch(Selector::all());
    let (_, mut other) = store.watch(Selector::any([Select {
        kind: Kind::Service,
        actions: vec![Action::Create],
        filters: vec![],
    }]));
    apply_up_to(&store, WATCHER_EVENTS_MAX as u64 / 2 + 1).await;
    assert_eq!(slow.next().await, Err(Lagged));
    assert_eq!(slow.try_next(), Err(Lagged), "and hears nothing else");
    assert_eq!(drain(&mut other), ["[Create service s1]"]);
}

#[tokio::test]
async fn a_watcher_that_waits_is_woken() {
    let store = store();
    let _solo = lead_alone(&store);
    let (_, mut watcher) = store.watch(Selector::all());
    let waiting = tokio::spawn(async move { watcher.next().await.unwrap().version });
    tokio::task::yield_now().await;
    store.update(|tx| tx.create(service("s1", "web"))).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
}

#[tokio::test]
async fn restoring_tells_watchers_the_differences_only() {
    let store = store();
    let _solo = lead_alone(&store);
    history(&store).await;
    let before = store.snapshot().encode(&Default::default());
    let other = common::store();
    other.restore(5, &before).unwrap();
    let (view, mut watcher) = other.watch(Selector::all());
    store.update(|tx| tx.create(task("t3", "s1", 3))).await.unwrap();
    store
        .update(|tx| {
            tx.remove::<Task>(&"t2".parse().unwrap())?;
            tx.modify::<Service>(&"s1".parse().unwrap(), |s| s.pending_delete = true)?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    other.restore(7, &store.snapshot().encode(&Default::default())).unwrap();
    assert_eq!(drain(&mut watcher), ["[Update service s1, Remove task t2, Create task t3]"]);
    let same = |v: &skep_store::View| v.find_one::<Network>(By::All).unwrap().clone();
    assert!(std::sync::Arc::ptr_eq(&same(&view), &same(&other.view())), "what is equal is shared");
}
