//! Transcripts of `skep network`.

use skep_proto::{
    skep::{
        AddressHolder, AddressHolderKind, NetworkCheckResponse, NetworkFinding, NetworkUsage,
        SubnetUsage,
    },
    swarmkit::{Network, network_spec::ConfigFrom},
};
use tonic::Status;

use crate::support::{FakeDaemon, World};

fn daemon() -> FakeDaemon {
    FakeDaemon::start(World::active())
}

/// One with an overlay network `back` that a service uses, an unused one `old`, the ingress network and `host`.
fn with_networks() -> FakeDaemon {
    let daemon = daemon();
    for create in [
        &["back", "--attachable", "--label", "tier=db"][..],
        &["old"],
        &["front", "--ingress"],
        &["host", "--driver", "host", "--label", "com.docker.swarm.predefined=true"],
    ] {
        daemon.skep(&[&["network", "create"], create].concat());
    }
    daemon.world().usages.insert("network1".into(), usage());
    daemon
}

fn usage() -> NetworkUsage {
    let holder =
        |kind: AddressHolderKind, address: &str, name: &str, hostname: &str| AddressHolder {
            kind: kind.into(),
            address: address.into(),
            name: name.into(),
            hostname: hostname.into(),
            ..AddressHolder::default()
        };
    NetworkUsage {
        network_id: "network1".into(),
        name: "back".into(),
        subnets: vec![SubnetUsage {
            subnet: "10.0.1.0/24".into(),
            gateway: "10.0.1.1".into(),
            vxlan_id: 4097,
            total: 254,
            used: 5,
            free: 249,
            ..SubnetUsage::default()
        }],
        services_total: 1,
        tasks_total: 2,
        nodes_total: 1,
        holders: vec![
            holder(AddressHolderKind::Gateway, "10.0.1.1", "", ""),
            holder(AddressHolderKind::Service, "10.0.1.2", "web", ""),
            holder(AddressHolderKind::Task, "10.0.1.3", "web.1", "worker-1"),
            holder(AddressHolderKind::Node, "10.0.1.4", "worker-1", ""),
        ],
        holders_total: 5,
        ..NetworkUsage::default()
    }
}

fn created(daemon: &FakeDaemon) -> Network {
    daemon.world().networks.last().unwrap().clone()
}

#[test]
fn a_network_is_an_overlay_unless_told_otherwise() {
    let daemon = daemon();
    let create = [
        "network",
        "create",
        "--subnet",
        "10.9.0.0/24,fd00::/64",
        "--gateway",
        "fd00::1",
        "--gateway",
        "10.9.0.1",
        "--ip-range=10.9.0.128/25",
        "--aux-address",
        "router=10.9.0.5",
        "--ipv6",
        "--attachable",
        "--internal",
        "--opt",
        "encrypted",
        "--label=tier=db",
        "--ipam-opt=serial=true",
        "--scope=swarm",
        "--ipv4",
        "back",
    ];
    assert_eq!(daemon.skep(&create), "network1\n");
    let fields = "{{.Driver}} {{.Attachable}} {{.Internal}} {{.EnableIPv6}} {{json .IPAM.Options}} {{json .Options}} \
                  {{json .Labels}}";
    assert_eq!(
        daemon.skep(&["network", "inspect", "back", "-f", fields]),
        "overlay true true true {\"serial\":\"true\"} {\"encrypted\":\"\"} {\"tier\":\"db\"}\n"
    );
    assert_eq!(
        daemon.skep(&["network", "inspect", "back", "-f", "{{json .IPAM.Config}}"]),
        "[{\"Subnet\":\"10.9.0.0/24\",\"IPRange\":\"10.9.0.128/25\",\"Gateway\":\"10.9.0.1\",\
         \"AuxiliaryAddresses\":{\"router\":\"10.9.0.5\"}},{\"Subnet\":\"fd00::/64\",\"Gateway\":\"fd00::1\"}]\n"
    );
}

