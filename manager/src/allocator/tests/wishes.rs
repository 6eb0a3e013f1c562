//! Nobody waits for what is there: each of these wishes was once forgotten. That something becomes free is heard of once, so
//! whoever it may help has to be found then.

use skep_proto::swarmkit::endpoint_spec::ResolutionMode;
use skep_store::UpdateError;

use super::*;

const PENDING: &str = "pending task scheduling ";

/// Takes a write back: the memory of what was given is made anew at its next use, from what the store says then.
async fn take_back(running: &Running) {
    let taken_back = running.store.update(|tx| {
        tx.create(task("taken-back", "", &[])).unwrap();
        Err::<(), _>(())
    });
    assert!(matches!(taken_back.await, Err(UpdateError::Aborted(()))));
}

fn ends(tx: &mut Tx, task: &str) {
    let id = task.parse().unwrap();
    let end = |task: &mut Task| {
        task.status.as_mut().unwrap().state = TaskState::Shutdown.into();
    };
    tx.modify::<Task>(&id, end).unwrap();
}

fn on(service: &mut Service, networks: &[&str]) {
    service.spec.as_mut().unwrap().networks = task("", "", networks).spec.unwrap().networks.clone();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lacks_two_load_balancers_gets_each_when_there_is_room_for_it() {
    let running = Running::begin().await;
    for (name, subnet) in [("one", "10.9.1.0/30"), ("two", "10.9.2.0/30")] {
        running.put(sized(name, &[subnet])).await;
    }
    running.put(Node { id: "node-1".into(), ..Default::default() }).await;
    // Each has the only address of its network.
    running.create_tasks(vec![task("t-1", "", &["one"]), task("t-2", "", &["two"])]).await;
    running.until_pending(2).await;
    for id in ["t-1", "t-2"] {
        let assign = |task: &mut Task| {
            task.node_id = "node-1".into();
            task.status.as_mut().unwrap().state = TaskState::Assigned.into();
        };
        running.change::<Task>(id, assign).await;
    }
    running.settle().await;
    // Another task keeps the networks in use there, without an address of its own.
    for (id, network) in [("t-1", "one"), ("t-2", "two")] {
        let mut other = running.task(id);
        other.id = format!("kept-{network}");
        other.meta = None;
        other.networks[0].addresses.clear();
        running.put(other).await;
        running.report(id, TaskState::Failed).await;
        running
            .eventually(true, |tables| {
                let node = tables.get_text::<Node>("node-1").unwrap();
                attachments(&node.attachments).contains(&format!("n-{network} "))
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_takes_an_address_of_whichever_family_has_one_first() {
    let running = Running::begin().await;
    running.put(sized("both", &["fd00::/126", "10.9.0.0/30"])).await;
    for (id, expected) in [
        ("a", "n-both fd00::2/126"),
        ("b", "n-both fd00::3/126"),
        ("c", "n-both 10.9.0.2/30"),
        ("web", ""),
    ] {
        let mut service = service(id, None);
        on(&mut service, &["both"]);
        running.put(service).await;
        running.settle().await;
        assert_eq!(vips(&running.store.view(), id), expected);
    }
    running.remove::<Service>("c").await;
    running.settle().await;
    assert_eq!(vips(&running.store.view(), "web"), "n-both 10.9.0.2/30");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_tried_even_if_what_became_free_seems_to_be_given_again() {
    let running = Running::begin().await;
    running.put(sized("small", &["10.9.0.0/30"])).await;
    running.create_tasks(vec![task("holds", "", &["small"])]).await;
    running.until("holds", PENDING).await;
    running.create_tasks(vec![task("waits", "", &["small"])]).await;
    running.settle().await;
    // A replacement gets the address of the one that ends, and then neither is written: the memory says that it is held.
    take_back(&running).await;
    let replaced = running.store.update(|tx| {
        ends(tx, "holds");
        create(tx, &running.book, task("replaces", "", &["small"])).unwrap();
        let given = tx.get_text::<Task>("replaces").unwrap();
        Err::<(), _>(attachments(&given.networks))
    });
    let given = replaced.await.unwrap_err();
    assert!(matches!(given, UpdateError::Aborted(given) if given == "n-small 10.9.0.2/30"));
    running.report("holds", TaskState::Shutdown).await;
    running.until("waits", PENDING).await;
}

#[tokio::test(start_paused = true)]
async fn a_network_gets_a_subnet_whatever_the_memory_knew_when_the_last_task_on_it_ended() {
    let running = Running::begin().await;
    running.put(sized("old", &["10.9.0.0/24"])).await;
    running.create_tasks(vec![task("last", "", &["old"])]).await;
    running.until("last", PENDING).await;
    running.remove::<Network>("n-old").await;
    running.put(sized("new", &["10.9.0.0/24"])).await;
    running.create_tasks(vec![task("waits", "", &["new"])]).await;
    running.settle().await;
    // The memory is made anew in the very transaction in which the task ends, and never held its address.
    take_back(&running).await;
    let book = running.book.clone();
    let ended = running.store.update(|tx| {
        ends(tx, "last");
        create(tx, &book, task("other", "", &["span"]))
    });
    ended.await.unwrap();
    running.until("waits", PENDING).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_on_when_its_service_needs_no_longer_what_it_waits_for() {
    let running = Running::begin().await;
    running.put(sized("small", &["10.9.0.0/30"])).await;
    running.create_tasks(vec![task("holds", "", &["small"])]).await;
    running.until("holds", PENDING).await;
    let mode = ResolutionMode::Dnsrr.into();
    let mut web = service("web", Some(EndpointSpec { mode, ..Default::default() }));
    on(&mut web, &["small"]);
    running.put(web).await;
    running.create_tasks(vec![task("t-1", "web", &[])]).await;
    running.settle().await;
    assert!(running.shown("t-1").starts_with("NEW network small: all 2 addresses"));
    running.change_service("web", |service| on(service, &[])).await;
    running.until("t-1", PENDING).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_to_lack_something_waits_with_its_task() {
    let running = Running::begin().await;
    running.put(service("web", publishing(&[80]))).await;
    running.settle().await;
    running.remove::<Network>("n-ingress").await;
    running.create_tasks(vec![task("t-1", "web", &[])]).await;
    running.settle().await;
    assert!(running.shown("t-1").starts_with("NEW the service publishes ports in ingress mode"));
    running.put(network("other", "", true, false)).await;
    running.until("t-1", "pending task scheduling 80").await;
}

#[test]
fn no_two_passes_have_one_item() {
    let mut dirty = Dirty::default();
    let item = Item::Node("node-1".parse().unwrap());
    dirty.insert(item);
    assert_eq!(dirty.pop(), Some(item));
    dirty.insert(item);
    assert_eq!(dirty.pop(), None, "it is being looked at");
    dirty.came_back(item);
    assert_eq!((dirty.pop(), dirty.pop()), (Some(item), None), "and then once more");
    dirty.came_back(item);
    assert_eq!(dirty.pop(), None);
}
