//! Who holds which address by what the objects say, and who lacks one or has one too many.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use skep_proto::{
    ids::{NetworkId, NodeId, ServiceId},
    swarmkit::{
        Network, NetworkAttachment, NetworkAttachmentConfig, Node, Service, Task, TaskState,
        endpoint_spec::ResolutionMode,
    },
};
use skep_store::Tables;

use super::{
    Finding,
    networks::{Networks, spans_nodes},
};
use crate::allocator::{ipam::Owner, ports::is_ingress};

/// Who holds which address; of two, the one that was looked at first.
pub(super) struct Holders<'a> {
    tables: &'a Tables,
    networks: &'a Networks,
    findings: &'a mut Vec<Finding>,
    pub held: BTreeMap<(NetworkId, IpAddr), Owner>,
}

impl<'a> Holders<'a> {
    /// As the tables have it: networks first, then services, nodes and tasks.
    pub fn of(
        tables: &'a Tables,
        networks: &'a Networks,
        findings: &'a mut Vec<Finding>,
    ) -> BTreeMap<(NetworkId, IpAddr), Owner> {
        let mut holders = Holders { tables, networks, findings, held: BTreeMap::new() };
        for (id, network) in &networks.0 {
            for (address, owner) in &network.own {
                holders.hold(*id, *address, *owner);
            }
        }
        for service in tables.all::<Service>() {
            let Ok(id) = service.id.parse() else { continue };
            holders.service(id, service);
        }
        holders.nodes();
        for task in tables.all::<Task>().filter(|task| is_live(task)) {
            holders.task(task);
        }
        holders.held
    }