#[test]
fn a_network_of_the_engines_own_takes_its_configuration_there() {
    let daemon = daemon();
    daemon.skep(&["network", "create", "-d", "macvlan", "--config-from", "uplink", "lan"]);
    let spec = created(&daemon).spec.unwrap();
    assert_eq!(spec.config_from, Some(ConfigFrom::Network("uplink".into())));
    assert_eq!(
        daemon.skep(&["network", "inspect", "lan", "-f", "{{.Driver}} {{.ConfigFrom.Network}}"]),
        "macvlan uplink\n"
    );
}

#[test]
fn what_a_swarm_has_no_notion_of_is_refused_with_the_reason() {
    let daemon = daemon();
    for (options, expected) in [
        (
            &["--config-only"][..],
            "--config-only: a network that is only a configuration belongs to a single engine: make it on each with \
             'docker network create --config-only', and name it here with --config-from",
        ),
        (
            &["--scope", "local"],
            "--scope local: the managers know networks of scope swarm; one of a single engine is made there, with \
             'docker network create'",
        ),
        (&["--ipv4=false"], "--ipv4=false: leave it out, and name subnets of IPv6 only (--subnet)"),
        (&["--gateway", "10.9.0.1"], "--gateway 10.9.0.1: it lies in no --subnet"),
        (
            &["--subnet=10.9.0.0/16", "--subnet=10.9.1.0/24"],
            "--subnet 10.9.1.0/24 overlaps 10.9.0.0/16",
        ),
    ] {
        assert_eq!(
            daemon.skep(&[&["network", "create"], options, &["x"]].concat()),
            format!("! Error: {expected}\nexit 2\n")
        );
    }
    for wrong in ["--subnet=10.9.0.0/33", "--gateway=here", "--aux-address=10.9.0.1"] {
        assert!(daemon.skep(&["network", "create", wrong, "x"]).ends_with("exit 2\n"), "{wrong}");
    }
    assert!(daemon.world().networks.is_empty());
}

#[test]
fn networks_are_listed_and_filtered() {
    let daemon = with_networks();
    assert_eq!(
        daemon.skep(&["network", "ls"]),
        "\
NETWORK ID   NAME    DRIVER    SCOPE
network1     back    overlay   swarm
network3     front   overlay   swarm
network4     host    host      swarm
network2     old     overlay   swarm
"
    );
    for (filters, expected) in [
        (&["driver=host"][..], "host"),
        (&["driver=host", "driver=overlay"], "back front host old"),
        (&["type=builtin"], "host"),
        (&["type=custom"], "back front old"),
        (&["type=custom", "name=ba"], "back"),
        (&["id=network2"], "old"),
        (&["scope=swarm"], "back front host old"),
        (&["scope=local"], ""),
        (&["dangling=false"], "back"),
        (&["dangling=true", "type=custom"], "front old"),
    ] {
        let filters = filters.iter().flat_map(|filter| ["-f", filter]).collect::<Vec<_>>();
        let shown = daemon
            .skep(&[&["network", "ls", "--format", "{{.Name}}"], filters.as_slice()].concat());
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{filters:?}");
    }
    assert_eq!(
        daemon.skep(&["network", "ls", "-f", "colour=red"]),
        "! Error: --filter colour=red: write KEY=VALUE; the keys are id, name, label, driver, scope, type and dangling\n\
         exit 2\n"
    );
    assert_eq!(
        daemon.skep(&["network", "ls", "-f", "type=odd"]),
        "! Error: --filter type=odd: write type=custom or type=builtin\nexit 2\n"
    );
}

#[test]
fn long_ids_are_cut_for_people_only() {
    let daemon = daemon();
    daemon.skep(&["network", "create", "back"]);
    let id = "0123456789abcdefghijklmno";
    daemon.world().networks[0].id = id.into();
    assert!(daemon.skep(&["network", "ls"]).contains("\n0123456789ab   back"));
    assert!(daemon.skep(&["network", "ls", "--no-trunc"]).contains(id));
    assert_eq!(daemon.skep(&["network", "ls", "-q"]), format!("{id}\n"));
    let json = daemon.skep(&["network", "ls", "--format", "json"]);
    assert!(json.contains(id) && json.contains("\"Internal\":false"), "{json}");
}

