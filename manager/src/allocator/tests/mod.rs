//! The allocator whole, over a real store: this is the cluster that the tests work in.

mod history;
mod networks;
mod nodes;
mod overlays;
mod ports;
mod retreat;
mod services;
mod waiting;
mod wishes;

use std::time::Duration;

use skep_proto::swarmkit::{
    Annotations, Driver, EndpointSpec, IpamConfig, IpamOptions, NetworkAttachment,
    NetworkAttachmentConfig, NetworkSpec, PortConfig, ServiceSpec, TaskSpec, TaskStatus,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::task::JoinHandle;

use super::*;
use crate::control::validate::PREDEFINED_LABEL;

struct Running {
    store: Store,
    book: Book,
    task: JoinHandle<()>,
    solo: Option<Solo>,
}

/// Addresses of a task, network by network: "n-ingress 10.0.0.2/24, n-front 10.0.1.3/24".
fn addresses(tables: &Tables, task: &str) -> String {
    let networks = tables.get_text::<Task>(task).map(|t| t.networks.clone()).unwrap_or_default();
    attachments(&networks)
}

fn attachments(attachments: &[NetworkAttachment]) -> String {
    let shown = attachments.iter().map(|attachment| {
        let network = attachment.network.as_ref().map_or("", |network| &network.id);
        format!("{network} {}", attachment.addresses.join(" ")).trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Virtual addresses of a service, in the same way.
fn vips(tables: &Tables, service: &str) -> String {
    let service = tables.get_text::<Service>(service).unwrap();
    let vips = service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
    let shown = vips.map(|vip| format!("{} {}", vip.network_id, vip.addr).trim_end().to_owned());
    shown.collect::<Vec<_>>().join(", ")
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
        let book = Book::default();
        let task = tokio::spawn(run(store.clone(), book.clone(), Findings::default()));
        Running { store, book, task, solo: Some(solo) }
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

    async fn put<T: skep_store::Object>(&self, object: T) {
        self.store.update(|tx| tx.create(object)).await.unwrap();
    }

    async fn change<T: skep_store::Object>(&self, id: &str, change: impl FnOnce(&mut T)) {
        let id = T::Id::from(id.parse().unwrap());
        self.store.update(|tx| tx.modify::<T>(&id, change)).await.unwrap();
    }

    async fn remove<T: skep_store::Object>(&self, id: &str) {
        let id = T::Id::from(id.parse().unwrap());
        self.store.update(|tx| tx.remove::<T>(&id)).await.unwrap();
    }

    /// A worker says how far the task is.
    async fn report(&self, id: &str, state: TaskState) {
        self.change::<Task>(id, |task| task.status.as_mut().unwrap().state = state.into()).await;
    }

    /// The next leader, which knows only what is stored.
    fn change_leader(&mut self) {
        self.task.abort();
        self.book = Book::default();
        self.task = tokio::spawn(run(self.store.clone(), self.book.clone(), Findings::default()));
    }

    /// Waits until what is asked of the store's objects gives what is expected.
    async fn eventually<R: PartialEq + std::fmt::Debug>(
        &self,
        expected: R,
        ask: impl Fn(&Tables) -> R,
    ) {
        for _ in 0..10_000 {
            if ask(&self.store.view()) == expected {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(ask(&self.store.view()), expected);
    }

    /// Waits until the allocator has nothing more to do.
    async fn settle(&self) {
        let mut last = None;
        loop {
            sleep(Duration::from_millis(500)).await;
            let version = self.store.view().version();
            if last == Some(version) && self.store.in_flight() == 0 {
                return;
            }
            last = Some(version);
        }
    }

    fn task(&self, id: &str) -> Task {
        Task::clone(self.store.view().get_text::<Task>(id).unwrap())
    }

    /// "NEW error" or "PENDING 8080 …".
    fn shown(&self, id: &str) -> String {
        let task = self.task(id);
        let status = task.status.unwrap();
        let endpoint = task.endpoint.unwrap_or_default();
        let ports: Vec<_> =
            endpoint.ports.iter().map(|port| port.published_port.to_string()).collect();
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

/// A network with these subnets.
fn sized(name: &str, subnets: &[&str]) -> Network {
    let mut network = network(name, "overlay", false, false);
    let config = |subnet: &&str| IpamConfig { subnet: (*subnet).to_owned(), ..Default::default() };
    let configs = subnets.iter().map(config).collect();
    network.spec.as_mut().unwrap().ipam = Some(IpamOptions { driver: None, configs });
    network
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
