//! `skep swarm init`.

use std::time::Duration;

use skep_proto::skep::{GetStatusRequest, InitRequest};
use zeroize::Zeroizing;

use super::{Availability, unlock_key};
use crate::{commands::Session, errors::Failure, input::wire_duration};

/// Found a swarm with this daemon as its first manager.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The address that others reach this node by, HOST or HOST:PORT [default: what the daemon was started with]
    #[arg(long, value_name = "ADDR")]
    advertise_addr: Option<String>,
    /// Lock managers: a restarted one waits for the unlock key
    #[arg(long)]
    autolock: bool,
    /// Whether this node takes work [default: what the daemon was started with]
    #[arg(long)]
    availability: Option<Availability>,
    /// How long node certificates are valid [default: 2160h]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    cert_expiry: Option<Duration>,
    /// UDP port of the traffic between nodes in overlay networks [default: 4789]
    #[arg(long, value_name = "PORT")]
    data_path_port: Option<u32>,
    /// Address pools that networks get their subnets from, in CIDR form
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    default_addr_pool: Vec<String>,
    /// Mask length of the subnets that are cut from the pools [default: 24]
    #[arg(long, value_name = "BITS")]
    default_addr_pool_mask_length: Option<u32>,
    /// How often nodes say that they live [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    dispatcher_heartbeat: Option<Duration>,
    /// Make this manager the only one of its swarm and keep the swarm's state: the way out when the quorum is lost
    #[arg(long)]
    force_new_cluster: bool,
    /// Number of log entries between two snapshots at least; more when the entries are small beside the snapshot [default: 10000]
    #[arg(long, value_name = "ENTRIES")]
    snapshot_interval: Option<u64>,
    /// Let stock SwarmKit managers be members: slower raft timing, and so a slower failover
    #[arg(long)]
    swarmkit_compatible_raft: bool,
}

impl Init {
    /// Founds the swarm and prints how others join it.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let request = InitRequest {
            advertise_addr: self.advertise_addr.unwrap_or_default(),
            force_new_cluster: self.force_new_cluster,
            autolock: self.autolock,
            availability: self.availability.map(|a| a.word().to_owned()).unwrap_or_default(),
            default_address_pool: self.default_addr_pool,
            subnet_size: self.default_addr_pool_mask_length.unwrap_or_default(),
            data_path_port: self.data_path_port.unwrap_or_default(),
            node_cert_expiry: self.cert_expiry.map(wire_duration),
            heartbeat_period: self.dispatcher_heartbeat.map(wire_duration),
            swarmkit_compatible_raft: self.swarmkit_compatible_raft,
            snapshot_interval: self.snapshot_interval.unwrap_or_default(),
        };
        let reply = connection.daemon().init(connection.request(request)).await;
        let reply = reply.map_err(Failure::call("found a swarm"))?.into_inner();
        let unlock_key = Zeroizing::new(reply.unlock_key);

        let status = connection.daemon().get_status(connection.request(GetStatusRequest {})).await;
        let status = status.map_err(Failure::call("ask the daemon for its address"))?.into_inner();

        output.line(format!(
            "Swarm initialized: current node ({}) is now a manager.\n\n\
             To add a worker, a skepd or a Docker Engine, run one of these on its machine:\n\n    \
             skep swarm join --token {token} {addr}\n    \
             docker swarm join --token {token} {addr}\n\n\
             To add a manager, run 'skep swarm join-token manager' and do what it says.",
            reply.node_id,
            token = reply.worker_join_token,
            addr = status.advertise_addr,
        ))?;
        if !unlock_key.is_empty() {
            output.line("")?;
            unlock_key::print_instructions(output, &unlock_key)?;
        }
        Ok(())
    }
}