#[test]
fn an_inspection_tells_how_much_is_in_use_and_by_whom() {
    let daemon = with_networks();
    let inspect =
        |options: &[&str]| daemon.skep(&[&["network", "inspect", "back"], options].concat());
    assert_eq!(
        inspect(&["-f", "{{json .Usage}}"]),
        "{\"Subnets\":[{\"Subnet\":\"10.0.1.0/24\",\"IPRange\":\"\",\"Gateway\":\"10.0.1.1\",\"VXLANID\":4097,\
         \"Total\":254,\"Used\":5,\"Free\":249}],\"Services\":1,\"Tasks\":2,\"Nodes\":1,\"Waits\":\"\"}\n"
    );
    let holders = inspect(&["--verbose", "-f", "{{json .Usage.Holders}}"]);
    assert!(
        holders.contains(
            "{\"Address\":\"10.0.1.3\",\"Kind\":\"task\",\"ID\":\"\",\"Name\":\"web.1\",\"NodeID\":\"\",\
             \"Hostname\":\"worker-1\"}"
        ),
        "{holders}"
    );
    assert_eq!(
        inspect(&["--pretty", "--verbose"]),
        "\
ID:             network1
Name:           back
Labels:
 tier=db
Driver:         overlay
Kind:           attachable
Subnet:         10.0.1.0/24
 Gateway:       10.0.1.1
 VXLAN ID:      4097
 In use:        5 of 254
 Free:          249
Services:       1
Tasks:          2
Nodes:          1
Holders:
 10.0.1.1       gateway
 10.0.1.2       service web
 10.0.1.3       task web.1 on worker-1
 10.0.1.4       node worker-1
 …              and 1 more
"
    );
    let refused = inspect(&["--pretty", "--format", "json"]);
    assert!(refused.contains("cannot be used with '--format"), "{refused}");
}

#[test]
fn a_network_without_addresses_says_why_it_has_none() {
    let daemon = with_networks();
    let waits = "every address pool is used up".to_owned();
    let usage = NetworkUsage { network_id: "network2".into(), waits, ..NetworkUsage::default() };
    daemon.world().usages.insert("network2".into(), usage);
    assert_eq!(
        daemon.skep(&["network", "inspect", "--pretty", "old", "nothing"]),
        "\
ID:             network2
Name:           old
Driver:         overlay
Waits:          every address pool is used up
Services:       0
Tasks:          0
Nodes:          0
! Error: no such network: nothing ('skep network ls' shows what there is)
exit 1
"
    );
}

#[test]
fn an_inspection_goes_without_usage_where_the_managers_do_not_tell_it() {
    let daemon = with_networks();
    daemon.world().refuse("Usage", Status::unimplemented("skep.v1.Networks"));
    let fields = "{{.Name}} {{json .Usage}}";
    assert_eq!(daemon.skep(&["network", "inspect", "back", "-f", fields]), "back null\n");
}

#[test]
fn networks_are_removed_and_those_that_are_not_there_only_named() {
    let daemon = with_networks();
    assert_eq!(
        daemon.skep(&["network", "rm", "old", "gone"]),
        "old\n! Error: no such network: gone ('skep network ls' shows what there is)\nexit 1\n"
    );
    assert_eq!(daemon.skep(&["network", "rm", "--force", "gone", "back", "also-gone"]), "back\n");
    let text = "network front is in use by service web";
    daemon.world().refuse("RemoveNetwork", Status::failed_precondition(text));
    assert_eq!(
        daemon.skep(&["network", "rm", "-f", "gone", "front"]),
        format!("! Error: cannot remove network front: {text}\nexit 1\n")
    );
}

