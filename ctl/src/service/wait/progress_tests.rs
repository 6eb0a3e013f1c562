//! Pictures, and what is made of them.

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        ContainerSpec, GlobalService, JobStatus, Meta, NodeDescription, ReplicatedJob,
        ReplicatedService, TaskStatus, UpdateStatus, Version,
    },
};

use super::*;

const NEW: u64 = 7;
const OLD: u64 = 3;

fn spec(image: &str) -> TaskSpec {
    let container = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
    TaskSpec { runtime: Some(Runtime::Container(container)), ..TaskSpec::default() }
}

fn service(mode: Mode) -> Service {
    Service {
        id: "s".into(),
        spec: Some(ServiceSpec {
            task: Some(spec("new").into()),
            mode: Some(mode),
            ..ServiceSpec::default()
        }),
        spec_version: Some(Version { index: NEW }),
        ..Service::default()
    }
}

fn replicated(replicas: u64) -> Service {
    service(Mode::Replicated(ReplicatedService { replicas }))
}

/// A task of the service's present spec, or of an older one.
fn task(slot: u64, version: u64, state: TaskState, desired: TaskState) -> Task {
    Task {
        id: format!("{slot}-{version}-{}", state.as_str_name()),
        service_id: "s".into(),
        slot,
        node_id: format!("n{slot}"),
        spec: Some(spec(if version == NEW { "new" } else { "old" }).into()),
        spec_version: Some(Version { index: version }),
        meta: Some(Meta {
            created_at: Some(Timestamp { seconds: version as i64, nanos: 0 }),
            ..Meta::default()
        }),
        status: Some(TaskStatus { state: state.into(), ..TaskStatus::default() }),
        desired_state: desired.into(),
        ..Task::default()
    }
}

fn running(slot: u64, version: u64) -> Task {
    task(slot, version, TaskState::Running, TaskState::Running)
}

fn failed(slot: u64, err: &str) -> Task {
    let mut task = task(slot, NEW, TaskState::Failed, TaskState::Shutdown);
    task.status.as_mut().unwrap().err = err.into();
    task
}

fn picture(service: Service, tasks: Vec<Task>) -> Picture {
    Picture {
        service: Some(service),
        tasks: tasks.into_iter().map(|t| (t.id.clone(), t)).collect(),
        nodes: Default::default(),
        desired: 0,
    }
}

/// Headline and standing.
fn seen(picture: &Picture, asked: Asked) -> (String, String) {
    let progress = look(picture, asked);
    let standing = match progress.standing {
        Standing::Going => "going".into(),
        Standing::Converged { verify } => format!("converged, verify {}", verify.as_secs()),
        Standing::Stuck(why) => format!("stuck: {why}"),
        Standing::Failed(why) => format!("failed: {why}"),
    };
    (progress.headline, standing)
}

fn check(service: Service, tasks: Vec<Task>, headline: &str, standing: &str) {
    let expected = (headline.to_owned(), standing.to_owned());
    assert_eq!(seen(&picture(service, tasks), Asked::Spec), expected);
}

#[test]
fn a_replicated_service_has_converged_when_every_slot_runs_the_present_spec() {
    let pending = task(2, NEW, TaskState::Pending, TaskState::Running);
    let stopping = task(3, OLD, TaskState::Running, TaskState::Remove);
    let good = "converged, verify 5";
    let two = |n| format!("overall progress: {n} out of 2 tasks");
    check(replicated(2), vec![], &two(0), "going");
    check(replicated(2), vec![running(1, NEW), pending], &two(1), "going");
    check(replicated(2), vec![running(1, NEW), running(2, NEW)], &two(2), good);
    // Tasks of an older spec do not count, unless they are what the present one asks for.
    check(replicated(2), vec![running(1, NEW), running(2, OLD)], &two(1), "going");
    let mut same = running(2, OLD);
    same.spec = Some(TaskSpec { placement: None, ..spec("new") }.into());
    check(replicated(2), vec![running(1, NEW), same], &two(2), good);
    // What is to go does not count; what is not told to go yet keeps the service from having converged.
    check(replicated(2), vec![running(1, NEW), running(2, NEW), stopping], &two(2), good);
    let third = running(3, NEW);
    check(replicated(2), vec![running(1, NEW), running(2, NEW), third], &two(3), "going");
    check(replicated(0), vec![], "overall progress: 0 out of 0 tasks", good);
}

#[test]
fn a_task_on_a_node_that_is_down_does_not_run() {
    let mut picture = picture(replicated(1), vec![running(1, NEW)]);
    let status = NodeStatus { state: node_status::State::Down.into(), ..NodeStatus::default() };
    let node = Node { id: "n1".into(), status: Some(status), ..Node::default() };
    picture.nodes.insert("n1".into(), node);
    assert_eq!(seen(&picture, Asked::Spec).1, "going");
}

