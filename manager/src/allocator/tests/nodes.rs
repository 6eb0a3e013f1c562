//! Load balancers of nodes.

use super::*;

fn node(id: &str) -> Node {
    Node { id: id.into(), ..Default::default() }
}

fn of_node(tables: &Tables, node: &str) -> String {
    attachments(&tables.get_text::<Node>(node).unwrap().attachments)
}

/// A task with its networks, on its way to a node.
fn assigned(task: &mut Task, node: &str) {
    task.node_id = node.into();
    task.status.as_mut().unwrap().state = TaskState::Assigned.into();
}

#[tokio::test(start_paused = true)]
async fn a_node_is_in_the_ingress_network_and_in_those_of_its_tasks() {
    let running = Running::begin().await;
    running.put(node("node-1")).await;
    running.put(node("node-2")).await;
    running.settle().await;
    assert_eq!(of_node(&running.store.view(), "node-1"), "n-ingress 10.0.0.2/24");
    assert_eq!(of_node(&running.store.view(), "node-2"), "n-ingress 10.0.0.3/24");

    running
        .create_tasks(vec![task("t-1", "", &["span"]), task("t-2", "", &["span", "bridge"])])
        .await;
    running.until_pending(2).await;
    for id in ["t-1", "t-2"] {
        running.change::<Task>(id, |task| assigned(task, "node-1")).await;
    }
    running.settle().await;
    let both = "n-ingress 10.0.0.2/24, n-span 10.0.1.4/24";
    assert_eq!(of_node(&running.store.view(), "node-1"), both);
    assert_eq!(of_node(&running.store.view(), "node-2"), "n-ingress 10.0.0.3/24");
    running.report("t-1", TaskState::Failed).await;
    running.settle().await;
    assert_eq!(of_node(&running.store.view(), "node-1"), both, "the other one is still there");
    running.remove::<Task>("t-2").await;
    running.settle().await;
    assert_eq!(of_node(&running.store.view(), "node-1"), "n-ingress 10.0.0.2/24");
    let free = |name: &str| running.book.free(&name.parse().unwrap(), ipam::Family::V4);
    assert_eq!((free("n-span"), free("n-ingress")), (Some(253), Some(251)));
    running.remove::<Node>("node-2").await;
    running.settle().await;
    assert_eq!(free("n-ingress"), Some(252));
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_tasks_costs_a_node_one_write() {
    let running = Running::begin().await;
    running.put(node("node-1")).await;
    running.settle().await;
    let tasks: Vec<Task> = (0..100).map(|n| task(&format!("t-{n}"), "", &["span"])).collect();
    running.create_tasks(tasks.clone()).await;
    running.until_pending(100).await;
    let versions = |tables: &Tables| {
        let node = tables.get_text::<Node>("node-1").unwrap();
        node.meta.as_ref().unwrap().version.as_ref().unwrap().index
    };
    let (_, mut watcher) = running.store.watch(Selector::kinds(&[Kind::Node]));
    let before = versions(&running.store.view());
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.parse().unwrap()).collect();
    for result in running
        .store
        .batch(ids, |tx, id| tx.modify::<Task>(&id, |task| assigned(task, "node-1")))
        .await
    {
        result.unwrap();
    }
    running.settle().await;
    assert!(versions(&running.store.view()) > before);
    assert!(watcher.try_next().unwrap().is_some());
    assert!(watcher.try_next().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_ingress_network_takes_the_place_of_the_old_one() {
    let running = Running::begin().await;
    running.put(node("node-1")).await;
    running.settle().await;
    running.remove::<Network>("n-ingress").await;
    running.settle().await;
    assert_eq!(of_node(&running.store.view(), "node-1"), "");
    running.put(network("other", "", true, false)).await;
    running.settle().await;
    // The block of the one that was removed rests.
    assert_eq!(of_node(&running.store.view(), "node-1"), "n-other 10.0.2.2/24");
}
