//! Transcripts of how services are connected: networks, published ports, endpoint modes and names.

use skep_proto::swarmkit::{
    Endpoint, NetworkAttachmentConfig, Service, TaskSpec, endpoint::VirtualIp,
    endpoint_spec::ResolutionMode, port_config::PublishMode,
};

use crate::support::{FakeDaemon, World};

/// A daemon with the networks `back` (network1) and `front` (network2).
fn daemon() -> FakeDaemon {
    let daemon = FakeDaemon::start(World::active());
    daemon.skep(&["network", "create", "back"]);
    daemon.skep(&["network", "create", "front"]);
    daemon
}

fn create(daemon: &FakeDaemon, options: &[&str]) -> String {
    let name = ["service", "create", "-d", "--name", "web"];
    daemon.skep(&[&name, options, &["nginx"]].concat())
}

fn update(daemon: &FakeDaemon, options: &[&str]) {
    assert_eq!(daemon.skep(&[&["service", "update", "-d"], options, &["web"]].concat()), "web\n");
}

fn service(daemon: &FakeDaemon) -> Service {
    daemon.world().services.last().unwrap().clone()
}

fn task(daemon: &FakeDaemon) -> TaskSpec {
    (*service(daemon).spec.unwrap().task.unwrap()).clone()
}

/// "network1 [alias] {option}" of each network that the tasks attach to.
fn networks(daemon: &FakeDaemon) -> Vec<String> {
    let shown = |network: &NetworkAttachmentConfig| {
        let NetworkAttachmentConfig { target, aliases, driver_attachment_opts, .. } = network;
        format!("{target} {aliases:?} {driver_attachment_opts:?}")
    };
    task(daemon).networks.iter().map(shown).collect()
}

/// "8080->80 host" of each port.
fn ports(daemon: &FakeDaemon) -> Vec<String> {
    let ports = service(daemon).spec.unwrap().endpoint.unwrap().ports;
    let shown = |port: &skep_proto::swarmkit::PortConfig| {
        let mode = match port.publish_mode() {
            PublishMode::Ingress => "ingress",
            PublishMode::Host => "host",
        };
        format!("{}->{} {mode}", port.published_port, port.target_port)
    };
    ports.iter().map(shown).collect()
}

#[test]
fn networks_are_named_shortly_or_with_aliases_and_options() {
    let daemon = daemon();
    create(
        &daemon,
        &["--network", "back", "--network", "name=front,alias=a,alias=b,driver-opt=x=y"],
    );
    assert_eq!(networks(&daemon), ["network1 [] {}", "network2 [\"a\", \"b\"] {\"x\": \"y\"}"]);
    update(&daemon, &["--network-rm", "back", "--network-add", "name=front,alias=c"]);
    assert_eq!(networks(&daemon), ["network2 [\"c\"] {}"]);
    update(&daemon, &["--network-add", "network1"]);
    assert_eq!(networks(&daemon), ["network2 [\"c\"] {}", "network1 [] {}"]);
    assert_eq!(
        create(&daemon, &["--network", "nowhere"]),
        "! Error: no such network: nowhere ('skep network ls' shows what there is)\nexit 1\n"
    );
    assert!(create(&daemon, &["--network", "name=back,colour=red"]).ends_with("exit 2\n"));
}

#[test]
fn networks_that_an_old_client_named_on_the_service_are_kept_when_one_is_added() {
    let daemon = daemon();
    create(&daemon, &[]);
    let old = NetworkAttachmentConfig { target: "network1".into(), ..Default::default() };
    daemon.world().services[0].spec.as_mut().unwrap().networks = vec![old];
    update(&daemon, &["--label-add", "a=1"]);
    assert!(networks(&daemon).is_empty());
    update(&daemon, &["--network-add", "front"]);
    assert_eq!(networks(&daemon), ["network1 [] {}", "network2 [] {}"]);
}

#[test]
fn ports_are_published_singly_and_in_ranges_in_either_mode() {
    let daemon = daemon();
    create(
        &daemon,
        &[
            "--publish",
            "8080-8081:80-81",
            "-p",
            "443",
            "--publish",
            "published=53,target=53,protocol=udp,mode=host",
        ],
    );
    assert_eq!(
        ports(&daemon),
        ["8080->80 ingress", "8081->81 ingress", "0->443 ingress", "53->53 host"]
    );
    update(&daemon, &["--publish-rm", "80-81", "--publish-add", "mode=host,target=9000"]);
    assert_eq!(ports(&daemon), ["0->443 ingress", "53->53 host", "0->9000 host"]);
    update(&daemon, &["--publish-rm", "target=9000,mode=ingress"]);
    assert_eq!(ports(&daemon).len(), 3);
    update(&daemon, &["--publish-rm", "9000", "--publish-rm", "53/udp"]);
    assert_eq!(ports(&daemon), ["0->443 ingress"]);
}

