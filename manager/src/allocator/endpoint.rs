//! What a service is given: the ports that it publishes, and a virtual address in each of its networks.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use skep_proto::{
    ids::{NetworkId, ServiceId},
    swarmkit::{
        Endpoint, EndpointSpec, Network, NetworkAttachmentConfig, Service, ServiceSpec,
        endpoint::VirtualIp, endpoint_spec::ResolutionMode,
    },
};
use skep_store::Tables;

use super::{
    Waits,
    book::{Ledger, address, note, virtual_addresses},
    ipam::Owner,
    network::{self, Kind},
    ports::{PortTable, is_ingress},
    waits::Need,
};

/// Whether the service has what its spec asks for.
pub(super) fn is_current(tables: &Tables, ledger: &mut Ledger, service: &Service) -> bool {
    has_ports(service) && has_addresses(tables, ledger, service)
}

/// Whether the service has the ports that its spec asks for.
pub(super) fn has_ports(service: &Service) -> bool {
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

/// Whether the service has a virtual address in each network that it should, and no others.
fn has_addresses(tables: &Tables, ledger: &mut Ledger, service: &Service) -> bool {
    let had = service.endpoint.as_ref().map_or(&[][..], |endpoint| &endpoint.virtual_ips);
    if !is_virtual(service) {
        return had.is_empty();
    }
    let ingress = match needs_ingress(service) {
        true => match ledger.ingress(tables) {
            Some(ingress) => Some(ingress.id.as_str()),
            None => return false,
        },
        false => None,
    };
    let targets = targets(service);
    let wanted = |id: &str| ingress == Some(id) || targets.iter().any(|config| config.target == id);
    let has = |id: &str| {
        had.iter().any(|vip| {
            let local = || {
                let network = tables.get_text::<Network>(id);
                network.is_some_and(|network| matches!(Kind::of(network), Kind::Local(_)))
            };
            vip.network_id == id && (!vip.addr.is_empty() || local())
        })
    };
    had.iter().all(|vip| wanted(&vip.network_id))
        && ingress.is_none_or(has)
        && targets.iter().all(|config| has(&config.target))
}

/// The service with the endpoint that its spec asks for. `networks` are those that it is attached to, the ingress network
/// first, with their addresses; `ports` is the table of the ports of these tables, or none if it has to be made when it is
/// needed. Gives also the virtual addresses that the service does not need any more: they are to be released once it is
/// written. On an error the ledger is as it was.
pub(super) fn with_endpoint(
    tables: &Tables,
    ledger: &mut Ledger,
    service: &Service,
    networks: &[(NetworkId, Arc<Network>)],
    ports: &mut Option<PortTable>,
) -> Result<(Service, Vec<(NetworkId, IpAddr)>), Waits> {
    let Ok(id) = service.id.parse::<ServiceId>() else { return Ok((service.clone(), Vec::new())) };
    let had = service.endpoint.clone().unwrap_or_default();
    let given = match asked(service) {
        None => Vec::new(),
        _ if has_ports(service) => had.ports.clone(),
        Some(spec) if !spec.ports.iter().any(is_ingress) => spec.ports.clone(),
        Some(spec) => {
            let ports = ports.get_or_insert_with(|| PortTable::of(tables));
            ports.assign(id, spec, &had.ports, &mut ledger.cursor)?
        }
    };
    let addresses = addresses(ledger, id, service, &had.virtual_ips, networks);
    // Its ports are not written either.
    let (virtual_ips, freed) = addresses.inspect_err(|_| *ports = None)?;
    let endpoint = Endpoint { spec: asked(service).cloned(), ports: given, virtual_ips };
    // A service that asks for nothing has none.
    let endpoint = (endpoint != Endpoint::default()).then(|| endpoint.into());
    Ok((Service { endpoint, ..service.clone() }, freed))
}

type Freed = Vec<(NetworkId, IpAddr)>;

fn addresses(
    ledger: &mut Ledger,
    id: ServiceId,
    service: &Service,
    had: &[VirtualIp],
    networks: &[(NetworkId, Arc<Network>)],
) -> Result<(Vec<VirtualIp>, Freed), Waits> {
    let networks = if is_virtual(service) { networks } else { &[] };
    let wanted = |vip: &&VirtualIp| {
        networks.iter().any(|(id, network)| {
            vip.network_id == id.as_str()
                && (!vip.addr.is_empty() || Kind::of(network) != Kind::Overlay)
        })
    };
    // What it has stays, in its order.
    let mut vips: Vec<VirtualIp> = had.iter().filter(wanted).cloned().collect();
    let freed = had.iter().filter(|vip| !wanted(vip));
    let freed = freed.filter_map(|vip| Some((vip.network_id.parse().ok()?, address(&vip.addr)?)));
    let freed = freed.collect();
    let mut given = Vec::new();
    for (network_id, network) in networks {
        if vips.iter().any(|vip| vip.network_id == network_id.as_str()) {
            continue;
        }
        let mut vip = VirtualIp { network_id: network_id.to_string(), addr: String::new() };
        if Kind::of(network) == Kind::Overlay {
            match ledger.ipam.assign(network_id, Owner::Service(id), None) {
                Ok(address) => {
                    given.push((*network_id, address.addr()));
                    vip.addr = address.to_string();
                }
                Err(source) => {
                    ledger.release(Owner::Service(id), given);
                    let network = network::name(network).into_owned();
                    return Err(Waits::Addresses { network, source: Box::new(source) });
                }
            }
        }
        vips.push(vip);
    }
    Ok((vips, freed))
}

/// The service with the endpoint that its spec asks for, where nothing has to be chosen for it: for whoever writes a service
/// in a transaction that found its ports free. Its virtual addresses are the allocator's.
pub fn endowed(service: Service) -> Service {
    let chosen =
        |spec: &EndpointSpec| spec.ports.iter().all(|p| !is_ingress(p) || p.published_port != 0);
    let Some(spec) = asked(&service).filter(|spec| chosen(spec)).cloned() else { return service };
    let mut service = service;
    let endpoint = service.endpoint.get_or_insert_default();
    endpoint.ports.clone_from(&spec.ports);
    endpoint.spec = Some(spec);
    service
}

/// What others may wait for that the service had and has no more.
pub(super) fn lost(old: &Service, new: Option<&Service>, freed: &mut BTreeSet<Need>) {
    if new.is_some_and(|new| new.endpoint == old.endpoint) {
        return;
    }
    let kept: Vec<_> = new.into_iter().flat_map(virtual_addresses).collect();
    for (network, address) in virtual_addresses(old).filter(|had| !kept.contains(had)) {
        note(network, address, freed);
    }
    let ports = |service: &Service| {
        let ports = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        let held = ports.filter(|port| is_ingress(port) && port.published_port != 0);
        held.map(|port| (port.protocol, port.published_port)).collect::<Vec<_>>()
    };
    let kept = new.map(ports).unwrap_or_default();
    for (protocol, port) in ports(old).into_iter().filter(|had| !kept.contains(had)) {
        freed.insert(Need::Port(protocol, port));
        freed.insert(Need::AnyPort);
    }
}

/// The networks that its spec names: the task's, or the service's own where an old client put them there.
pub(super) fn targets(service: &Service) -> &[NetworkAttachmentConfig] {
    let Some(spec) = &service.spec else { return &[] };
    match spec.task.as_ref().map(|task| &task.networks) {
        Some(networks) if !networks.is_empty() => networks,
        _ => &spec.networks,
    }
}

/// Whether it publishes ports that come in by the ingress network.
pub(super) fn needs_ingress(service: &Service) -> bool {
    asked(service).is_some_and(|spec| spec.ports.iter().any(is_ingress))
}

/// Whether its name stands for a virtual address, and not for those of its tasks.
fn is_virtual(service: &Service) -> bool {
    asked(service).is_none_or(|spec| spec.mode() == ResolutionMode::Vip)
}

fn asked(service: &Service) -> Option<&EndpointSpec> {
    let spec: &ServiceSpec = service.spec.as_ref()?;
    spec.endpoint.as_ref()
}
