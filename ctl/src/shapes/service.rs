//! A service as `docker service inspect` shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::shared::Shared;
use skep_proto::swarmkit::{
    self, ContainerSpec, PortConfig, ServiceSpec, TaskSpec, config_reference,
    container_spec::Isolation,
    endpoint_spec::ResolutionMode,
    mount,
    placement_preference::Preference,
    port_config::{Protocol, PublishMode},
    privileges::credential_spec::Source,
    secret_reference,
    service_spec::Mode,
    task_spec::Runtime,
};

use super::{Driver, Meta, nanoseconds, pruned, task::generic, value, words};

#[derive(Serialize)]
struct Service<'s> {
    #[serde(rename = "ID")]
    id: &'s str,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "PreviousSpec", skip_serializing_if = "Option::is_none")]
    previous_spec: Option<Spec>,
    #[serde(rename = "Endpoint")]
    endpoint: Value,
    #[serde(rename = "UpdateStatus", skip_serializing_if = "Option::is_none")]
    update_status: Option<Value>,
    #[serde(rename = "JobStatus", skip_serializing_if = "Option::is_none")]
    job_status: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    labels: BTreeMap<String, String>,
    task_template: Value,
    mode: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_config: Option<Value>,
    endpoint_spec: Value,
}

/// The service in Docker's shape.
pub fn inspected(service: &swarmkit::Service) -> Value {
    let endpoint = service.endpoint.clone().unwrap_or_default();
    let vip = |vip: &swarmkit::endpoint::VirtualIp| json!({ "NetworkID": vip.network_id, "Addr": vip.addr });
    value(&Service {
        id: &service.id,
        meta: (&service.meta).into(),
        spec: spec(service.spec.clone().unwrap_or_default()),
        previous_spec: service.previous_spec.clone().map(spec),
        endpoint: json!({
            "Spec": endpoint_spec(endpoint.spec.as_ref()),
            "Ports": endpoint.ports.iter().map(port).collect::<Vec<_>>(),
            "VirtualIPs": endpoint.virtual_ips.iter().map(vip).collect::<Vec<_>>(),
        }),
        update_status: service.update_status.as_ref().map(update_status),
        job_status: service.job_status.as_ref().map(|job| {
            pruned(json!({
                "JobIteration": { "Index": job.job_iteration.unwrap_or_default().index },
                "LastExecution": job.last_execution.as_ref().map(ToString::to_string),
            }))
        }),
    })
}

/// A spec in the shape that an inspected service has it in.
pub fn spec_value(spec: ServiceSpec) -> Value {
    value(&self::spec(spec))
}

fn update_status(status: &swarmkit::UpdateStatus) -> Value {
    pruned(json!({
        "State": words::update_state(status.state()),
        "StartedAt": status.started_at.as_ref().map(ToString::to_string),
        "CompletedAt": status.completed_at.as_ref().map(ToString::to_string),
        "Message": status.message,
    }))
}

/// The word of a service's mode.
pub fn mode(mode: Option<&Mode>) -> &'static str {
    match mode {
        Some(Mode::Replicated(_)) | None => "replicated",
        Some(Mode::Global(_)) => "global",
        Some(Mode::ReplicatedJob(_)) => "replicated-job",
        Some(Mode::GlobalJob(_)) => "global-job",
    }
}

fn spec(spec: ServiceSpec) -> Spec {
    let annotations = spec.annotations.unwrap_or_default();
    Spec {
        name: annotations.name,
        labels: annotations.labels,
        task_template: task(Shared::into_message(spec.task.unwrap_or_default())),
        mode: match spec.mode {
            Some(Mode::Replicated(r)) => json!({ "Replicated": { "Replicas": r.replicas } }),
            Some(Mode::Global(_)) => json!({ "Global": {} }),
            Some(Mode::ReplicatedJob(job)) => json!({ "ReplicatedJob": {
                "MaxConcurrent": job.max_concurrent,
                "TotalCompletions": job.total_completions,
            } }),
            Some(Mode::GlobalJob(_)) => json!({ "GlobalJob": {} }),
            None => json!({}),
        },
        update_config: spec.update.as_ref().map(update),
        rollback_config: spec.rollback.as_ref().map(update),
        endpoint_spec: endpoint_spec(spec.endpoint.as_ref()),
    }
}