#[test]
fn a_service_whose_tasks_ended_for_good_is_stuck() {
    let done = task(1, NEW, TaskState::Complete, TaskState::Shutdown);
    check(
        replicated(2),
        vec![done, failed(2, "exit 1")],
        "overall progress: 0 out of 2 tasks",
        "stuck: 2 of 2 tasks ended, and the restart policy starts them no more: exit 1",
    );
    let again = task(1, NEW, TaskState::Ready, TaskState::Ready);
    check(
        replicated(1),
        vec![failed(1, "exit 1"), again],
        "overall progress: 0 out of 1 tasks",
        "going",
    );
    let places = look(
        &picture(
            replicated(1),
            vec![failed(1, "exit 1"), task(1, NEW, TaskState::Ready, TaskState::Ready)],
        ),
        Asked::Spec,
    )
    .places;
    let expected =
        Place { label: "1/1".into(), state: Some(TaskState::Ready), trouble: "exit 1".into() };
    assert_eq!(places, [expected]);
}

#[test]
fn an_update_is_over_when_the_managers_say_so() {
    let with = |state: UpdateState| Service {
        update_status: Some(UpdateStatus {
            state: state.into(),
            message: "said so".into(),
            ..UpdateStatus::default()
        }),
        ..replicated(1)
    };
    let tasks = || vec![running(1, NEW)];
    for (state, asked, standing) in [
        (UpdateState::Updating, Asked::Spec, "going"),
        (UpdateState::Completed, Asked::Spec, "converged, verify 0"),
        (UpdateState::Paused, Asked::Spec, "failed: update paused: said so"),
        (UpdateState::RollbackStarted, Asked::Spec, "going"),
        (UpdateState::RollbackStarted, Asked::Rollback, "going"),
        (UpdateState::RollbackPaused, Asked::Rollback, "failed: rollback paused: said so"),
        (UpdateState::RollbackCompleted, Asked::Spec, "failed: service rolled back: said so"),
        (UpdateState::RollbackCompleted, Asked::Rollback, "converged, verify 0"),
    ] {
        assert_eq!(seen(&picture(with(state), tasks()), asked).1, standing, "{state:?}");
    }
    let rolling = picture(with(UpdateState::RollbackStarted), tasks());
    assert_eq!(
        seen(&rolling, Asked::Spec).0,
        "overall progress: rolling back update: 1 out of 1 tasks"
    );
}

#[test]
fn a_global_service_is_on_every_node_that_the_managers_want_it_on() {
    let on = |id: &str| Task { node_id: id.into(), id: id.into(), ..running(0, NEW) };
    let mut seen_now = picture(service(Mode::Global(GlobalService {})), vec![]);
    let hostname = "host-a".into();
    let description = Some(NodeDescription { hostname, ..NodeDescription::default() });
    seen_now.nodes.insert("a".into(), Node { description, ..Node::default() });
    let of = |n, all| format!("overall progress: {n} out of {all} tasks");
    let good = || "converged, verify 5".to_owned();
    // The managers know the nodes before there are tasks.
    seen_now.desired = 2;
    assert_eq!(seen(&seen_now, Asked::Spec), (of(0, 2), "going".into()));
    seen_now.tasks.insert("a".into(), on("a"));
    assert_eq!(seen(&seen_now, Asked::Spec), (of(1, 2), "going".into()));
    assert_eq!(look(&seen_now, Asked::Spec).places[0].label, "host-a");
    seen_now.tasks.insert("b".into(), on("b"));
    assert_eq!(seen(&seen_now, Asked::Spec), (of(2, 2), good()));
    // A task more than they want by now is not told to go yet.
    seen_now.desired = 1;
    assert_eq!(seen(&seen_now, Asked::Spec), (of(2, 2), good()));
    // For no node at all.
    seen_now.desired = 0;
    seen_now.tasks.clear();
    assert_eq!(seen(&seen_now, Asked::Spec), (of(0, 0), good()));
}

#[test]
fn a_job_is_over_when_every_slot_is_complete() {
    let job = |total| Service {
        job_status: Some(JobStatus {
            job_iteration: Some(Version { index: 1 }),
            ..JobStatus::default()
        }),
        ..service(Mode::ReplicatedJob(ReplicatedJob {
            max_concurrent: 1,
            total_completions: total,
        }))
    };
    let of_run = |run, task: Task| Task { job_iteration: Some(Version { index: run }), ..task };
    let complete = |slot| of_run(1, task(slot, NEW, TaskState::Complete, TaskState::Complete));
    let runs = |slot| of_run(1, task(slot, NEW, TaskState::Running, TaskState::Complete));
    check(job(2), vec![], "job progress: 0 out of 2 complete, 0 running", "going");
    check(
        job(2),
        vec![complete(0), runs(1)],
        "job progress: 1 out of 2 complete, 1 running",
        "going",
    );
    // An earlier run does not count.
    let earlier = of_run(0, task(1, OLD, TaskState::Complete, TaskState::Remove));
    check(
        job(2),
        vec![complete(0), earlier],
        "job progress: 1 out of 2 complete, 0 running",
        "going",
    );
    check(
        job(2),
        vec![complete(0), complete(1)],
        "job progress: 2 out of 2 complete, 0 running",
        "converged, verify 0",
    );
    check(
        job(2),
        vec![complete(0), of_run(1, failed(1, "exit 1"))],
        "job progress: 1 out of 2 complete, 0 running",
        "stuck: the job is not complete, and no task is left to run: exit 1",
    );
}

#[test]
fn a_removed_service_never_converges() {
    let gone = Picture::default();
    assert_eq!(seen(&gone, Asked::Spec).1, "failed: the service was removed");
}
