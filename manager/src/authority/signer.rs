//! The signing loop: answers the requests that stand in node objects.
//!
//! It works on what is dirty: nodes whose request has come in since, and those that could not be answered for now, which
//! are tried again every ten seconds. Answers are written in batches, and only to the request that was signed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use skep_ca::{Clock, Csr, Identity, Role, SecurityConfig};
use skep_proto::{
    ids::NodeId,
    swarmkit::{Cluster, IssuanceStatus, Node, issuance_status::State},
};
use skep_store::{Commit, Event, Kind, Selector, Store, StoreError, UpdateError, Watcher};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    cluster,
    request::needs_signature,
    signers::{SignError, Signers, with_source},
};

/// Pause before requests that could not be answered are tried again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Requests signed between two looks at what else has come: some 50 ms of CPU.
const SIGN_BATCH: usize = 100;
/// Requests that external CAs work on at a time.
const EXTERNAL_CONCURRENCY: usize = 8;

/// A request as it was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    node_id: NodeId,
    csr: Bytes,
    role: Role,
}

/// What a request came to.
type Answer = (Task, Result<Bytes, SignError>);

/// Signs for as long as it is polled; `signing` says so. Never returns.
pub async fn run(
    store: Store,
    security: SecurityConfig,
    clock: Clock,
    signing: &watch::Sender<bool>,
) {
    let _stopped = Stopped(signing);
    let mut signer = Signer { store, security, clock, pending: BTreeMap::new(), signers: None };
    loop {
        let (view, mut watcher) = signer.store.watch(Selector::kinds(&[Kind::Node, Kind::Cluster]));
        signer.pending = view.all::<Node>().filter_map(task).collect();
        signer.take_up_cluster(cluster(&view, &signer.security.identity().cluster_id));
        drop(view);
        // What is asked for from here on is seen by the watcher.
        signing.send_if_modified(|signing| !std::mem::replace(signing, true));
        signer.follow(&mut watcher).await;
    }
}

/// Says that nobody signs any more, when the loop is dropped.
struct Stopped<'a>(&'a watch::Sender<bool>);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

struct Signer {
    store: Store,
    security: SecurityConfig,
    clock: Clock,
    /// Requests to answer.
    pending: BTreeMap<NodeId, Task>,
    /// `None` while the cluster object's root cannot be used.
    signers: Option<Arc<Signers>>,
}

impl Signer {
    /// Works off what is pending and what comes in. Returns when the watcher fell behind.
    async fn follow(&mut self, watcher: &mut Watcher) {
        let mut fresh = true;
        // Not begun anew with every commit: in a busy cluster it would never end.
        let mut retry = interval_at(Instant::now() + RETRY_INTERVAL, RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Ok(Some(commit)) = watcher.try_next() {
                fresh |= self.take_up(&commit);
            }
            if fresh && !self.pending.is_empty() {
                fresh = self.answer_some().await;
                continue;
            }
            tokio::select! {
                commit = watcher.next() => match commit {
                    Ok(commit) => fresh |= self.take_up(&commit),
                    Err(_) => return,
                },
                _ = retry.tick(), if !self.pending.is_empty() => fresh = true,
            }
        }
    }

    /// Notes what a commit asks for; says whether that was anything.
    fn take_up(&mut self, commit: &Commit) -> bool {
        let mut any = false;
        let own = self.security.identity().cluster_id;
        for event in &commit.events {
            match event {
                Event::Node(change) => {
                    let node_id = NodeId::from(change.id);
                    match change.new.as_ref().and_then(task) {
                        Some((_, task)) => {
                            any |= self.pending.get(&node_id) != Some(&task);
                            self.pending.insert(node_id, task);
                        }
                        None => drop(self.pending.remove(&node_id)),
                    }
                }
                Event::Cluster(change) => {
                    let settings = |c: &Cluster| {
                        let config = c.spec.as_ref().and_then(|spec| spec.ca_config.clone());
                        (c.root_ca.clone(), config)
                    };
                    let changed =
                        change.old.as_deref().map(settings) != change.new.as_deref().map(settings);
                    if change.id == own.into() && changed {
                        self.take_up_cluster(change.new.as_ref());
                        any = true;
                    }
                }
                _ => {}
            }
        }
        any
    }

