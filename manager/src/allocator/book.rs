//! What the leader remembers of what it gave out: addresses, VXLAN ids, and where the search for the next ones goes on.
//!
//! The memory mirrors the head of the store: it is made from the tables of a transaction, with everything that objects
//! carry taken before anything new is given, and from then on it moves with the transactions that give. When a write that
//! gave something is taken back, refused, or given up with the leadership, the line of transactions is another one
//! ([`Tx::lineage`]), and the memory is made anew at its next use. So there is one code for a change of leader and for
//! everything that goes wrong, and it runs all the time.
//!
//! Who gives also takes back in the same transaction what it takes from an object. What others end (tasks that end, objects
//! that are removed) becomes free when the allocator sees the commit. Each address is freed in the name of its owner alone,
//! so it does no harm to hear of an end twice, or after the address has become another's.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use skep_proto::{
    ids::{NetworkId, NodeId, ServiceId, TaskId},
    shared::Shared,
    swarmkit::{Cluster, Network, NetworkAttachment, Node, Service, Task, TaskState},
};
use skep_store::{Tables, Tx};

use super::{
    ipam::{DefaultPools, Family, Ipam, IpamError, Owner, SubnetRequest},
    network::{self, Kind, VXLAN_IDS},
    ports::Cursor,
    vxlan::VxlanIds,
    waits::Need,
};
use crate::control::is_ingress_network;

/// The leader's memory of what it gave out. Cheap to clone; all clones are one. The lock inside is held within
/// transactions, never across an await, and nobody who holds it calls the store.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ledger: Option<Ledger>,
    lineage: u64,
}

/// The memory itself.
pub(super) struct Ledger {
    pub ipam: Ipam,
    pub vxlan: VxlanIds,
    /// Where the search for free ports goes on. Kept when the rest is made anew: ports that became free should rest.
    pub cursor: Cursor,
    /// Networks that were removed while tasks were still on them, and how many of their addresses tasks hold. Until the last
    /// one is free neither the subnets nor the VXLAN ids may be another network's: nodes still have the tunnels.
    leaving: HashMap<NetworkId, usize>,
    /// Networks as attachments carry them, so that all of them hold one.
    shared: HashMap<NetworkId, (Arc<Network>, Shared<Network>)>,
    /// The ingress network, as far as it is known; asked again when it is not.
    ingress: Option<NetworkId>,
    /// It holds what no transaction wrote, and is to be made anew.
    stale: bool,
}

impl Book {
    /// The memory as it is on the head that the transaction works on.
    pub(super) fn open(&self, tx: &Tx) -> MappedMutexGuard<'_, Ledger> {
        let mut state = self.0.lock();
        let same = state.lineage == tx.lineage();
        if let Some(ledger) = state.ledger.take_if(|ledger| ledger.stale || !same) {
            state.ledger = Some(Ledger { cursor: ledger.cursor, ..Ledger::of(tx) });
        }
        state.lineage = tx.lineage();
        MutexGuard::map(state, |state| state.ledger.get_or_insert_with(|| Ledger::of(tx)))
    }

    /// Forgets everything: the next use makes it anew. For when commits were missed.
    pub(super) fn forget(&self) {
        if let Some(ledger) = &mut self.0.lock().ledger {
            ledger.spoil();
        }
    }

    /// How many addresses of the network and family seem to be free; none when the network is not known. A guess: what is
    /// remembered may have been given in vain.
    pub(super) fn free(&self, network: &NetworkId, family: Family) -> Option<u128> {
        let state = self.0.lock();
        let usage = state.ledger.as_ref()?.ipam.usage(network);
        if usage.is_empty() {
            return None;
        }
        let of_family = usage.iter().filter(|usage| Family::of(&usage.subnet.net) == family);
        Some(of_family.fold(0, |sum, usage| sum.saturating_add(usage.free)))
    }

    /// The task ended or is gone.
    pub(super) fn task_ended(&self, task: &Task, freed: &mut BTreeSet<Need>) {
        let Ok(id) = task.id.parse::<TaskId>() else { return };
        let mut state = self.0.lock();
        for (network, address) in addresses(&task.networks) {
            note(network, address, freed);
            if let Some(ledger) = &mut state.ledger {
                if ledger.is_going(&network) {
                    freed.insert(Need::AnyNetworkGone);
                }
                if ledger.ipam.release(&network, Owner::Task(id), address) {
                    ledger.left(network);
                }
            }
        }
    }

    /// The service is gone.
    pub(super) fn service_removed(&self, service: &Service, freed: &mut BTreeSet<Need>) {
        let Ok(id) = service.id.parse::<ServiceId>() else { return };
        let mut state = self.0.lock();
        for (network, address) in virtual_addresses(service) {
            note(network, address, freed);
            if let Some(ledger) = &mut state.ledger {
                ledger.ipam.release(&network, Owner::Service(id), address);
            }
        }
    }

    /// The node is gone.
    pub(super) fn node_removed(&self, node: &Node, freed: &mut BTreeSet<Need>) {
        let Ok(id) = node.id.parse::<NodeId>() else { return };
        let mut state = self.0.lock();
        for (network, address) in node_addresses(node) {
            note(network, address, freed);
            if let Some(ledger) = &mut state.ledger {
                ledger.ipam.release(&network, Owner::Node(id), address);
            }
        }
    }

    /// The network is gone.
    pub(super) fn network_removed(&self, id: NetworkId, freed: &mut BTreeSet<Need>) {
        freed.insert(Need::AnyNetworkGone);
        if let Some(ledger) = &mut self.0.lock().ledger {
            ledger.shared.remove(&id);
            let held = ledger.ipam.held(&id);
            match held.filter(|(_, owner)| matches!(owner, Owner::Task(_))).count() {
                0 => ledger.drop_network(id),
                tasks => drop(ledger.leaving.insert(id, tasks)),
            }
        }
    }
}