    fn service(&mut self, id: ServiceId, service: &Service) {
        let spec = service.spec.as_ref();
        let endpoint = spec.and_then(|spec| spec.endpoint.as_ref());
        let of_task = spec.and_then(|spec| spec.task.as_ref()).map(|task| &task.networks[..]);
        let of_service = spec.map_or(&[][..], |spec| &spec.networks);
        let targets = of_task.filter(|networks| !networks.is_empty()).unwrap_or(of_service);
        let mut wanted = BTreeSet::new();
        if endpoint.is_none_or(|endpoint| endpoint.mode() == ResolutionMode::Vip) {
            wanted.extend(self.targets(targets));
            if endpoint.is_some_and(|endpoint| endpoint.ports.iter().any(is_ingress)) {
                wanted.extend(self.ingress());
            }
        }
        for vip in service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips) {
            let Ok(network) = vip.network_id.parse::<NetworkId>() else { continue };
            let known = self.tables.get::<Network>(&network);
            if known.is_some_and(|known| !spans_nodes(known)) {
                continue;
            }
            if known.is_none() {
                self.findings.push(Finding::NetworkGone { network, holder: Owner::Service(id) });
            }
            if vip.addr.is_empty() {
                // The network is, or was, one that nodes make by themselves, or it lacks an address.
                continue;
            }
            if known.is_some() && !wanted.remove(&network) {
                self.findings.push(Finding::ServiceNeedsNoAddress { network, service: id });
            }
            self.read(network, &vip.addr, Owner::Service(id));
        }
        let lacks = wanted.into_iter().filter(|id| self.is_allocated(id));
        let lacks = lacks.map(|network| Finding::ServiceLacksAddress { network, service: id });
        self.findings.extend(lacks.collect::<Vec<_>>());
    }

    fn nodes(&mut self) {
        // What tasks use that are on a node by now, and what they use that may come to one.
        let mut used: BTreeMap<NodeId, BTreeSet<NetworkId>> = BTreeMap::new();
        let mut may_use = used.clone();
        for task in self.tables.all::<Task>().filter(|task| is_live(task)) {
            let Ok(node) = task.node_id.parse::<NodeId>() else { continue };
            let networks = task.networks.iter().filter_map(network_of);
            let networks: Vec<_> = networks.filter(|id| self.networks.0.contains_key(id)).collect();
            may_use.entry(node).or_default().extend(networks.iter().copied());
            if state(task) >= TaskState::Assigned as i32 {
                used.entry(node).or_default().extend(networks);
            }
        }
        for node in self.tables.all::<Node>() {
            let Ok(id) = node.id.parse::<NodeId>() else { continue };
            let mut wanted = used.remove(&id).unwrap_or_default();
            wanted.extend(self.ingress());
            wanted.retain(|network| self.is_allocated(network));
            let mut may_use = may_use.remove(&id).unwrap_or_default();
            may_use.extend(self.ingress());
            for attachment in node.attachments.iter().chain(&node.attachment) {
                let Some(network) = network_of(attachment) else { continue };
                if !self.attachment(attachment, network, Owner::Node(id)) {
                    continue;
                }
                wanted.remove(&network);
                if !may_use.contains(&network) {
                    self.findings.push(Finding::NodeNeedsNoAddress { network, node: id });
                }
            }
            let lacks = wanted.into_iter();
            self.findings
                .extend(lacks.map(|network| Finding::NodeLacksAddress { network, node: id }));
        }
    }

    fn task(&mut self, task: &Task) {
        let Ok(id) = task.id.parse() else { return };
        let mut wanted = BTreeSet::new();
        if state(task) > TaskState::New as i32 {
            let spec = task.spec.as_ref().map_or(&[][..], |spec| &spec.networks);
            wanted.extend(self.targets(spec));
            let attached = task.networks.iter().filter(|a| is_overlay(a)).filter_map(network_of);
            wanted.extend(attached);
        }
        for attachment in &task.networks {
            let Some(network) = network_of(attachment) else { continue };
            if self.attachment(attachment, network, Owner::Task(id)) {
                wanted.remove(&network);
            }
        }
        wanted.retain(|network| self.is_allocated(network));
        let lacks = wanted.into_iter();
        self.findings.extend(lacks.map(|network| Finding::TaskLacksAddress { network, task: id }));
    }

    /// Takes the addresses of an attachment. Says whether it has any in a network that spans nodes.
    fn attachment(
        &mut self,
        attachment: &NetworkAttachment,
        network: NetworkId,
        owner: Owner,
    ) -> bool {
        if !is_overlay(attachment) {
            return false;
        }
        if self.tables.get::<Network>(&network).is_none() {
            self.findings.push(Finding::NetworkGone { network, holder: owner });
        }
        for text in &attachment.addresses {
            self.read(network, text, owner);
        }
        !attachment.addresses.is_empty()
    }

    fn read(&mut self, network: NetworkId, text: &str, owner: Owner) {
        match text.parse::<IpNet>().map(|net| net.addr()).or_else(|_| text.parse()) {
            Ok(address) => self.hold(network, address, owner),
            Err(_) => self.findings.push(Finding::Unreadable {
                network,
                holder: owner,
                what: "an address",
                text: text.to_owned(),
            }),
        }
    }

    fn hold(&mut self, network: NetworkId, address: IpAddr, owner: Owner) {
        let one = *self.held.entry((network, address)).or_insert(owner);
        if one != owner {
            self.findings.push(Finding::AddressTwice { network, address, one, other: owner });
        }
        if let Some(known) = self.networks.0.get(&network)
            && !known.subnets.iter().any(|net| net.contains(&address))
        {
            self.findings.push(Finding::AddressOutside { network, address, holder: owner });
        }
    }

    /// The networks that are asked for and have addresses to give.
    fn targets(&self, configs: &[NetworkAttachmentConfig]) -> Vec<NetworkId> {
        let targets = configs.iter().filter_map(|config| config.target.parse::<NetworkId>().ok());
        let there = |id: &NetworkId| self.networks.0.get(id).is_some_and(|known| !known.is_gone);
        targets.filter(there).collect()
    }

    fn ingress(&self) -> Option<NetworkId> {
        let mut networks = self.networks.0.iter();
        networks.find(|(_, network)| network.is_ingress && !network.is_gone).map(|(id, _)| *id)
    }

    /// Whether it has addresses to give.
    fn is_allocated(&self, network: &NetworkId) -> bool {
        self.networks
            .0
            .get(network)
            .is_some_and(|known| !known.is_gone && !known.subnets.is_empty())
    }
}

/// Whether the task has not ended, and so holds what it has.
pub(super) fn is_live(task: &Task) -> bool {
    state(task) <= TaskState::Running as i32
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(TaskState::New as i32, |status| status.state)
}

fn network_of(attachment: &NetworkAttachment) -> Option<NetworkId> {
    attachment.network.as_ref()?.id.parse().ok()
}

fn is_overlay(attachment: &NetworkAttachment) -> bool {
    attachment.network.as_ref().is_some_and(|network| spans_nodes(network))
}
