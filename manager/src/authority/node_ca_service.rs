//! The NodeCA service: a node asks for a certificate, and for how far it is.

use std::time::Duration;

use skep_api::Caller;
use skep_proto::{
    ids::{Id, NodeId},
    swarmkit::{
        IssueNodeCertificateRequest, IssueNodeCertificateResponse, Node,
        NodeCertificateStatusRequest, NodeCertificateStatusResponse, issuance_status::State,
        node_ca_server::NodeCa, node_spec,
    },
};
use skep_store::{By, Kind, Refusal, Select, Selector, StoreError, UpdateError};
use tonic::{Request, Response, Status};

use super::{
    Authority, cluster,
    request::{Refused, Wanted, entry, is_settled, joining, state, wanted},
};

/// How long a request waits for the signing loop of a manager that has just become the leader: less than the five
/// seconds that clients give a call.
const STARTING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a status is waited for before the answer is that nothing has changed. Clients ask every five seconds; this
/// bounds those that never hang up.
const STATUS_TIMEOUT: Duration = Duration::from_secs(60);
/// New ids that are tried before a collision counts as a fault.
const ID_ATTEMPTS: usize = 3;

/// Takes requests for certificates and tells how far they are. Cheap to clone.
#[derive(Clone)]
pub struct NodeCaService {
    pub(super) authority: Authority,
}

#[tonic::async_trait]
impl NodeCa for NodeCaService {
    /// Leaves the request in the node's object, which is made for a holder of a token. When the call is dropped the
    /// request may still stand.
    async fn issue_node_certificate(
        &self,
        request: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Status::internal("the caller of this method is not known"))?;
        let request = request.into_inner();
        if request.csr.is_empty() {
            return Err(Status::invalid_argument("the certificate signing request is missing"));
        }
        self.signer_runs().await?;
        let store = &self.authority.store;
        let cluster_id = self.authority.cluster_id();
        let issued = store.update(|tx| {
            let Some(cluster) = cluster(tx, &cluster_id).cloned() else {
                return Err(Failed::NoCluster);
            };
            let node = match wanted(&caller, &request, &cluster)? {
                Wanted::Renewal { node_id } => {
                    let Some(node) = tx.get_text::<Node>(&node_id) else {
                        return Err(Refused::UnknownNode(node_id).into());
                    };
                    let mut node = Node::clone(node);
                    let csr = request.csr.clone();
                    node.certificate = Some(entry(&node_id, node.role, csr, State::Renew));
                    tx.update(node)?
                }
                Wanted::First { role, availability } => {
                    let mut rng = rand::rng();
                    let mut attempt = 1;
                    loop {
                        let (id, csr) = (NodeId::random(&mut rng), request.csr.clone());
                        match tx.create(joining(id, role, availability, csr, &cluster)) {
                            Err(StoreError::Exists { .. }) if attempt < ID_ATTEMPTS => attempt += 1,
                            created => break created?,
                        }
                    }
                }
            };
            let spec = node.spec.as_ref();
            Ok(IssueNodeCertificateResponse {
                node_id: node.id.clone(),
                node_membership: spec
                    .map_or(node_spec::Membership::Pending, |spec| spec.membership())
                    .into(),
            })
        });
        Ok(Response::new(issued.await.map_err(status)?))
    }

    /// Returns once the node's request is answered, or after a minute as it is then. Safe to drop.
    async fn node_certificate_status(
        &self,
        request: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        let node_id = request.into_inner().node_id;
        let not_found = || Status::not_found(format!("node {node_id:.64} not found"));
        let id: Id = node_id.parse().map_err(|_| not_found())?;
        self.signer_runs().await?;
        let waiting = self.settled(id);
        let node = match tokio::time::timeout(STATUS_TIMEOUT, waiting).await {
            Ok(settled) => settled?,
            Err(_) => self.authority.store.view().get::<Node>(&id.into()).cloned(),
        };
        let certificate = node.ok_or_else(not_found)?.certificate.clone().unwrap_or_default();
        Ok(Response::new(NodeCertificateStatusResponse {
            status: certificate.status.clone(),
            certificate: Some(certificate),
        }))
    }
}

impl NodeCaService {
    /// Waits until the signing loop runs, for a while. The texts are SwarmKit's.
    async fn signer_runs(&self) -> Result<(), Status> {
        let mut signing = self.authority.signing.subscribe();
        if !*signing.borrow() && !self.authority.store.leads() {
            return Err(Status::aborted("CA signer is stopped"));
        }
        match tokio::time::timeout(STARTING_TIMEOUT, signing.wait_for(|signing| *signing)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Status::aborted("CA signer is still starting")),
        }
    }

    /// The node once its request is answered; `None` when it is not, or no longer, there.
    async fn settled(&self, id: Id) -> Result<Option<std::sync::Arc<Node>>, Status> {
        let mut signing = self.authority.signing.subscribe();
        loop {
            let select = Select { filters: vec![By::Id(id)], ..Select::kind(Kind::Node) };
            let (view, mut watcher) = self.authority.store.watch(Selector::any([select]));
            let mut node = view.get::<Node>(&id.into()).cloned();
            drop(view);
            loop {
                match &node {
                    Some(node) if !is_settled(state(node)) => {}
                    _ => return Ok(node),
                }
                tokio::select! {
                    commit = watcher.next() => match commit {
                        Ok(_) => node = self.authority.store.view().get::<Node>(&id.into()).cloned(),
                        // Fell behind: begin again from a view.
                        Err(_) => break,
                    },
                    _ = signing.wait_for(|signing| !signing) => {
                        return Err(Status::aborted("CA signer is stopped"));
                    }
                }
            }
        }
    }
}

/// Why a request was not written.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the cluster is not in the store of this manager yet; try again")]
    NoCluster,
}

fn status(error: UpdateError<Failed>) -> Status {
    match error {
        UpdateError::Aborted(Failed::Refused(refused)) => refused.into(),
        UpdateError::Aborted(Failed::Store(error)) => Status::unknown(error.to_string()),
        UpdateError::Aborted(error @ Failed::NoCluster) => Status::unavailable(error.to_string()),
        UpdateError::Refused(Refusal::TooLarge) => {
            Status::invalid_argument("the request is too large to be stored")
        }
        error => Status::unavailable(error.to_string()),
    }
}
