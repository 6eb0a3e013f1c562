//! Transcripts of `skep service inspect --pretty`.

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{UpdateStatus, update_status::UpdateState},
};

use crate::support::{FakeDaemon, World};

fn daemon() -> FakeDaemon {
    FakeDaemon::start(World::active())
}

#[test]
fn a_service_is_shown_to_people_with_what_was_given() {
    let daemon = daemon();
    daemon.skep_with_input(&["secret", "create", "key", "-"], "x");
    daemon.skep(&["network", "create", "back"]);
    let options = [
        "--replicas=3",
        "--label=tier=front",
        "--label=public",
        "--constraint=node.role==worker",
        "--constraint=node.labels.ssd==yes",
        "--placement-pref=spread=node.labels.zone",
        "--replicas-max-per-node=2",
        "--update-delay=1m30s",
        "--update-order=start-first",
        "--rollback-parallelism=2",
        "--restart-condition=on-failure",
        "--restart-max-attempts=4",
        "--reserve-cpu=0.5",
        "--reserve-memory=512m",
        "--limit-memory=1536m",
        "--generic-resource=gpu=2",
        "--mount=type=volume,source=data,target=/data",
        "--mount=type=bind,source=/etc/hosts,target=/hosts,readonly",
        "--secret=key",
        "--network=back",
        "--env=A=1",
        "--publish=8080:80",
    ];
    let mut create = vec!["service", "create", "-d", "--name=web"];
    create.extend(options);
    create.extend(["nginx:1.27", "-g", "daemon off;"]);
    daemon.skep(&create);
    let seconds = 1_700_000_000;
    daemon.world().services[0].update_status = Some(UpdateStatus {
        state: UpdateState::Completed.into(),
        started_at: Some(Timestamp { seconds, nanos: 0 }),
        completed_at: Some(Timestamp { seconds, nanos: 0 }),
        message: "update completed".into(),
    });
    let shown = daemon.skep(&["service", "inspect", "--pretty", "web"]);
    // How long ago it was depends on the day.
    let shown: String = shown
        .lines()
        .map(|line| match line.strip_suffix(" ago") {
            Some(line) => format!("{}(some time) ago\n", &line[..16]),
            None => format!("{line}\n"),
        })
        .collect();
    assert_eq!(
        shown,
        "\
ID:             service3
Name:           web
Labels:
 public
 tier=front
Service Mode:   Replicated
 Replicas:      3
UpdateStatus:
 State:         completed
 Started:       (some time) ago
 Completed:     (some time) ago
 Message:       update completed
Placement:
 Constraints:   node.role==worker, node.labels.ssd==yes
 Preferences:   spread=node.labels.zone
 Max Replicas Per Node: 2
UpdateConfig:
 Parallelism:   1
 Delay:         1m30s
 On failure:    pause
 Max failure ratio: 0
 Update order:  start-first
RollbackConfig:
 Parallelism:   2
 On failure:    pause
 Max failure ratio: 0
 Rollback order: stop-first
ContainerSpec:
 Image:         nginx:1.27
 Args:          -g daemon off;
 Env:           A=1
Mounts:
 Target:        /data
  Source:       data
  ReadOnly:     false
  Type:         volume
 Target:        /hosts
  Source:       /etc/hosts
  ReadOnly:     true
  Type:         bind
Secrets:        key
RestartPolicy:
 Condition:     on-failure
 Max attempts:  4
Resources:
 Reservations:
  CPU:          0.5
  Memory:       512MiB
  gpu:          2
 Limits:
  Memory:       1.5GiB
Networks:       back
Endpoint Mode:  vip
Ports:
 PublishedPort: 8080
  Protocol:     tcp
  TargetPort:   80
  PublishMode:  ingress
"
    );
}

#[test]
fn several_services_stand_apart_and_what_is_missing_is_said() {
    let daemon = daemon();
    for (name, mode) in [("one", "global"), ("two", "replicated-job")] {
        daemon.skep(&["service", "create", "-d", "--name", name, "--mode", mode, "nginx"]);
    }
    assert_eq!(
        daemon.skep(&["service", "inspect", "--pretty", "one", "two", "three"]),
        "\
ID:             service1
Name:           one
Service Mode:   Global
ContainerSpec:
 Image:         nginx
Endpoint Mode:  vip

ID:             service2
Name:           two
Service Mode:   Replicated-job
 Max Concurrent: 1
 Total Completions: 1
ContainerSpec:
 Image:         nginx
Endpoint Mode:  vip
! Error: no such service: three ('skep service ls' shows what there is)
exit 1
"
    );
    let both = ["service", "inspect", "--pretty", "--format", "json", "one"];
    let said = daemon.skep(&both);
    assert!(said.contains("'--pretty' cannot be used with '--format"), "{said}");
    assert!(said.ends_with("exit 2\n"), "{said}");
}