    fn take_up_cluster(&mut self, cluster: Option<&Arc<Cluster>>) {
        let signers = cluster.map(|cluster| Signers::new(cluster, &self.security, &self.clock));
        self.signers = match signers {
            Some(Ok(signers)) => Some(Arc::new(signers)),
            Some(Err(error)) => {
                tracing::error!(error = %with_source(&error), "the cluster's root CA cannot be used: nothing is signed");
                None
            }
            None => None,
        };
    }

    /// Answers some of what is pending; says whether more can be done at once.
    async fn answer_some(&mut self) -> bool {
        let Some(signers) = self.signers.clone() else { return false };
        let tasks: Vec<Task> = self.pending.values().take(SIGN_BATCH).cloned().collect();
        let answers = sign(signers, tasks, self.security.identity()).await;
        let (mut written, mut delayed) = (Vec::new(), None);
        for (task, result) in answers {
            match result {
                Ok(chain) => written.push((task, State::Issued, chain, String::new())),
                Err(SignError::Never(why)) => {
                    tracing::warn!(node = %task.node_id, %why, "certificate request failed");
                    written.push((task, State::Failed, Bytes::new(), why));
                }
                Err(SignError::Later(why)) => delayed = Some(why),
            }
        }
        if let Some(why) = delayed {
            tracing::warn!(%why, "certificate requests wait; they are tried again");
        }
        let mut progress = false;
        let ids: Vec<NodeId> = written.iter().map(|(task, ..)| task.node_id).collect();
        let results = self.store.batch(written, |tx, (task, state, chain, err)| {
            let Some(node) = tx.get::<Node>(&task.node_id) else { return Ok(()) };
            // A newer request stands in its place: that one is answered next.
            if self::task(node).is_none_or(|(_, present)| present != task) {
                return Ok(());
            }
            tx.modify::<Node>(&task.node_id, |node| {
                let certificate = node.certificate.get_or_insert_default();
                certificate.status = Some(IssuanceStatus { state: state.into(), err });
                certificate.certificate = chain;
            })
            .map(|_| ())
        });
        let results: Vec<Result<(), UpdateError<StoreError>>> = results.await;
        for (node_id, result) in ids.into_iter().zip(results) {
            match result {
                // What has come in since stands in the events that are taken up next.
                Ok(()) => {
                    self.pending.remove(&node_id);
                    progress = true;
                }
                Err(error) => {
                    tracing::warn!(node = %node_id, %error, "a signed certificate was not written");
                }
            }
        }
        progress && !self.pending.is_empty()
    }
}

/// The node's request, if it waits for a signature and can be understood.
fn task(node: &Arc<Node>) -> Option<(NodeId, Task)> {
    if !needs_signature(node) {
        return None;
    }
    let node_id: NodeId = node.id.parse().ok()?;
    let certificate = node.certificate.as_ref()?;
    let task = Task { node_id, csr: certificate.csr.clone(), role: certificate.role().into() };
    Some((node_id, task))
}

/// Signs each, locally on a blocking thread, or side by side at external CAs.
async fn sign(signers: Arc<Signers>, tasks: Vec<Task>, own: Identity) -> Vec<Answer> {
    let identity = move |task: &Task| Identity {
        node_id: task.node_id,
        role: task.role,
        cluster_id: own.cluster_id,
    };
    if signers.asks_external() {
        let signers = &signers;
        return futures::stream::iter(tasks)
            .map(|task| async move {
                let csr = Csr::from_pem(task.csr.clone());
                let signed = signers.sign_externally(&csr, identity(&task)).await;
                (task, signed)
            })
            .buffer_unordered(EXTERNAL_CONCURRENCY)
            .collect()
            .await;
    }
    let signing = move || {
        let sign = |task: Task| {
            let signed = signers.sign_locally(&Csr::from_pem(task.csr.clone()), identity(&task));
            (task, signed)
        };
        tasks.into_iter().map(sign).collect()
    };
    // An aborted blocking task means that the runtime is going down: there is nothing to answer any more.
    tokio::task::spawn_blocking(signing).await.unwrap_or_default()
}
