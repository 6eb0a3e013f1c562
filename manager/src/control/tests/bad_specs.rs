//! Bad specs of services, as a client sends them: for each rule the code and the text, and nothing left behind.

use skep_proto::{
    prost_types::Duration,
    swarmkit::{
        ConfigReference, CreateServiceRequest, EndpointSpec, FileTarget, GenericResource,
        GlobalJob, HealthConfig, Mount, NamedGenericResource, NetworkAttachmentConfig,
        NetworkAttachmentSpec, Placement, PortConfig, ReplicatedJob, ResourceRequirements,
        Resources, RestartPolicy, SecretReference, UpdateConfig, config_reference,
        endpoint_spec::ResolutionMode, generic_resource::Resource, mount, secret_reference,
    },
};

use super::*;

/// A spec with one thing changed.
fn but(change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = service_spec("web");
    change(&mut spec);
    spec
}

fn but_task(change: impl FnOnce(&mut TaskSpec)) -> ServiceSpec {
    but(|spec| change(spec.task.get_or_insert_default()))
}

fn but_container(change: impl FnOnce(&mut ContainerSpec)) -> ServiceSpec {
    but_task(|task| match &mut task.runtime {
        Some(Runtime::Container(container)) => change(container),
        other => panic!("no container but {other:?}"),
    })
}

fn limits(change: impl FnOnce(&mut Resources)) -> ServiceSpec {
    let mut limits = Resources::default();
    change(&mut limits);
    let requirements = ResourceRequirements { limits: Some(limits), ..Default::default() };
    but_task(|task| task.resources = Some(requirements))
}

fn ports(mode: ResolutionMode, ports: &[(u32, u32)]) -> ServiceSpec {
    let port = |&(published_port, target_port): &(u32, u32)| PortConfig {
        published_port,
        target_port,
        ..Default::default()
    };
    let ports = ports.iter().map(port).collect();
    but(|spec| spec.endpoint = Some(EndpointSpec { mode: mode.into(), ports }))
}

fn mounts(targets: &[&str]) -> ServiceSpec {
    let mount = |target: &&str| Mount {
        r#type: mount::Type::Volume.into(),
        target: (*target).into(),
        ..Default::default()
    };
    but_container(|container| container.mounts = targets.iter().map(mount).collect())
}

fn secrets(targets: &[&str]) -> ServiceSpec {
    let secret = |target: &&str| SecretReference {
        secret_id: "nowhere".into(),
        secret_name: "key".into(),
        target: Some(secret_reference::Target::File(file(target))),
    };
    but_container(|container| container.secrets = targets.iter().map(secret).collect())
}

fn configs(targets: &[&str]) -> ServiceSpec {
    let config = |target: &&str| ConfigReference {
        config_id: "nowhere".into(),
        config_name: "motd".into(),
        target: Some(config_reference::Target::File(file(target))),
    };
    but_container(|container| container.configs = targets.iter().map(config).collect())
}

fn file(name: &str) -> FileTarget {
    FileTarget { name: name.into(), ..Default::default() }
}

fn env(variable: &str) -> ServiceSpec {
    but_container(|container| container.env = vec![variable.into()])
}

fn update(change: impl FnOnce(&mut UpdateConfig)) -> ServiceSpec {
    let mut config = UpdateConfig::default();
    change(&mut config);
    but(|spec| spec.update = Some(config))
}

fn mode(mode: Mode) -> ServiceSpec {
    but(|spec| spec.mode = Some(mode))
}