#[test]
fn names_resolve_to_one_address_or_to_those_of_the_tasks() {
    let daemon = daemon();
    create(&daemon, &["--endpoint-mode", "dnsrr", "--network", "back"]);
    let mode = |daemon: &FakeDaemon| service(daemon).spec.unwrap().endpoint.unwrap().mode();
    assert_eq!(mode(&daemon), ResolutionMode::Dnsrr);
    update(&daemon, &["--endpoint-mode", "vip"]);
    assert_eq!(mode(&daemon), ResolutionMode::Vip);
    assert!(create(&daemon, &["--endpoint-mode", "anycast"]).ends_with("exit 2\n"));
}

#[test]
fn containers_are_told_their_names_and_where_to_look_others_up() {
    let daemon = daemon();
    create(
        &daemon,
        &[
            "--hostname",
            "{{.Service.Name}}-{{.Task.Slot}}",
            "--dns=1.1.1.1",
            "--dns-option=ndots:2",
            "--dns-search=example.org",
            "--host=db:10.0.0.9",
        ],
    );
    let fields = "{{.Spec.TaskTemplate.ContainerSpec.Hostname}} \
                  {{json .Spec.TaskTemplate.ContainerSpec.DNSConfig}} \
                  {{json .Spec.TaskTemplate.ContainerSpec.Hosts}}";
    assert_eq!(
        daemon.skep(&["service", "inspect", "web", "-f", fields]),
        "{{.Service.Name}}-{{.Task.Slot}} {\"Nameservers\":[\"1.1.1.1\"],\"Search\":[\"example.org\"],\
         \"Options\":[\"ndots:2\"]} [\"10.0.0.9 db\"]\n"
    );
    update(&daemon, &["--dns-rm=1.1.1.1", "--dns-add=9.9.9.9", "--dns-search-rm=example.org"]);
    let fields = "{{json .Spec.TaskTemplate.ContainerSpec.DNSConfig}}";
    assert_eq!(
        daemon.skep(&["service", "inspect", "web", "-f", fields]),
        "{\"Nameservers\":[\"9.9.9.9\"],\"Options\":[\"ndots:2\"]}\n"
    );
}

#[test]
fn people_are_shown_the_networks_the_addresses_and_the_ports() {
    let daemon = daemon();
    create(&daemon, &["--network", "back", "--network", "front", "--publish", "80"]);
    let ip = |network_id: &str, addr: &str| VirtualIp {
        network_id: network_id.into(),
        addr: addr.into(),
    };
    daemon.world().services[0].endpoint = Some(
        Endpoint {
            ports: vec![skep_proto::swarmkit::PortConfig {
                published_port: 30000,
                target_port: 80,
                ..Default::default()
            }],
            virtual_ips: vec![
                ip("network1", "10.0.1.2/24"),
                ip("gone", "10.0.7.2/24"),
                ip("h", ""),
            ],
            ..Default::default()
        }
        .into(),
    );
    let shown = daemon.skep(&["service", "inspect", "--pretty", "web"]);
    let (_, tail) = shown.split_once("Networks:").unwrap();
    assert_eq!(
        tail,
        "       back front
Endpoint Mode:  vip
Virtual IPs:
 back:          10.0.1.2/24
 gone:          10.0.7.2/24
Ports:
 PublishedPort: 30000
  Protocol:     tcp
  TargetPort:   80
  PublishMode:  ingress
"
    );
}

#[test]
fn a_task_that_waits_for_an_address_says_so() {
    let daemon = daemon();
    create(&daemon, &["--network", "back"]);
    let text = "network back has no free address: 10.0.1.0/29 is used up";
    {
        let mut world = daemon.world();
        let status = world.tasks[0].status.as_mut().unwrap();
        status.state = skep_proto::swarmkit::TaskState::New.into();
        status.err = text.into();
    }
    let fields = "{{.Error}}";
    assert_eq!(daemon.skep(&["service", "ps", "web", "--format", fields]), format!("{text}\n"));
    assert!(daemon.skep(&["service", "ps", "--no-trunc", "web"]).contains(text));
}
