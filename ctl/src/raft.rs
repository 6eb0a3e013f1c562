//! `skep raft`: a look inside the managers' group, and handing leadership over.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::skep::{
    GetRaftStatusRequest, GetRaftStatusResponse, RaftPeer, TransferLeadershipRequest,
};

use crate::{
    commands::Session,
    errors::Failure,
    objects::Stored as _,
    output::{Column, Format, InspectOptions, Output, column},
    resolve::resolve_node,
};

/// A transfer waits for the target to catch up and for an election.
const TRANSFER_LIMIT_MIN: Duration = Duration::from_secs(30);

const COLUMNS: &[Column] = &[
    column("RaftID", "RAFT ID"),
    column("NodeID", "NODE ID"),
    column("Hostname", "HOSTNAME"),
    column("Addr", "ADDRESS"),
    column("Role", "ROLE"),
    column("Reachable", "REACHABLE"),
    column("Match", "MATCH"),
    column("Lag", "LAG"),
    column("Progress", "PROGRESS"),
    column("LastError", "LAST ERROR"),
];

/// The commands of `skep raft`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Members, leader, term, indexes, lag, sizes, and the health of each peer, as this manager sees them
    Status(Status),
    /// Hand leadership over to another manager
    Transfer(Transfer),
}

/// Print the state of the raft group.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    options: InspectOptions,
}

/// Hand leadership over.
#[derive(Debug, clap::Args)]
pub struct Transfer {
    /// ID, beginning of an ID, or host name of a manager [default: the one that is furthest along]
    node: Option<String>,
}

/// Runs a command of `skep raft`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Status(status) => status.run(session).await,
        Command::Transfer(transfer) => transfer.run(session).await,
    }
}

impl Status {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let request = connection.request(GetRaftStatusRequest {});
        let reply = connection.raft().get_raft_status(request).await;
        let status = reply.map_err(Failure::call("read the state of raft"))?.into_inner();
        if self.options.format != Format::Table {
            return output.inspect(&[whole(&status)], &self.options);
        }
        print_status(output, &status)
    }
}

impl Transfer {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        let target = match &self.node {
            Some(given) => resolve_node(connection, given).await?.id,
            None => String::new(),
        };
        let limit = connection.timeout().max(TRANSFER_LIMIT_MIN);
        let request = connection.request_within(TransferLeadershipRequest { target }, limit);
        let reply = connection.raft().transfer_leadership(request).await;
        let leader = reply.map_err(Failure::call("hand leadership over"))?.into_inner();
        let node = resolve_node(connection, &leader.leader_node_id).await?;
        output.line(format!("{} ({}) is the leader now.", node.name(), node.id))
    }
}

fn print_status(output: &mut Output, status: &GetRaftStatusResponse) -> Result<(), Failure> {
    let leader = status.members.iter().find(|m| m.raft_id == status.leader_raft_id);
    let leader =
        leader.map_or_else(|| "none".to_owned(), |m| format!("{} ({})", m.hostname, m.node_id));
    let writes = match (status.role.as_str(), status.serving_writes) {
        (_, true) => "accepted here",
        ("leader", false) => "not yet: the log before the election is being applied",
        _ => "passed on to the leader",
    };
    let timing = if status.swarmkit_compatible { "SwarmKit's" } else { "fast" };
    let quorum = status.members.len() / 2 + 1;
    let lines = [
        ("Raft ID", format!("{:x}", status.raft_id)),
        ("Role", status.role.clone()),
        ("Leader", leader),
        ("Term", status.term.to_string()),
        ("Writes", writes.to_owned()),
        ("Last index", format!("{} (first {})", status.last_index, status.first_index)),
        ("Commit index", status.commit_index.to_string()),
        (
            "Applied index",
            format!(
                "{} (lag {})",
                status.applied_index,
                status.commit_index.saturating_sub(status.applied_index)
            ),
        ),
        ("Snapshot index", status.snapshot_index.to_string()),
        ("Log size", bytes(status.log_bytes)),
        ("Snapshot size", bytes(status.snapshot_bytes)),
        ("Timing", timing.to_owned()),
        (
            "Members",
            format!(
                "{} (quorum {quorum}), {} removed for ever",
                status.members.len(),
                status.removed_members
            ),
        ),
    ];
    for (name, value) in lines {
        output.line(format!("{:<16}{value}", format!("{name}:")))?;
    }
    output.line("")?;
    let rows: Vec<Value> = status.members.iter().map(|m| row(m, status)).collect();
    output.table(COLUMNS, &rows)
}

/// Only the leader knows how far the others are; elsewhere those cells stay empty.
fn row(member: &RaftPeer, status: &GetRaftStatusResponse) -> Value {
    let own = member.raft_id == status.raft_id;
    let leads = status.raft_id == status.leader_raft_id;
    let known = |text: String| if leads { text } else { String::new() };
    json!({
        "RaftID": format!("{:x}{}", member.raft_id, if own { " *" } else { "" }),
        "NodeID": member.node_id,
        "Hostname": member.hostname,
        "Addr": member.addr,
        "Role": if member.leader { "leader" } else { "follower" },
        "Reachable": reachable(member, own, leads),
        "Match": known(member.match_index.to_string()),
        "Lag": known(member.lag_entries.to_string()),
        "Progress": known(member.progress.clone()),
        "LastError": member.last_error,
    })
}

/// Followers send each other nothing but votes, so a follower that got nothing through to another knows nothing.
fn reachable(member: &RaftPeer, own: bool, leads: bool) -> &'static str {
    match (own || member.reachable, leads || member.leader || !member.last_error.is_empty()) {
        (true, _) => "yes",
        (false, true) => "no",
        (false, false) => "",
    }
}

fn whole(status: &GetRaftStatusResponse) -> Value {
    let member = |member: &RaftPeer| {
        json!({
            "RaftID": format!("{:x}", member.raft_id),
            "NodeID": member.node_id,
            "Hostname": member.hostname,
            "Addr": member.addr,
            "Leader": member.leader,
            "Reachable": member.reachable,
            "MatchIndex": member.match_index,
            "LagEntries": member.lag_entries,
            "Progress": member.progress,
            "LastError": member.last_error,
        })
    };
    json!({
        "RaftID": format!("{:x}", status.raft_id),
        "LeaderRaftID": format!("{:x}", status.leader_raft_id),
        "Role": status.role,
        "Term": status.term,
        "FirstIndex": status.first_index,
        "LastIndex": status.last_index,
        "CommitIndex": status.commit_index,
        "AppliedIndex": status.applied_index,
        "SnapshotIndex": status.snapshot_index,
        "LogBytes": status.log_bytes,
        "SnapshotBytes": status.snapshot_bytes,
        "ServingWrites": status.serving_writes,
        "SwarmKitCompatible": status.swarmkit_compatible,
        "RemovedMembers": status.removed_members,
        "Members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}

/// A number of bytes in its largest unit with a digit before the point.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_their_largest_unit() {
        let table = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB")];
        for (count, expected) in table {
            assert_eq!(bytes(count), expected);
        }
    }
}
