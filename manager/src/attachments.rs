//! The ResourceAllocator service, which engines call when somebody attaches a single container to a network of the swarm.
//!
//! An attachment is a task without a service, on the node of the container from the start. It goes the way of all tasks:
//! the allocator gives it its address, the scheduler confirms its node, and the engine gets it with its assignments. The
//! engine detaches the container when it stops; what is left of a node that is lost goes with the node's other tasks.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use rand::RngCore;
use skep_proto::{
    ids::{Id, NodeId, TaskId},
    swarmkit::{
        Annotations, AttachNetworkRequest, AttachNetworkResponse, DetachNetworkRequest,
        DetachNetworkResponse, Network, NetworkAttachmentConfig, NetworkAttachmentSpec, Node, Task,
        TaskSpec, TaskState, TaskStatus, resource_allocator_server::ResourceAllocator,
        task_spec::Runtime,
    },
};
use skep_store::{By, Store, StoreError, Tables, Tx, UpdateError};
use tonic::{Request, Response, Status, async_trait};

use crate::{control::validate::shown, dispatcher::calling_node};

/// Message of a task's first status, as in SwarmKit.
const CREATED: &str = "created";
/// Containers that one node may have attached at a time: more than an engine runs, and a bound on what a worker can make
/// the managers hold.
const ATTACHMENTS_PER_NODE_MAX: usize = 1_000;
/// Ended ones that make room at a time: they go with the entry that adds the new one, which has to stay small.
const ENDED_REMOVED_MAX: usize = 100;
/// Addresses that an attachment may name: one of each family, and some to spare.
const ADDRESSES_MAX: usize = 8;
/// The longest text in a request, in bytes: more than an id, a name or an address takes.
const TEXT_BYTES_MAX: usize = 256;

/// Attaches containers of the calling node, and of no other. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct AttachmentService {
    store: Store,
    rng: Arc<Mutex<Box<dyn RngCore + Send>>>,
}

impl fmt::Debug for AttachmentService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentService").finish_non_exhaustive()
    }
}

impl AttachmentService {
    /// Over this store; ids of attachments come from `rng`.
    pub fn new(store: Store, rng: impl RngCore + Send + 'static) -> AttachmentService {
        AttachmentService { store, rng: Arc::new(Mutex::new(Box::new(rng))) }
    }

    async fn write<R>(
        &self,
        transaction: impl FnOnce(&mut Tx) -> Result<R, Status>,
    ) -> Result<R, Status> {
        self.store.update(transaction).await.map_err(|error| match error {
            UpdateError::Aborted(status) => status,
            UpdateError::Refused(why) => Status::unavailable(format!("nothing was written: {why}")),
            UpdateError::Unknown => Status::unknown(
                "leadership was lost while the attachment was written: it may or may not have been made",
            ),
        })
    }
}

#[async_trait]
impl ResourceAllocator for AttachmentService {
    async fn attach_network(
        &self,
        request: Request<AttachNetworkRequest>,
    ) -> Result<Response<AttachNetworkResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let AttachNetworkRequest { config, container_id } = request.into_inner();
        let config = config.unwrap_or_default();
        let texts = config.addresses.iter().chain([&config.target, &container_id]);
        if config.addresses.len() > ADDRESSES_MAX
            || texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX)
        {
            return Err(Status::invalid_argument(format!(
                "an attachment takes at most {ADDRESSES_MAX} addresses, and texts of {TEXT_BYTES_MAX} bytes"
            )));
        }
        let id = Id::random(&mut *self.rng.lock());
        self.write(|tx| {
            let network = attachable(tx, &config.target)?.id.clone();
            if tx.get::<Node>(&node).is_none() {
                return Err(Status::not_found(format!("node {node} not found")));
            }
            if !make_room(tx, node)? {
                return Err(Status::resource_exhausted(format!(
                    "node {node} has {ATTACHMENTS_PER_NODE_MAX} containers attached to networks of the swarm, the most \
                     there may be; run them as services"
                )));
            }
            let config = NetworkAttachmentConfig { target: network, ..config };
            let task = attachment(id, node, config, container_id, tx.now());
            tx.create(task).map_err(refused)
        })
        .await?;
        Ok(Response::new(AttachNetworkResponse { attachment_id: id.to_string() }))
    }

    async fn detach_network(
        &self,
        request: Request<DetachNetworkRequest>,
    ) -> Result<Response<DetachNetworkResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let id = request.into_inner().attachment_id;
        if id.is_empty() {
            return Err(Status::invalid_argument("invalid argument"));
        }
        self.write(|tx| {
            let none = || Status::not_found(format!("attachment {} not found", name(&id)));
            let task_id: TaskId = id.parse().map_err(|_| none())?;
            let task = tx.get::<Task>(&task_id).ok_or_else(none)?;
            if task.node_id != node.as_str() {
                return Err(Status::permission_denied(format!(
                    "attachment {id} doesn't belong to this node"
                )));
            }
            // A worker may take nothing away but what it asked for.
            if !is_attachment(task) {
                return Err(Status::invalid_argument("invalid argument"));
            }
            tx.remove::<Task>(&task_id).map_err(refused)
        })
        .await?;
        Ok(Response::new(DetachNetworkResponse {}))
    }
}

