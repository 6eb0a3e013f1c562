//! Updates of services, and the way back.

use skep_proto::swarmkit::{
    EndpointSpec, GlobalService, JobStatus, Network, NetworkAttachmentConfig, NetworkSpec,
    PortConfig, ReplicatedJob, UpdateServiceRequest, UpdateStatus,
    update_service_request::Rollback, update_status::UpdateState,
};

use super::*;

fn update(h: &Harness, id: &str, spec: ServiceSpec) -> UpdateServiceRequest {
    UpdateServiceRequest {
        service_id: id.into(),
        service_version: version_of(&*h.get::<Service>(id).unwrap()),
        spec: Some(spec),
        rollback: Rollback::None.into(),
    }
}

fn image(image: &str) -> ServiceSpec {
    ServiceSpec { task: Some(container(image).into()), ..service_spec("web") }
}

#[tokio::test]
async fn an_update_keeps_the_spec_before_it() {
    let h = Harness::new();
    let status = UpdateStatus { state: UpdateState::Paused.into(), ..Default::default() };
    let first = h
        .put(Service {
            update_status: Some(status),
            spec_version: Some(Version { index: 5 }),
            ..service("s", image("one"))
        })
        .await;
    let updated = done!(h, update_service, update(&h, "s", image("two"))).service.unwrap();
    assert_eq!((updated.spec, updated.previous_spec), (Some(image("two")), Some(image("one"))));
    assert_eq!(updated.spec_version, version_of(&*first), "the version that the client saw");
    assert_eq!(updated.previous_spec_version, Some(Version { index: 5 }));
    assert_eq!(updated.update_status, None);
}

#[tokio::test]
async fn a_rollback_swaps_the_two_specs() {
    let h = Harness::new();
    h.put(service("s", image("one"))).await;
    let back = |h: &Harness| UpdateServiceRequest {
        rollback: Rollback::Previous.into(),
        ..update(h, "s", image("x"))
    };
    assert_eq!(
        refused!(h, update_service, back(&h)),
        says(Code::FailedPrecondition, "service s does not have a previous spec")
    );
    let second = done!(h, update_service, update(&h, "s", image("two"))).service.unwrap();
    let rolled = done!(h, update_service, back(&h)).service.unwrap();
    assert_eq!((rolled.spec, rolled.previous_spec), (Some(image("one")), Some(image("two"))));
    assert_eq!(rolled.spec_version, second.previous_spec_version);
    assert_eq!(rolled.previous_spec_version, second.spec_version);
    let status = rolled.update_status.unwrap();
    assert_eq!(status.state(), UpdateState::RollbackStarted);
    assert_eq!(status.message, "manually requested rollback");
    assert_eq!(status.started_at.unwrap().seconds, NOW);
    let unknown = UpdateServiceRequest { rollback: 2, ..update(&h, "s", image("x")) };
    assert_eq!(
        refused!(h, update_service, unknown),
        says(Code::InvalidArgument, "rollback 2 is not a known value")
    );
}

