//! Secrets and configs: in the container as the service asks for them, changed for others while it runs, and gone from the
//! engine with it.

use std::{collections::BTreeMap, fs, path::Path};

use skep_proto::swarmkit::{
    Annotations, ConfigReference, ConfigSpec, CreateConfigRequest, CreateSecretRequest, Driver,
    FileTarget, RemoveConfigRequest, RemoveSecretRequest, SecretReference, SecretSpec,
    config_reference, secret_reference,
};
use skep_testkit::docker_hosts::DockerHost;
use tonic::Code;

use super::{
    scene::Scene,
    spec::{Spec, replicated},
};
use crate::support::{docker, node_of};

const PASSWORD: &str = "correct-horse-battery-staple";
const NEXT_PASSWORD: &str = "Tr0ub4dor-and-3";
const SETTING: &str = "colour=teal";
/// What templates of payloads may ask for. Engines leave the name of the host empty here, unlike in environment and host name.
const TEMPLATE: &str = "service={{.Service.Name}} slot={{.Task.Slot}} node={{.Node.ID}} \
                        greeting={{env \"GREETING\"}} password={{secret \"password\"}} \
                        setting={{config \"/etc/app/setting\"}} mark={{index .Service.Labels \"mark\"}}";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_configs_are_where_they_should_be_and_nowhere_else() {
    let Some(scene) = Scene::new(2).await else { return };
    let password = create_secret(&scene, "password-1", PASSWORD, None).await;
    let setting = create_config(&scene, "setting", SETTING, None).await;
    let golang = Some(Driver { name: "golang".to_owned(), ..Default::default() });
    let account = create_secret(&scene, "account", TEMPLATE, golang.clone()).await;
    let page = create_config(&scene, "page", TEMPLATE, golang).await;

    let spec = replicated("vault", 2)
        .env("GREETING", "hello")
        .env("WHERE", "{{.Node.Hostname}}")
        .secret(secret(&password, "password-1", &file("password", "1000", "1001", 0o440)))
        .secret(secret(&account, "account", &file("/etc/app/account", "0", "0", 0o400)))
        .config(config(&setting, "setting", &file("/etc/app/setting", "33", "44", 0o644)))
        .config(config(&page, "page", &file("page", "0", "0", 0o755)));
    let mut spec = labelled(spec, "mark", "seven");
    spec.container().hostname = "{{.Service.Name}}-{{.Task.Slot}}".to_owned();
    let service = scene.create(&spec).await;
    assert_eq!(scene.wait_running(&service, 2).await, [1, 1]);
    for engine in scene.engines() {
        files_are_as_asked_for(&scene, engine, &service);
        templates_are_expanded(&scene, engine, &service).await;
        // What is looked for in the end is there now.
        let traces = traces(engine);
        assert!(traces.iter().any(|path| path.ends_with("/mounts/secrets")), "{traces:?}");
        assert_eq!(files_with(engine, PASSWORD), [""; 0], "on the disk");
    }
    a_secret_in_use_is_not_removed(&scene, &password).await;
    a_secret_is_changed_for_another(&scene, &service, &spec, &password).await;

    scene.remove(&service).await;
    for engine in scene.engines() {
        it_is_gone(&scene, engine).await;
    }
    let mut control = scene.manager().control_client();
    for config_id in [setting, page] {
        control.remove_config(RemoveConfigRequest { config_id }).await.unwrap();
    }
    control.remove_secret(RemoveSecretRequest { secret_id: account }).await.unwrap();
}

fn files_are_as_asked_for(scene: &Scene, engine: &DockerHost, service: &str) {
    for (path, content, attributes) in [
        ("/run/secrets/password", PASSWORD, "440 1000 1001"),
        ("/etc/app/setting", SETTING, "644 33 44"),
    ] {
        assert_eq!(read(scene, engine, service, path), content, "{path}");
        assert_eq!(attributes_of(scene, engine, service, path), attributes, "{path}");
    }
    assert_eq!(attributes_of(scene, engine, service, "/etc/app/account"), "400 0 0");
    assert_eq!(attributes_of(scene, engine, service, "/page"), "755 0 0");
}

async fn templates_are_expanded(scene: &Scene, engine: &DockerHost, service: &str) {
    let node = node_of(scene.manager(), engine).await.unwrap().id;
    let tasks = scene.tasks(service).await.unwrap();
    let slot = tasks.iter().find(|task| task.node_id == node).unwrap().slot;
    let host = engine.name();
    let expected = format!(
        "service=vault slot={slot} node={node} greeting=hello password={PASSWORD} setting={SETTING} mark=seven"
    );
    for path in ["/etc/app/account", "/page"] {
        assert_eq!(read(scene, engine, service, path), expected, "{path}");
    }
    let run = |words: &[&str]| in_container(scene, engine, service, words);
    assert_eq!(run(&["hostname"]).trim(), format!("vault-{slot}"));
    assert_eq!(run(&["sh", "-c", "echo $WHERE"]).trim(), host);
}

async fn a_secret_in_use_is_not_removed(scene: &Scene, secret: &str) {
    let refused = remove_secret(scene, secret).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let text = refused.message();
    assert!(text.contains("'password-1' is in use by: service vault"), "{text}");
}

