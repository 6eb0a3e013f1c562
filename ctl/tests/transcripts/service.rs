//! Transcripts of `skep service`.

use skep_proto::shared::Shared;
use skep_proto::swarmkit::{
    ContainerSpec, Mount, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus, UpdateStatus, mount,
    port_config::PublishMode, service_spec::Mode, task_spec::Runtime, update_status::UpdateState,
};
use tonic::Status;

use crate::support::{FakeDaemon, World, worker};

/// Long enough for the daemon to answer, short enough for a test.
const STABLE: [&str; 2] = ["--update-monitor", "1ms"];

fn daemon() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(worker("worker2", "w2"));
    FakeDaemon::start(world)
}

fn spec(daemon: &FakeDaemon) -> ServiceSpec {
    daemon.world().services[0].spec.clone().unwrap()
}

fn task_spec(daemon: &FakeDaemon) -> TaskSpec {
    Shared::into_message(spec(daemon).task.unwrap())
}

fn container(daemon: &FakeDaemon) -> ContainerSpec {
    match task_spec(daemon).runtime {
        Some(Runtime::Container(container)) => container,
        other => panic!("no container but {other:?}"),
    }
}

fn create(daemon: &FakeDaemon, options: &[&str]) -> String {
    let mut arguments = vec!["service", "create", "--name", "web"];
    arguments.extend(STABLE);
    arguments.extend(options);
    daemon.skep(&arguments)
}

fn update(daemon: &FakeDaemon, options: &[&str]) -> String {
    let mut arguments = vec!["service", "update"];
    arguments.extend(options);
    arguments.push("web");
    daemon.skep(&arguments)
}

#[test]
fn a_global_service_is_waited_for_on_every_node_that_it_is_for() {
    let daemon = daemon();
    // The managers know the node; its task is not there yet.
    daemon.world().desired_tasks = Some(1);
    let options =
        ["--mode", "global", "--constraint", "node.id==node1", "--wait", "300ms", "nginx"];
    assert_eq!(
        create(&daemon, &options),
        "\
service1
! overall progress: 0 out of 1 tasks
! Error: service web has not converged: not yet after 300ms; it goes on; 'skep service ps web' shows how far it is
exit 3
"
    );
}

#[test]
fn a_service_is_created_with_what_it_refers_to_and_waited_for() {
    let daemon = daemon();
    daemon.skep_with_input(&["secret", "create", "key", "-"], "x");
    daemon.skep(&["network", "create", "back"]);
    let options = [
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
        create(&daemon, &options),
        "\
service3
! overall progress: 3 out of 3 tasks
! verify: waiting 1 seconds to verify that tasks are stable
! verify: service web converged
"
    );
    assert!(matches!(spec(&daemon).mode, Some(Mode::Replicated(r)) if r.replicas == 3));
    let task = task_spec(&daemon);
    assert_eq!(task.networks[0].target, "network2");
    assert_eq!(task.resources.unwrap().limits.unwrap().memory_bytes, 512 << 20);
    let container = container(&daemon);
    assert_eq!(container.args, ["-g", "daemon off;"]);
    assert_eq!(container.secrets[0].secret_id, "secret1");
    assert_eq!(spec(&daemon).endpoint.unwrap().ports[0].publish_mode(), PublishMode::Ingress);

    assert_eq!(
        daemon.skep(&["service", "ls"]),
        "\
ID         NAME   MODE         REPLICAS   IMAGE   PORTS
service3   web    replicated   3/3        nginx   *:8080->80/tcp
"
    );
    let fields = "{{.Spec.Mode.Replicated.Replicas}} {{.Spec.TaskTemplate.ContainerSpec.Image}}";
    assert_eq!(daemon.skep(&["service", "inspect", "web", "-f", fields]), "3 nginx\n");
    assert_eq!(daemon.skep(&["service", "ls", "-q", "--filter", "mode=global"]), "");
    assert_eq!(daemon.skep(&["service", "rm", "web"]), "web\n");
}