/// The network with this id or name, if single containers may be attached to it. The texts are SwarmKit's.
fn attachable<'a>(tables: &'a Tables, target: &str) -> Result<&'a Arc<Network>, Status> {
    let by_name = || tables.find_one::<Network>(By::Name(target.to_owned()));
    let network = tables.get_text::<Network>(target).or_else(by_name);
    let network =
        network.ok_or_else(|| Status::not_found(format!("network {} not found", name(target))))?;
    if !network.spec.as_ref().is_some_and(|spec| spec.attachable) {
        return Err(Status::permission_denied(format!("network {target} not manually attachable")));
    }
    Ok(network)
}

/// Whether the node may have one attachment more. Those that have ended stay to be looked at until their room is needed.
fn make_room(tx: &mut Tx, node: NodeId) -> Result<bool, Status> {
    let (mut live, mut ended) = (0, Vec::<TaskId>::new());
    for task in tx.find::<Task>(By::Node(node)).filter(|task| is_attachment(task)) {
        match has_ended(task) {
            true => ended.extend(task.id.parse::<TaskId>()),
            false => live += 1,
        }
    }
    if live + ended.len() >= ATTACHMENTS_PER_NODE_MAX {
        for id in ended.iter().take(ENDED_REMOVED_MAX) {
            tx.remove::<Task>(id).map_err(refused)?;
        }
    }
    Ok(live < ATTACHMENTS_PER_NODE_MAX)
}

fn has_ended(task: &Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state > TaskState::Running as i32)
}

fn is_attachment(task: &Task) -> bool {
    let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
    matches!(runtime, Some(Runtime::Attachment(_)))
}

fn attachment(
    id: Id,
    node: NodeId,
    config: NetworkAttachmentConfig,
    container_id: String,
    now: skep_proto::prost_types::Timestamp,
) -> Task {
    let networks = vec![NetworkAttachmentConfig {
        target: config.target,
        addresses: config.addresses,
        ..Default::default()
    }];
    let runtime = Some(Runtime::Attachment(NetworkAttachmentSpec { container_id }));
    Task {
        id: id.to_string(),
        node_id: node.to_string(),
        spec: Some(TaskSpec { runtime, networks, ..Default::default() }.into()),
        status: Some(TaskStatus {
            state: TaskState::New.into(),
            timestamp: Some(now),
            message: CREATED.to_owned(),
            ..Default::default()
        }),
        desired_state: TaskState::Running.into(),
        annotations: Some(Annotations::default()),
        service_annotations: Some(Annotations::default()),
        ..Default::default()
    }
}

/// As it is, where it can be shown in a text.
fn name(text: &str) -> String {
    match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => text.to_owned(),
        false => shown(text),
    }
}

