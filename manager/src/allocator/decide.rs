//! What a service and a task get before they may be scheduled. Pure: from the store's tables to the objects as they
//! should be, or to what they wait for.

use std::sync::Arc;

use skep_proto::{
    ids::ServiceId,
    prost_types::Timestamp,
    swarmkit::{
        Driver, Endpoint, EndpointSpec, Network, NetworkAttachment, Service, Task, TaskState,
        TaskStatus,
    },
};
use skep_store::{Object, Tables};

use super::ports::{Cursor, PortTable, is_ingress};
use crate::control::{is_ingress_network, validate::PREDEFINED_LABEL};

/// What a task's status says once it has all that it needs (SwarmKit's words, as tools show them).
pub const PENDING_MESSAGE: &str = "pending task scheduling";
/// What the status of a task says that was to stop before it had all that it needs; the words of the scheduler.
const STOPPED_MESSAGE: &str = "task was stopped before it was assigned to a node";
/// Drivers whose networks every node makes by itself: no address of theirs is given out by the managers.
const NODE_LOCAL_DRIVERS: [&str; 6] = ["bridge", "host", "macvlan", "ipvlan", "null", "none"];

/// Why something cannot be had now. The text goes into the status of tasks, so it says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waits {
    /// Another service holds a port that this one names.
    #[error("port {port} is already in use ({protocol}, by service {holder})")]
    PortTaken {
        /// The port.
        port: u32,
        /// Its protocol's name.
        protocol: &'static str,
        /// Who holds it.
        holder: ServiceId,
    },
    /// None of the ports that the cluster chooses from is free.
    #[error(
        "all ports from {min} to {max} are in use ({protocol}): name another, or publish fewer",
        min = super::ports::DYNAMIC_PORT_MIN,
        max = super::ports::DYNAMIC_PORT_MAX
    )]
    PortsExhausted {
        /// The protocol's name.
        protocol: &'static str,
    },
    /// Ports are to be published, but the network that they come in by was removed.
    #[error(
        "the service publishes ports in ingress mode, and the cluster has no ingress network: create one"
    )]
    NoIngressNetwork,
    /// The network is not there.
    #[error("network {target} does not exist: create it, or update the service")]
    NoSuchNetwork {
        /// What the spec names.
        target: String,
    },
    /// The network is one for which the managers give out addresses.
    #[error(
        "network {name} has no addresses: these managers give out none yet for networks that span nodes; use the \
         network bridge or host"
    )]
    NoAddresses {
        /// Its name.
        name: String,
    },
}

impl Waits {
    /// Whether the service lacks it, rather than a single task.
    pub fn of_service(&self) -> bool {
        !matches!(self, Waits::NoSuchNetwork { .. } | Waits::NoAddresses { .. })
    }
}

/// Whether the service has what its spec asks for.
pub fn is_current(service: &Service) -> bool {
    let asked = asked(service);
    match (&service.endpoint, asked) {
        (None, None) => true,
        (Some(endpoint), None) => endpoint.spec.is_none() && endpoint.ports.is_empty(),
        (Some(endpoint), Some(_)) => {
            endpoint.spec.as_ref() == asked
                && endpoint.ports.iter().filter(|p| is_ingress(p)).all(|p| p.published_port != 0)
        }
        (None, Some(_)) => false,
    }
}

/// The service with the endpoint that its spec asks for. `ports` is the table of the ports of these tables, or none if it
/// has to be made when it is needed.
pub fn with_endpoint(
    tables: &Tables,
    service: &Service,
    ports: &mut Option<PortTable>,
    cursor: &mut Cursor,
) -> Result<Service, Waits> {
    let had = service.endpoint.clone().unwrap_or_default();
    let given = match asked(service) {
        None => Vec::new(),
        Some(spec) if !spec.ports.iter().any(is_ingress) => spec.ports.clone(),
        Some(spec) => {
            if !tables.all::<Network>().any(|network| is_ingress_network(network)) {
                return Err(Waits::NoIngressNetwork);
            }
            let Ok(id) = service.id.parse() else { return Ok(service.clone()) };
            let ports = ports.get_or_insert_with(|| PortTable::of(tables));
            ports.assign(id, spec, &had.ports, cursor)?
        }
    };
    // Addresses that an earlier leader gave out stay as they are.
    let endpoint =
        Endpoint { spec: asked(service).cloned(), ports: given, virtual_ips: had.virtual_ips };
    Ok(Service { endpoint: Some(endpoint), ..service.clone() })
}

/// The service with the endpoint that its spec asks for, where nothing has to be chosen for it: for whoever writes a service
/// in a transaction that found its ports free. Its tasks need not wait for the allocator then.
pub fn endowed(service: Service) -> Service {
    let chosen =
        |spec: &EndpointSpec| spec.ports.iter().all(|p| !is_ingress(p) || p.published_port != 0);
    let Some(spec) = asked(&service).filter(|spec| chosen(spec)).cloned() else { return service };
    let endpoint = service.endpoint.clone().unwrap_or_default();
    let endpoint = Endpoint { ports: spec.ports.clone(), spec: Some(spec), ..endpoint };
    Service { endpoint: Some(endpoint), ..service }
}

