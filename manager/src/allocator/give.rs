//! Giving, inside of a transaction: a network its addresses, a service its endpoint, a task what it needs before it may be
//! scheduled, a node its load balancers. Whoever needs something first has it given, also where that is another object's:
//! a task gives its service and its networks what they lack, and need not wait for the next transaction.

use std::{net::IpAddr, sync::Arc};

use skep_proto::{
    ids::{NetworkId, NodeId, TaskId},
    prost_types::Timestamp,
    swarmkit::{Network, NetworkAttachment, Node, Service, Task},
};
use skep_store::{Object, StoreError, Tx};

use super::{
    Waits,
    book::{Ledger, address},
    decide, endpoint,
    ipam::{Family, Owner},
    network::{self, Kind},
    nodes,
    ports::PortTable,
};

/// Why something was not given. Nothing was.
#[derive(Debug)]
pub(super) enum NotGiven {
    /// It cannot be had now.
    Waits(Waits),
    /// The store's own refusal.
    Store(StoreError),
}

impl From<Waits> for NotGiven {
    fn from(waits: Waits) -> NotGiven {
        NotGiven::Waits(waits)
    }
}

impl From<StoreError> for NotGiven {
    fn from(error: StoreError) -> NotGiven {
        NotGiven::Store(error)
    }
}

/// A transaction in which something is given.
pub(super) struct Giver<'a> {
    pub tx: &'a mut Tx,
    pub ledger: &'a mut Ledger,
    /// The ports of all services, as the transaction sees them that is under way; none if they have to be looked for.
    pub ports: &'a mut Option<PortTable>,
}

