//! Who holds which address of which network. Pure: from the store's tables.

use std::{collections::HashMap, net::IpAddr};

use skep_proto::{
    skep::{AddressHolder, AddressHolderKind},
    swarmkit::{Network, NetworkAttachment, Node, Service, Task, task_spec::Runtime},
};
use skep_store::{Object as _, Tables};

use crate::{
    allocator::book,
    control::{alive, is_ingress_network, needs_ingress},
};

/// Somebody that an address was given to.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// The subnet's gateway.
    Gateway,
    /// Kept free under this name.
    Reserved(&'a str),
    /// A virtual address.
    Service(&'a Service),
    /// A container of a service, or one that was attached by hand.
    Task(&'a Task),
    /// A load balancer.
    Node(&'a Node),
}

/// What is known of the use of one network.
#[derive(Debug, Default)]
pub struct Use<'a> {
    /// Who holds what, in no order. Text that is no address holds none.
    pub held: Vec<(IpAddr, Holder<'a>)>,
    /// Services that name it, or that publish ports by it.
    pub services: u64,
    /// Tasks that name it or are attached to it, and have not ended.
    pub tasks: u64,
    /// Nodes with a load balancer in it.
    pub nodes: u64,
}

/// The use of each of these networks.
pub fn gather<'a>(tables: &'a Tables, networks: &[&'a Network]) -> HashMap<&'a str, Use<'a>> {
    let mut uses: HashMap<&str, Use> =
        networks.iter().map(|network| (network.id.as_str(), of_network(network))).collect();
    let ingress =
        networks.iter().find(|network| is_ingress_network(network)).map(|n| n.id.as_str());
    for service in tables.all::<Service>() {
        of_service(&mut uses, service, ingress);
    }
    for task in tables.all::<Task>() {
        of_task(&mut uses, task);
    }
    for node in tables.all::<Node>() {
        for attachment in node.attachment.iter().chain(&node.attachments) {
            let Some(own) = used(&mut uses, attachment) else { continue };
            own.nodes += 1;
            own.held.extend(addresses(attachment).map(|address| (address, Holder::Node(node))));
        }
    }
    uses
}

/// Gateways, and what the spec keeps free.
fn of_network(network: &Network) -> Use<'_> {
    let mut own = Use::default();
    for config in network.ipam.iter().flat_map(|ipam| &ipam.configs) {
        own.held.extend(book::address(&config.gateway).map(|address| (address, Holder::Gateway)));
        let reserved = config.reserved.iter();
        let reserved = reserved.filter_map(|(name, text)| Some((name, book::address(text)?)));
        // Some write the gateway there as well.
        let reserved = reserved.filter(|(_, kept)| book::address(&config.gateway) != Some(*kept));
        own.held.extend(reserved.map(|(name, address)| (address, Holder::Reserved(name))));
    }
    own
}

fn of_service<'a>(
    uses: &mut HashMap<&'a str, Use<'a>>,
    service: &'a Service,
    ingress: Option<&'a str>,
) {
    let Some(spec) = &service.spec else { return };
    let named = spec.networks.iter().chain(spec.task.iter().flat_map(|task| &task.networks));
    let mut named: Vec<&str> = named.map(|network| network.target.as_str()).collect();
    named.extend(ingress.filter(|_| needs_ingress(spec)));
    named.sort_unstable();
    named.dedup();
    for id in named {
        if let Some(own) = uses.get_mut(id) {
            own.services += 1;
        }
    }
    for ip in service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips) {
        let Some(own) = uses.get_mut(ip.network_id.as_str()) else { continue };
        own.held.extend(book::address(&ip.addr).map(|address| (address, Holder::Service(service))));
    }
}

fn of_task<'a>(uses: &mut HashMap<&'a str, Use<'a>>, task: &'a Task) {
    let holds = book::holds_addresses(task);
    for attachment in task.networks.iter().filter(|_| holds) {
        let Some(own) = used(uses, attachment) else { continue };
        own.held.extend(addresses(attachment).map(|address| (address, Holder::Task(task))));
    }
    if !alive(task) {
        return;
    }
    let named = task.spec.iter().flat_map(|spec| &spec.networks).map(|n| n.target.as_str());
    let attached = task.networks.iter().filter_map(|n| Some(n.network.as_ref()?.id.as_str()));
    let mut all: Vec<&str> = named.chain(attached).collect();
    all.sort_unstable();
    all.dedup();
    for id in all {
        if let Some(own) = uses.get_mut(id) {
            own.tasks += 1;
        }
    }
}

fn used<'u, 'a>(
    uses: &'u mut HashMap<&'a str, Use<'a>>,
    attachment: &'a NetworkAttachment,
) -> Option<&'u mut Use<'a>> {
    uses.get_mut(attachment.network.as_ref()?.id.as_str())
}

fn addresses(attachment: &NetworkAttachment) -> impl Iterator<Item = IpAddr> + '_ {
    attachment.addresses.iter().filter_map(|text| book::address(text))
}

/// The holder of an address as it is told. `tables` has the host names.
pub fn told(tables: &Tables, address: IpAddr, holder: Holder) -> AddressHolder {
    let mut told = AddressHolder { address: address.to_string(), ..AddressHolder::default() };
    match holder {
        Holder::Gateway => told.set_kind(AddressHolderKind::Gateway),
        Holder::Reserved(name) => {
            told.set_kind(AddressHolderKind::Reserved);
            told.name = name.to_owned();
        }
        Holder::Service(service) => {
            told.set_kind(AddressHolderKind::Service);
            told.id.clone_from(&service.id);
            told.name = service.name().unwrap_or_default().into_owned();
        }
        Holder::Task(task) => {
            let container = container_id(task);
            told.set_kind(match container {
                Some(_) => AddressHolderKind::Container,
                None => AddressHolderKind::Task,
            });
            told.id.clone_from(&task.id);
            told.name = container.map_or_else(|| task_name(task), str::to_owned);
            told.node_id.clone_from(&task.node_id);
            told.hostname = hostname(tables.get_text::<Node>(&task.node_id).map(|node| &**node));
        }
        Holder::Node(node) => {
            told.set_kind(AddressHolderKind::Node);
            told.id.clone_from(&node.id);
            told.name = hostname(Some(node));
        }
    }
    told
}

/// `web.1`, or `web.NODE-ID` of a task without a slot.
pub fn task_name(task: &Task) -> String {
    let service = task.service_annotations.as_ref().map_or("", |a| &a.name);
    let slot = if task.slot > 0 { task.slot.to_string() } else { task.node_id.clone() };
    if slot.is_empty() { service.to_owned() } else { format!("{service}.{slot}") }
}

fn container_id(task: &Task) -> Option<&str> {
    match task.spec.as_ref()?.runtime.as_ref()? {
        Runtime::Attachment(attachment) => Some(&attachment.container_id),
        _ => None,
    }
}

/// The host name that a node told; empty when there is none.
pub fn hostname(node: Option<&Node>) -> String {
    let description = node.and_then(|node| node.description.as_ref());
    description.map(|description| description.hostname.clone()).unwrap_or_default()
}
