//! Transcripts of `skep service explain` and of `--dry-run`.

use skep_proto::{
    skep::{
        ExplainResponse, FilterRejection, NodeRejection, PlacementExplanation, PlanResponse,
        PlannedAction, PlannedTask, TaskExplanation, explain_request::Subject,
    },
    swarmkit::TaskState,
};

use crate::support::{FakeDaemon, World, worker};

fn daemon() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(worker("worker2", "w2"));
    let daemon = FakeDaemon::start(world);
    daemon.skep(&["service", "create", "-d", "--name", "web", "--replicas", "2", "nginx"]);
    daemon
}

fn placement() -> PlacementExplanation {
    let node = |n: u32, detail: &str| NodeRejection {
        node_id: format!("n{n}"),
        hostname: format!("worker-{n}"),
        detail: detail.into(),
    };
    PlacementExplanation {
        nodes_total: 3,
        nodes_suitable: 0,
        summary: "no suitable node (insufficient resources on 2 nodes)".into(),
        rejections: vec![
            FilterRejection {
                filter: "resources".into(),
                nodes_total: 2,
                nodes_only: 1,
                nodes: vec![
                    node(1, "0.5 of 4 CPUs free, 2 needed"),
                    node(2, "1 of 4 CPUs free, 2 needed"),
                ],
                hint: "reserve less".into(),
            },
            FilterRejection {
                filter: "available".into(),
                nodes_total: 1,
                nodes_only: 0,
                nodes: vec![node(3, "it is drained")],
                hint: "'skep node update --availability active worker-3'".into(),
            },
        ],
        hints: vec!["reserve less".into()],
    }
}

fn explanation() -> ExplainResponse {
    let waiting = |slot| TaskExplanation {
        task_id: format!("t{slot}"),
        slot,
        state: TaskState::Pending.into(),
        desired_state: TaskState::Running.into(),
        reason: "no node can take it".into(),
        err: "no suitable node (insufficient resources on 2 nodes)".into(),
        // Those of the nodes' answers, which are shown once for all tasks, and one of its own.
        hints: if slot == 2 {
            vec!["reserve less".into(), "wait for its delay".into()]
        } else {
            vec!["reserve less".into()]
        },
        placement: 1,
        ..TaskExplanation::default()
    };
    let running = TaskExplanation {
        task_id: "t3".into(),
        slot: 3,
        hostname: "worker-1".into(),
        state: TaskState::Running.into(),
        desired_state: TaskState::Running.into(),
        reason: "it runs".into(),
        ..TaskExplanation::default()
    };
    ExplainResponse {
        service_id: "service1".into(),
        service_name: "web".into(),
        notes: vec!["1 of 3 tasks run".into()],
        tasks: vec![waiting(1), waiting(2), running],
        tasks_total: 7,
        placements: vec![placement()],
    }
}

#[test]
fn a_service_is_explained_node_by_node_and_filter_by_filter() {
    let daemon = daemon();
    daemon.world().explanation = explanation();
    assert_eq!(
        daemon.skep(&["service", "explain", "web"]),
        "\
web: 1 of 3 tasks run
web.1 (t1): pending: no node can take it
    it says: no suitable node (insufficient resources on 2 nodes)
web.2 (t2): pending: no node can take it
    it says: no suitable node (insufficient resources on 2 nodes)
    helps: wait for its delay
web.3 (t3): running on worker-1: it runs
… and 4 tasks more

web.1, web.2: 0 of 3 nodes are suitable
  resources rejects 2 nodes (1 for this alone)
    worker-1: 0.5 of 4 CPUs free, 2 needed
    worker-2: 1 of 4 CPUs free, 2 needed
  available rejects 1 node
    worker-3: it is drained
    helps: 'skep node update --availability active worker-3'
  helps: reserve less
"
    );
    let fields = "{{json .Notes}}";
    assert_eq!(
        daemon.skep(&["service", "explain", "--format", fields, "web"]),
        "[\"1 of 3 tasks run\"]\n"
    );
}

#[test]
fn a_task_is_explained_by_its_id() {
    let daemon = daemon();
    daemon.skep(&["service", "explain", "service1-task2"]);
    let asked = daemon.world().explained.clone().unwrap().subject;
    assert_eq!(asked, Some(Subject::TaskId("service1-task2".into())));
    assert_eq!(
        daemon.skep(&["service", "explain", "nothing"]),
        "! Error: no such service: nothing ('skep service ls' shows what there is)\nexit 1\n"
    );
}

#[test]
fn a_dry_run_says_where_tasks_would_go() {
    let daemon = daemon();
    let task = |action: PlannedAction, slot, from: &str, to: &str| PlannedTask {
        action: action.into(),
        slot,
        from_hostname: from.into(),
        hostname: to.into(),
        ..PlannedTask::default()
    };
    daemon.world().plan = Some(PlanResponse {
        tasks: vec![
            task(PlannedAction::Keep, 1, "w2", "w2"),
            task(PlannedAction::Replace, 2, "w2", "m1"),
            task(PlannedAction::Create, 3, "", ""),
            task(PlannedAction::Stop, 4, "w2", ""),
        ],
        created: 1,
        replaced: 1,
        stopped: 1,
        kept: 1,
        waiting: 1,
        placement: Some(placement()),
        notes: vec!["one task at a time".into()],
    });
    assert_eq!(
        daemon.skep(&["service", "update", "--dry-run", "--replicas", "3", "web"]),
        "\
~ Mode.Replicated.Replicas: 2 -> 3

Tasks: 1 created, 1 replaced, 1 stopped, 1 kept
1 of the new tasks would find no node:
  tasks that wait: 0 of 3 nodes are suitable
    resources rejects 2 nodes (1 for this alone)
      worker-1: 0.5 of 4 CPUs free, 2 needed
      worker-2: 1 of 4 CPUs free, 2 needed
    available rejects 1 node
      worker-3: it is drained
      helps: 'skep node update --availability active worker-3'
    helps: reserve less
one task at a time

ACTION    TASK    FROM   TO
replace   web.2   w2     m1
create    web.3          (waits)
stop      web.4   w2
"
    );
}