impl Ledger {
    /// What networks carry, and what those ask for that have nothing yet: to see what another one could have beside them.
    pub fn of_networks(tables: &Tables) -> Ledger {
        let mut ledger = Ledger::empty(tables);
        for network in tables.all::<Network>() {
            ledger.take_network(network);
        }
        for network in tables.all::<Network>().filter(|network| !network::is_allocated(network)) {
            let Ok(id) = network.id.parse() else { continue };
            // If it cannot be had, it holds nothing.
            drop(network::allocated(&mut ledger, id, network));
        }
        ledger
    }

    /// What the objects carry. What cannot be taken, since another has it or it cannot be read, is left to whoever has it
    /// first, and logged.
    pub fn of(tables: &Tables) -> Ledger {
        let mut ledger = Ledger::empty(tables);
        for network in tables.all::<Network>() {
            ledger.take_network(network);
        }
        let tasks: Vec<&Arc<Task>> =
            tables.all::<Task>().filter(|task| holds_addresses(task)).collect();
        for attachment in tasks.iter().flat_map(|task| &task.networks) {
            ledger.take_left(tables, attachment);
        }
        for service in tables.all::<Service>() {
            let Ok(id) = service.id.parse() else { continue };
            ledger.take(Owner::Service(id), virtual_addresses(service));
        }
        for node in tables.all::<Node>() {
            let Ok(id) = node.id.parse() else { continue };
            ledger.take(Owner::Node(id), node_addresses(node));
        }
        for task in tasks {
            let Ok(id) = task.id.parse() else { continue };
            ledger.take(Owner::Task(id), addresses(&task.networks));
        }
        ledger
    }

    fn empty(tables: &Tables) -> Ledger {
        Ledger {
            ipam: Ipam::new(pools(tables)),
            vxlan: VxlanIds::default(),
            cursor: Cursor::default(),
            leaving: HashMap::new(),
            shared: HashMap::new(),
            ingress: None,
            stale: false,
        }
    }

    /// Takes back addresses that were given, or are not needed any more.
    pub fn release(
        &mut self,
        owner: Owner,
        addresses: impl IntoIterator<Item = (NetworkId, IpAddr)>,
    ) {
        for (network, address) in addresses {
            self.ipam.release(&network, owner, address);
        }
    }

    /// What was given was not written.
    pub fn spoil(&mut self) {
        self.stale = true;
    }

    /// The network as attachments carry it.
    pub fn shared(&mut self, id: NetworkId, network: &Arc<Network>) -> Shared<Network> {
        if let Some((known, shared)) = self.shared.get(&id)
            && Arc::ptr_eq(known, network)
        {
            return shared.clone();
        }
        let shared = Shared::from(Network::clone(network));
        self.shared.insert(id, (network.clone(), shared.clone()));
        shared
    }