#[tokio::test]
async fn what_the_loops_cannot_follow_is_refused() {
    let h = Harness::new();
    let network = |target: &str| {
        vec![NetworkAttachmentConfig { target: target.into(), ..Default::default() }]
    };
    for id in ["n1", "n2"] {
        let spec = Some(NetworkSpec { annotations: named(id), ..Default::default() });
        h.put(Network { id: id.into(), spec, ..Default::default() }).await;
    }
    let old_field = |target: &str| ServiceSpec { networks: network(target), ..image("one") };
    h.put(service("s", old_field("n1"))).await;
    let other = ServiceSpec { annotations: named("other"), ..old_field("n1") };
    let global = ServiceSpec { mode: Some(Mode::Global(GlobalService {})), ..old_field("n1") };
    let good = || update(&h, "s", old_field("n1"));
    for (request, expected) in [
        (update(&h, "s", other), says(Code::Unimplemented, "renaming services is not supported")),
        (
            update(&h, "s", global),
            says(
                Code::Unimplemented,
                "service mode change is not allowed: remove the service and create it in the other mode",
            ),
        ),
        (
            update(&h, "s", old_field("n2")),
            says(
                Code::Unimplemented,
                "changing network in service is not supported: name the networks in the task's spec instead",
            ),
        ),
        (
            UpdateServiceRequest { service_id: "t".into(), ..good() },
            says(Code::NotFound, "service t not found"),
        ),
        (
            UpdateServiceRequest { service_id: String::new(), ..good() },
            says(Code::InvalidArgument, "the id of the service must be provided"),
        ),
        (
            UpdateServiceRequest { service_version: None, ..good() },
            says(
                Code::InvalidArgument,
                "the version of the service must be provided: the one that the change is based on",
            ),
        ),
        (UpdateServiceRequest { service_version: Some(Version { index: 999 }), ..good() }, stale()),
        (
            UpdateServiceRequest { spec: None, ..good() },
            says(Code::InvalidArgument, "the service's spec is missing"),
        ),
    ] {
        assert_eq!(refused!(h, update_service, request), expected);
    }
    // The way out of the old field, and changes of the task's own networks.
    let task = |target: &str| TaskSpec { networks: network(target), ..container("one") };
    let moved =
        ServiceSpec { networks: network("n2"), task: Some(task("n1").into()), ..image("one") };
    done!(h, update_service, update(&h, "s", moved.clone()));
    let changed = ServiceSpec { task: Some(task("n2").into()), ..moved };
    done!(h, update_service, update(&h, "s", changed));
}

#[tokio::test]
async fn each_update_of_a_job_is_a_new_run() {
    let h = Harness::new();
    let spec =
        ServiceSpec { mode: Some(Mode::ReplicatedJob(ReplicatedJob::default())), ..image("one") };
    let run = JobStatus { job_iteration: Some(Version { index: 6 }), ..Default::default() };
    h.put(Service { job_status: Some(run), ..service("j", spec.clone()) }).await;
    let status =
        done!(h, update_service, update(&h, "j", spec)).service.unwrap().job_status.unwrap();
    assert_eq!(status.job_iteration, Some(Version { index: 7 }));
    assert_eq!(status.last_execution.unwrap().seconds, NOW);
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_not_rolled_back_to() {
    let h = Harness::new();
    let host = |published_port| {
        let port =
            PortConfig { target_port: 80, published_port, publish_mode: 1, ..Default::default() };
        Some(EndpointSpec { ports: vec![port], ..Default::default() })
    };
    h.put(service("s", ServiceSpec { endpoint: host(80), ..image("one") })).await;
    // Its own port is no clash.
    done!(h, update_service, update(&h, "s", ServiceSpec { endpoint: host(80), ..image("two") }));
    done!(h, update_service, update(&h, "s", image("two")));
    let ingress = |published_port| {
        let port = PortConfig { target_port: 80, published_port, ..Default::default() };
        Some(EndpointSpec { ports: vec![port], ..Default::default() })
    };
    h.put(service("o", ServiceSpec { endpoint: ingress(80), ..service_spec("other") })).await;
    let back = UpdateServiceRequest { rollback: 1, ..update(&h, "s", image("two")) };
    assert_eq!(
        refused!(h, update_service, back),
        says(
            Code::InvalidArgument,
            "port '80' is already in use by service 'other' (o) as an ingress port"
        )
    );
}

#[tokio::test]
async fn a_port_needs_the_ingress_network_on_update_too() {
    let h = Harness::new();
    h.put(service("s", image("one"))).await;
    let port = PortConfig { target_port: 80, ..Default::default() };
    let endpoint = Some(EndpointSpec { ports: vec![port], ..Default::default() });
    assert_eq!(
        refused!(h, update_service, update(&h, "s", ServiceSpec { endpoint, ..image("one") })),
        says(
            Code::FailedPrecondition,
            "service needs ingress network, but no ingress network is present"
        )
    );
}