#[test]
fn quiet_shows_no_progress_and_detach_does_not_wait() {
    let daemon = daemon();
    assert_eq!(create(&daemon, &["--quiet", "nginx"]), "service1\n");
    daemon.world().tasks.clear();
    assert_eq!(update(&daemon, &["--detach", "--image", "nginx:2"]), "web\n");
}

#[test]
fn what_takes_too_long_ends_with_exit_code_3() {
    let daemon = daemon();
    create(&daemon, &["--detach", "nginx"]);
    daemon.world().services[0].update_status =
        Some(UpdateStatus { state: UpdateState::Updating.into(), ..UpdateStatus::default() });
    assert_eq!(
        daemon.skep(&["service", "scale", "--wait", "200ms", "web=1"]),
        "\
web scaled to 1
! overall progress: 1 out of 1 tasks
! Error: service web has not converged: not yet after 200ms; it goes on; 'skep service ps web' shows how far it is
exit 3
"
    );
}

#[test]
fn waiting_goes_on_when_the_manager_was_away_for_a_moment() {
    let daemon = daemon();
    daemon.world().watches_refused = 2;
    assert_eq!(
        create(&daemon, &["nginx"]),
        "\
service1
! overall progress: 1 out of 1 tasks
! verify: waiting 1 seconds to verify that tasks are stable
! verify: service web converged
"
    );
    daemon.world().refuse("Watch", Status::permission_denied("no"));
    assert_eq!(
        update(&daemon, &["--image", "nginx:2"]),
        "web\n! Error: cannot follow the service: permission denied: no\nexit 1\n"
    );
}

