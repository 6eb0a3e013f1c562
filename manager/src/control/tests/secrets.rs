//! Secrets and configs.

use skep_proto::swarmkit::{
    Config, ConfigReference, ConfigSpec, CreateConfigRequest, CreateSecretRequest, FileTarget,
    GetConfigRequest, GetSecretRequest, ListConfigsRequest, ListSecretsRequest,
    RemoveConfigRequest, RemoveSecretRequest, Secret, SecretReference, SecretSpec, Task, TaskState,
    TaskStatus, UpdateConfigRequest, UpdateSecretRequest, config_reference, secret_reference,
};

use super::*;

fn secret_spec(name: &str, data: &str) -> SecretSpec {
    SecretSpec { annotations: named(name), data: data.to_owned().into(), ..Default::default() }
}

fn config_spec(name: &str, data: &str) -> ConfigSpec {
    ConfigSpec { annotations: named(name), data: data.to_owned().into(), ..Default::default() }
}

fn labelled(name: &str) -> Option<Annotations> {
    let labels = [("zone".to_owned(), "eu".to_owned())].into();
    Some(Annotations { name: name.into(), labels, ..Default::default() })
}

async fn create(h: &Harness, name: &str) -> String {
    let request = CreateSecretRequest { spec: Some(secret_spec(name, "hunter2")) };
    done!(h, create_secret, request).secret.unwrap().id
}

#[tokio::test]
async fn the_data_of_a_secret_goes_in_and_never_comes_out() {
    let h = Harness::new();
    let created =
        done!(h, create_secret, CreateSecretRequest { spec: Some(secret_spec("s", "hunter2")) })
            .secret
            .unwrap();
    assert_eq!(created.id.len(), 25);
    let got =
        done!(h, get_secret, GetSecretRequest { secret_id: created.id.clone() }).secret.unwrap();
    let listed = done!(h, list_secrets, ListSecretsRequest::default()).secrets;
    let updated = done!(
        h,
        update_secret,
        UpdateSecretRequest {
            secret_id: created.id.clone(),
            secret_version: version_of(&got),
            spec: Some(SecretSpec { annotations: labelled("s"), ..Default::default() }),
        }
    );
    for secret in [&created, &got, &listed[0], updated.secret.as_ref().unwrap()] {
        assert!(secret.spec.as_ref().unwrap().data.is_empty());
    }
    let stored = h.get::<Secret>(&created.id).unwrap();
    let spec = stored.spec.as_ref().unwrap();
    assert_eq!(spec.data, "hunter2", "an update without data keeps it");
    assert_eq!(spec.annotations, labelled("s"));
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let h = Harness::new();
    create(&h, "s").await;
    let again = |name: &str| CreateSecretRequest { spec: Some(secret_spec(name, "x")) };
    assert_eq!(
        refused!(h, create_secret, again("s")),
        says(Code::AlreadyExists, "secret s already exists")
    );
    assert_eq!(
        refused!(h, create_secret, again("S")),
        says(Code::AlreadyExists, "secret S already exists")
    );
}

#[tokio::test]
async fn only_labels_of_a_secret_change() {
    let h = Harness::new();
    let id = create(&h, "s").await;
    let version = version_of(&*h.get::<Secret>(&id).unwrap());
    let request = |spec: SecretSpec| UpdateSecretRequest {
        secret_id: id.clone(),
        secret_version: version,
        spec: Some(spec),
    };
    let only = says(Code::InvalidArgument, "only updates to Labels are allowed");
    assert_eq!(refused!(h, update_secret, request(secret_spec("t", ""))), only);
    assert_eq!(refused!(h, update_secret, request(secret_spec("s", "other"))), only);
    assert_eq!(
        refused!(
            h,
            update_secret,
            UpdateSecretRequest {
                secret_version: Some(Version { index: 9 }),
                ..request(secret_spec("s", ""))
            }
        ),
        stale()
    );
    assert_eq!(
        refused!(
            h,
            update_secret,
            UpdateSecretRequest { spec: None, ..request(secret_spec("s", "")) }
        ),
        says(Code::InvalidArgument, "the secret's spec is missing")
    );
    done!(h, update_secret, request(secret_spec("s", "hunter2")));
}

