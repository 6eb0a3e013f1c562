//! What the managers add to a network: the driver's name and state, its subnets with their gateways, and VXLAN ids. The
//! shapes are those of a stock manager, since engines set up their side from them.

use std::borrow::Cow;

use ipnet::IpNet;
use skep_proto::{
    ids::NetworkId,
    swarmkit::{Driver, IpamConfig, IpamOptions, Network, NetworkSpec, ipam_config::AddressFamily},
};
use skep_store::Object;

use super::{
    Waits,
    book::Ledger,
    ipam::{Family, SubnetRequest},
};
use crate::control::validate::PREDEFINED_LABEL;

/// The driver whose networks span nodes, and the one of networks that name none.
const OVERLAY: &str = "overlay";
/// Drivers whose networks every node makes by itself: no address of theirs is given out by the managers.
const NODE_LOCAL_DRIVERS: [&str; 6] = ["bridge", "host", "macvlan", "ipvlan", "null", "none"];
/// The IPAM driver that these managers are.
const IPAM_DEFAULT: &str = "default";
/// The driver option with the VXLAN ids, in the order of the subnets.
pub(super) const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// The IPAM option that a stock manager adds to those that were given: addresses are given out one after the other.
const SERIAL: &str = "com.docker.network.ipam.serial";

/// What a network is to the managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// It spans nodes, and its addresses are given out here.
    Overlay,
    /// Each node has one of its own.
    Local(&'a str),
    /// Its driver is not known.
    Unknown(&'a str),
}

impl Kind<'_> {
    /// Of this network.
    pub fn of(network: &Network) -> Kind<'_> {
        let asked = network.spec.as_ref().and_then(|spec| spec.driver_config.as_ref());
        let name = network.driver_state.as_ref().or(asked).map_or("", |driver| &driver.name);
        let predefined =
            || network.annotations().is_some_and(|a| a.labels.contains_key(PREDEFINED_LABEL));
        match name {
            "" | OVERLAY => Kind::Overlay,
            name if NODE_LOCAL_DRIVERS.contains(&name) || predefined() => Kind::Local(name),
            name => Kind::Unknown(name),
        }
    }
}

/// Whether the managers have added what they add.
pub(super) fn is_allocated(network: &Network) -> bool {
    let (Some(driver), Some(ipam)) = (&network.driver_state, &network.ipam) else { return false };
    match Kind::of(network) {
        Kind::Overlay => {
            driver.options.contains_key(VXLAN_IDS)
                && !ipam.configs.is_empty()
                && ipam.configs.iter().all(|c| !c.subnet.is_empty() && !c.gateway.is_empty())
        }
        Kind::Local(_) | Kind::Unknown(_) => true,
    }
}

/// Its name, or its id when it has none.
pub(super) fn name(network: &Network) -> Cow<'_, str> {
    network.name().filter(|name| !name.is_empty()).unwrap_or(network.id.as_str().into())
}

/// The network with what the managers add, which the ledger takes for it. On an error the ledger is as it was.
pub(super) fn allocated(
    ledger: &mut Ledger,
    id: NetworkId,
    network: &Network,
) -> Result<Network, Waits> {
    match Kind::of(network) {
        Kind::Overlay => overlay(ledger, id, network),
        Kind::Local(driver) => {
            let driver_state = Driver { name: driver.to_owned(), ..Default::default() };
            // Engines look for an IPAM driver in it, even though it says nothing.
            let ipam = IpamOptions { driver: Some(Driver::default()), configs: Vec::new() };
            Ok(Network {
                driver_state: network.driver_state.clone().or(Some(driver_state)),
                ipam: network.ipam.clone().or(Some(ipam)),
                ..network.clone()
            })
        }
        Kind::Unknown(driver) => Err(Waits::UnknownDriver {
            network: name(network).into_owned(),
            driver: driver.to_owned(),
        }),
    }
}

