//! Specs of absurd size: refused with what is too much of what, or stored whole and usable.

use std::time::Instant;

use skep_proto::swarmkit::{
    CreateServiceRequest, EndpointSpec, Mount, Placement, PortConfig, UpdateServiceRequest, mount,
    port_config::PublishMode, update_service_request::Rollback,
};

use super::{super::validate, *};

fn but(change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = service_spec("web");
    change(&mut spec);
    spec
}

fn but_container(change: impl FnOnce(&mut ContainerSpec)) -> ServiceSpec {
    but(|spec| match &mut spec.task.get_or_insert_default().runtime {
        Some(Runtime::Container(container)) => change(container),
        other => panic!("no container but {other:?}"),
    })
}

fn env(count: usize) -> ServiceSpec {
    but_container(|c| c.env = (0..count).map(|n| format!("VARIABLE_{n}=1")).collect())
}

fn mounts(count: usize) -> ServiceSpec {
    but_container(|c| {
        let mount = |n| Mount {
            r#type: mount::Type::Tmpfs.into(),
            target: format!("/{n}"),
            ..Default::default()
        };
        c.mounts = (0..count).map(mount).collect();
    })
}

/// Ports on the tasks' own nodes, which need no ingress network.
fn ports(count: u32) -> ServiceSpec {
    let port = |n| PortConfig {
        target_port: n,
        published_port: n,
        publish_mode: PublishMode::Host.into(),
        ..Default::default()
    };
    let ports = (1..=count).map(port).collect();
    but(|spec| spec.endpoint = Some(EndpointSpec { ports, ..Default::default() }))
}

fn constraints(count: usize) -> ServiceSpec {
    but(|spec| {
        let constraints = vec!["node.role==worker".to_owned(); count];
        let task = spec.task.get_or_insert_default();
        task.placement = Some(Placement { constraints, ..Default::default() });
    })
}

#[tokio::test]
async fn what_is_too_much_is_named() {
    let h = Harness::new();
    let table = [
        (env(60_000), "the service's spec takes "),
        (mounts(60_000), "the service's spec takes "),
        (ports(20_000), "the list of the service's ports takes "),
        (constraints(2_000), "2000 placement constraints are too many: at most 1000 are allowed"),
        (but_container(|c| c.image = "x".repeat(1 << 20)), "the service's spec takes "),
        (but_container(|c| c.image = "x".repeat(400 << 10)), "container: \"xxx"),
        (but_container(|c| c.hostname = "{{".repeat(100 << 10)), "the hostname is not a template"),
        (but_container(|c| c.env = vec!["{{".repeat(100 << 10)]), "the environment variable \"{{"),
        (but(|s| s.annotations = named(&"x".repeat(1 << 20))), "service: the name has 1048576"),
        (
            but(|s| {
                s.mode = Some(Mode::Replicated(ReplicatedService { replicas: u64::MAX }));
            }),
            "18446744073709551615 replicas are too many: at most 1000000 are allowed",
        ),
    ];
    for (spec, text) in table {
        let began = Instant::now();
        let request = CreateServiceRequest { spec: Some(spec) };
        let (code, said) = refused!(h, create_service, request);
        assert!(said.starts_with(text), "expected {text:?}, but it says {said:?}");
        assert_eq!(code, Code::InvalidArgument, "{said}");
        assert!(said.len() < 400, "a text for people, not {} bytes of it", said.len());
        // On a busy machine; what grows with the square of the size would take minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{said}");
    }
}

#[tokio::test]
async fn the_largest_that_is_taken_is_stored_updated_and_rolled_back() {
    let h = Harness::new();
    for large in [env(20_000), mounts(20_000), ports(4_000), constraints(1_000)] {
        let mut large = large;
        // Up to the limit of a spec, and different each time.
        let filled = |mut spec: ServiceSpec, with: &str| {
            let room = validate::SPEC_BYTES_MAX - prost::Message::encoded_len(&spec);
            if let Some(Runtime::Container(container)) =
                &mut spec.task.get_or_insert_default().runtime
            {
                container.args.push(with.repeat(room.saturating_sub(64)));
            }
            spec
        };
        let name = format!("web{}", h.version());
        large.annotations = named(&name);
        let request = CreateServiceRequest { spec: Some(filled(large.clone(), "a")) };
        let created = done!(h, create_service, request).service.unwrap();
        for (with, rollback) in
            [("b", Rollback::None), ("c", Rollback::None), ("c", Rollback::Previous)]
        {
            let stored = h.get::<Service>(&created.id).unwrap();
            let request = UpdateServiceRequest {
                service_id: created.id.clone(),
                service_version: version_of(&*stored),
                spec: Some(filled(large.clone(), with)),
                rollback: rollback.into(),
            };
            done!(h, update_service, request);
        }
        let stored = h.get::<Service>(&created.id).unwrap();
        assert_eq!(stored.spec, Some(filled(large, "b")));
    }
}
