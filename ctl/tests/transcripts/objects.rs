//! Transcripts of `skep secret` and `config`.

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
