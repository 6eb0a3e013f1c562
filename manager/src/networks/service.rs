//! `skep.v1.Networks`: reads the store of an up-to-date manager and changes nothing.

use std::{borrow::Cow, sync::Arc};

use skep_proto::{
    skep::{
        NetworkCheckRequest, NetworkCheckResponse, NetworkFinding, NetworkUsageRequest,
        NetworkUsageResponse, networks_server::Networks,
    },
    swarmkit::{Network, Node, Service, Task},
};
use skep_store::{Object as _, Store, Tables};
use tonic::{Request, Response, Status};

use super::{
    holders::{hostname, task_name},
    usage::usage,
};
use crate::{
    allocator::audit::{Finding, audit},
    answer::Answers,
    control::errors::ControlError,
    group::Group,
};

/// Answers computed at a time. Each reads every task, off the async threads; more at once would only take the processor
/// from the allocator itself.
const ANSWERS_MAX: usize = 2;
/// Networks that one request may name, as in each filter of a list.
const NETWORKS_ASKED_MAX: usize = 1_000;
/// Findings in one answer: who has more looks at these first.
const FINDINGS_TOLD_MAX: usize = 1_000;

/// The service. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct NetworksService {
    answers: Answers,
}

impl NetworksService {
    /// Over the store and the raft group.
    pub fn new(store: Store, group: Arc<dyn Group>) -> NetworksService {
        NetworksService { answers: Answers::new(store, group, ANSWERS_MAX) }
    }
}

#[tonic::async_trait]
impl Networks for NetworksService {
    async fn usage(
        &self,
        request: Request<NetworkUsageRequest>,
    ) -> Result<Response<NetworkUsageResponse>, Status> {
        let request = request.into_inner();
        if request.network_ids.len() > NETWORKS_ASKED_MAX {
            let text = format!("at most {NETWORKS_ASKED_MAX} networks can be asked about at once");
            return Err(ControlError::argument(text).into());
        }
        self.answers.answer(move |view| Ok(usage(&view, &request))).await
    }

    async fn check(
        &self,
        _: Request<NetworkCheckRequest>,
    ) -> Result<Response<NetworkCheckResponse>, Status> {
        self.answers.answer(|view| Ok(checked(&view))).await
    }
}

/// What an audit of the tables finds.
pub(super) fn checked(tables: &Tables) -> NetworkCheckResponse {
    let findings = audit(tables);
    NetworkCheckResponse {
        findings_total: findings.len() as u64,
        findings: findings
            .iter()
            .take(FINDINGS_TOLD_MAX)
            .map(|found| told(tables, found))
            .collect(),
        networks_total: tables.count::<Network>() as u64,
        services_total: tables.count::<Service>() as u64,
        tasks_total: tables.count::<Task>() as u64,
        nodes_total: tables.count::<Node>() as u64,
    }
}

/// The finding, in whose text objects go by the names that people know them by.
fn told(tables: &Tables, finding: &Finding) -> NetworkFinding {
    let object_ids = finding.object_ids();
    let named = |text: String, id: &String| match name_of(tables, id) {
        Some(name) if !name.is_empty() => text.replace(id.as_str(), &name),
        _ => text,
    };
    NetworkFinding {
        kind: finding.kind().to_owned(),
        text: object_ids.iter().fold(finding.to_string(), named),
        object_ids,
        may_pass: finding.may_pass(),
    }
}

fn name_of(tables: &Tables, id: &str) -> Option<String> {
    let network = || tables.get_text::<Network>(id).and_then(|network| network.name());
    let service = || tables.get_text::<Service>(id).and_then(|service| service.name());
    let node = || tables.get_text::<Node>(id).map(|node| hostname(Some(node)));
    let task = || tables.get_text::<Task>(id).map(|task| task_name(task));
    network().or_else(service).map(Cow::into_owned).or_else(node).or_else(task)
}
