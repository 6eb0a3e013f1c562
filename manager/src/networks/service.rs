//! `skep.v1.Networks`: reads the store of an up-to-date manager and changes nothing.

use std::sync::Arc;

use skep_proto::{
    skep::{
        NetworkCheckRequest, NetworkCheckResponse, NetworkFinding, NetworkUsageRequest,
        NetworkUsageResponse, networks_server::Networks,
    },
    swarmkit::{Network, Node, Service, Task},
};
use skep_store::{Store, Tables};
use tonic::{Request, Response, Status};

use super::usage::usage;
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
        findings: findings.iter().take(FINDINGS_TOLD_MAX).map(told).collect(),
        networks_total: tables.count::<Network>() as u64,
        services_total: tables.count::<Service>() as u64,
        tasks_total: tables.count::<Task>() as u64,
        nodes_total: tables.count::<Node>() as u64,
    }
}

fn told(finding: &Finding) -> NetworkFinding {
    NetworkFinding {
        kind: finding.kind().to_owned(),
        text: finding.to_string(),
        object_ids: finding.object_ids(),
        may_pass: finding.may_pass(),
    }
}