/// A new task that may be scheduled: with its networks, and the endpoint of its service, which has one as it should be.
pub fn admitted(
    tables: &Tables,
    task: &Task,
    service: Option<&Service>,
    now: Timestamp,
) -> Result<Task, Waits> {
    let networks = match task.networks.is_empty() {
        true => attachments(tables, task, service)?,
        // Asked for by hand, or kept by an earlier leader.
        false => {
            task.networks.iter().try_for_each(addressed)?;
            task.networks.clone()
        }
    };
    let endpoint = match service {
        Some(service) => service.endpoint.clone(),
        None => task.endpoint.clone(),
    };
    let status = TaskStatus {
        state: TaskState::Pending.into(),
        message: PENDING_MESSAGE.to_owned(),
        timestamp: Some(now),
        ..Default::default()
    };
    Ok(Task { networks, endpoint, status: Some(status), ..task.clone() })
}

/// The task with the reason why it waits, or none when it says so already.
pub fn waiting(task: &Task, waits: &Waits) -> Option<Task> {
    let err = waits.to_string();
    let status = task.status.clone().unwrap_or_default();
    (status.err != err).then(|| Task { status: Some(TaskStatus { err, ..status }), ..task.clone() })
}

/// Whether the task is new and still wanted.
pub fn is_new(task: &Task) -> bool {
    let state = task.status.as_ref().map_or(TaskState::New as i32, |status| status.state);
    state == TaskState::New as i32 && task.desired_state <= TaskState::Complete as i32
}

/// A new task that is to stop, as having stopped; none when that does not concern it. No worker ever had it, so nobody
/// else would say so, and others wait for it.
pub fn stopped(task: &Task, now: Timestamp) -> Option<Task> {
    let new = task.status.as_ref().is_none_or(|status| status.state() == TaskState::New);
    (new && task.desired_state == TaskState::Shutdown as i32).then(|| {
        let status = TaskStatus {
            state: TaskState::Shutdown.into(),
            message: STOPPED_MESSAGE.to_owned(),
            timestamp: Some(now),
            ..Default::default()
        };
        Task { status: Some(status), ..task.clone() }
    })
}

/// The network with the state that its driver needs, which for one that nodes make by themselves is the driver's name;
/// none when there is nothing to do.
pub fn with_driver(network: &Network) -> Option<Network> {
    let name =
        driver(network).filter(|_| network.driver_state.is_none() && is_node_local(network))?;
    let driver_state = Some(Driver { name: name.to_owned(), ..Default::default() });
    Some(Network { driver_state, ..network.clone() })
}

fn asked(service: &Service) -> Option<&EndpointSpec> {
    service.spec.as_ref()?.endpoint.as_ref()
}

fn attachments(
    tables: &Tables,
    task: &Task,
    service: Option<&Service>,
) -> Result<Vec<NetworkAttachment>, Waits> {
    let of_task = task.spec.iter().flat_map(|spec| &spec.networks);
    let of_service = service
        .and_then(|s| s.spec.as_ref())
        .iter()
        .flat_map(|spec| &spec.networks)
        .collect::<Vec<_>>();
    let mut wanted: Vec<_> = of_task.collect();
    if wanted.is_empty() {
        // Where old clients put them.
        wanted = of_service;
    }
    let attach = |config: &skep_proto::swarmkit::NetworkAttachmentConfig| {
        let Some(network) = tables.get_text::<Network>(&config.target) else {
            return Err(Waits::NoSuchNetwork { target: config.target.clone() });
        };
        let attachment = NetworkAttachment {
            network: Some(Network::clone(network)),
            aliases: config.aliases.clone(),
            driver_attachment_opts: config.driver_attachment_opts.clone(),
            ..Default::default()
        };
        addressed(&attachment).map(|()| attachment)
    };
    wanted.into_iter().map(attach).collect()
}

/// Whether the attachment has an address, or needs none.
fn addressed(attachment: &NetworkAttachment) -> Result<(), Waits> {
    match &attachment.network {
        Some(network) if !is_node_local(network) && attachment.addresses.is_empty() => {
            let name = network.name().unwrap_or(network.id.as_str().into()).into_owned();
            Err(Waits::NoAddresses { name })
        }
        _ => Ok(()),
    }
}

fn is_node_local(network: &Network) -> bool {
    let predefined = network.annotations().is_some_and(|a| a.labels.contains_key(PREDEFINED_LABEL));
    predefined || driver(network).is_some_and(|name| NODE_LOCAL_DRIVERS.contains(&name))
}

fn driver(network: &Network) -> Option<&str> {
    let asked = network.spec.as_ref().and_then(|spec| spec.driver_config.as_ref());
    let driver = network.driver_state.as_ref().or(asked)?;
    (!driver.name.is_empty()).then_some(driver.name.as_str())
}

/// The service of a task.
pub fn service_of<'a>(tables: &'a Tables, task: &Task) -> Option<&'a Arc<Service>> {
    tables.get_text::<Service>(&task.service_id)
}
