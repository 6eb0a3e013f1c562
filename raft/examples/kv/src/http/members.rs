//! The members, and how this one is.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use skep_raft_peers::Group;

use super::error::HttpError;
use crate::member::Member;

#[derive(Serialize)]
pub struct Members {
    members: Vec<One>,
}

#[derive(Serialize)]
struct One {
    id: String,
    addr: String,
    /// It may become a member, and is not one yet, when false.
    member: bool,
    leader: bool,
    /// Whether it answers the leader; only the leader knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
}

fn all(member: &Member) -> Result<Vec<One>, HttpError> {
    let status = member.group()?.node().status();
    let mut all: Vec<_> = status
        .members
        .members()
        .map(|member| One {
            id: Group::name_of(&member.node_id).to_owned(),
            addr: member.addr.clone(),
            member: true,
            leader: status.leader == Some(member.raft_id),
            reachable: status.leads().then(|| status.reachable(member.raft_id)),
        })
        .collect();
    for (name, addr) in &member.store().state().admitted {
        if all.iter().all(|one| one.id != *name) {
            let (id, addr) = (name.clone(), addr.clone());
            all.push(One { id, addr, member: false, leader: false, reachable: None });
        }
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(all)
}

pub async fn list(State(member): State<Member>) -> Result<Json<Members>, HttpError> {
    Ok(Json(Members { members: all(&member)? }))
}

#[derive(Deserialize)]
pub struct Add {
    id: String,
    addr: String,
}

#[derive(Serialize)]
pub struct Done {
    id: String,
}

pub async fn add(
    State(member): State<Member>,
    Json(add): Json<Add>,
) -> Result<Json<Done>, HttpError> {
    let there = all(&member)?.into_iter().find(|one| one.member && one.id == add.id);
    if let Some(there) = there.filter(|there| there.addr != add.addr) {
        let text = format!("{} is a member at {}; remove it first", add.id, there.addr);
        return Err(HttpError::new(StatusCode::CONFLICT, text));
    }
    member.admit([(add.id.clone(), add.addr)]).await?;
    Ok(Json(Done { id: add.id }))
}

pub async fn remove(
    State(member): State<Member>,
    Path(id): Path<String>,
) -> Result<Json<Done>, HttpError> {
    match member.expel(id.clone()).await? {
        true => Ok(Json(Done { id })),
        false => Err(HttpError::new(StatusCode::NOT_FOUND, format!("{id} is not a member"))),
    }
}

#[derive(Serialize)]
pub struct Status {
    cluster: String,
    role: String,
    leader: Option<String>,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    log_bytes: u64,
    snapshot_bytes: u64,
    keys: usize,
    watchers: usize,
    members: Vec<One>,
}

pub async fn status(State(member): State<Member>) -> Result<Json<Status>, HttpError> {
    let group = member.group()?;
    let status = group.node().status();
    let leader = status.leader.and_then(|leader| status.members.get(leader));
    Ok(Json(Status {
        cluster: format!("{:016x}", group.cluster()),
        role: format!("{:?}", status.role).to_lowercase(),
        leader: leader.map(|leader| Group::name_of(&leader.node_id).to_owned()),
        term: status.term,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        log_bytes: status.sizes.log_bytes,
        snapshot_bytes: status.sizes.snapshot_bytes,
        keys: member.store().state().items.len(),
        watchers: member.store().watchers(),
        members: all(&member)?,
    }))
}

#[derive(Serialize)]
pub struct Health {
    healthy: bool,
}

/// Healthy is who knows a leader: then reads and writes go through here.
pub async fn health(State(member): State<Member>) -> Result<Json<Health>, HttpError> {
    match member.group()?.node().status().leader {
        Some(_) => Ok(Json(Health { healthy: true })),
        None => Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "no leader is known")),
    }
}
