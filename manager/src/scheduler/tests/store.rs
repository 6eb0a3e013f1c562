//! The running scheduler over a store.

use rand::{SeedableRng, rngs::StdRng};
use skep_ca::Clock;
use skep_proto::ids::TaskId;
use skep_store::{Kind, Selector, Store, solo::lead_alone};
use tokio::time::timeout;

use super::*;
use crate::scheduler::run;

/// Long enough for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

fn store() -> Store {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Store::new(Arc::new(move || now), StdRng::seed_from_u64(1))
}

/// Waits until every task is as `done` says, and gives them.
async fn until(store: &Store, done: impl Fn(&Task) -> bool) -> Vec<Arc<Task>> {
    let waiting = async {
        let (mut view, mut watcher) = store.watch(Selector::kinds(&[Kind::Task]));
        while !view.all::<Task>().all(|task| done(task)) {
            watcher.next().await.unwrap();
            view = store.view();
        }
        view.all::<Task>().cloned().collect()
    };
    timeout(PATIENCE, waiting).await.expect("the tasks get there")
}

fn is_assigned(task: &Task) -> bool {
    task.status.as_ref().unwrap().state == i32::from(TaskState::Assigned)
}

async fn put(store: &Store, tasks: impl IntoIterator<Item = Task>) {
    for result in store.batch(tasks, |tx, task| tx.create(task)).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn tasks_are_assigned_with_swarmkits_words() {
    let store = store();
    let _solo = lead_alone(&store);
    store.update(|tx| tx.create(node("n1"))).await.unwrap();
    put(&store, [task("web.1"), Task { node_id: "n1".into(), slot: 0, ..task("all.1") }]).await;
    let scheduler = tokio::spawn(run(store.clone(), Clock::system()));
    let tasks = until(&store, is_assigned).await;
    let told: Vec<_> = tasks
        .iter()
        .map(|t| (t.node_id.as_str(), t.status.as_ref().unwrap().message.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("n1", "scheduler confirmed task can run on preassigned node"),
            ("n1", "scheduler assigned task to node"),
        ]
    );
    assert!(tasks[0].status.as_ref().unwrap().timestamp.is_some());
    scheduler.abort();
}

#[tokio::test]
async fn what_waits_is_told_why_and_goes_on_when_it_can() {
    let store = store();
    let _solo = lead_alone(&store);
    put(&store, replicas("web", 300, |task| task)).await;
    let scheduler = tokio::spawn(run(store.clone(), Clock::system()));
    until(&store, |task| task.status.as_ref().unwrap().err == "no suitable node").await;
    store.update(|tx| tx.create(node("n1"))).await.unwrap();
    let tasks = until(&store, is_assigned).await;
    assert!(tasks.iter().all(|task| task.status.as_ref().unwrap().err.is_empty()));
    // A task that is stopped before it has a node ends there.
    let id: TaskId = "late.1".parse().unwrap();
    store.update(|tx| tx.create(wanted(task("late.1"), TaskState::Shutdown))).await.unwrap();
    until(&store, |task| {
        task.id != "late.1" || task.status.as_ref().unwrap().state == i32::from(TaskState::Shutdown)
    })
    .await;
    assert!(store.view().get::<Task>(&id).is_some());
    scheduler.abort();
}

#[tokio::test]
async fn a_decision_on_what_has_changed_is_not_written() {
    let store = store();
    let _solo = lead_alone(&store);
    store.update(|tx| tx.create(node("n1"))).await.unwrap();
    put(&store, replicas("web", 4, |task| task)).await;
    let mut state = State::load(&store.view(), SystemTime::UNIX_EPOCH);
    let decisions = state.decide(SystemTime::UNIX_EPOCH, 10);
    assert_eq!(decisions.len(), 4);
    let tx = store.update(|tx| {
        let write =
            |tx: &mut skep_store::Tx, at: usize| decisions[at].write(tx).map_err(|e| e.to_string());
        let stale = |name: &str| Err(format!("task {name} or its node has changed meanwhile"));
        write(tx, 0).unwrap();
        assert_eq!(write(tx, 0), stale("web.1"), "it has its node");
        tx.modify::<Task>(&"web.2".parse().unwrap(), |task| {
            task.desired_state = TaskState::Shutdown.into();
        })
        .unwrap();
        assert_eq!(write(tx, 1), stale("web.2"), "it is not wanted any more");
        tx.remove::<Task>(&"web.3".parse().unwrap()).unwrap();
        assert_eq!(write(tx, 2), stale("web.3"), "it is gone");
        tx.modify::<Node>(&"n1".parse().unwrap(), |node| *node = drained(node.clone())).unwrap();
        assert_eq!(write(tx, 3), stale("web.4"), "its node takes no tasks");
        Ok::<_, skep_store::StoreError>(())
    });
    tx.await.unwrap();
}