/// What each task of a service is to be.
pub fn task(task: TaskSpec) -> Value {
    let networks: Vec<Value> = task
        .networks
        .iter()
        .map(|n| {
            pruned(json!({
                "Target": n.target,
                "Aliases": n.aliases,
                "DriverOpts": n.driver_attachment_opts,
            }))
        })
        .collect();
    let placement = task.placement.unwrap_or_default();
    let container = match &task.runtime {
        Some(Runtime::Container(spec)) => container(spec),
        _ => Value::Null,
    };
    pruned(json!({
        "ContainerSpec": container,
        "Resources": task.resources.as_ref().map(|r| pruned(json!({
            "Limits": r.limits.as_ref().map(amount),
            "Reservations": r.reservations.as_ref().map(amount),
        }))),
        "RestartPolicy": task.restart.as_ref().map(|r| pruned(json!({
            "Condition": words::restart_condition(r.condition()),
            "Delay": nanoseconds(&r.delay),
            "MaxAttempts": r.max_attempts,
            "Window": nanoseconds(&r.window),
        }))),
        "Placement": pruned(json!({
            "Constraints": placement.constraints,
            "Preferences": placement.preferences.iter().map(preference).collect::<Vec<_>>(),
            "MaxReplicas": (placement.max_replicas > 0).then_some(placement.max_replicas),
        })),
        "Networks": networks,
        "LogDriver": task.log_driver.as_ref().map(Driver::from),
        "ForceUpdate": task.force_update,
        "Runtime": "container",
    }))
}

fn container(spec: &ContainerSpec) -> Value {
    let file = |file: &swarmkit::FileTarget| json!({ "Name": file.name, "UID": file.uid, "GID": file.gid, "Mode": file.mode });
    let secret = |secret: &swarmkit::SecretReference| {
        let target = match &secret.target {
            Some(secret_reference::Target::File(target)) => file(target),
            None => Value::Null,
        };
        json!({ "File": target, "SecretID": secret.secret_id, "SecretName": secret.secret_name })
    };
    let config = |config: &swarmkit::ConfigReference| {
        let target = match &config.target {
            Some(config_reference::Target::File(target)) => file(target),
            Some(config_reference::Target::Runtime(_)) | None => Value::Null,
        };
        json!({ "File": target, "ConfigID": config.config_id, "ConfigName": config.config_name })
    };
    pruned(json!({
        "Image": spec.image,
        "Labels": spec.labels,
        "Command": spec.command,
        "Args": spec.args,
        "Hostname": spec.hostname,
        "Env": spec.env,
        "Dir": spec.dir,
        "User": spec.user,
        "Groups": spec.groups,
        "Privileges": spec.privileges.as_ref().map(privileges),
        "Init": spec.init,
        "TTY": spec.tty.then_some(true),
        "ReadOnly": spec.read_only.then_some(true),
        "StopSignal": spec.stop_signal,
        "StopGracePeriod": nanoseconds(&spec.stop_grace_period),
        "Healthcheck": spec.healthcheck.as_ref().map(health),
        "Hosts": spec.hosts,
        "DNSConfig": spec.dns_config.as_ref().map(|dns| pruned(json!({
            "Nameservers": dns.nameservers,
            "Search": dns.search,
            "Options": dns.options,
        }))),
        "Isolation": match spec.isolation() {
            Isolation::Default => "default",
            Isolation::Process => "process",
            Isolation::Hyperv => "hyperv",
        },
        "PidsLimit": given(spec.pids_limit),
        "OomScoreAdj": given(spec.oom_score_adj),
        "Sysctls": spec.sysctls,
        "CapabilityAdd": spec.capability_add,
        "CapabilityDrop": spec.capability_drop,
        "Ulimits": spec.ulimits.iter().map(|ulimit| json!({
            "Name": ulimit.name,
            "Soft": ulimit.soft,
            "Hard": ulimit.hard,
        })).collect::<Vec<_>>(),
        "Mounts": spec.mounts.iter().map(mounted).collect::<Vec<_>>(),
        "Secrets": spec.secrets.iter().map(secret).collect::<Vec<_>>(),
        "Configs": spec.configs.iter().map(config).collect::<Vec<_>>(),
    }))
}

