//! Transcripts of `skep secret`, `config`, `network` and `service`.

use skep_proto::swarmkit::{port_config::PublishMode, service_spec::Mode, task_spec::Runtime};

use crate::support::{FakeDaemon, World};

#[test]
fn a_secret_comes_from_a_file_or_a_pipe_and_is_never_shown() {
    let daemon = FakeDaemon::start(World::active());
    let file = daemon.file("key", "hunter2");
    assert_eq!(daemon.skep(&["secret", "create", "db", &file, "-l", "tier=db"]), "secret1\n");
    assert_eq!(daemon.skep_with_input(&["secret", "create", "api", "-"], "hunter3"), "secret2\n");
    {
        let world = daemon.world();
        let stored: Vec<_> = world.secrets.iter().map(|s| s.spec.clone().unwrap()).collect();
        assert_eq!(stored[0].data, "hunter2");
        assert_eq!(stored[0].annotations.clone().unwrap().labels["tier"], "db");
        assert_eq!(stored[1].data, "hunter3");
    }
    let shown = daemon.skep(&["secret", "inspect", "db", "api"]);
    assert!(!shown.contains("hunter") && !shown.contains("Data"), "{shown}");
    assert_eq!(
        daemon.skep(&["secret", "create", "db", &file]),
        "! Error: cannot create secret db: rpc error: name conflicts with an existing object: \
         secret db\nexit 1\n"
    );
    assert_eq!(
        daemon.skep(&["secret", "create", "x", "/nothing/here"]),
        "! Error: cannot read /nothing/here: No such file or directory (os error 2)\nexit 1\n"
    );
}

#[test]
fn secrets_are_listed_and_removed() {
    let daemon = FakeDaemon::start(World::active());
    for name in ["b", "a", "c"] {
        daemon.skep_with_input(&["secret", "create", name, "-"], "x");
    }
    assert_eq!(
        daemon.skep(&["secret", "ls", "--format", "id,name,driver"]),
        "ID        NAME   DRIVER\nsecret2   a\nsecret1   b\nsecret3   c\n"
    );
    assert!(daemon.skep(&["secret", "ls"]).starts_with("ID        NAME   DRIVER   CREATED"));
    assert_eq!(daemon.skep(&["secret", "ls", "-q", "--filter", "name=a"]), "secret2\n");
    assert_eq!(
        daemon.skep(&["secret", "rm", "a", "nothing", "secret3"]),
        "a\nsecret3\n! Error: no such secret: nothing ('skep secret ls' shows what there is)\nexit 1\n"
    );
    assert_eq!(daemon.skep(&["secret", "ls", "-q"]), "secret1\n");
}

#[test]
fn a_config_shows_its_data_in_base64() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(daemon.skep_with_input(&["config", "create", "motd", "-"], "hello"), "config1\n");
    let fields = "{{.Spec.Name}} {{.Spec.Data}}";
    assert_eq!(daemon.skep(&["config", "inspect", "motd", "-f", fields]), "motd aGVsbG8=\n");
    assert_eq!(daemon.skep(&["config", "rm", "motd"]), "motd\n");
}

#[test]
fn a_network_is_an_overlay_unless_told_otherwise() {
    let daemon = FakeDaemon::start(World::active());
    let create = [
        "network",
        "create",
        "--subnet",
        "10.9.0.0/24",
        "--gateway",
        "10.9.0.1",
        "--attachable",
        "--opt",
        "encrypted",
        "back",
    ];
    assert_eq!(daemon.skep(&create), "network1\n");
    assert_eq!(
        daemon.skep(&["network", "ls"]),
        "NETWORK ID   NAME   DRIVER    SCOPE\nnetwork1     back   overlay   swarm\n"
    );
    let fields = "{{.Driver}} {{.Attachable}} {{json .IPAM.Config}} {{json .Options}}";
    assert_eq!(
        daemon.skep(&["network", "inspect", "back", "-f", fields]),
        "overlay true [{\"Subnet\":\"10.9.0.0/24\",\"Gateway\":\"10.9.0.1\"}] {\"encrypted\":\"\"}\n"
    );
    assert!(
        daemon.skep(&["network", "create", "--gateway", "10.9.0.1", "x"]).ends_with("exit 2\n")
    );
}

#[test]
fn a_service_is_stored_with_what_it_refers_to() {
    let daemon = FakeDaemon::start(World::active());
    daemon.skep_with_input(&["secret", "create", "key", "-"], "x");
    daemon.skep(&["network", "create", "back"]);
    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--replicas",
        "3",
        "--publish",
        "8080:80",
        "--secret",
        "source=key,target=k,mode=0400",
        "--network",
        "back",
        "--env",
        "A=1",
        "--limit-memory",
        "512m",
        "--constraint",
        "node.role==worker",
        "nginx",
        "-g",
        "daemon off;",
    ];
    assert_eq!(
        daemon.skep(&create),
        "service3\n! web is stored; a later release schedules its tasks.\n"
    );
    let spec = daemon.world().services[0].spec.clone().unwrap();
    assert!(matches!(spec.mode, Some(Mode::Replicated(r)) if r.replicas == 3));
    let task = spec.task.unwrap();
    assert_eq!(task.networks[0].target, "network2");
    assert_eq!(task.resources.unwrap().limits.unwrap().memory_bytes, 512 << 20);
    let Some(Runtime::Container(container)) = task.runtime else { panic!("no container") };
    assert_eq!(container.args, ["-g", "daemon off;"]);
    assert_eq!(container.secrets[0].secret_id, "secret1");
    assert_eq!(spec.endpoint.unwrap().ports[0].publish_mode(), PublishMode::Ingress);

    assert_eq!(
        daemon.skep(&["service", "ls"]),
        "\
ID         NAME   MODE         REPLICAS   IMAGE   PORTS
service3   web    replicated   0/3        nginx   *:8080->80/tcp
"
    );
    let fields = "{{.Spec.Mode.Replicated.Replicas}} {{.Spec.TaskTemplate.ContainerSpec.Image}}";
    assert_eq!(daemon.skep(&["service", "inspect", "web", "-f", fields]), "3 nginx\n");
    assert_eq!(daemon.skep(&["service", "rm", "web"]), "web\n");
}

#[test]
fn a_service_that_refers_to_nothing_is_refused() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(
        daemon.skep(&["service", "create", "--secret", "none", "nginx"]),
        "! Error: no such secret: none ('skep secret ls' shows what there is)\nexit 1\n"
    );
    assert_eq!(
        daemon.skep(&["service", "create", "--mode", "global", "--replicas", "2", "nginx"]),
        "! Error: --replicas is for replicated modes only\nexit 2\n"
    );
}
