//! Plans as tables: what is stored and what is asked for in, what would happen out.

use std::sync::Arc;

use skep_ca::Clock;
use skep_proto::{
    skep::{ExplainRequest, PlanRequest, explain_request, scheduling_server::Scheduling},
    swarmkit::{
        GlobalService, ReplicatedJob, ReplicatedService, ServiceSpec, UpdateConfig,
        service_spec::Mode,
    },
};
use skep_store::{
    Store,
    solo::{Solo, lead_alone},
};
use tonic::Code;

use super::*;
use crate::{
    scheduler::{SchedulingService, tests::*},
    test_group::TestGroup,
};

/// A store with the service on it.
struct Harness {
    store: Store,
    service: SchedulingService,
    _solo: Solo,
}

impl Harness {
    async fn of(nodes: Vec<Node>, services: Vec<Service>, tasks: Vec<Task>) -> Harness {
        let store = Store::system();
        let solo = lead_alone(&store);
        for node in nodes {
            store.update(|tx| tx.create(node)).await.unwrap();
        }
        for service in services {
            store.update(|tx| tx.create(service)).await.unwrap();
        }
        for task in tasks {
            store.update(|tx| tx.create(task)).await.unwrap();
        }
        let group = Arc::new(TestGroup::of(&["m1"]));
        let service = SchedulingService::new(store.clone(), group, Clock::system());
        Harness { store, service, _solo: solo }
    }

    async fn plan(
        &self,
        service_id: &str,
        spec: ServiceSpec,
    ) -> Result<PlanResponse, (Code, String)> {
        let before = self.store.view().version();
        let request =
            PlanRequest { service_id: service_id.into(), spec: Some(spec), service_version: None };
        let answer = self.service.plan(tonic::Request::new(request)).await;
        assert_eq!(self.store.view().version(), before, "a plan changes nothing");
        answer.map(tonic::Response::into_inner).map_err(|s| (s.code(), s.message().to_owned()))
    }
}

fn spec(name: &str, mode: Mode, image: &str) -> ServiceSpec {
    let task = with_spec(task("x.1"), |spec| {
        let container = ContainerSpec { image: image.into(), ..Default::default() };
        spec.runtime = Some(Runtime::Container(container));
    });
    ServiceSpec {
        annotations: Some(Annotations { name: name.into(), ..Default::default() }),
        task: task.spec,
        mode: Some(mode),
        ..Default::default()
    }
}

fn replicated(replicas: u64) -> Mode {
    Mode::Replicated(ReplicatedService { replicas })
}

fn service(id: &str, spec: ServiceSpec) -> Service {
    Service {
        id: id.into(),
        spec: Some(spec),
        spec_version: Some(Version { index: 1 }),
        ..Default::default()
    }
}

/// A running task of the service with id `web`, made of its spec.
fn running(slot: u64, node: &str, of: &Service) -> Task {
    let mut task = on(task(&format!("web.{slot}")), node, TaskState::Running);
    task.spec = of.spec.as_ref().unwrap().task.clone();
    task.slot = slot;
    task
}

/// A plan, a line each.
fn text(plan: &PlanResponse) -> Vec<String> {
    let mut lines: Vec<String> = plan
        .tasks
        .iter()
        .map(|task| {
            let to = if task.hostname.is_empty() { "-" } else { &task.hostname };
            let from = if task.from_hostname.is_empty() { "-" } else { &task.from_hostname };
            let action = task.action().as_str_name().trim_start_matches("PLANNED_ACTION_");
            format!("{} {action} {from} > {to}", task.slot)
        })
        .collect();
    lines.extend(plan.placement.iter().map(|placement| placement.summary.clone()));
    lines
}

