//! The networks that the services of a measurement share: made before its clock starts, each large enough for all tasks.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::ValueEnum;
use skep_proto::swarmkit::{
    Annotations, CreateNetworkRequest, Driver, GetNetworkRequest, IpamConfig, IpamOptions,
    NetworkSpec, RemoveNetworkRequest, control_client::ControlClient, ipam_config::AddressFamily,
};
use tonic::transport::Channel;

/// What services attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attachment {
    /// Nothing
    None,
    /// Overlay networks, each service with a virtual address
    Overlay,
}

/// How long managers may take to give a new network its addresses, and to let go of one whose services were removed.
const LIMIT: Duration = Duration::from_secs(60);
/// How often they are asked whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Subnets are cut from 10.64.0.0/10: within private addresses, and far from where managers cut theirs.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
/// How many addresses there are from there on.
const ADDRESSES: u64 = 1 << 22;
/// The smallest subnet, which is also what managers give out.
const SMALLEST_BITS: u32 = 8;

/// Makes `count` networks with room for `addresses` each, and waits until they have their subnets. Gives their ids.
pub async fn create(
    control: &mut ControlClient<Channel>,
    count: usize,
    addresses: usize,
) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for (number, subnet) in subnets(count, addresses)?.into_iter().enumerate() {
        let config =
            IpamConfig { family: AddressFamily::Ipv4.into(), subnet, ..IpamConfig::default() };
        let spec = NetworkSpec {
            annotations: Some(Annotations {
                name: format!("scale-{number}"),
                ..Annotations::default()
            }),
            driver_config: Some(Driver { name: "overlay".into(), ..Driver::default() }),
            ipam: Some(IpamOptions { configs: vec![config], ..IpamOptions::default() }),
            ..NetworkSpec::default()
        };
        let request = CreateNetworkRequest { spec: Some(spec) };
        let reply = control.create_network(request).await.context("cannot create a network")?;
        ids.extend(reply.into_inner().network.map(|network| network.id));
    }
    for id in &ids {
        has_addresses(control, id).await?;
    }
    Ok(ids)
}

async fn has_addresses(control: &mut ControlClient<Channel>, id: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let request = GetNetworkRequest { network_id: id.to_owned(), ..Default::default() };
        let network = control.get_network(request).await?.into_inner().network;
        if network.is_some_and(|network| network.driver_state.is_some()) {
            return Ok(());
        }
        anyhow::ensure!(start.elapsed() < LIMIT, "the managers gave network {id} no addresses");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Removes the networks, once the tasks of the services that were removed have gone.
pub async fn remove(control: &mut ControlClient<Channel>, ids: Vec<String>) -> anyhow::Result<()> {
    let start = Instant::now();
    for network_id in ids {
        loop {
            let request =
                RemoveNetworkRequest { network_id: network_id.clone(), ..Default::default() };
            match control.remove_network(request).await {
                Ok(_) => break,
                Err(_) if start.elapsed() < LIMIT => tokio::time::sleep(LOOK_INTERVAL).await,
                Err(status) => return Err(status).context("cannot remove a network"),
            }
        }
    }
    Ok(())
}

/// Subnets side by side, each with at least twice as many addresses as are needed: managers take the next free one after
/// the last that they gave, and so use what was given back late.
fn subnets(count: usize, addresses: usize) -> anyhow::Result<Vec<String>> {
    let needed = (addresses as u64).saturating_mul(2).max(1 << SMALLEST_BITS);
    let size = needed.checked_next_power_of_two().unwrap_or(u64::MAX);
    anyhow::ensure!(
        size.saturating_mul(count as u64) <= ADDRESSES,
        "--networks {count}: that many networks with {addresses} addresses each are more than 10.64.0.0/10 has"
    );
    let first = u64::from(u32::from(FIRST_ADDRESS));
    let subnet = |number: u64| {
        // What fits was asked above.
        let network = u32::try_from(first + number * size).unwrap_or(u32::MAX);
        format!("{}/{}", Ipv4Addr::from(network), 32 - size.trailing_zeros())
    };
    Ok((0..count as u64).map(subnet).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_lie_side_by_side_and_have_room() {
        for (count, addresses, expected) in [
            (0, 10, &[][..]),
            (1, 10, &["10.64.0.0/24"]),
            (2, 129, &["10.64.0.0/23", "10.64.2.0/23"]),
            (3, 10_000, &["10.64.0.0/17", "10.64.128.0/17", "10.65.0.0/17"]),
            (1, 1 << 21, &["10.64.0.0/10"]),
        ] {
            assert_eq!(subnets(count, addresses).unwrap(), expected, "{count} {addresses}");
        }
        for (count, addresses) in [(1, (1 << 21) + 1), (16_385, 1), (usize::MAX, usize::MAX)] {
            assert!(subnets(count, addresses).is_err(), "{count} {addresses}");
        }
    }
}
