//! Ports, and tasks that come and go.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_task_is_pending_once_it_has_what_it_needs() {
    let running = Running::begin().await;
    running.create_service(service("plain", None)).await;
    running.create_service(service("web", publishing(&[8080, 0]))).await;
    running
        .create_tasks(vec![
            task("plain-1", "plain", &[]),
            task("web-1", "web", &["bridge"]),
            task("alone", "", &[]),
        ])
        .await;
    running.until("plain-1", "pending task scheduling ").await;
    running.until("web-1", "pending task scheduling 8080 30000").await;
    running.until("alone", "pending task scheduling ").await;
    // After the one in the ingress network.
    let attachment = running.task("web-1").networks.remove(1);
    assert_eq!(attachment.network.unwrap().driver_state.as_ref().unwrap().name, "bridge");
    assert!(attachment.addresses.is_empty());
    assert!(running.task("web-1").status.unwrap().timestamp.is_some());
    assert_eq!(running.task("web-1").endpoint.unwrap().spec, publishing(&[8080, 0]));
    assert!(running.task("plain-1").endpoint.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_have_something_says_what_and_goes_on_when_it_can() {
    let running = Running::begin().await;
    running.create_service(service("first", publishing(&[80]))).await;
    running.create_service(service("second", publishing(&[80]))).await;
    running
        .create_tasks(vec![
            task("first-1", "first", &[]),
            task("second-1", "second", &[]),
            task("second-2", "second", &[]),
            task("lost-1", "", &["lost"]),
        ])
        .await;
    running.until("first-1", "pending task scheduling 80").await;
    let taken = "NEW port 80 is already in use (tcp, by service first)";
    running.until("second-1", taken).await;
    running.until("second-2", taken).await;
    let text = "NEW network n-lost does not exist: create it, or update the service";
    running.until("lost-1", text).await;
    let version = running.store.view().version();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.store.view().version(), version, "waiting costs nothing");

    running
        .change_service("first", |s| s.spec.as_mut().unwrap().endpoint = publishing(&[81]))
        .await;
    running.until("second-1", "pending task scheduling 80").await;
    running.until("second-2", "pending task scheduling 80").await;
    let lost = network("lost", "host", false, true);
    running.store.update(|tx| tx.create(lost)).await.unwrap();
    running.until("lost-1", "pending task scheduling ").await;
}

#[tokio::test(start_paused = true)]
async fn ports_stay_over_updates_and_leaders_and_are_free_after_removal() {
    let running = Running::begin().await;
    running.create_service(service("a", publishing(&[0]))).await;
    running.create_service(service("b", publishing(&[0]))).await;
    running.create_tasks(vec![task("a-1", "a", &[]), task("b-1", "b", &[])]).await;
    running.until("a-1", "pending task scheduling 30000").await;
    running.until("b-1", "pending task scheduling 30001").await;
    running.change_service("b", |s| s.spec.as_mut().unwrap().endpoint = publishing(&[0, 90])).await;
    running.create_tasks(vec![task("b-2", "b", &[])]).await;
    running.until("b-2", "pending task scheduling 30001 90").await;

    // The next leader knows only what is stored.
    running.task.abort();
    let next = tokio::spawn(run(running.store.clone(), Book::default(), Findings::default()));
    running.create_service(service("c", publishing(&[0]))).await;
    running.create_tasks(vec![task("c-1", "c", &[])]).await;
    running.until("c-1", "pending task scheduling 30002").await;
    let a = "a".parse().unwrap();
    running.store.update(|tx| tx.remove::<Service>(&a)).await.unwrap();
    running.create_service(service("d", publishing(&[30000]))).await;
    running.create_tasks(vec![task("d-1", "d", &[])]).await;
    running.until("d-1", "pending task scheduling 30000").await;
    next.abort();
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_not_wanted_any_more_end() {
    let running = Running::begin().await;
    let ended = Task { desired_state: TaskState::Shutdown.into(), ..task("ended", "", &[]) };
    let removed = task("removed", "gone", &[]);
    running.create_tasks(vec![ended, removed, task("wanted", "", &[])]).await;
    running.until("wanted", "pending task scheduling ").await;
    assert_eq!(running.shown("removed"), "NEW ");
    // No worker would ever say that it has stopped.
    running.until("ended", "task was stopped before it was assigned to a node ").await;
    running.create_tasks(vec![task("waits", "", &["unmade"])]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(running.shown("waits").starts_with("NEW network n-unmade does not exist"));
    let id = "waits".parse().unwrap();
    let end = |task: &mut Task| task.desired_state = TaskState::Shutdown.into();
    running.store.update(|tx| tx.modify::<Task>(&id, end)).await.unwrap();
    running.until("waits", "task was stopped before it was assigned to a node ").await;
}

#[test]
fn a_service_that_names_its_ports_has_them_from_the_start() {
    for (ports, has) in [(&[][..], true), (&[8080, 9090], true), (&[8080, 0], false)] {
        let made = endowed(service("web", publishing(ports)));
        assert_eq!(endpoint::has_ports(&made), has, "{ports:?}");
    }
    assert_eq!(endowed(service("plain", None)).endpoint, None);
    // What an earlier endpoint held beside its ports stays.
    let mut moved = endowed(service("web", publishing(&[8080])));
    let addresses = vec![Default::default()];
    moved.endpoint.as_mut().unwrap().virtual_ips = addresses.clone();
    moved.spec.as_mut().unwrap().endpoint = publishing(&[8081]);
    let endpoint = endowed(moved).endpoint.unwrap();
    assert_eq!((endpoint.ports[0].published_port, &endpoint.virtual_ips), (8081, &addresses));
}
