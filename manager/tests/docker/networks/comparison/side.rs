//! One of the two swarms: a manager that runs no tasks, and a stock engine as the worker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use serde_json::Value;
use skep_ca::{PeerName, connect};
use skep_proto::{
    shared::Shared,
    swarmkit::{
        CreateNetworkRequest, CreateServiceRequest, ListNetworksRequest, ListNodesRequest,
        ListServicesRequest, ListTasksRequest, Meta, Network, NetworkAttachment, Node,
        RemoveNetworkRequest, RemoveServiceRequest, Service, SessionMessage, SessionRequest, Task,
        TaskState, UpdateServiceRequest, control_client::ControlClient,
        dispatcher_client::DispatcherClient, node_status::State,
    },
};
use skep_testkit::{docker_hosts::DockerHost, wait};
use tonic::{Status, transport::Channel};

use super::described::Described;
use crate::{
    networks::spec,
    services::{
        scene::{SERVICE_LABEL, describe, running, state},
        spec::Spec,
    },
    support::{ENGINE_LIMIT, docker, identity_of},
};

pub struct Side<'a> {
    pub control: ControlClient<Channel>,
    /// Where workers reach the manager.
    pub manager: String,
    pub worker: &'a DockerHost,
    pub described: Described,
    /// What to call objects instead of by their ids.
    names: BTreeMap<String, String>,
}

