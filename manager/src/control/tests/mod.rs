//! The Control service over a store that leads alone, as a client calls it. Every refusal is held against its code and
//! text, and must leave the store as it was.

mod absurd;
mod bad_objects;
mod bad_specs;
mod clusters;
mod extensions;
mod malformed;
mod networks;
mod nodes;
mod secrets;
mod services;
mod tasks;
mod updates;
mod volumes;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use skep_proto::swarmkit::{
    Annotations, CaConfig, Cluster, ClusterSpec, ContainerSpec, ReplicatedService, RootCa, Service,
    ServiceSpec, TaskSpec, Version, control_server::Control, service_spec::Mode,
    task_spec::Runtime,
};
use skep_store::{
    Object, Store,
    solo::{Solo, lead_alone},
};
use tonic::{Code, Response, Status};

use super::{CaChange, CaChangeError, ControlService};
use crate::test_group::TestGroup;

/// The time that the store's clock shows, in seconds since 1970.
const NOW: i64 = 1_800_000_000;

/// A Control service with everything around it in the hands of the test.
struct Harness {
    control: ControlService,
    store: Store,
    group: Arc<TestGroup>,
    ca: Arc<FakeCa>,
    _solo: Solo,
}

impl Harness {
    fn new() -> Harness {
        Harness::of(&[])
    }

    /// With these nodes in the raft group; the first one leads.
    fn of(managers: &[&str]) -> Harness {
        let now = UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
        let store = Store::new(Arc::new(move || now), StdRng::seed_from_u64(1));
        let solo = lead_alone(&store);
        let (group, ca) = (Arc::new(TestGroup::of(managers)), Arc::new(FakeCa::default()));
        let rng = StdRng::seed_from_u64(2);
        let control = ControlService::new(store.clone(), group.clone(), ca.clone(), rng);
        Harness { control, store, group, ca, _solo: solo }
    }

    /// Stores an object past the service.
    async fn put<T: Object>(&self, object: T) -> Arc<T> {
        self.store.update(|tx| tx.create(object)).await.unwrap()
    }

    fn get<T: Object>(&self, id: &str) -> Option<Arc<T>> {
        self.store.view().get_text::<T>(id).cloned()
    }

    /// The version of the log: nothing that was refused may move it.
    fn version(&self) -> u64 {
        self.store.view().version()
    }
}

/// Calls a method of the service and gives its reply.
macro_rules! done {
    ($harness:expr, $method:ident, $request:expr) => {
        Control::$method(&$harness.control, tonic::Request::new($request))
            .await
            .unwrap()
            .into_inner()
    };
}
use done;

/// Calls a method of the service, which must refuse and leave nothing behind, and gives code and text.
macro_rules! refused {
    ($harness:expr, $method:ident, $request:expr) => {{
        let before = $harness.version();
        let result = Control::$method(&$harness.control, tonic::Request::new($request)).await;
        assert_eq!($harness.version(), before, "a refused call wrote something");
        $crate::control::tests::refusal(result)
    }};
}
use refused;

fn refusal<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> (Code, String) {
    let status = result.expect_err("a refusal");
    (status.code(), status.message().to_owned())
}

fn says(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

fn stale() -> (Code, String) {
    says(Code::Unknown, "update out of sequence")
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

fn version_of<T: Object>(object: &T) -> Option<Version> {
    object.meta().and_then(|meta| meta.version)
}

fn container(image: &str) -> TaskSpec {
    let container = ContainerSpec { image: image.into(), ..Default::default() };
    TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
}

fn service_spec(name: &str) -> ServiceSpec {
    ServiceSpec {
        annotations: named(name),
        task: Some(container("nginx").into()),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

fn service(id: &str, spec: ServiceSpec) -> Service {
    Service { id: id.into(), spec: Some(spec), ..Default::default() }
}

/// The one cluster object, with id `c`.
fn cluster() -> Cluster {
    Cluster {
        id: "c".into(),
        spec: Some(ClusterSpec { annotations: named("default"), ..Default::default() }),
        root_ca: Some(RootCa { ca_cert: "root".into(), ..Default::default() }),
        ..Default::default()
    }
}

/// Answers every change of the CA config alike: with the present root, unless the test says otherwise.
#[derive(Default)]
struct FakeCa {
    answer: Mutex<Option<Result<RootCa, CaChangeError>>>,
    asked: Mutex<Vec<CaConfig>>,
}

#[async_trait]
impl CaChange for FakeCa {
    async fn change(&self, cluster: &Cluster, wanted: &CaConfig) -> Result<RootCa, CaChangeError> {
        self.asked.lock().push(wanted.clone());
        self.answer
            .lock()
            .clone()
            .unwrap_or_else(|| Ok(cluster.root_ca.clone().unwrap_or_default()))
    }
}

#[tokio::test]
async fn nothing_is_read_from_a_manager_that_may_be_behind() {
    use skep_proto::swarmkit::{GetClusterRequest, ListNodesRequest};
    let h = Harness::new();
    h.put(cluster()).await;
    h.group.set_leads(false);
    let behind = says(
        Code::Unavailable,
        "this manager cannot read the cluster's state now: this manager is not the leader of the raft group",
    );
    assert_eq!(refused!(h, get_cluster, GetClusterRequest { cluster_id: "c".into() }), behind);
    assert_eq!(refused!(h, list_nodes, ListNodesRequest::default()), behind);
}

#[tokio::test]
async fn a_write_after_leadership_is_lost_is_refused() {
    use skep_proto::swarmkit::CreateServiceRequest;
    let h = Harness::new();
    h.store.follow();
    let request = CreateServiceRequest { spec: Some(service_spec("web")) };
    assert_eq!(
        refused!(h, create_service, request),
        says(
            Code::Unavailable,
            "nothing was written: this manager is not the leader of the raft group"
        )
    );
}