fn overlay(ledger: &mut Ledger, id: NetworkId, network: &Network) -> Result<Network, Waits> {
    let none = NetworkSpec::default();
    let spec = network.spec.as_ref().unwrap_or(&none);
    let asked_ipam = spec.ipam.as_ref().and_then(|ipam| ipam.driver.as_ref());
    if let Some(driver) = asked_ipam.filter(|d| !matches!(d.name.as_str(), "" | IPAM_DEFAULT)) {
        let driver = driver.name.clone();
        return Err(Waits::UnknownIpam { network: name(network).into_owned(), driver });
    }
    let configs = configs(network);
    let requests = configs.iter().map(|config| request(network, config));
    let requests = requests.collect::<Result<Vec<SubnetRequest>, Waits>>()?;
    let addresses =
        |source| Waits::Addresses { network: name(network).into_owned(), source: Box::new(source) };
    let subnets = ledger.ipam.add_network(id, &requests).map_err(addresses)?;
    let mut options = spec.driver_config.as_ref().map(|d| d.options.clone()).unwrap_or_default();
    let own = network.driver_state.iter().flat_map(|driver| &driver.options);
    options.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    let ids = match vxlan_ids(ledger, id, network, options.get(VXLAN_IDS), subnets.len()) {
        Ok(ids) => ids,
        Err(waits) => {
            ledger.ipam.remove_network(&id);
            return Err(waits);
        }
    };
    let mut ipam_options = asked_ipam.map(|driver| driver.options.clone()).unwrap_or_default();
    if !ipam_options.is_empty() {
        ipam_options.insert(SERIAL.to_owned(), "true".to_owned());
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    options.insert(VXLAN_IDS.to_owned(), ids.join(","));
    let or = |given: String, got: String| if given.is_empty() { got } else { given };
    let configs = configs.into_iter().zip(&subnets).map(|(config, subnet)| IpamConfig {
        subnet: or(config.subnet, subnet.net.to_string()),
        gateway: or(config.gateway, subnet.gateway.to_string()),
        ..config
    });
    Ok(Network {
        driver_state: Some(Driver { name: OVERLAY.to_owned(), options }),
        ipam: Some(IpamOptions {
            driver: Some(Driver { name: IPAM_DEFAULT.to_owned(), options: ipam_options }),
            configs: configs.collect(),
        }),
        ..network.clone()
    })
}

/// What it has, or else what it asks for, or else one subnet from the default pools.
fn configs(network: &Network) -> Vec<IpamConfig> {
    let of_spec = network.spec.as_ref().and_then(|spec| spec.ipam.as_ref());
    let configs = [network.ipam.as_ref(), of_spec].into_iter().flatten().map(|ipam| &ipam.configs);
    match configs.into_iter().find(|configs| !configs.is_empty()) {
        Some(configs) => configs.clone(),
        None => vec![IpamConfig { family: AddressFamily::Ipv4.into(), ..Default::default() }],
    }
}

fn request(network: &Network, config: &IpamConfig) -> Result<SubnetRequest, Waits> {
    Ok(SubnetRequest {
        subnet: read(network, "subnet", &config.subnet)?,
        range: read(network, "range", &config.range)?,
        gateway: read(network, "gateway", &config.gateway)?,
        reserved: config
            .reserved
            .values()
            .filter_map(|text| read(network, "reserved address", text).transpose())
            .collect::<Result<_, _>>()?,
    })
}

/// Reads what may be left out.
fn read<T: std::str::FromStr>(
    network: &Network,
    what: &'static str,
    text: &str,
) -> Result<Option<T>, Waits> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Waits::Unreadable {
            network: name(network).into_owned(),
            what,
            text: text.to_owned(),
        }),
    }
}

/// One for each subnet. Those that the network has, or asks for, come first.
fn vxlan_ids(
    ledger: &mut Ledger,
    id: NetworkId,
    network: &Network,
    listed: Option<&String>,
    count: usize,
) -> Result<Vec<u32>, Waits> {
    let mut ids = Vec::with_capacity(count);
    let filled = fill(ledger, id, network, listed, count, &mut ids);
    if filled.is_err() {
        for vni in ids.drain(..) {
            ledger.vxlan.release(id, vni);
        }
    }
    filled.map(|()| ids)
}

fn fill(
    ledger: &mut Ledger,
    id: NetworkId,
    network: &Network,
    listed: Option<&String>,
    count: usize,
    ids: &mut Vec<u32>,
) -> Result<(), Waits> {
    let none = |source| Waits::Vxlan { network: name(network).into_owned(), source };
    let listed = listed.map_or("", String::as_str).split(',').filter(|text| !text.is_empty());
    for text in listed {
        let vni = read(network, "VXLAN id", text.trim())?.unwrap_or_default();
        ledger.vxlan.claim(id, vni).map_err(none)?;
        ids.push(vni);
    }
    while ids.len() < count {
        ids.push(ledger.vxlan.assign(id).map_err(none)?);
    }
    Ok(())
}

/// The families of an allocated network's subnets.
pub(super) fn families(network: &Network) -> impl Iterator<Item = Family> + '_ {
    let configs = network.ipam.iter().flat_map(|ipam| &ipam.configs);
    let nets = configs.filter_map(|config| config.subnet.parse::<IpNet>().ok());
    nets.map(|net| Family::of(&net))
}