impl Giver<'_> {
    /// The network with this id, with its addresses.
    pub fn network(&mut self, target: &str) -> Result<(NetworkId, Arc<Network>), NotGiven> {
        let missing = || Waits::NoSuchNetwork { target: target.to_owned() };
        let id: NetworkId = target.parse().map_err(|_| missing())?;
        let network = self.tx.get::<Network>(&id).ok_or_else(missing)?;
        if network::is_allocated(network) {
            return Ok((id, network.clone()));
        }
        let allocated = network::allocated(self.ledger, id, network)
            .map_err(|why| Waits::Network { id, why: Box::new(why) })?;
        Ok((id, self.write(allocated)?))
    }

    /// The service with its endpoint.
    pub fn service(&mut self, service: Arc<Service>) -> Result<Arc<Service>, NotGiven> {
        if endpoint::is_current(self.tx, self.ledger, &service) {
            return Ok(service);
        }
        let mut networks = Vec::new();
        if endpoint::needs_ingress(&service) {
            networks.push(self.ingress()?);
        }
        for config in endpoint::targets(&service) {
            networks.push(self.network(&config.target)?);
        }
        let (service, freed) =
            endpoint::with_endpoint(self.tx, self.ledger, &service, &networks, self.ports)?;
        let service = self.write(service)?;
        if let Ok(id) = service.id.parse() {
            self.ledger.release(Owner::Service(id), freed);
        }
        Ok(service)
    }

    /// A new task that may be scheduled: with its networks, and the endpoint of its service, which has one as it should be. It
    /// is not written yet: whoever does not write it has to [`spoil`](Ledger::spoil) the ledger.
    pub fn task(
        &mut self,
        task: &Task,
        service: Option<&Service>,
        now: Timestamp,
    ) -> Result<Task, NotGiven> {
        let mut given = Vec::new();
        match self.attachments(task, service, &mut given) {
            Ok(networks) => Ok(decide::pending(task, service, networks, now)),
            Err(error) => {
                if let Ok(id) = task.id.parse() {
                    self.ledger.release(Owner::Task(id), given);
                }
                Err(error)
            }
        }
    }

    /// The node with a load balancer in each network that it should have one in, written; says what could not be given.
    /// `used` are the networks that its tasks are known to use.
    pub fn node(&mut self, id: NodeId, used: &[NetworkId]) -> Result<Vec<Waits>, StoreError> {
        let Some(node) = self.tx.get::<Node>(&id).cloned() else { return Ok(Vec::new()) };
        let mut waits = Vec::new();
        let mut wanted = Vec::new();
        let ingress = self.ledger.ingress(self.tx).map(|network| network.id.clone());
        let used = used.iter().filter(|id| self.tx.get::<Network>(id).is_some());
        let used: Vec<String> = used.map(NetworkId::to_string).collect();
        for target in ingress.into_iter().chain(used) {
            match self.network(&target) {
                Ok(network) => wanted.push(network),
                Err(NotGiven::Waits(why)) => waits.push(why),
                Err(NotGiven::Store(error)) => return Err(error),
            }
        }
        let kept = nodes::keep(self.tx, id, &node, &wanted);
        let mut attachments = kept.attachments;
        for (network_id, network) in &wanted {
            if attachments.iter().any(|a| nodes::network_of(a) == Some(*network_id)) {
                continue;
            }
            match self.ledger.ipam.assign_each(network_id, Owner::Node(id)) {
                Ok(addresses) => attachments.push(NetworkAttachment {
                    network: Some(self.ledger.shared(*network_id, network)),
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                    ..Default::default()
                }),
                Err(source) => {
                    let network = network::name(network).into_owned();
                    waits.push(Waits::Addresses { network, source: Box::new(source) });
                }
            }
        }
        if attachments != node.attachments || node.attachment.is_some() {
            self.write(Node { attachments, attachment: None, ..Node::clone(&node) })?;
            self.ledger.release(Owner::Node(id), kept.freed);
        }
        Ok(waits)
    }

    fn ingress(&mut self) -> Result<(NetworkId, Arc<Network>), NotGiven> {
        let ingress = self.ledger.ingress(self.tx).ok_or(Waits::NoIngressNetwork)?;
        let id = ingress.id.clone();
        self.network(&id)
    }

    fn attachments(
        &mut self,
        task: &Task,
        service: Option<&Service>,
        given: &mut Vec<(NetworkId, IpAddr)>,
    ) -> Result<Vec<NetworkAttachment>, NotGiven> {
        let Ok(id) = task.id.parse::<TaskId>() else { return Ok(task.networks.clone()) };
        let mut attachments = Vec::new();
        if !task.networks.is_empty() {
            // Kept by an earlier leader.
            for attachment in &task.networks {
                let target = attachment.network.as_ref().map_or("", |network| &network.id);
                attachments.push(self.attach(id, Err(target), attachment.clone(), given)?);
            }
            return Ok(attachments);
        }
        if service.is_some_and(endpoint::needs_ingress) {
            let network = self.ingress()?;
            attachments.push(self.attach(id, Ok(network), NetworkAttachment::default(), given)?);
        }
        let of_task = task.spec.as_ref().map_or(&[][..], |spec| &spec.networks);
        // Where old clients put them; what the service's tasks of another spec get is not this one's.
        let of_service = || service.and_then(|s| s.spec.as_ref()).map_or(&[][..], |s| &s.networks);
        let configs = if of_task.is_empty() { of_service() } else { of_task };
        for config in configs {
            let attachment = NetworkAttachment {
                network: None,
                addresses: config.addresses.clone(),
                aliases: config.aliases.clone(),
                driver_attachment_opts: config.driver_attachment_opts.clone(),
            };
            attachments.push(self.attach(id, Err(&config.target), attachment, given)?);
        }
        Ok(attachments)
    }

    /// The attachment with its network and, where nodes do not make the network by themselves, with addresses: those that it
    /// asks for, and one of each other family that the network has.
    fn attach(
        &mut self,
        task: TaskId,
        network: Result<(NetworkId, Arc<Network>), &str>,
        attachment: NetworkAttachment,
        given: &mut Vec<(NetworkId, IpAddr)>,
    ) -> Result<NetworkAttachment, NotGiven> {
        let (id, network) = match network {
            Ok(network) => network,
            Err(target) => self.network(target)?,
        };
        let shared = Some(self.ledger.shared(id, &network));
        if Kind::of(&network) != Kind::Overlay {
            return Ok(NetworkAttachment { network: shared, ..attachment });
        }
        let owner = Owner::Task(task);
        let name = || network::name(&network).into_owned();
        let none = |source| Waits::Addresses { network: name(), source: Box::new(source) };
        let mut addresses = Vec::with_capacity(1);
        let mut named = Vec::new();
        for text in &attachment.addresses {
            let address = address(text)
                .ok_or_else(|| Waits::NotAnAddress { network: name(), text: text.clone() })?;
            let held = self.ledger.ipam.owner(&id, address) == Some(owner);
            let claimed = self.ledger.ipam.claim(&id, owner, address).map_err(none)?;
            if !held {
                given.push((id, address));
            }
            named.push(Family::of(&claimed));
            addresses.push(claimed.to_string());
        }
        let mut families: Vec<Family> = Vec::new();
        for family in network::families(&network) {
            if named.contains(&family) || families.contains(&family) {
                continue;
            }
            families.push(family);
            let address = self.ledger.ipam.assign(&id, owner, Some(family)).map_err(none)?;
            given.push((id, address.addr()));
            addresses.push(address.to_string());
        }
        Ok(NetworkAttachment { network: shared, addresses, ..attachment })
    }

    fn write<T: Object>(&mut self, object: T) -> Result<Arc<T>, StoreError> {
        self.tx.update(object).inspect_err(|_| self.ledger.spoil())
    }
}