#[tokio::test]
async fn the_managers_own_secrets_are_not_listed() {
    let h = Harness::new();
    create(&h, "s").await;
    h.put(Secret {
        id: "i".into(),
        spec: Some(secret_spec("i", "x")),
        internal: true,
        ..Default::default()
    })
    .await;
    let names: Vec<_> = done!(h, list_secrets, ListSecretsRequest::default())
        .secrets
        .into_iter()
        .map(|secret| secret.spec.unwrap().annotations.unwrap().name)
        .collect();
    assert_eq!(names, ["s"]);
}

fn task_with(secret: &str, config: &str) -> TaskSpec {
    let target = |name: &str| FileTarget { name: name.into(), ..Default::default() };
    let mut container = ContainerSpec { image: "nginx".into(), ..Default::default() };
    if !secret.is_empty() {
        container.secrets.push(SecretReference {
            secret_id: secret.into(),
            secret_name: "s".into(),
            target: Some(secret_reference::Target::File(target("f"))),
        });
    }
    if !config.is_empty() {
        container.configs.push(ConfigReference {
            config_id: config.into(),
            config_name: "c".into(),
            target: Some(config_reference::Target::File(target("f"))),
        });
    }
    TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() {
    let h = Harness::new();
    let id = create(&h, "s").await;
    let config = CreateConfigRequest { spec: Some(config_spec("c", "x")) };
    let config = done!(h, create_config, config).config.unwrap().id;
    let web = ServiceSpec { task: Some(task_with(&id, &config).into()), ..service_spec("web") };
    h.put(service("web", web)).await;
    let task = |id: &str, state: TaskState, spec: TaskSpec| Task {
        id: id.into(),
        spec: Some(spec.into()),
        desired_state: TaskState::Running.into(),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    };
    h.put(task("t1", TaskState::Running, task_with(&id, ""))).await;
    h.put(task("t2", TaskState::Failed, task_with(&id, &config))).await;
    let remove_secret = || RemoveSecretRequest { secret_id: id.clone() };
    let remove_config = || RemoveConfigRequest { config_id: config.clone() };
    assert_eq!(
        refused!(h, remove_secret, remove_secret()),
        says(
            Code::InvalidArgument,
            "secret 's' is in use by: service web, task t1; update or remove these first"
        )
    );
    assert_eq!(
        refused!(h, remove_config, remove_config()),
        says(
            Code::InvalidArgument,
            "config 'c' is in use by: service web; update or remove these first"
        )
    );
    let web = "web".parse().unwrap();
    h.store.update(|tx| tx.remove::<Service>(&web)).await.unwrap();
    done!(h, remove_config, remove_config());
    assert_eq!(refused!(h, remove_secret, remove_secret()).0, Code::InvalidArgument);
    let t1 = "t1".parse().unwrap();
    h.store.update(|tx| tx.remove::<Task>(&t1)).await.unwrap();
    done!(h, remove_secret, remove_secret());
    assert_eq!(refused!(h, remove_secret, remove_secret()).0, Code::NotFound);
}

#[tokio::test]
async fn a_config_is_shown_with_its_data_and_changes_its_labels_alone() {
    let h = Harness::new();
    let created =
        done!(h, create_config, CreateConfigRequest { spec: Some(config_spec("c", "x")) })
            .config
            .unwrap();
    let got =
        done!(h, get_config, GetConfigRequest { config_id: created.id.clone() }).config.unwrap();
    assert_eq!(got.spec.as_ref().unwrap().data, "x");
    let request = |spec| UpdateConfigRequest {
        config_id: created.id.clone(),
        config_version: version_of(&got),
        spec: Some(spec),
    };
    assert_eq!(
        refused!(h, update_config, request(config_spec("c", "y"))),
        says(Code::InvalidArgument, "only updates to Labels are allowed")
    );
    done!(
        h,
        update_config,
        request(ConfigSpec { annotations: labelled("c"), ..Default::default() })
    );
    let listed = done!(h, list_configs, ListConfigsRequest::default()).configs;
    let spec = ConfigSpec { annotations: labelled("c"), ..config_spec("c", "x") };
    assert_eq!(listed[0].spec, Some(spec));
    assert_eq!(
        refused!(h, create_config, CreateConfigRequest { spec: Some(config_spec("c", "z")) }),
        says(Code::AlreadyExists, "config c already exists")
    );
    assert_eq!(h.store.view().count::<Config>(), 1);
}
