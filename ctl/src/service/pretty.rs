//! A service for people: what was asked for and how far it is, a line each, under Docker's headings.

use std::collections::BTreeMap;

use skep_proto::{
    prost_types,
    swarmkit::{
        ContainerSpec, EndpointSpec, Mount, Placement, PortConfig, Resources, Service, TaskSpec,
        UpdateConfig, generic_resource::Resource, placement_preference::Preference,
        service_spec::Mode, task_spec::Runtime, update_status::UpdateState,
    },
};

use super::{quantities, words::duration_text};
use crate::{
    errors::one_line,
    page::Page,
    shapes::{self, time, words},
};

/// The service; `networks` gives the names of networks by id.
pub fn lines(service: &Service, networks: &BTreeMap<String, String>) -> Vec<String> {
    let spec = service.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let task = spec.task.unwrap_or_default();
    let mut page = Page::default();
    page.value(0, "ID", &service.id);
    page.value(0, "Name", &annotations.name);
    page.pairs("Labels", &annotations.labels);
    mode(&mut page, spec.mode.as_ref());
    update_status(&mut page, service);
    placement(&mut page, task.placement.as_ref());
    update(&mut page, "Update", spec.update.as_ref());
    update(&mut page, "Rollback", spec.rollback.as_ref());
    if let Some(Runtime::Container(container)) = &task.runtime {
        self::container(&mut page, container);
    }
    restart(&mut page, &task);
    resources(&mut page, &task);
    let name = |id: &String| networks.get(id).unwrap_or(id).clone();
    let attached: Vec<String> =
        spec.networks.iter().chain(&task.networks).map(|network| name(&network.target)).collect();
    page.value(0, "Networks", attached.join(" "));
    endpoint(&mut page, spec.endpoint.as_ref(), service, name);
    page.into_lines()
}

fn mode(page: &mut Page, mode: Option<&Mode>) {
    page.value(0, "Service Mode", words::capitalized(shapes::service::mode(mode)));
    match mode {
        Some(Mode::Replicated(replicated)) => {
            page.value(1, "Replicas", replicated.replicas.to_string());
        }
        Some(Mode::ReplicatedJob(job)) => {
            page.value(1, "Max Concurrent", job.max_concurrent.to_string());
            page.value(1, "Total Completions", job.total_completions.to_string());
        }
        Some(Mode::Global(_) | Mode::GlobalJob(_)) | None => {}
    }
}

fn update_status(page: &mut Page, service: &Service) {
    let Some(status) = &service.update_status else { return };
    page.heading(0, "UpdateStatus");
    page.value(1, "State", words::update_state(status.state()));
    page.value(1, "Started", time::ago_or_nothing(status.started_at.as_ref()));
    if matches!(status.state(), UpdateState::Completed | UpdateState::RollbackCompleted) {
        page.value(1, "Completed", time::ago_or_nothing(status.completed_at.as_ref()));
    }
    page.value(1, "Message", &status.message);
}

fn placement(page: &mut Page, placement: Option<&Placement>) {
    let Some(placement) = placement.filter(|placement| **placement != Placement::default()) else {
        return;
    };
    page.heading(0, "Placement");
    page.value(1, "Constraints", placement.constraints.join(", "));
    let spread = placement.preferences.iter().filter_map(|preference| {
        let Preference::Spread(spread) = preference.preference.as_ref()?;
        Some(format!("spread={}", spread.spread_descriptor))
    });
    page.value(1, "Preferences", spread.collect::<Vec<_>>().join(", "));
    if placement.max_replicas > 0 {
        page.value(1, "Max Replicas Per Node", placement.max_replicas.to_string());
    }
}

fn update(page: &mut Page, name: &str, config: Option<&UpdateConfig>) {
    let Some(config) = config else { return };
    page.heading(0, &format!("{name}Config"));
    page.value(1, "Parallelism", config.parallelism.to_string());
    page.value(1, "Delay", nonzero(&config.delay));
    page.value(1, "On failure", words::failure_action(config.failure_action()));
    page.value(1, "Monitoring Period", nonzero(&config.monitor));
    page.value(1, "Max failure ratio", config.max_failure_ratio.to_string());
    page.value(1, &format!("{name} order"), words::update_order(config.order()));
}

