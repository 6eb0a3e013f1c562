//! Services: creating, listing, removing, their ports and their statuses.

use skep_proto::swarmkit::{
    CreateServiceRequest, Endpoint, EndpointSpec, FileTarget, GetServiceRequest, GlobalJob,
    GlobalService, JobStatus, ListServiceStatusesRequest, ListServicesRequest, Network,
    NetworkAttachmentConfig, NetworkSpec, Node, NodeSpec, NodeStatus, PortConfig,
    RemoveServiceRequest, ReplicatedJob, SecretReference, Task, TaskState, TaskStatus,
    list_services_request::Filters,
    node_spec::Availability,
    node_status::State,
    port_config::{Protocol, PublishMode},
    secret_reference,
};

use super::*;

fn create(spec: ServiceSpec) -> CreateServiceRequest {
    CreateServiceRequest { spec: Some(spec) }
}

fn port(published_port: u32, mode: PublishMode) -> PortConfig {
    PortConfig { target_port: 80, published_port, publish_mode: mode.into(), ..Default::default() }
}

fn publishing(name: &str, port: PortConfig) -> ServiceSpec {
    let endpoint = EndpointSpec { ports: vec![port], ..Default::default() };
    ServiceSpec { endpoint: Some(endpoint), ..service_spec(name) }
}

async fn with_ingress() -> Harness {
    let h = Harness::new();
    let spec = NetworkSpec { annotations: named("ingress"), ingress: true, ..Default::default() };
    h.put(Network { id: "net".into(), spec: Some(spec), ..Default::default() }).await;
    h
}

#[tokio::test]
async fn a_service_is_created_shown_and_removed() {
    let h = Harness::new();
    let created = done!(h, create_service, create(service_spec("web"))).service.unwrap();
    assert_eq!(created.spec_version, Some(Version::default()));
    assert!(
        created.meta.is_some() && created.job_status.is_none() && created.previous_spec.is_none()
    );
    let get = || GetServiceRequest { service_id: created.id.clone(), insert_defaults: false };
    assert_eq!(done!(h, get_service, get()).service.unwrap(), created);
    assert_eq!(
        refused!(h, create_service, create(service_spec("web"))),
        says(Code::AlreadyExists, "service web already exists")
    );
    assert_eq!(
        refused!(h, create_service, CreateServiceRequest { spec: None }),
        says(Code::InvalidArgument, "the service's spec is missing")
    );
    let remove = || RemoveServiceRequest { service_id: created.id.clone() };
    done!(h, remove_service, remove());
    assert_eq!(
        refused!(h, remove_service, remove()),
        says(Code::NotFound, &format!("service {} not found", created.id))
    );
    assert_eq!(refused!(h, get_service, get()).0, Code::NotFound);
}

#[tokio::test]
async fn a_job_starts_with_its_first_run() {
    let h = Harness::new();
    for mode in [Mode::GlobalJob(GlobalJob {}), Mode::ReplicatedJob(ReplicatedJob::default())] {
        let name = format!("job{}", h.version());
        let job = ServiceSpec { mode: Some(mode), ..service_spec(&name) };
        let status = done!(h, create_service, create(job)).service.unwrap().job_status.unwrap();
        assert_eq!(status.job_iteration, Some(Version { index: 0 }));
        assert_eq!(status.last_execution.unwrap().seconds, NOW);
    }
}

#[tokio::test]
async fn defaults_are_shown_on_request_and_never_stored() {
    let h = Harness::new();
    let id = done!(h, create_service, create(service_spec("web"))).service.unwrap().id;
    let request = GetServiceRequest { service_id: id.clone(), insert_defaults: true };
    let spec = done!(h, get_service, request).service.unwrap().spec.unwrap();
    let update = spec.update.unwrap();
    assert_eq!((update.parallelism, update.monitor.unwrap().seconds), (1, 5));
    let task = spec.task.unwrap();
    let restart = task.restart.unwrap();
    assert_eq!((restart.condition, restart.delay.unwrap().seconds), (2, 5));
    let Some(Runtime::Container(container)) = &task.runtime else { panic!("a container") };
    assert_eq!(container.stop_grace_period.as_ref().unwrap().seconds, 10);
    assert_eq!(h.get::<Service>(&id).unwrap().spec, Some(service_spec("web")));
}