#[test]
fn an_update_that_is_paused_or_rolled_back_ends_with_exit_code_3() {
    let daemon = daemon();
    create(&daemon, &["--detach", "nginx"]);
    let status = |state: UpdateState, message: &str| {
        Some(UpdateStatus {
            state: state.into(),
            message: message.into(),
            ..UpdateStatus::default()
        })
    };
    let why = "update paused due to failure or early termination of task t9";
    daemon.world().next_update_ends_as = status(UpdateState::Paused, why);
    assert_eq!(
        update(&daemon, &["--image", "nginx:2"]),
        format!(
            "web\n! overall progress: 1 out of 1 tasks\n! Error: service web: update paused: {why}; \
             'skep service ps web' shows its tasks\nexit 3\n"
        )
    );
    daemon.world().next_update_ends_as =
        status(UpdateState::RollbackCompleted, "rollback completed");
    assert_eq!(
        update(&daemon, &["--image", "nginx:3"]),
        "web\n! overall progress: rolling back update: 1 out of 1 tasks\n! Error: service web: \
         service rolled back: rollback completed; 'skep service ps web' shows its tasks\nexit 3\n"
    );
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    let daemon = daemon();
    daemon.skep_with_input(&["secret", "create", "key", "-"], "x");
    create(
        &daemon,
        &[
            "--detach",
            "-e",
            "A=1",
            "-e",
            "B=2",
            "--mount",
            "source=a,target=/a",
            "--label",
            "x=1",
            "--secret",
            "key",
            "--publish",
            "80:80",
            "--dns",
            "1.1.1.1",
            "--entrypoint",
            "sh -c 'exec x'",
            "--health-cmd",
            "true",
            "--host",
            "db:10.0.0.1",
            "--ulimit",
            "nofile=10:20",
            "--placement-pref",
            "spread=node.labels.zone",
            "--generic-resource",
            "gpu=1",
            "--cap-add",
            "net_admin",
            "--sysctl",
            "a.b=1",
            "--group",
            "staff",
            "nginx",
        ],
    );
    let before = spec(&daemon);
    assert_eq!(container(&daemon).command, ["sh", "-c", "exec x"]);
    assert_eq!(
        update(
            &daemon,
            &[
                "--detach",
                "--env-add",
                "A=9",
                "--env-rm",
                "B",
                "--mount-rm",
                "/a",
                "--mount-add",
                "type=tmpfs,target=/t",
                "--label-rm",
                "x",
                "--secret-rm",
                "key",
                "--publish-rm",
                "80",
                "--dns-rm",
                "1.1.1.1",
                "--no-healthcheck",
                "--host-rm",
                "db:10.0.0.1",
                "--ulimit-rm",
                "nofile",
                "--placement-pref-rm",
                "spread=node.labels.zone",
                "--generic-resource-rm",
                "gpu",
                "--cap-drop",
                "NET_ADMIN",
                "--sysctl-rm",
                "a.b",
                "--group-rm",
                "staff",
                "--args",
                "one 'two three'",
            ],
        ),
        "web\n"
    );
    let after = spec(&daemon);
    let container = container(&daemon);
    assert_eq!(container.env, ["A=9"]);
    let tmpfs =
        Mount { r#type: mount::Type::Tmpfs.into(), target: "/t".into(), ..Mount::default() };
    assert_eq!(container.mounts, [tmpfs]);
    assert_eq!(container.args, ["one", "two three"]);
    assert_eq!(container.healthcheck.unwrap().test, ["NONE"]);
    let task = Shared::into_message(after.task.unwrap());
    assert!(task.placement.unwrap().preferences.is_empty());
    assert!(task.resources.unwrap().reservations.unwrap().generic.is_empty());
    assert!(container.hosts.is_empty() && container.ulimits.is_empty());
    assert!(container.secrets.is_empty() && container.groups.is_empty());
    assert!(container.capability_add.is_empty() && container.capability_drop.is_empty());
    assert!(after.endpoint.unwrap().ports.is_empty());
    assert_eq!((after.mode, after.update), (before.mode, before.update));

    assert_eq!(daemon.skep(&["service", "rollback", "web"]), rolled_back());
    assert_eq!(spec(&daemon), before);
    assert_eq!(
        daemon.skep(&["service", "update", "--rollback", "web"]),
        "! Error: cannot update service web: service service2 does not have a previous spec\nexit 1\n"
    );
    assert_eq!(
        update(&daemon, &["--rollback", "--image", "x"]),
        "! Error: --rollback goes with no option that changes the spec\nexit 2\n"
    );
}

fn rolled_back() -> &'static str {
    "web\n! overall progress: rolling back update: 1 out of 1 tasks\n! verify: service web converged\n"
}

#[test]
fn an_update_that_somebody_else_was_faster_than_is_made_again() {
    let daemon = daemon();
    create(&daemon, &["--detach", "nginx"]);
    daemon.world().interference = 3;
    assert_eq!(update(&daemon, &["--detach", "--image", "nginx:2"]), "web\n");
    assert_eq!(container(&daemon).image, "nginx:2");
}

#[test]
fn an_update_that_changes_nothing_is_not_sent() {
    let daemon = daemon();
    create(&daemon, &["--detach", "nginx"]);
    assert_eq!(update(&daemon, &["--detach", "--image", "nginx"]), "web\n");
    assert!(daemon.world().services[0].previous_spec.is_none());
    assert_eq!(update(&daemon, &["--detach", "--force"]), "web\n");
    assert_eq!(task_spec(&daemon).force_update, 1);
}

#[test]
fn services_are_scaled() {
    let daemon = daemon();
    create(&daemon, &["--detach", "nginx"]);
    daemon.skep(&["service", "create", "--name", "every", "--mode", "global", "--detach", "nginx"]);
    assert_eq!(
        daemon.skep(&["service", "scale", "web=3", "every=2", "nothing=1"]),
        "\
web scaled to 3
! overall progress: 3 out of 3 tasks
! verify: waiting 1 seconds to verify that tasks are stable
! verify: service web converged
! Error: service every: only replicated services can be scaled
! Error: no such service: nothing ('skep service ls' shows what there is)
exit 1
"
    );
    assert_eq!(daemon.skep(&["service", "scale", "web=many"]).lines().last(), Some("exit 2"));
}