fn container(page: &mut Page, spec: &ContainerSpec) {
    page.heading(0, "ContainerSpec");
    page.value(1, "Image", &spec.image);
    page.value(1, "Command", spec.command.join(" "));
    page.value(1, "Args", spec.args.join(" "));
    page.value(1, "Env", spec.env.join(" "));
    page.value(1, "Dir", &spec.dir);
    page.value(1, "User", &spec.user);
    page.value(1, "Groups", spec.groups.join(" "));
    page.value(1, "Hostname", &spec.hostname);
    page.value(1, "Hosts", spec.hosts.join(", "));
    page.value(1, "Stop Signal", &spec.stop_signal);
    page.value(1, "Stop Grace", nonzero(&spec.stop_grace_period));
    page.value(1, "Capabilities", capabilities(spec));
    if !spec.mounts.is_empty() {
        page.heading(0, "Mounts");
        spec.mounts.iter().for_each(|mount| self::mount(page, mount));
    }
    let secrets = spec.secrets.iter().map(|s| s.secret_name.as_str());
    page.value(0, "Secrets", secrets.collect::<Vec<_>>().join(" "));
    let configs = spec.configs.iter().map(|c| c.config_name.as_str());
    page.value(0, "Configs", configs.collect::<Vec<_>>().join(" "));
}

fn capabilities(spec: &ContainerSpec) -> String {
    let add = spec.capability_add.iter().map(|capability| format!("+{capability}"));
    let drop = spec.capability_drop.iter().map(|capability| format!("-{capability}"));
    add.chain(drop).collect::<Vec<_>>().join(" ")
}

fn mount(page: &mut Page, mount: &Mount) {
    page.value(1, "Target", &mount.target);
    page.value(2, "Source", &mount.source);
    page.value(2, "ReadOnly", mount.readonly.to_string());
    page.value(2, "Type", shapes::service::mount_type(mount.r#type()));
}

fn restart(page: &mut Page, task: &TaskSpec) {
    let Some(policy) = &task.restart else { return };
    page.heading(0, "RestartPolicy");
    page.value(1, "Condition", words::restart_condition(policy.condition()));
    page.value(1, "Delay", nonzero(&policy.delay));
    if policy.max_attempts > 0 {
        page.value(1, "Max attempts", policy.max_attempts.to_string());
    }
    page.value(1, "Window", nonzero(&policy.window));
}

fn resources(page: &mut Page, task: &TaskSpec) {
    let Some(resources) = &task.resources else { return };
    let given = [("Reservations", &resources.reservations), ("Limits", &resources.limits)];
    let given: Vec<(&str, &Resources)> = given
        .into_iter()
        .filter_map(|(name, amounts)| Some((name, amounts.as_ref()?)))
        .filter(|(_, amounts)| **amounts != Resources::default())
        .collect();
    if given.is_empty() {
        return;
    }
    page.heading(0, "Resources");
    for (name, amounts) in given {
        page.heading(1, name);
        if amounts.nano_cpus != 0 {
            page.value(2, "CPU", quantities::cpus_text(amounts.nano_cpus));
        }
        if amounts.memory_bytes != 0 {
            page.value(2, "Memory", quantities::memory_text(amounts.memory_bytes));
        }
        for generic in &amounts.generic {
            match &generic.resource {
                Some(Resource::DiscreteResourceSpec(counted)) => {
                    page.value(2, &one_line(&counted.kind), counted.value.to_string());
                }
                Some(Resource::NamedResourceSpec(named)) => {
                    page.value(2, &one_line(&named.kind), &named.value);
                }
                None => {}
            }
        }
    }
}

/// How it is reached: with the ports that the managers chose, once they have.
fn endpoint(
    page: &mut Page,
    spec: Option<&EndpointSpec>,
    service: &Service,
    network_name: impl Fn(&String) -> String,
) {
    let mode = spec.map(|spec| spec.mode()).unwrap_or_default();
    page.value(0, "Endpoint Mode", shapes::service::resolution_mode(mode));
    let addresses = service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
    // A network that every node makes by itself has no address.
    let mut addresses = addresses.filter(|ip| !ip.addr.is_empty()).peekable();
    if addresses.peek().is_some() {
        page.heading(0, "Virtual IPs");
        addresses.for_each(|ip| page.value(1, &one_line(&network_name(&ip.network_id)), &ip.addr));
    }
    let chosen = service.endpoint.as_ref().map(|endpoint| &endpoint.ports);
    let asked = spec.map(|spec| &spec.ports);
    let Some(ports) = chosen.filter(|ports| !ports.is_empty()).or(asked) else { return };
    if ports.is_empty() {
        return;
    }
    page.heading(0, "Ports");
    for port in ports {
        published(page, port);
    }
}

fn published(page: &mut Page, port: &PortConfig) {
    page.value(1, "PublishedPort", port.published_port.to_string());
    page.value(2, "Protocol", shapes::service::protocol(port.protocol()));
    page.value(2, "TargetPort", port.target_port.to_string());
    page.value(2, "PublishMode", shapes::service::publish_mode(port.publish_mode()));
}

/// A duration in Go's way; nothing for none.
fn nonzero(duration: &Option<prost_types::Duration>) -> String {
    let duration = duration.and_then(|d| std::time::Duration::try_from(d).ok());
    duration.filter(|d| !d.is_zero()).map(duration_text).unwrap_or_default()
}