#[tokio::test]
async fn services_are_filtered() {
    let h = Harness::new();
    for name in ["web", "web2", "db"] {
        let mut spec = service_spec(name);
        spec.annotations.as_mut().unwrap().labels = [("of".to_owned(), name.to_owned())].into();
        h.put(service(name, spec)).await;
    }
    let none = Filters::default;
    for (filters, expected) in [
        (none(), &["db", "web", "web2"][..]),
        (Filters { names: vec!["web".into()], ..none() }, &["web"]),
        (Filters { name_prefixes: vec!["we".into()], ..none() }, &["web", "web2"]),
        (Filters { id_prefixes: vec!["d".into(), "web2".into()], ..none() }, &["db", "web2"]),
        (Filters { labels: [("of".into(), "db".into())].into(), ..none() }, &["db"]),
        (Filters { runtimes: vec!["container".into()], ..none() }, &["db", "web", "web2"]),
        (Filters { runtimes: vec!["attachment".into()], ..none() }, &[]),
    ] {
        let request = ListServicesRequest { filters: Some(filters.clone()) };
        let ids: Vec<_> =
            done!(h, list_services, request).services.into_iter().map(|s| s.id).collect();
        assert_eq!(ids, expected, "{filters:?}");
    }
}

#[tokio::test]
async fn an_ingress_port_is_published_by_one_service() {
    use PublishMode::{Host, Ingress};
    let h = with_ingress().await;
    h.put(service("in", publishing("front", port(80, Ingress)))).await;
    h.put(service("ho", publishing("node", port(90, Host)))).await;
    // Its port was chosen by the managers.
    let mut chosen = service("ch", publishing("chosen", port(0, Ingress)));
    chosen.endpoint =
        Some(Endpoint { ports: vec![port(30_000, Ingress)], ..Default::default() }.into());
    h.put(chosen).await;
    for (wanted, expected) in [
        (
            port(80, Ingress),
            Some("port '80' is already in use by service 'front' (in) as an ingress port"),
        ),
        (
            port(80, Host),
            Some("port '80' is already in use by service 'front' (in) as an ingress port"),
        ),
        (
            port(90, Ingress),
            Some("port '90' is already in use by service 'node' (ho) as a host-published port"),
        ),
        (
            port(30_000, Ingress),
            Some("port '30000' is already in use by service 'chosen' (ch) as an ingress port"),
        ),
        (port(90, Host), None),
        (PortConfig { protocol: Protocol::Udp.into(), ..port(80, Ingress) }, None),
        (port(0, Ingress), None),
    ] {
        let request = create(publishing(&format!("s{}", h.version()), wanted));
        match expected {
            Some(text) => {
                assert_eq!(refused!(h, create_service, request), says(Code::InvalidArgument, text));
            }
            None => drop(done!(h, create_service, request)),
        }
    }
}

#[tokio::test]
async fn of_two_services_that_want_one_port_at_once_one_gets_it() {
    let h = with_ingress().await;
    let one = |name: &str| {
        let request = tonic::Request::new(create(publishing(name, port(80, PublishMode::Ingress))));
        Control::create_service(&h.control, request)
    };
    let (a, b) = tokio::join!(one("a"), one("b"));
    assert!(a.is_ok());
    assert_eq!(b.err().unwrap().code(), Code::InvalidArgument);
    assert_eq!(h.store.view().count::<Service>(), 1);
}

#[tokio::test]
async fn a_published_port_needs_the_ingress_network() {
    let h = Harness::new();
    let missing = says(
        Code::FailedPrecondition,
        "service needs ingress network, but no ingress network is present",
    );
    let request = create(publishing("web", port(80, PublishMode::Ingress)));
    assert_eq!(refused!(h, create_service, request), missing);
    done!(h, create_service, create(publishing("host", port(80, PublishMode::Host))));
}