fn refused(error: StoreError) -> Status {
    Status::internal(format!("the attachment was not written: {error}"))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};
    use skep_api::{Caller, CallerKind};
    use skep_proto::swarmkit::NetworkSpec;
    use skep_store::solo::{Solo, lead_alone};
    use tonic::Code;

    use super::*;

    struct Harness {
        store: Store,
        service: AttachmentService,
        _solo: Solo,
    }

    impl Harness {
        async fn new() -> Harness {
            let store = Store::system();
            let solo = lead_alone(&store);
            let network = |id: &str, attachable: bool| Network {
                id: id.into(),
                spec: Some(NetworkSpec {
                    annotations: Some(Annotations {
                        name: format!("{id}-name"),
                        ..Default::default()
                    }),
                    attachable,
                    ..Default::default()
                }),
                ..Default::default()
            };
            let create = |tx: &mut Tx| {
                tx.create(network("open", true))?;
                tx.create(network("closed", false))?;
                tx.create(Task {
                    id: "other".into(),
                    node_id: "node-1".into(),
                    ..Default::default()
                })?;
                tx.create(Node { id: "node-1".into(), ..Default::default() })?;
                tx.create(Node { id: "node-2".into(), ..Default::default() })
            };
            store.update(create).await.unwrap();
            let service = AttachmentService::new(store.clone(), StdRng::seed_from_u64(1));
            Harness { store, service, _solo: solo }
        }

        async fn attach(&self, node: &str, target: &str) -> Result<String, Status> {
            let config = NetworkAttachmentConfig {
                target: target.into(),
                addresses: vec!["10.0.1.9".into()],
                aliases: vec!["dropped".into()],
                ..Default::default()
            };
            let request = AttachNetworkRequest { config: Some(config), container_id: "c".into() };
            let reply = self.service.attach_network(from(node, request)).await?;
            Ok(reply.into_inner().attachment_id)
        }

        async fn detach(&self, node: &str, id: &str) -> Result<(), Status> {
            let request = DetachNetworkRequest { attachment_id: id.into() };
            self.service.detach_network(from(node, request)).await.map(drop)
        }
    }

    fn from<T>(node: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Caller {
            node_id: node.into(),
            cluster_id: "c".into(),
            units: ["swarm-worker".to_owned()].into(),
            remote_addr: "10.0.0.1:1".into(),
            kind: CallerKind::Certificate,
        });
        request
    }

    fn says<R>(result: Result<R, Status>) -> (Code, String) {
        let status = result.map(drop).unwrap_err();
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn an_attachment_is_a_task_on_the_callers_node() {
        let h = Harness::new().await;
        for target in ["open", "open-name"] {
            let id = h.attach("node-1", target).await.unwrap();
            let task = Task::clone(h.store.view().get_text::<Task>(&id).unwrap());
            assert_eq!((task.node_id.as_str(), task.service_id.as_str()), ("node-1", ""));
            assert_eq!(task.desired_state, TaskState::Running as i32);
            assert_eq!(task.status.unwrap().message, "created");
            let spec = task.spec.unwrap();
            assert!(matches!(&spec.runtime, Some(Runtime::Attachment(a)) if a.container_id == "c"));
            let network = &spec.networks[0];
            assert_eq!(
                (network.target.as_str(), &*network.addresses),
                ("open", &["10.0.1.9".into()][..])
            );
            assert!(network.aliases.is_empty());
            h.detach("node-1", &id).await.unwrap();
            assert!(h.store.view().get_text::<Task>(&id).is_none());
        }
    }

    #[tokio::test]
    async fn what_may_not_be_is_refused_with_swarmkits_words() {
        let h = Harness::new().await;
        let id = h.attach("node-1", "open").await.unwrap();
        let attach = async |node: &str, target: &str| says(h.attach(node, target).await);
        let detach = async |node: &str, id: &str| says(h.detach(node, id).await);
        for (got, code, text) in [
            (attach("node-1", "lost").await, Code::NotFound, "network lost not found"),
            (attach("node-1", "").await, Code::NotFound, "network  not found"),
            (
                attach("node-1", "closed").await,
                Code::PermissionDenied,
                "network closed not manually attachable",
            ),
            (attach("node-3", "open").await, Code::NotFound, "node node-3 not found"),
            (detach("node-1", "").await, Code::InvalidArgument, "invalid argument"),
            (detach("node-1", "lost").await, Code::NotFound, "attachment lost not found"),
            // A task of a service is no attachment, whoever's it is.
            (detach("node-1", "other").await, Code::InvalidArgument, "invalid argument"),
            (
                detach("node-2", &id).await,
                Code::PermissionDenied,
                &*format!("attachment {id} doesn't belong to this node"),
            ),
        ] {
            assert_eq!(got, (code, text.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_node_attaches_only_so_many_containers() {
        let h = Harness::new().await;
        let ids = (0..ATTACHMENTS_PER_NODE_MAX).map(|n| format!("a{n}").parse::<Id>().unwrap());
        let made = h.store.batch(ids, |tx, id| {
            let node = "node-1".parse().unwrap();
            tx.create(attachment(id, node, Default::default(), String::new(), tx.now()))
        });
        assert!(made.await.iter().all(Result::is_ok));
        assert_eq!(says(h.attach("node-1", "open").await).0, Code::ResourceExhausted);
        h.attach("node-2", "open").await.unwrap();

        // One that has ended makes room, and takes none for ever.
        let ended: TaskId = "a7".parse().unwrap();
        let end = |task: &mut Task| {
            task.status.get_or_insert_default().set_state(TaskState::Failed);
        };
        h.store.update(|tx| tx.modify::<Task>(&ended, end)).await.unwrap();
        h.attach("node-1", "open").await.unwrap();
        assert!(h.store.view().get::<Task>(&ended).is_none());
        assert_eq!(says(h.attach("node-1", "open").await).0, Code::ResourceExhausted);
    }
}