#[tokio::test]
async fn a_plan_says_what_becomes_of_every_task_and_where_new_ones_go() {
    let web = service("web", spec("web", replicated(3), "nginx:1"));
    let three = || vec![running(1, "n1", &web), running(2, "n2", &web), running(3, "n1", &web)];
    let start_first = |spec: ServiceSpec| ServiceSpec {
        update: Some(UpdateConfig { parallelism: 1, order: 1, ..Default::default() }),
        ..spec
    };
    let reserving = |mut spec: ServiceSpec, cpus: i64| {
        let mut task = task("x.1");
        task.spec = spec.task.take();
        spec.task = crate::scheduler::tests::reserving(task, cpus * CPU, 0, vec![]).spec;
        spec
    };
    for (what, id, asked, expected) in [
        (
            "a new service is spread",
            "",
            spec("new", replicated(3), "nginx:1"),
            &["1 CREATE - > n3", "2 CREATE - > n2", "3 CREATE - > n1"][..],
        ),
        (
            "a service scaled up",
            "web",
            spec("web", replicated(4), "nginx:1"),
            &["1 KEEP n1 > n1", "2 KEEP n2 > n2", "3 KEEP n1 > n1", "4 CREATE - > n3"],
        ),
        (
            "a service scaled down",
            "web",
            spec("web", replicated(2), "nginx:1"),
            &["1 KEEP n1 > n1", "2 KEEP n2 > n2", "3 STOP n1 > -"],
        ),
        (
            "a new image replaces one after the other",
            "web",
            spec("web", replicated(3), "nginx:2"),
            &["1 REPLACE n1 > n3", "2 REPLACE n2 > n2", "3 REPLACE n1 > n1"],
        ),
        (
            "starting first, each looks for room beside the old ones",
            "web",
            start_first(spec("web", replicated(3), "nginx:2")),
            &["1 REPLACE n1 > n3", "2 REPLACE n2 > n1", "3 REPLACE n1 > n2"],
        ),
        (
            "what finds no room is said",
            "web",
            reserving(spec("web", replicated(4), "nginx:2"), 4),
            &[
                "1 REPLACE n1 > n1",
                "2 REPLACE n2 > n2",
                "3 REPLACE n1 > -",
                "4 CREATE - > n3",
                "no suitable node (insufficient resources on 3 nodes)",
            ],
        ),
        (
            "a global service is on every node that it may be on",
            "",
            spec("all", Mode::Global(GlobalService {}), "nginx:1"),
            &["0 CREATE - > n1", "0 CREATE - > n2", "0 CREATE - > n3"],
        ),
        (
            "a job begins with as many as may run at a time",
            "",
            spec(
                "job",
                Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 2, total_completions: 5 }),
                "nginx:1",
            ),
            &["0 CREATE - > n3", "1 CREATE - > n2"],
        ),
    ] {
        let nodes = vec![node("n1"), node("n2"), node("n3"), drained(node("n4"))];
        let nodes = if what.contains("no room") { nodes[..3].to_vec() } else { nodes };
        let harness = Harness::of(nodes, vec![web.clone()], three()).await;
        let plan = harness.plan(id, asked).await.unwrap();
        assert_eq!(text(&plan), expected, "{what}");
    }
}

#[tokio::test]
async fn what_would_be_refused_is_refused() {
    let web = service("web", spec("web", replicated(1), "nginx:1"));
    let harness = Harness::of(vec![node("n1")], vec![web], vec![]).await;
    for (id, asked, code, expected) in [
        (
            "",
            spec("web", replicated(1), "nginx"),
            Code::AlreadyExists,
            "service web already exists",
        ),
        ("gone", spec("web", replicated(1), "nginx"), Code::NotFound, "service gone not found"),
        (
            "web",
            spec("other", replicated(1), "nginx"),
            Code::Unimplemented,
            "renaming services is not supported",
        ),
        (
            "",
            spec("big", replicated(1_000_000), "nginx"),
            Code::InvalidArgument,
            "a plan for 1000000 tasks is too large; at most 200000 are planned",
        ),
    ] {
        assert_eq!(harness.plan(id, asked).await.unwrap_err(), (code, expected.to_owned()));
    }
}

#[tokio::test]
async fn a_service_is_explained_task_by_task() {
    let web = service("web", spec("web", replicated(4), "nginx:1"));
    let mut failed = on(task("web.3"), "n1", TaskState::Failed);
    failed.desired_state = TaskState::Shutdown.into();
    failed.status.as_mut().unwrap().err = "task: non-zero exit (1)".into();
    let waiting = Task {
        status: Some(TaskStatus { state: TaskState::Pending.into(), ..Default::default() }),
        ..constrained(task("web.2"), &["node.labels.zone==a"])
    };
    let lost = on(task("web.4"), "n2", TaskState::Running);
    let tasks = vec![running(1, "n1", &web), waiting, failed, lost];
    let harness = Harness::of(vec![node("n1"), down(node("n2"))], vec![web], tasks).await;
    let ask = |subject| {
        let request = tonic::Request::new(ExplainRequest { subject });
        let harness = &harness;
        async move { harness.service.explain(request).await.map(tonic::Response::into_inner) }
    };
    let answer = ask(Some(explain_request::Subject::ServiceId("web".into()))).await.unwrap();
    assert_eq!(
        answer.notes,
        [
            "2 of 4 replicas run",
            "1 tasks are not created: the orchestrator has not come to it, or restarts are used up",
        ]
    );
    let told: Vec<_> = answer.tasks.iter().map(|t| format!("{}: {}", t.slot, t.reason)).collect();
    assert_eq!(
        told,
        [
            "2: no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 1 node)",
            "3: it failed: task: non-zero exit (1)",
            "1: it runs",
            "4: its node n2 is not heard of",
        ]
    );
    assert_eq!(answer.tasks_total, 4);
    assert_eq!((answer.placements.len(), answer.tasks[0].placement), (1, 1));
    let one = ask(Some(explain_request::Subject::TaskId("web.2".into()))).await.unwrap();
    assert_eq!((one.service_name.as_str(), one.tasks.len()), ("web", 1));
    let missing = ask(Some(explain_request::Subject::TaskId("none".into()))).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "task none not found"));
    assert_eq!(ask(None).await.unwrap_err().code(), Code::InvalidArgument);
}