#[test]
fn what_nothing_uses_is_pruned_when_it_is_confirmed() {
    let daemon = with_networks();
    let question = "! WARNING! This will remove the networks that no service, task or container uses:\n!   old\n\
                    ! Are you sure you want to continue? [y/N] \n";
    assert_eq!(
        daemon.skep_with_input(&["network", "prune"], "n\n"),
        format!("{question}! Error: nothing was removed: it was not confirmed\nexit 1\n")
    );
    assert!(daemon.skep(&["network", "prune"]).ends_with("exit 1\n"), "no answer is no");
    assert_eq!(daemon.skep(&["network", "prune", "--force", "--filter", "label=tier"]), "");
    assert_eq!(
        daemon.skep_with_input(&["network", "prune"], "y\n"),
        format!("Deleted Networks:\nold\n{question}")
    );
    // Nothing to ask about.
    assert_eq!(daemon.skep(&["network", "prune"]), "");
    let left = daemon.skep(&["network", "ls", "--format", "{{.Name}}"]);
    assert_eq!(left, "back\nfront\nhost\n");
}

#[test]
fn a_network_that_is_taken_into_use_meanwhile_stays() {
    let daemon = with_networks();
    let text = "network old is in use by service web";
    daemon.world().refuse("RemoveNetwork", Status::failed_precondition(text));
    assert_eq!(
        daemon.skep(&["network", "prune", "-f"]),
        format!("! Error: cannot remove network old: {text}\nexit 1\n")
    );
}

#[test]
fn a_check_that_finds_nothing_says_what_it_looked_at() {
    let daemon = daemon();
    daemon.world().checks = vec![NetworkCheckResponse {
        networks_total: 4,
        services_total: 1,
        tasks_total: 12,
        nodes_total: 3,
        ..NetworkCheckResponse::default()
    }];
    assert_eq!(
        daemon.skep(&["network", "check"]),
        "Nothing was found: what 4 networks, 1 service, 12 tasks and 3 nodes hold agrees.\n"
    );
    assert_eq!(daemon.skep(&["network", "check", "--format", "json"]), "");
}

fn finding(kind: &str, text: &str, ids: &[&str]) -> NetworkFinding {
    NetworkFinding {
        kind: kind.into(),
        text: text.into(),
        object_ids: ids.iter().map(|id| (*id).into()).collect(),
        ..NetworkFinding::default()
    }
}

#[test]
fn what_may_be_a_change_under_way_is_looked_at_twice() {
    let daemon = daemon();
    let passing = |text: &str| NetworkFinding { may_pass: true, ..finding("slow", text, &[]) };
    let found = |findings: Vec<NetworkFinding>| NetworkCheckResponse {
        findings_total: findings.len() as u64,
        findings,
        ..NetworkCheckResponse::default()
    };
    daemon.world().checks =
        vec![found(vec![passing("a"), passing("b")]), found(vec![passing("b"), passing("c")])];
    assert_eq!(
        daemon.skep(&["network", "check"]),
        "slow: b\n! Error: 1 thing was found, see docs/networks.md for what to do\nexit 1\n"
    );
}

#[test]
fn what_a_check_finds_is_a_line_each_and_a_failure() {
    let daemon = daemon();
    daemon.world().checks = vec![NetworkCheckResponse {
        findings: vec![
            finding("duplicate-address", "10.0.1.3 is held twice in network back", &["t1", "t2"]),
            finding("odd", "something else", &[]),
        ],
        findings_total: 5,
        ..NetworkCheckResponse::default()
    }];
    let failure = "! Error: 5 things were found, see docs/networks.md for what to do\nexit 1\n";
    assert_eq!(
        daemon.skep(&["network", "check"]),
        format!(
            "duplicate-address: 10.0.1.3 is held twice in network back (t1, t2)\nodd: something else\n… and 3 more\n{failure}"
        )
    );
    assert_eq!(
        daemon.skep(&["network", "check", "--format", "json"]),
        format!(
            "{{\"Kind\":\"duplicate-address\",\"Text\":\"10.0.1.3 is held twice in network back\",\
             \"ObjectIDs\":[\"t1\",\"t2\"]}}\n{{\"Kind\":\"odd\",\"Text\":\"something else\",\"ObjectIDs\":[]}}\n{failure}"
        )
    );
    daemon.world().refuse("Check", Status::unimplemented("skep.v1.Networks"));
    assert_eq!(
        daemon.skep(&["network", "check"]),
        "! Error: cannot check the networks: this daemon does not know how (skep.v1.Networks)\nexit 1\n"
    );
}