#[test]
fn a_dry_run_prints_what_would_change_and_changes_nothing() {
    let daemon = daemon();
    create(&daemon, &["--detach", "-e", "A=1", "nginx"]);
    let before = spec(&daemon);
    let shown = update(
        &daemon,
        &["--dry-run", "--image", "nginx:2", "--env-add", "B=2", "--replicas", "4"],
    );
    assert!(
        shown.starts_with(
            "\
~ Mode.Replicated.Replicas: 1 -> 4
+ TaskTemplate.ContainerSpec.Env: B=2
~ TaskTemplate.ContainerSpec.Image: nginx -> nginx:2
"
        ),
        "{shown}"
    );
    assert_eq!(spec(&daemon), before);
    let shown = daemon.skep(&["service", "create", "--dry-run", "--name", "db", "postgres"]);
    assert!(shown.contains("+ TaskTemplate.ContainerSpec.Image: postgres\n"), "{shown}");
    assert_eq!(daemon.world().services.len(), 1);
}

#[test]
fn ps_shows_what_runs_and_what_ran_before() {
    let daemon = daemon();
    create(&daemon, &["--detach", "--replicas", "2", "nginx:1@sha256:abc"]);
    let err =
        "task: non-zero exit (1): a text that goes on for much longer than a table has room for";
    let failed = Task {
        id: "averylongidthatnobodyreads".into(),
        service_id: "service1".into(),
        slot: 1,
        node_id: "node1".into(),
        status: Some(TaskStatus {
            state: TaskState::Failed.into(),
            err: err.into(),
            ..TaskStatus::default()
        }),
        desired_state: TaskState::Shutdown.into(),
        ..Task::default()
    };
    daemon.world().tasks.push(failed);
    assert_eq!(
        daemon.skep(&["service", "ps", "web"]),
        "\
ID             NAME        IMAGE     NODE   DESIRED STATE   CURRENT STATE   ERROR                                                           PORTS
service1-tas   web.1       nginx:1   w2     Running         Running
averylongidt    \\_ web.1             m1     Shutdown        Failed          task: non-zero exit (1): a text that goes on for much longer…
service1-tas   web.2       nginx:1   w2     Running         Running
"
    );
    let fields = ["service", "ps", "web", "--format", "{{.Name}} {{.Image}} {{.Error}}"];
    assert_eq!(
        daemon.skep(&fields),
        format!("web.1 nginx:1@sha256:abc \nweb.1  {err}\nweb.2 nginx:1@sha256:abc \n")
    );
    let ids = |filter| daemon.skep(&["service", "ps", "-q", "web", "--filter", filter]);
    assert_eq!(ids("desired-state=shutdown"), "averylongidthatnobodyreads\n");
    assert_eq!(ids("state=failed"), "averylongidthatnobodyreads\n");
    assert_eq!(ids("name=web.2"), "service1-task2\n");
    assert_eq!(ids("node=m1"), "averylongidthatnobodyreads\n");
    assert!(ids("color=red").ends_with("exit 2\n"));
    assert_eq!(
        daemon.skep(&["service", "ps", "nothing"]),
        "! Error: no such service: nothing ('skep service ls' shows what there is)\nexit 1\n"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let daemon = daemon();
    assert_eq!(
        create(&daemon, &["--secret", "none", "nginx"]),
        "! Error: no such secret: none ('skep secret ls' shows what there is)\nexit 1\n"
    );
    assert_eq!(
        create(&daemon, &["--mode", "global", "--replicas", "2", "nginx"]),
        "! Error: --replicas is for replicated modes only\nexit 2\n"
    );
    let text = "name conflicts with an existing object: service web already exists";
    daemon.world().refuse("CreateService", Status::already_exists(text));
    assert_eq!(
        create(&daemon, &["nginx"]),
        format!("! Error: cannot create service web: {text}\nexit 1\n")
    );
}
