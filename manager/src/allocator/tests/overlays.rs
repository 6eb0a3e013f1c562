//! Tasks on networks that span nodes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_task_has_an_address_in_each_of_its_networks() {
    let running = Running::begin().await;
    running.put(sized("both", &["10.9.0.0/24", "fd00::/64"])).await;
    running.put(service("web", publishing(&[80]))).await;
    running.settle().await;
    let mut named = task("named", "", &["span"]);
    let named_spec = named.spec.as_mut().unwrap();
    named_spec.networks[0].addresses = vec!["10.0.1.77".into()];
    named_spec.networks[0].aliases = vec!["db".into()];
    let mut half = task("half", "", &["both"]);
    half.spec.as_mut().unwrap().networks[0].addresses = vec!["fd00::5/64".into()];
    running
        .create_tasks(vec![
            task("a-1", "web", &["span"]),
            task("a-2", "", &["both", "bridge"]),
            named,
            half,
        ])
        .await;
    running.until_pending(4).await;
    let view = running.store.view();
    for (id, expected) in [
        ("a-1", "n-ingress 10.0.0.3/24, n-span 10.0.1.2/24"),
        ("a-2", "n-both 10.9.0.2/24 fd00::2/64, n-bridge"),
        ("named", "n-span 10.0.1.77/24"),
        ("half", "n-both fd00::5/64 10.9.0.3/24"),
    ] {
        assert_eq!(addresses(&view, id), expected);
    }
    let of_task = running.task("named").networks.remove(0);
    assert_eq!(of_task.aliases, ["db"]);
    let stored = view.get_text::<Network>("n-span").unwrap();
    assert_eq!(&**of_task.network.as_ref().unwrap(), &**stored, "all of it, as it is stored");
    assert_eq!(running.task("a-1").endpoint, view.get_text::<Service>("web").unwrap().endpoint);
}

#[tokio::test(start_paused = true)]
async fn what_becomes_free_helps_as_many_as_it_can() {
    let running = Running::begin().await;
    // Room for five beside the gateway.
    running.put(sized("small", &["10.9.0.0/29"])).await;
    let tasks = (0..1_000).map(|n| task(&format!("t{n:03}"), "", &["small"]));
    running.create_tasks(tasks.collect()).await;
    running.until_pending(5).await;
    let text = "NEW network small: all 6 addresses of 10.9.0.0/29 are in use; remove tasks or services from the network, \
                or create one with a larger subnet";
    running.until("t999", text).await;
    running.settle().await;
    assert_eq!(addresses(&running.store.view(), "t004"), "n-small 10.9.0.6/29");

    let version = running.store.view().version();
    running.report("t001", TaskState::Failed).await;
    running.remove::<Task>("t003").await;
    running.settle().await;
    let view = running.store.view();
    assert_eq!(view.find::<Task>(By::TaskState(TaskState::Pending)).count(), 5);
    assert_eq!(addresses(&view, "t005"), "n-small 10.9.0.3/29");
    assert_eq!(addresses(&view, "t006"), "n-small 10.9.0.5/29");
    assert!(view.version() - version <= 4, "the others were not looked at");
    // One that waits and goes makes no room.
    running.remove::<Task>("t500").await;
    running.settle().await;
    assert_eq!(running.store.view().find::<Task>(By::TaskState(TaskState::Pending)).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_named_address_is_waited_for() {
    let running = Running::begin().await;
    let named = |id: &str, address: &str| {
        let mut task = task(id, "", &["span"]);
        task.spec.as_mut().unwrap().networks[0].addresses = vec![address.into()];
        task
    };
    running.create_tasks(vec![named("first", "10.0.1.9")]).await;
    running.until("first", "pending task scheduling ").await;
    running
        .create_tasks(vec![
            named("second", "10.0.1.9"),
            named("outside", "10.3.0.1"),
            named("odd", "ten"),
        ])
        .await;
    let text = "NEW network span: address 10.0.1.9 is in use by task first; choose another";
    running.until("second", text).await;
    let text =
        "NEW network span: address 10.3.0.1 is not in its subnets; choose one in 10.0.1.0/24";
    running.until("outside", text).await;
    let text = "NEW network span: \"ten\" is not an address; write it as 10.1.2.3 or leave it out";
    running.until("odd", text).await;
    running.report("first", TaskState::Complete).await;
    running.until("second", "pending task scheduling ").await;
    assert_eq!(addresses(&running.store.view(), "second"), "n-span 10.0.1.9/24");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_lacks_nothing_is_pending_from_the_start() {
    let running = Running::begin().await;
    running.settle().await;
    running.task.abort();
    let mut web = service("web", publishing(&[8080]));
    web.spec.as_mut().unwrap().task = Some(TaskSpec::default().into());
    running.put(endowed(web)).await;
    running.put(sized("new", &["10.9.0.0/29"])).await;
    running.put(service("open", publishing(&[0]))).await;
    let created = async |task: Task| {
        let id = task.id.clone();
        let book = running.book.clone();
        running.store.update(|tx| create(tx, &book, task)).await.unwrap();
        (running.task(&id).status.unwrap().message, addresses(&running.store.view(), &id))
    };
    let pending = |addresses: &str| (decide::PENDING_MESSAGE.to_owned(), addresses.to_owned());
    let new = ("created".to_owned(), String::new());
    assert_eq!(created(task("a", "", &["bridge"])).await, pending("n-bridge"));
    assert_eq!(created(task("b", "", &["span"])).await, pending("n-span 10.0.1.2/24"));
    // The service gets its address in the same transaction, and the network its subnet.
    assert_eq!(
        created(task("c", "web", &["span"])).await,
        pending("n-ingress 10.0.0.3/24, n-span 10.0.1.3/24")
    );
    assert_eq!(vips(&running.store.view(), "web"), "n-ingress 10.0.0.2/24");
    assert_eq!(created(task("d", "", &["new"])).await, pending("n-new 10.9.0.2/29"));
    // Ports are chosen by the allocator.
    assert_eq!(created(task("e", "open", &[])).await, new);
    assert_eq!(created(task("f", "gone", &[])).await, new);
    assert_eq!(created(task("g", "", &["lost"])).await, new);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_gets_only_a_part_holds_nothing() {
    let running = Running::begin().await;
    running.put(sized("small", &["10.9.0.0/30"])).await;
    running.create_tasks(vec![task("a", "", &["small"])]).await;
    running.until("a", "pending task scheduling ").await;
    running.create_tasks(vec![task("b", "", &["span", "small"])]).await;
    running.settle().await;
    assert!(running.shown("b").starts_with("NEW network small: all 2 addresses"));
    assert_eq!(running.book.free(&"n-span".parse().unwrap(), ipam::Family::V4), Some(253));
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_ten_thousand_tasks_costs_some_tens_of_log_entries() {
    const TASKS: usize = 10_000;
    let running = Running::begin().await;
    running.put(sized("wide", &["10.32.0.0/16"])).await;
    running.put(service("wave", None)).await;
    running.settle().await;
    let before = running.store.view().version();
    let tasks = (0..TASKS).map(|n| task(&format!("t{n}"), "wave", &["wide"])).collect();
    running.create_tasks(tasks).await;
    running.until_pending(TASKS).await;
    let entries = running.store.view().version() - before;
    assert!(entries <= 150, "{entries} log entries, 50 of which made the tasks");
}
