//! `skep status`: what this daemon is at the moment.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use skep_proto::skep::{DaemonState, GetStatusRequest, GetStatusResponse};
use tokio::time::{Instant, sleep};

use crate::{
    connect::Connection,
    errors::{Failure, state_hint},
    output::{Format, InspectOptions, Output},
    shapes::time::timestamp,
};

/// How often a daemon that is not ready is asked again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What this daemon is at the moment.
#[derive(Debug, clap::Args)]
pub struct StatusCommand {
    /// Wait until the daemon is an active member of a swarm and, on a manager, knows a leader; exit code 3 if that
    /// takes longer
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    options: InspectOptions,
}

impl StatusCommand {
    /// Prints the state. It opens the socket itself, since with `--wait` the daemon may not even be there yet.
    pub async fn run(self, socket: &Path, timeout: Duration) -> Result<(), Failure> {
        let mut output = Output::stdout();
        let status = match self.wait {
            None => ask(socket, timeout).await?,
            Some(limit) => ready(socket, timeout, limit).await?,
        };
        if self.options.format != Format::Table {
            return output.inspect(&[whole(&status)], &self.options);
        }
        print(&mut output, &status)
    }
}

async fn ask(socket: &Path, timeout: Duration) -> Result<GetStatusResponse, Failure> {
    let connection = Connection::open(socket, timeout).await?;
    let reply = connection.daemon().get_status(connection.request(GetStatusRequest {})).await;
    Ok(reply.map_err(Failure::call("ask the daemon for its state"))?.into_inner())
}

async fn ready(
    socket: &Path,
    timeout: Duration,
    limit: Duration,
) -> Result<GetStatusResponse, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = ask(socket, timeout.min(limit)).await;
        match &answer {
            Ok(status) if is_ready(status) => return answer,
            _ if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
            _ => {
                let hint = match answer {
                    Ok(status) => state_hint(&status)
                        .unwrap_or_else(|| "it knows no leader ('skep raft status')".into()),
                    Err(failure) => failure.to_string(),
                };
                let waiting_for = "this daemon to be ready".into();
                return Err(Failure::NotConverged { waiting_for, limit, hint });
            }
        }
    }
}

fn is_ready(status: &GetStatusResponse) -> bool {
    // A manager lists the managers only of a group that it has found.
    status.state() == DaemonState::Active
        && (status.role == "swarm-worker" || !status.managers.is_empty())
}

fn word(state: DaemonState) -> &'static str {
    match state {
        DaemonState::Unspecified => "unknown",
        DaemonState::Inactive => "inactive",
        DaemonState::Pending => "pending",
        DaemonState::Active => "active",
        DaemonState::Locked => "locked",
        DaemonState::Error => "error",
    }
}

fn print(output: &mut Output, status: &GetStatusResponse) -> Result<(), Failure> {
    let role = status.role.strip_prefix("swarm-").unwrap_or(&status.role);
    let role = if status.is_leader { format!("{role} (leader)") } else { role.to_owned() };
    let managers: Vec<String> =
        status.managers.iter().map(|m| format!("{} ({})", m.addr, m.node_id)).collect();
    let lines = [
        ("State", word(status.state()).to_owned()),
        ("Error", status.error.clone()),
        ("Version", status.version.clone()),
        ("Node ID", status.node_id.clone()),
        ("Cluster ID", status.cluster_id.clone()),
        ("Role", role),
        ("Hostname", status.hostname.clone()),
        ("Listens on", status.listen_addr.clone()),
        ("Reached by", status.advertise_addr.clone()),
        ("Managers", managers.join(", ")),
        ("Certificate", expiry(status).map(|t| format!("valid until {t}")).unwrap_or_default()),
        ("What to do", state_hint(status).unwrap_or_default()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format!("{:<13}{value}", format!("{name}:")))?;
    }
    Ok(())
}

fn expiry(status: &GetStatusResponse) -> Option<String> {
    (status.certificate_not_after != 0).then(|| timestamp(status.certificate_not_after))
}

fn whole(status: &GetStatusResponse) -> Value {
    let managers: Vec<Value> =
        status.managers.iter().map(|m| json!({ "NodeID": m.node_id, "Addr": m.addr })).collect();
    json!({
        "LocalNodeState": word(status.state()),
        "Error": status.error,
        "Version": status.version,
        "NodeID": status.node_id,
        "ClusterID": status.cluster_id,
        "Role": status.role.strip_prefix("swarm-").unwrap_or(&status.role),
        "IsLeader": status.is_leader,
        "Hostname": status.hostname,
        "ListenAddr": status.listen_addr,
        "AdvertiseAddr": status.advertise_addr,
        "RemoteManagers": managers,
        "CertificateNotAfter": expiry(status),
    })
}