impl<'a> Side<'a> {
    pub fn new(control: Channel, manager: String, worker: &'a DockerHost) -> Side<'a> {
        let control = ControlClient::new(control).max_decoding_message_size(usize::MAX);
        let described = Described::default();
        Side { control, manager, worker, described, names: BTreeMap::new() }
    }

    /// Waits until both nodes are ready and on the ingress network.
    pub async fn wait_ready(&mut self) {
        self.wait("both nodes to be ready", async |side| {
            let nodes = side.nodes().await?;
            let ready =
                |node: &&Node| node.status.as_ref().map(|s| s.state()) == Some(State::Ready);
            let attached = |node: &&Node| !node.attachments.is_empty();
            match nodes.iter().filter(ready).filter(attached).count() {
                2 => Ok(()),
                _ => Err(format!("{nodes:?}")),
            }
        })
        .await;
    }

    /// Creates a network and waits until it has what it gets.
    pub async fn create_network(&mut self, network: &spec::Network) -> String {
        let request = CreateNetworkRequest { spec: Some(network.0.clone()) };
        let id =
            self.control.create_network(request).await.unwrap().into_inner().network.unwrap().id;
        self.wait("the network to be allocated", async |side| {
            let networks = side.networks().await?;
            let network = networks.into_iter().find(|n| n.id == id).ok_or("it is not listed")?;
            if network.driver_state.is_some() { Ok(()) } else { Err(format!("{network:?}")) }
        })
        .await;
        id
    }

    /// What the manager says to this spec, which it refuses.
    pub async fn refuse_network(&mut self, what: &str, network: &spec::Network) {
        let request = CreateNetworkRequest { spec: Some(network.0.clone()) };
        let answer = self.control.create_network(request).await.map(|created| created.into_inner());
        self.describe_refusal(what, answer);
    }

    pub async fn refuse_service(&mut self, what: &str, service: &Spec) {
        let request = CreateServiceRequest { spec: Some(service.0.clone()) };
        let answer = self.control.create_service(request).await.map(|created| created.into_inner());
        self.describe_refusal(what, answer);
    }

    pub async fn refuse_removal(&mut self, what: &str, network: &str) {
        let request = RemoveNetworkRequest { network_id: network.to_owned(), ..Default::default() };
        let answer = self.control.remove_network(request).await.map(|removed| removed.into_inner());
        self.describe_refusal(what, answer);
    }

    /// The code alone: programs match on it, and the texts are for people, where ours say more.
    fn describe_refusal(&mut self, what: &str, answer: Result<impl Debug, Status>) {
        let said = match answer {
            Ok(answer) => format!("taken: {answer:?}"),
            Err(status) => format!("{:?}", status.code()),
        };
        self.described.add_line(&format!("refused/{what}"), said);
    }

    pub async fn remove_network(&mut self, id: &str) {
        self.wait("the network to be removed", async |side| {
            let request = RemoveNetworkRequest { network_id: id.to_owned(), ..Default::default() };
            let mut control = side.control.clone();
            control.remove_network(request).await.map(drop).map_err(|s| s.to_string())
        })
        .await;
    }

    /// Creates a service, and waits until so many of its tasks run.
    pub async fn create_service(&mut self, service: &Spec, running: usize) -> String {
        let request = CreateServiceRequest { spec: Some(service.0.clone()) };
        let id =
            self.control.create_service(request).await.unwrap().into_inner().service.unwrap().id;
        self.wait_running(&id, running).await;
        id
    }

    /// Gives a service another spec.
    pub async fn update_service(&self, id: &str, service: &Spec) {
        self.wait("the service to be updated", async |side| {
            let services = side.services().await?;
            let now = services.into_iter().find(|s| s.id == id).ok_or("it is not listed")?;
            let request = UpdateServiceRequest {
                service_id: now.id,
                service_version: now.meta.and_then(|meta| meta.version),
                spec: Some(service.0.clone()),
                ..Default::default()
            };
            let mut control = side.control.clone();
            control.update_service(request).await.map(drop).map_err(|s| s.to_string())
        })
        .await;
    }

    /// Waits until the worker is attached to the networks of all tasks that run, to ingress, and to no others.
    pub async fn wait_attached(&self) {
        self.wait("the node to be attached", async |side| {
            let tasks = side.tasks().await?;
            let wanted = running(&tasks).flat_map(|task| &task.networks);
            // Nothing is balanced on networks that nodes make by themselves.
            let wanted = wanted.filter(|attachment| !attachment.addresses.is_empty());
            let mut wanted: BTreeSet<String> = wanted.filter_map(network_id).collect();
            wanted.extend(side.ingress().await?);
            match side.worker_attachments().await? {
                attached if attached == wanted => Ok(()),
                attached => Err(format!("{attached:?}, and not {wanted:?}")),
            }
        })
        .await;
    }

    /// Waits until a service has the addresses and ports that it asks for.
    pub async fn wait_allocated(&self, id: &str) {
        self.wait("the service to be allocated", async |side| {
            let services = side.services().await?;
            let service = services.into_iter().find(|s| s.id == id).ok_or("it is not listed")?;
            let endpoint = service.endpoint.clone().unwrap_or_default();
            let wanted = service.spec.clone().and_then(|spec| spec.endpoint).unwrap_or_default();
            if endpoint.ports.len() == wanted.ports.len() && !endpoint.virtual_ips.is_empty() {
                Ok(())
            } else {
                Err(format!("{service:?}"))
            }
        })
        .await;
    }

    /// Removes services and waits until their tasks, their containers and what the worker had for them are gone.
    pub async fn remove_services(&mut self, ids: &[String]) {
        for id in ids {
            let request = RemoveServiceRequest { service_id: id.clone() };
            self.control.remove_service(request).await.unwrap();
        }
        self.wait("the services to be gone", async |side| {
            let mut tasks = side.tasks().await?;
            tasks.retain(|task| ids.contains(&task.service_id));
            let label = format!("label={SERVICE_LABEL}");
            let format = format!("{{{{.Label \"{SERVICE_LABEL}\"}}}}");
            let words = ["ps", "--all", "--filter", &label, "--format", &format];
            let containers = docker(side.worker, &words).map_err(|error| error.to_string())?;
            let left = containers.lines().filter(|id| ids.iter().any(|i| i == id)).count();
            match (tasks.len(), left) {
                (0, 0) => Ok(()),
                (_, left) => Err(format!("{left} containers{}", describe(&tasks))),
            }
        })
        .await;
        self.wait_attached().await;
    }

    /// Waits until so many tasks of a service run, all of its present spec, and its other tasks have ended.
    pub async fn wait_running(&self, id: &str, count: usize) {
        self.wait(&format!("{count} tasks to run"), async |side| {
            let services = side.services().await?;
            let service = services.into_iter().find(|s| s.id == id).ok_or("it is not listed")?;
            let tasks = side.tasks_of(id).await?;
            let spec = service.spec.unwrap_or_default();
            // A task has a copy of what its service was told.
            let is_current = |task: &&Task| {
                let endpoint = task.endpoint.as_ref().and_then(|endpoint| endpoint.spec.as_ref());
                task.spec == spec.task && endpoint == spec.endpoint.as_ref()
            };
            let wanted = tasks.iter().filter(|t| t.desired_state() <= TaskState::Running).count();
            let ended = |task: &&Task| {
                task.desired_state() > TaskState::Running && state(task) <= TaskState::Running
            };
            let left = tasks.iter().filter(ended).count();
            let current = running(&tasks).filter(is_current).count();
            if (wanted, current, left) == (count, count, 0) {
                Ok(())
            } else {
                Err(describe(&tasks))
            }
        })
        .await;
    }

    /// Describes a network as the manager has it.
    pub async fn describe_network(&mut self, step: &str, id: &str) {
        let networks = self.networks().await.unwrap();
        let network = networks.into_iter().find(|network| network.id == id).unwrap();
        self.described.add(&format!("{step}/network"), &plain_network(network));
    }

    /// Describes a service, the tasks of it that run, and where its nodes are attached.
    pub async fn describe_service(&mut self, step: &str, id: &str) {
        let services = self.services().await.unwrap();
        let mut service = services.into_iter().find(|service| service.id == id).unwrap();
        self.name_all().await;
        service.meta = None;
        service.spec_version = None;
        service.previous_spec_version = None;
        service.update_status = None;
        // Both managers were given the same.
        service.spec = None;
        service.previous_spec = None;
        self.described.add(&format!("{step}/service"), &service);
        let tasks = self.tasks_of(id).await.unwrap();
        for task in running(&tasks) {
            let task = plain_task(task.clone());
            self.described.add(&format!("{step}/task {}", task.slot), &task);
        }
        self.describe_nodes(step).await;
    }

    pub async fn describe_nodes(&mut self, step: &str) {
        self.name_all().await;
        for node in self.nodes().await.unwrap() {
            let path = format!("{step}/node {}", self.names[&node.id]);
            self.described
                .add(&format!("{path}/attachment"), &node.attachment.map(plain_attachment));
            let names: Vec<&str> = node
                .attachments
                .iter()
                .filter_map(network_id)
                .map(|id| &*self.names[&id])
                .collect();
            self.described.add_line(&format!("{path}/attachments"), format!("{names:?}"));
            for attachment in node.attachments {
                let id = network_id(&attachment).expect("it is of a network");
                let path = format!("{path}/attachment {}", self.names[&id]);
                self.described.add(&path, &plain_attachment(attachment));
            }
            self.described.add_line(&format!("{path}/VXLAN port"), node.vxlanudp_port);
        }
    }

    /// Describes what the worker's engine knows of a network, as soon as it has set up its balancer and, where there should
    /// be services, knows one.
    pub async fn describe_engine(&mut self, step: &str, network: &str, has_services: bool) {
        let inspected = self.wait("the engine to know the network", async |side| {
            let text = docker(side.worker, &["network", "inspect", "--verbose", network]);
            let text = text.map_err(|error| error.to_string())?;
            let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let fields = value[0].as_object().cloned().ok_or("it printed no object")?;
            let is_balancer = |container: &Value| {
                container["Name"].as_str().is_some_and(|name| name.ends_with("-endpoint"))
            };
            let balanced =
                objects(fields.get("Containers")).any(|(_, container)| is_balancer(container));
            let served = objects(fields.get("Services")).any(|(name, _)| !name.is_empty());
            let local = fields.get("Driver").and_then(Value::as_str) != Some("overlay");
            if local || (balanced && served == has_services) { Ok(fields) } else { Err(text) }
        });
        let mut fields = inspected.await;
        for field in ["Created", "Peers"] {
            fields.remove(field);
        }
        // By name, and without what is drawn at random. The service without a name is the balancers' own, of which an
        // engine hears when it likes to.
        let (containers, services) = (fields.remove("Containers"), fields.remove("Services"));
        for (_, container) in objects(containers.as_ref()) {
            let container = without(container, &["EndpointID"]);
            let path = format!("{step}/engine/container {}", container["Name"].as_str().unwrap());
            self.described.add_json(&path, &container);
        }
        for (name, service) in objects(services.as_ref()).filter(|(name, _)| !name.is_empty()) {
            let path = format!("{step}/engine/service {name}");
            for task in service["Tasks"].as_array().into_iter().flatten() {
                let path = format!("{path}/task {}", task["Name"].as_str().unwrap());
                self.described.add_json(&path, &without(task, &["EndpointID", "Info"]));
            }
            self.described.add_json(&path, &without(service, &["LocalLBIndex", "Tasks"]));
        }
        self.described.add_json(&format!("{step}/engine"), &Value::Object(fields));
    }

    /// What an engine is told at the beginning of a session. It ends the engine's own session, which begins another.
    pub async fn session(&self) -> SessionMessage {
        let identity = identity_of(self.worker);
        let dial = connect::Dial::new(identity.client_config(), PeerName::Manager);
        let mut dispatcher = DispatcherClient::new(dial.connect(&self.manager).await.unwrap());
        let opened = dispatcher.session(SessionRequest::default()).await.unwrap();
        opened.into_inner().message().await.unwrap().expect("it begins with a message")
    }

    /// Looks until it is satisfied.
    pub async fn wait<T>(
        &self,
        what: &str,
        probe: impl AsyncFn(&Side<'a>) -> Result<T, String>,
    ) -> T {
        wait::until(what, ENGINE_LIMIT, async || probe(self).await).await.unwrap()
    }

    /// All that was described, with names in place of ids.
    pub async fn finish(mut self) -> Described {
        self.name_all().await;
        self.described.renamed(&self.names)
    }

    /// Learns the names of what there is now.
    async fn name_all(&mut self) {
        let name = |annotations: Option<skep_proto::swarmkit::Annotations>| {
            annotations.map_or(String::new(), |annotations| annotations.name)
        };
        for network in self.networks().await.unwrap() {
            let name = name(network.spec.and_then(|spec| spec.annotations));
            self.names.insert(network.id, format!("<network {name}>"));
        }
        for service in self.services().await.unwrap() {
            let name = name(service.spec.and_then(|spec| spec.annotations));
            for task in self.tasks_of(&service.id).await.unwrap() {
                self.names.insert(task.id, format!("<task {name} {}>", task.slot));
            }
            self.names.insert(service.id, format!("<service {name}>"));
        }
        for node in self.nodes().await.unwrap() {
            let hostname = node.description.unwrap_or_default().hostname;
            let role = if hostname == self.worker.name() { "worker" } else { "manager" };
            self.names.insert(node.id, format!("<{role}>"));
        }
    }

    /// The networks that the worker is on.
    async fn worker_attachments(&self) -> Result<BTreeSet<String>, String> {
        let nodes = self.nodes().await?;
        let is_worker = |node: &&Node| {
            node.description.as_ref().is_some_and(|d| d.hostname == self.worker.name())
        };
        let worker = nodes.iter().find(is_worker).ok_or("the worker is not listed")?;
        Ok(worker.attachments.iter().filter_map(network_id).collect())
    }

    /// The ingress network.
    async fn ingress(&self) -> Result<Option<String>, String> {
        let is_ingress = |n: &Network| n.spec.as_ref().is_some_and(|spec| spec.ingress);
        Ok(self.networks().await?.into_iter().find(is_ingress).map(|network| network.id))
    }

    pub async fn networks(&self) -> Result<Vec<Network>, String> {
        let listed = self.control.clone().list_networks(ListNetworksRequest::default()).await;
        listed.map(|listed| listed.into_inner().networks).map_err(|status| status.to_string())
    }

    async fn services(&self) -> Result<Vec<Service>, String> {
        let listed = self.control.clone().list_services(ListServicesRequest::default()).await;
        listed.map(|listed| listed.into_inner().services).map_err(|status| status.to_string())
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, String> {
        let listed = self.control.clone().list_nodes(ListNodesRequest::default()).await;
        listed.map(|listed| listed.into_inner().nodes).map_err(|status| status.to_string())
    }

    /// The tasks of a service; those of no service with an empty id.
    pub async fn tasks_of(&self, service: &str) -> Result<Vec<Task>, String> {
        let mut tasks = self.tasks().await?;
        tasks.retain(|task| task.service_id == service);
        Ok(tasks)
    }

    async fn tasks(&self) -> Result<Vec<Task>, String> {
        let listed = self.control.clone().list_tasks(ListTasksRequest::default()).await;
        listed.map(|listed| listed.into_inner().tasks).map_err(|status| status.to_string())
    }

    /// Calls an object so from now on.
    pub fn call(&mut self, id: &str, name: &str) {
        self.names.insert(id.to_owned(), format!("<{name}>"));
    }
}

/// The named objects in an object that may be missing.
fn objects(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The object without these fields.
fn without(value: &Value, fields: &[&str]) -> Value {
    let kept = objects(Some(value)).filter(|(name, _)| !fields.contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What can be compared of a network.
fn plain_network(network: Network) -> Network {
    Network { meta: None::<Meta>, ..network }
}

fn network_id(attachment: &NetworkAttachment) -> Option<String> {
    attachment.network.as_ref().map(|network| network.id.clone())
}

fn plain_attachment(attachment: NetworkAttachment) -> NetworkAttachment {
    let network =
        attachment.network.map(|network| plain_network(Shared::into_message(network)).into());
    NetworkAttachment { network, ..attachment }
}

/// What can be compared of a task: not when it did what, nor the container that it has, nor annotations of its own, which
/// are empty on a stock manager and not there on ours.
pub fn plain_task(task: Task) -> Task {
    Task {
        meta: None,
        annotations: None,
        spec_version: None,
        status: None,
        networks: task.networks.into_iter().map(plain_attachment).collect(),
        ..task
    }
}
