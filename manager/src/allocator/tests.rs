//! The allocator whole, over a real store.

use std::time::Duration;

use skep_proto::swarmkit::{
    Annotations, Driver, EndpointSpec, NetworkAttachmentConfig, NetworkSpec, PortConfig,
    ServiceSpec, TaskSpec, TaskStatus,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::task::JoinHandle;

use super::*;
use crate::control::validate::PREDEFINED_LABEL;

struct Running {
    store: Store,
    task: JoinHandle<()>,
    _solo: Solo,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// An allocator over a store with the networks of a new cluster, and an overlay network.
    async fn begin() -> Running {
        let store = Store::system();
        let solo = lead_alone(&store);
        let networks = [
            network("ingress", "", true, false),
            network("bridge", "bridge", false, true),
            network("span", "overlay", false, false),
        ];
        for result in store.batch(networks, |tx, network| tx.create(network)).await {
            result.unwrap();
        }
        let task = tokio::spawn(run(store.clone()));
        Running { store, task, _solo: solo }
    }

    async fn create_service(&self, service: Service) {
        self.store.update(|tx| tx.create(service)).await.unwrap();
    }

    async fn change_service(&self, id: &str, change: impl FnOnce(&mut Service)) {
        let id = id.parse().unwrap();
        self.store.update(|tx| tx.modify::<Service>(&id, change)).await.unwrap();
    }

    async fn create_tasks(&self, tasks: Vec<Task>) {
        for result in self.store.batch(tasks, |tx, task| tx.create(task)).await {
            result.unwrap();
        }
    }

    fn task(&self, id: &str) -> Task {
        Task::clone(self.store.view().get_text::<Task>(id).unwrap())
    }

    /// "NEW error" or "PENDING 8080 …".
    fn shown(&self, id: &str) -> String {
        let task = self.task(id);
        let status = task.status.unwrap();
        let ports = task.endpoint.unwrap_or_default().ports;
        let ports: Vec<_> = ports.iter().map(|port| port.published_port.to_string()).collect();
        match status.state() {
            TaskState::New => format!("NEW {}", status.err),
            _ => format!("{} {}{}", status.message, ports.join(" "), status.err),
        }
    }

    async fn until(&self, id: &str, expected: &str) {
        for _ in 0..10_000 {
            if self.shown(id) == expected {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.shown(id), expected);
    }

    async fn until_pending(&self, count: usize) {
        let pending = || {
            let view = self.store.view();
            view.find::<Task>(By::TaskState(TaskState::Pending)).count()
        };
        for _ in 0..10_000 {
            if pending() == count {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("{} are pending", pending());
    }
}

fn network(name: &str, driver: &str, ingress: bool, predefined: bool) -> Network {
    let labels = predefined.then(|| (PREDEFINED_LABEL.to_owned(), "true".to_owned()));
    let labels = labels.into_iter().collect();
    Network {
        id: format!("n-{name}"),
        spec: Some(NetworkSpec {
            annotations: Some(Annotations { name: name.into(), labels, ..Default::default() }),
            driver_config: Some(Driver { name: driver.into(), ..Default::default() }),
            ingress,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn publishing(ports: &[u32]) -> Option<EndpointSpec> {
    let port = |published: &u32| PortConfig {
        published_port: *published,
        target_port: 80,
        ..Default::default()
    };
    Some(EndpointSpec { ports: ports.iter().map(port).collect(), ..Default::default() })
}

fn service(id: &str, endpoint: Option<EndpointSpec>) -> Service {
    let annotations = Some(Annotations { name: id.into(), ..Default::default() });
    let spec = Some(ServiceSpec { annotations, endpoint, ..Default::default() });
    Service { id: id.into(), spec, ..Default::default() }
}

fn task(id: &str, service: &str, networks: &[&str]) -> Task {
    let target =
        |name: &&str| NetworkAttachmentConfig { target: format!("n-{name}"), ..Default::default() };
    Task {
        id: id.into(),
        service_id: service.into(),
        desired_state: TaskState::Running.into(),
        spec: Some(
            TaskSpec { networks: networks.iter().map(target).collect(), ..Default::default() }
                .into(),
        ),
        status: Some(TaskStatus { message: "created".into(), ..Default::default() }),
        ..Default::default()
    }
}

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
    let attachment = running.task("web-1").networks.remove(0);
    assert_eq!(attachment.network.unwrap().driver_state.unwrap().name, "bridge");
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
            task("span-1", "", &["span"]),
            task("lost-1", "", &["lost"]),
        ])
        .await;
    running.until("first-1", "pending task scheduling 80").await;
    let taken = "NEW port 80 is already in use (tcp, by service first)";
    running.until("second-1", taken).await;
    running.until("second-2", taken).await;
    let text = "NEW network span has no addresses: these managers give out none yet for networks that span nodes; \
                use the network bridge or host";
    running.until("span-1", text).await;
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
    let next = tokio::spawn(run(running.store.clone()));
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
async fn a_wave_of_ten_thousand_tasks_costs_some_tens_of_log_entries() {
    const TASKS: usize = 10_000;
    let running = Running::begin().await;
    running.create_service(service("wave", publishing(&[8080]))).await;
    let before = running.store.view().version();
    let tasks = (0..TASKS).map(|n| task(&format!("t{n}"), "wave", &[])).collect();
    running.create_tasks(tasks).await;
    running.until_pending(TASKS).await;
    let entries = running.store.view().version() - before;
    assert!(entries <= 150, "{entries} log entries, 50 of which made the tasks");
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
    running.create_tasks(vec![task("waits", "", &["span"])]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(running.shown("waits").starts_with("NEW network span"));
    let id = "waits".parse().unwrap();
    let end = |task: &mut Task| task.desired_state = TaskState::Shutdown.into();
    running.store.update(|tx| tx.modify::<Task>(&id, end)).await.unwrap();
    running.until("waits", "task was stopped before it was assigned to a node ").await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_lacks_nothing_is_pending_from_the_start() {
    let running = Running::begin().await;
    running.create_service(service("web", publishing(&[8080]))).await;
    let now = || running.store.update(|tx| Ok::<_, skep_store::StoreError>(tx.now()));
    let now = now().await.unwrap();
    let admitted = |task: Task| {
        let task = admit(&running.store.view(), task, now);
        task.status.unwrap().message
    };
    // Not before the service has its ports.
    let first = task("first", "web", &[]);
    running.create_tasks(vec![first]).await;
    running.until("first", "pending task scheduling 8080").await;
    assert_eq!(admitted(task("t", "web", &[])), "pending task scheduling");
    assert_eq!(admitted(task("t", "web", &["bridge"])), "pending task scheduling");
    assert_eq!(admitted(task("t", "web", &["span"])), "created");
    assert_eq!(admitted(task("t", "gone", &[])), "created");
}

#[test]
fn a_service_that_names_its_ports_has_them_from_the_start() {
    for (ports, current) in [(&[][..], true), (&[8080, 9090], true), (&[8080, 0], false)] {
        let made = endowed(service("web", publishing(ports)));
        assert_eq!(decide::is_current(&made), current, "{ports:?}");
    }
    assert_eq!(endowed(service("plain", None)).endpoint, None);
    // What an earlier endpoint held beside its ports stays.
    let mut moved = endowed(service("web", publishing(&[8080])));
    let addresses = vec![Default::default()];
    moved.endpoint.as_mut().unwrap().virtual_ips = addresses.clone();
    moved.spec.as_mut().unwrap().endpoint = publishing(&[8081]);
    let endpoint = endowed(moved).endpoint.unwrap();
    assert_eq!((endpoint.ports[0].published_port, endpoint.virtual_ips), (8081, addresses));
}