/// Another password in the same file; the old one can go when nothing uses it any more.
async fn a_secret_is_changed_for_another(scene: &Scene, service: &str, spec: &Spec, old: &str) {
    let new = create_secret(scene, "password-2", NEXT_PASSWORD, None).await;
    let mut spec = spec.clone();
    let target = file("password", "1000", "1001", 0o440);
    spec.container().secrets[0] = secret(&new, "password-2", &target);
    scene.update(service, &spec).await;
    scene
        .wait("the new password in all containers", async |scene| {
            for engine in scene.engines() {
                let found = try_read(scene, engine, service, "/run/secrets/password")?;
                if found != NEXT_PASSWORD {
                    return Err(format!("{found} on {}", engine.name()));
                }
            }
            Ok(())
        })
        .await;
    scene.wait_running(service, 2).await;
    remove_secret(scene, old).await.unwrap();
    let refused = remove_secret(scene, &new).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// No container, no mount, no folder, and no file with it.
async fn it_is_gone(scene: &Scene, engine: &DockerHost) {
    scene
        .wait("the engine to clean up", async |_| {
            let containers = docker(engine, &["ps", "--all", "--quiet"]);
            let containers = containers.map_err(|error| error.to_string())?;
            let left = (containers, traces(engine));
            if left.0.is_empty() && left.1.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    for text in [PASSWORD, NEXT_PASSWORD, SETTING] {
        assert_eq!(files_with(engine, text), [""; 0]);
    }
}

/// What an engine keeps for a container and its secrets: folders below its data and run folders, and mounts in its namespace.
fn traces(engine: &DockerHost) -> Vec<String> {
    let pid = engine.pid().unwrap();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mount_of = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    let is_of_container = |path: &String| {
        ["/secrets", "/configs", "/containers/"].iter().any(|part| path.contains(part))
    };
    let mounts = mounts.lines().map(mount_of).filter(is_of_container);
    let folder = engine.swarm_dir().with_file_name("containers");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    mounts.chain(folders.map(|path| path.display().to_string())).collect()
}

/// The files of the engine that have this in them, as they are on the disk.
fn files_with(engine: &DockerHost, text: &str) -> Vec<String> {
    let data = engine.swarm_dir().parent().unwrap().to_owned();
    let mut found = Vec::new();
    search(&data, text.as_bytes(), &mut found);
    search(&data.with_file_name("exec"), text.as_bytes(), &mut found);
    found
}

fn search(folder: &Path, text: &[u8], found: &mut Vec<String>) {
    // The image's layers, which have programs and nothing else in them.
    if folder.ends_with("overlay2") {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            search(&path, text, found);
        } else if kind.is_file()
            && fs::read(&path).is_ok_and(|data| data.windows(text.len()).any(|part| part == text))
        {
            found.push(path.display().to_string());
        }
    }
}

fn read(scene: &Scene, engine: &DockerHost, service: &str, path: &str) -> String {
    try_read(scene, engine, service, path).unwrap()
}

fn try_read(
    scene: &Scene,
    engine: &DockerHost,
    service: &str,
    path: &str,
) -> Result<String, String> {
    let container = scene.containers(engine, service)?.pop().ok_or("no container")?;
    docker(engine, &["exec", &container, "cat", path]).map_err(|error| error.to_string())
}

/// Mode, owner and group.
fn attributes_of(scene: &Scene, engine: &DockerHost, service: &str, path: &str) -> String {
    let stat = ["busybox", "stat", "-c", "%a %u %g", path];
    in_container(scene, engine, service, &stat).trim().to_owned()
}

fn in_container(scene: &Scene, engine: &DockerHost, service: &str, words: &[&str]) -> String {
    let container = scene.containers(engine, service).unwrap().pop().unwrap();
    docker(engine, &[&["exec", &container], words].concat()).unwrap()
}

async fn create_secret(
    scene: &Scene,
    name: &str,
    data: &str,
    templating: Option<Driver>,
) -> String {
    let spec = SecretSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        data: data.as_bytes().to_vec().into(),
        templating,
        driver: None,
    };
    let request = CreateSecretRequest { spec: Some(spec) };
    let created = scene.manager().control_client().create_secret(request).await.unwrap();
    created.into_inner().secret.unwrap().id
}

async fn create_config(
    scene: &Scene,
    name: &str,
    data: &str,
    templating: Option<Driver>,
) -> String {
    let spec = ConfigSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        data: data.as_bytes().to_vec().into(),
        templating,
    };
    let request = CreateConfigRequest { spec: Some(spec) };
    let created = scene.manager().control_client().create_config(request).await.unwrap();
    created.into_inner().config.unwrap().id
}

async fn remove_secret(scene: &Scene, id: &str) -> Result<(), tonic::Status> {
    let request = RemoveSecretRequest { secret_id: id.to_owned() };
    scene.manager().control_client().remove_secret(request).await.map(drop)
}

fn secret(id: &str, name: &str, target: &FileTarget) -> SecretReference {
    SecretReference {
        secret_id: id.to_owned(),
        secret_name: name.to_owned(),
        target: Some(secret_reference::Target::File(target.clone())),
    }
}

fn config(id: &str, name: &str, target: &FileTarget) -> ConfigReference {
    ConfigReference {
        config_id: id.to_owned(),
        config_name: name.to_owned(),
        target: Some(config_reference::Target::File(target.clone())),
    }
}

fn file(name: &str, uid: &str, gid: &str, mode: u32) -> FileTarget {
    FileTarget { name: name.to_owned(), uid: uid.to_owned(), gid: gid.to_owned(), mode }
}

fn labelled(mut spec: Spec, name: &str, value: &str) -> Spec {
    let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    spec.0.annotations.get_or_insert_default().labels = labels.into_iter().collect();
    spec
}