    /// The network that published ports come in by.
    pub fn ingress<'a>(&mut self, tables: &'a Tables) -> Option<&'a Arc<Network>> {
        let known = self.ingress.and_then(|id| tables.get::<Network>(&id));
        if let Some(known) = known.filter(|network| is_ingress_network(network)) {
            return Some(known);
        }
        let found = tables.all::<Network>().find(|network| is_ingress_network(network));
        self.ingress = found.and_then(|network| network.id.parse().ok());
        found
    }

    fn take_network(&mut self, network: &Network) {
        let Ok(id) = network.id.parse::<NetworkId>() else { return };
        if Kind::of(network) != Kind::Overlay || !network::is_allocated(network) {
            return;
        }
        let configs = network.ipam.iter().flat_map(|ipam| &ipam.configs);
        let requests: Vec<SubnetRequest> = configs
            .map(|config| SubnetRequest {
                subnet: config.subnet.parse().ok(),
                range: config.range.parse().ok(),
                gateway: config.gateway.parse().ok(),
                reserved: config.reserved.values().filter_map(|text| text.parse().ok()).collect(),
            })
            // One that cannot be read must not become another one.
            .filter(|request| request.subnet.is_some())
            .collect();
        if let Err(error) = self.ipam.add_network(id, &requests) {
            tracing::warn!(network = %network::name(network), %error, "its addresses cannot be taken note of");
        }
        for vni in vxlan_ids(network) {
            if let Err(error) = self.vxlan.claim(id, vni) {
                tracing::warn!(network = %network::name(network), %error, "its VXLAN id cannot be taken note of");
            }
        }
    }

    /// Takes a network that is gone but for what its tasks carry of it.
    fn take_left(&mut self, tables: &Tables, attachment: &NetworkAttachment) {
        let Some(network) = &attachment.network else { return };
        let Ok(id) = network.id.parse::<NetworkId>() else { return };
        if Kind::of(network) != Kind::Overlay || tables.get::<Network>(&id).is_some() {
            return;
        }
        if !self.leaving.contains_key(&id) {
            self.take_network(network);
        }
        *self.leaving.entry(id).or_default() += attachment.addresses.len();
    }

    fn take(&mut self, owner: Owner, addresses: impl Iterator<Item = (NetworkId, IpAddr)>) {
        for (network, address) in addresses {
            match self.ipam.claim(&network, owner, address) {
                // The network is gone: the address is nobody's any more.
                Ok(_) | Err(IpamError::UnknownNetwork { .. }) => {}
                Err(error) => {
                    tracing::warn!(%owner, %error, "an address is not its holder's alone");
                }
            }
        }
    }

    /// Whether the network was removed and tasks are, or just were, still on it. The memory may be of another line of
    /// transactions than what is heard of them, so whoever asks for whom that helps must not rely on their number.
    fn is_going(&self, network: &NetworkId) -> bool {
        self.leaving.contains_key(network) || self.ipam.subnets(network).next().is_none()
    }

    /// One address less is in use in the network.
    fn left(&mut self, network: NetworkId) {
        let Some(tasks) = self.leaving.get_mut(&network) else { return };
        *tasks = tasks.saturating_sub(1);
        if *tasks == 0 {
            self.drop_network(network);
        }
    }

    /// Takes a network away with all that it holds.
    pub fn drop_network(&mut self, id: NetworkId) {
        self.leaving.remove(&id);
        self.ipam.remove_network(&id);
        let ids: Vec<u32> =
            self.vxlan.held().filter(|(_, holder)| *holder == id).map(|(vni, _)| vni).collect();
        for vni in ids {
            self.vxlan.release(id, vni);
        }
    }
}

/// Whether the task's addresses are in use: it has not ended.
pub(crate) fn holds_addresses(task: &Task) -> bool {
    let state = task.status.as_ref().map_or(0, |status| status.state);
    !task.networks.is_empty() && state <= TaskState::Running as i32
}

/// The addresses of attachments.
pub(super) fn addresses(
    attachments: &[NetworkAttachment],
) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    attachments.iter().flat_map(|attachment| {
        let network = attachment.network.as_ref();
        // A node makes its own networks, and their addresses.
        let network = network.filter(|network| Kind::of(network) == Kind::Overlay);
        let id = network.and_then(|network| network.id.parse::<NetworkId>().ok());
        let addresses = attachment.addresses.iter().filter_map(|text| address(text));
        id.into_iter().flat_map(move |id| addresses.clone().map(move |address| (id, address)))
    })
}

/// An address with or without the length of its subnet's prefix.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpNet>().map(|net| net.addr()).or_else(|_| text.parse()).ok()
}

/// The virtual addresses of a service.
pub(super) fn virtual_addresses(
    service: &Service,
) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    let vips = service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
    vips.filter_map(|vip| Some((vip.network_id.parse().ok()?, address(&vip.addr)?)))
}

/// The addresses of a node's load balancers.
pub(super) fn node_addresses(node: &Node) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    addresses(&node.attachments)
        .chain(node.attachment.iter().flat_map(|legacy| addresses(std::slice::from_ref(legacy))))
}

fn vxlan_ids(network: &Network) -> impl Iterator<Item = u32> + '_ {
    let listed = network.driver_state.as_ref().and_then(|driver| driver.options.get(VXLAN_IDS));
    listed.into_iter().flat_map(|list| list.split(',')).filter_map(|id| id.trim().parse().ok())
}

/// An address became free.
pub(super) fn note(network: NetworkId, address: IpAddr, freed: &mut BTreeSet<Need>) {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    freed.insert(Need::Address(network, family));
    freed.insert(Need::NamedAddress(network, address));
}

/// The cluster's default address pools.
fn pools(tables: &Tables) -> DefaultPools {
    let Some(cluster) = tables.all::<Cluster>().next() else { return DefaultPools::default() };
    DefaultPools::parse(&cluster.default_address_pool, cluster.subnet_size).unwrap_or_else(|error| {
        tracing::error!(%error, "the cluster's default address pools cannot be used: taking the built-in ones");
        DefaultPools::default()
    })
}