#[tokio::test]
async fn what_a_service_refers_to_must_be_there() {
    let h = with_ingress().await;
    let file = FileTarget { name: "f".into(), ..Default::default() };
    let reference = SecretReference {
        secret_id: "nope".into(),
        secret_name: "key".into(),
        target: Some(secret_reference::Target::File(file)),
    };
    let with_secret =
        ContainerSpec { image: "nginx".into(), secrets: vec![reference], ..Default::default() };
    let task = TaskSpec { runtime: Some(Runtime::Container(with_secret)), ..Default::default() };
    let spec = ServiceSpec { task: Some(task.into()), ..service_spec("web") };
    assert_eq!(
        refused!(h, create_service, create(spec)),
        says(Code::InvalidArgument, "secret not found: \"key\"; create it first")
    );
    let attached = |target: &str| {
        let networks =
            vec![NetworkAttachmentConfig { target: target.into(), ..Default::default() }];
        ServiceSpec {
            task: Some(TaskSpec { networks, ..container("nginx") }.into()),
            ..service_spec("web")
        }
    };
    assert_eq!(
        refused!(h, create_service, create(attached("net"))),
        says(
            Code::InvalidArgument,
            "Service cannot be explicitly attached to the ingress network \"net\"; publish a port instead"
        )
    );
    assert_eq!(
        refused!(h, create_service, create(attached("not-yet"))),
        says(
            Code::InvalidArgument,
            "network not found: \"not-yet\"; create it first, and name it by its id"
        )
    );
}

#[tokio::test]
async fn statuses_count_tasks() {
    let h = Harness::new();
    let with_mode =
        |id: &str, mode| service(id, ServiceSpec { mode: Some(mode), ..service_spec(id) });
    h.put(service("replicated", service_spec("replicated"))).await;
    let mut global = with_mode("global", Mode::Global(GlobalService {}));
    let task = global.spec.get_or_insert_default().task.get_or_insert_default();
    task.placement.get_or_insert_default().constraints = vec!["node.id!=other".into()];
    h.put(global).await;
    h.put(with_mode("global-job", Mode::GlobalJob(GlobalJob {}))).await;
    // One has no task yet, one keeps its own though it gets no new ones, one is down, and one is not meant by "global".
    for (id, state, availability) in [
        ("new", State::Ready, Availability::Active),
        ("runs", State::Ready, Availability::Active),
        ("paused", State::Ready, Availability::Pause),
        ("down", State::Down, Availability::Active),
        ("other", State::Ready, Availability::Active),
    ] {
        h.put(Node {
            id: id.into(),
            spec: Some(NodeSpec { availability: availability.into(), ..Default::default() }),
            status: Some(NodeStatus { state: state.into(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }
    let run = |index| Some(Version { index });
    let job = Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 3, total_completions: 9 });
    h.put(Service {
        job_status: Some(JobStatus { job_iteration: run(2), ..Default::default() }),
        ..with_mode("job", job)
    })
    .await;
    let mut tasks = 0;
    for (service_id, node_id, state, desired, iteration) in [
        ("replicated", "runs", TaskState::Running, TaskState::Running, None),
        ("replicated", "runs", TaskState::Failed, TaskState::Shutdown, None),
        ("global", "runs", TaskState::Pending, TaskState::Running, None),
        ("global", "paused", TaskState::Running, TaskState::Running, None),
        ("global", "down", TaskState::Running, TaskState::Shutdown, None),
        ("global-job", "paused", TaskState::Complete, TaskState::Complete, None),
        ("job", "runs", TaskState::Complete, TaskState::Complete, run(2)),
        ("job", "runs", TaskState::Running, TaskState::Complete, run(2)),
        ("job", "runs", TaskState::Complete, TaskState::Remove, run(1)),
    ] {
        tasks += 1;
        h.put(Task {
            id: format!("t{tasks}"),
            service_id: service_id.into(),
            node_id: node_id.into(),
            desired_state: desired.into(),
            job_iteration: iteration,
            status: Some(TaskStatus { state: state.into(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }
    let services = ["job", "nope", "replicated", "global", "global-job", "a b", "job"]
        .map(String::from)
        .to_vec();
    let reply = done!(h, list_service_statuses, ListServiceStatusesRequest { services });
    let counts: Vec<_> = reply
        .statuses
        .iter()
        .map(|s| (s.service_id.as_str(), s.desired_tasks, s.running_tasks, s.completed_tasks))
        .collect();
    assert_eq!(
        counts,
        [
            ("job", 3, 1, 1),
            ("nope", 0, 0, 0),
            ("replicated", 2, 1, 0),
            ("global", 3, 2, 0),
            ("global-job", 4, 0, 1),
            ("a b", 0, 0, 0),
            ("job", 3, 1, 1)
        ]
    );
    let many = ListServiceStatusesRequest { services: vec![String::new(); 100_001] };
    assert_eq!(
        refused!(h, list_service_statuses, many),
        says(
            Code::InvalidArgument,
            "the status of 100001 services is asked for; at most 100000 are allowed"
        )
    );
}