/// Each bad spec with the code and the beginning of the text that it gets.
fn table() -> Vec<(ServiceSpec, Code, &'static str)> {
    use Code::{FailedPrecondition, InvalidArgument as Bad, Unimplemented};
    let negative = Some(Duration { seconds: -1, nanos: 0 });
    let named = GenericResource {
        resource: Some(Resource::NamedResourceSpec(NamedGenericResource {
            kind: "gpu".into(),
            value: "a".into(),
        })),
    };
    let job = |total_completions| {
        Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 1, total_completions })
    };
    let replicas = |replicas| Mode::Replicated(ReplicatedService { replicas });
    let vip = ResolutionMode::Vip;
    vec![
        // What a service is.
        (but(|s| s.annotations = None), Bad, "service: the name is missing"),
        (
            but(|s| s.annotations = super::named("a b")),
            Bad,
            "service: the name \"a b\" must be valid as a DNS name",
        ),
        (
            but(|s| s.annotations = super::named(&"a".repeat(64))),
            Bad,
            "service: the name must be 63 characters or fewer",
        ),
        (but(|s| s.task = None), Bad, "the task part of the service's spec is missing"),
        (but(|s| s.mode = None), Bad, "the service has no mode"),
        (mode(replicas(u64::MAX)), Bad, "18446744073709551615 replicas are too many"),
        (mode(job(1_000_001)), Bad, "1000001 completions are too many"),
        (
            but(|s| {
                s.mode = Some(Mode::GlobalJob(GlobalJob {}));
                s.update = Some(UpdateConfig::default());
            }),
            Bad,
            "Jobs may not have an update config",
        ),
        (
            but_container(|c| c.args = vec!["x".repeat(600_000)]),
            Bad,
            "the service's spec takes 600",
        ),
        // What runs.
        (but_task(|t| t.runtime = None), Bad, "the task's spec has no runtime"),
        (
            but_task(|t| t.runtime = Some(Runtime::Attachment(NetworkAttachmentSpec::default()))),
            Unimplemented,
            "a service cannot run network attachments",
        ),
        (but_container(|c| c.image.clear()), Bad, "container: an image reference must be provided"),
        (
            but_container(|c| c.image = "No Image".into()),
            Bad,
            "container: \"No Image\" is not a valid",
        ),
        (but_container(|c| c.isolation = 9), Bad, "isolation 9 is not a known value"),
        (but_container(|c| c.oom_score_adj = 2000), Bad, "container: OOM score adjustment 2000"),
        (but_container(|c| c.pids_limit = -2), Bad, "container: pids limit -2"),
        (
            but_container(|c| {
                c.healthcheck = Some(HealthConfig { retries: -1, ..Default::default() });
            }),
            Bad,
            "health check retries cannot be negative",
        ),
        (
            but_container(|c| c.stop_grace_period = negative),
            Bad,
            "stop grace period cannot be negative",
        ),
        (mounts(&["/a", "/a"]), Bad, "container: duplicate mount point: \"/a\""),
        (mounts(&[""]), Bad, "container: a mount has no target"),
        // Templates.
        (
            but_container(|c| c.hostname = "n-{{.Node.Nope}}".into()),
            Bad,
            "the hostname is not a template: there is no field \".Node.Nope\" (in the action at character 3)",
        ),
        (env("A={{"), Bad, "the environment variable \"A\" is not a template: unclosed action"),
        (
            env("A={{secret \"x\"}}"),
            Bad,
            "the environment variable \"A\" is not a template: function",
        ),
        (mounts(&["/{{.Task.Slot"]), Bad, "the target of the mount at \"/{{.Task.Slot\" is not a"),
        // What it refers to.
        (secrets(&["f", "f"]), Bad, "secret \"key\" has a conflicting target: \"f\""),
        (secrets(&["f"]), Bad, "secret not found: \"key\"; create it first"),
        (configs(&["f", "f"]), Bad, "config \"motd\" has a conflicting target: \"f\""),
        (configs(&["f"]), Bad, "config not found: \"motd\"; create it first"),
        (
            but_task(|t| {
                t.networks = vec![NetworkAttachmentConfig {
                    target: "nowhere".into(),
                    ..Default::default()
                }];
            }),
            Bad,
            "network not found: \"nowhere\"; create it first",
        ),
        // What it takes.
        (limits(|r| r.nano_cpus = 999_999), Bad, "resource limits: invalid cpu value 0.000999999"),
        (limits(|r| r.nano_cpus = -1), Bad, "resource limits: invalid cpu value"),
        (limits(|r| r.memory_bytes = 1024), Bad, "resource limits: invalid memory value 1024"),
        (
            limits(|r| r.generic = vec![named]),
            Bad,
            "resource limits: a task cannot ask for a generic",
        ),
        (
            but_task(|t| {
                t.placement =
                    Some(Placement { constraints: vec!["node.id=x".into()], ..Default::default() });
            }),
            Bad,
            "constraint expected one operator from ==, !=",
        ),
        // Ports.
        (ports(vip, &[(80, 0)]), Bad, "target port 0 is not a port"),
        (ports(vip, &[(70_000, 80)]), Bad, "published port 70000 is not a port"),
        (ports(vip, &[(80, 80), (80, 81)]), Bad, "port 80/tcp is published twice"),
        (
            ports(ResolutionMode::Dnsrr, &[(80, 80)]),
            Bad,
            "a port published in ingress mode can't be used with the endpoint mode dnsrr",
        ),
        (ports(vip, &[(80, 80)]), FailedPrecondition, "service needs ingress network, but no"),
        // How it moves.
        (
            but_task(|t| t.restart = Some(RestartPolicy { condition: 7, ..Default::default() })),
            Bad,
            "restart condition 7 is not a known value",
        ),
        (
            but_task(|t| t.restart = Some(RestartPolicy { delay: negative, ..Default::default() })),
            Bad,
            "restart delay cannot be negative",
        ),
        (update(|u| u.max_failure_ratio = f32::NAN), Bad, "update maximum failure ratio"),
        (update(|u| u.delay = negative), Bad, "update delay cannot be negative"),
        (update(|u| u.monitor = negative), Bad, "update monitor period cannot be negative"),
        (update(|u| u.failure_action = 5), Bad, "update failure action 5 is not a known value"),
    ]
}

#[tokio::test]
async fn each_bad_spec_is_refused_with_what_to_change() {
    let h = Harness::new();
    for (spec, code, text) in table() {
        let request = CreateServiceRequest { spec: Some(spec) };
        let (given, said) = refused!(h, create_service, request);
        assert!(said.starts_with(text), "expected {text:?}, but it says {said:?}");
        assert_eq!(given, code, "{said}");
    }
    assert_eq!(h.store.view().count::<Service>(), 0);
}

#[tokio::test]
async fn an_update_to_a_bad_spec_leaves_the_service_as_it_was() {
    use skep_proto::swarmkit::UpdateServiceRequest;
    let h = Harness::new();
    let request = CreateServiceRequest { spec: Some(service_spec("web")) };
    let created = done!(h, create_service, request).service.unwrap();
    for (spec, ..) in table() {
        let request = UpdateServiceRequest {
            service_id: created.id.clone(),
            service_version: version_of(&created),
            spec: Some(spec),
            rollback: 0,
        };
        let _ = refused!(h, update_service, request);
    }
    assert_eq!(*h.get::<Service>(&created.id).unwrap(), created);
}