fn mounted(mount: &swarmkit::Mount) -> Value {
    pruned(json!({
        "Type": mount_type(mount.r#type()),
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.readonly.then_some(true),
        "BindOptions": mount.bind_options.as_ref().map(|bind| pruned(json!({
            "Propagation": bind.propagation().as_str_name().to_ascii_lowercase(),
            "NonRecursive": bind.nonrecursive.then_some(true),
            "ReadOnlyNonRecursive": bind.readonlynonrecursive.then_some(true),
            "ReadOnlyForceRecursive": bind.readonlyforcerecursive.then_some(true),
        }))),
        "VolumeOptions": mount.volume_options.as_ref().map(|volume| pruned(json!({
            "NoCopy": volume.nocopy.then_some(true),
            "Labels": volume.labels,
            "Subpath": volume.subpath,
            "DriverConfig": volume.driver_config.as_ref().map(Driver::from),
        }))),
        "TmpfsOptions": mount.tmpfs_options.as_ref().map(|tmpfs| pruned(json!({
            "SizeBytes": given(tmpfs.size_bytes),
            "Mode": given(tmpfs.mode.into()),
        }))),
    }))
}

fn health(health: &swarmkit::HealthConfig) -> Value {
    pruned(json!({
        "Test": health.test,
        "Interval": nanoseconds(&health.interval),
        "Timeout": nanoseconds(&health.timeout),
        "StartPeriod": nanoseconds(&health.start_period),
        "StartInterval": nanoseconds(&health.start_interval),
        "Retries": given(health.retries.into()),
    }))
}

fn privileges(privileges: &swarmkit::Privileges) -> Value {
    let source = privileges.credential_spec.as_ref().and_then(|spec| spec.source.as_ref());
    pruned(json!({
        "CredentialSpec": source.map(|source| match source {
            Source::File(name) => json!({ "File": name }),
            Source::Registry(name) => json!({ "Registry": name }),
            Source::Config(id) => json!({ "Config": id }),
        }),
        "NoNewPrivileges": privileges.no_new_privileges.then_some(true),
    }))
}

fn preference(preference: &swarmkit::PlacementPreference) -> Value {
    match &preference.preference {
        Some(Preference::Spread(spread)) => {
            json!({ "Spread": { "SpreadDescriptor": spread.spread_descriptor } })
        }
        None => json!({}),
    }
}

/// Nothing for zero, which stands for what was not given.
fn given(amount: i64) -> Option<i64> {
    (amount != 0).then_some(amount)
}

fn amount(resources: &swarmkit::Resources) -> Value {
    pruned(json!({
        "NanoCPUs": given(resources.nano_cpus),
        "MemoryBytes": given(resources.memory_bytes),
        "GenericResources": resources.generic.iter().map(generic).collect::<Vec<_>>(),
    }))
}

fn update(config: &swarmkit::UpdateConfig) -> Value {
    json!({
        "Parallelism": config.parallelism,
        "Delay": nanoseconds(&config.delay).unwrap_or_default(),
        "FailureAction": words::failure_action(config.failure_action()),
        "Monitor": nanoseconds(&config.monitor).unwrap_or_default(),
        "MaxFailureRatio": config.max_failure_ratio,
        "Order": words::update_order(config.order()),
    })
}

fn endpoint_spec(spec: Option<&swarmkit::EndpointSpec>) -> Value {
    let spec = spec.cloned().unwrap_or_default();
    pruned(json!({
        "Mode": resolution_mode(spec.mode()),
        "Ports": spec.ports.iter().map(port).collect::<Vec<_>>(),
    }))
}

/// A published port.
pub fn port(port: &PortConfig) -> Value {
    pruned(json!({
        "Name": port.name,
        "Protocol": protocol(port.protocol()),
        "TargetPort": port.target_port,
        "PublishedPort": port.published_port,
        "PublishMode": publish_mode(port.publish_mode()),
    }))
}

/// The word for how a service's name is resolved.
pub fn resolution_mode(mode: ResolutionMode) -> &'static str {
    match mode {
        ResolutionMode::Vip => "vip",
        ResolutionMode::Dnsrr => "dnsrr",
    }
}

/// The word of a port's protocol.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The word for where a port is published.
pub fn publish_mode(mode: PublishMode) -> &'static str {
    match mode {
        PublishMode::Ingress => "ingress",
        PublishMode::Host => "host",
    }
}

/// The word for what is mounted.
pub fn mount_type(kind: mount::Type) -> &'static str {
    match kind {
        mount::Type::Bind => "bind",
        mount::Type::Volume => "volume",
        mount::Type::Tmpfs => "tmpfs",
        mount::Type::Npipe => "npipe",
        mount::Type::Cluster => "cluster",
    }
}
