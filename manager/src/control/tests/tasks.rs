//! Tasks.

use skep_proto::swarmkit::{
    GetTaskRequest, ListTasksRequest, RemoveTaskRequest, Task, TaskState,
    container_spec::PullOptions, list_tasks_request::Filters,
};

use super::*;

fn task(id: &str, service: &str, slot: u64, node: &str) -> Task {
    let labels = [("tier".to_owned(), service.to_owned())].into();
    Task {
        id: id.into(),
        service_id: service.into(),
        slot,
        node_id: node.into(),
        spec: Some(container("nginx").into()),
        service_annotations: Some(Annotations {
            name: service.into(),
            labels,
            ..Default::default()
        }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn tasks_are_filtered() {
    let h = Harness::new();
    h.put(task("t1", "web", 1, "n1")).await;
    h.put(Task { desired_state: TaskState::Shutdown.into(), ..task("t2", "web", 2, "n2") }).await;
    h.put(Task { spec: None, ..task("u1", "db", 1, "n1") }).await;
    let none = Filters::default;
    for (filters, expected) in [
        (none(), &["t1", "t2", "u1"][..]),
        (Filters { names: vec!["web.1.t1".into()], ..none() }, &["t1"]),
        (Filters { name_prefixes: vec!["web.".into()], ..none() }, &["t1", "t2"]),
        (Filters { id_prefixes: vec!["u".into()], ..none() }, &["u1"]),
        (Filters { labels: [("tier".into(), "db".into())].into(), ..none() }, &["u1"]),
        (Filters { service_ids: vec!["db".into()], ..none() }, &["u1"]),
        (Filters { node_ids: vec!["n1".into()], ..none() }, &["t1", "u1"]),
        (Filters { desired_states: vec![TaskState::Shutdown.into()], ..none() }, &["t2"]),
        (Filters { runtimes: vec!["container".into()], ..none() }, &["t1", "t2"]),
        (
            Filters { node_ids: vec!["n1".into()], service_ids: vec!["web".into()], ..none() },
            &["t1"],
        ),
    ] {
        let request = ListTasksRequest { filters: Some(filters.clone()) };
        let ids: Vec<_> = done!(h, list_tasks, request).tasks.into_iter().map(|t| t.id).collect();
        assert_eq!(ids, expected, "{filters:?}");
    }
}

#[tokio::test]
async fn a_task_is_up_to_date_when_it_is_what_its_service_asks_for() {
    let h = Harness::new();
    let version = |index| Some(Version { index });
    h.put(Service { spec_version: version(7), ..service("web", service_spec("web")) }).await;
    let pull = PullOptions { registry_auth: "x".into() };
    let pulled =
        ContainerSpec { image: "nginx".into(), pull_options: Some(pull), ..Default::default() };
    let pulled = TaskSpec { runtime: Some(Runtime::Container(pulled)), ..Default::default() };
    h.put(Task {
        spec_version: version(7),
        spec: Some(container("odd").into()),
        ..task("a", "web", 1, "n")
    })
    .await;
    h.put(Task { spec_version: version(6), ..task("b", "web", 2, "n") }).await;
    h.put(Task { spec_version: version(6), spec: Some(pulled.into()), ..task("c", "web", 3, "n") })
        .await;
    h.put(Task {
        spec_version: version(6),
        spec: Some(container("old").into()),
        ..task("d", "web", 4, "n")
    })
    .await;
    h.put(task("e", "gone", 1, "n")).await;
    let filters = Some(Filters { up_to_date: true, ..Default::default() });
    let ids: Vec<_> = done!(h, list_tasks, ListTasksRequest { filters })
        .tasks
        .into_iter()
        .map(|t| t.id)
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_task_is_shown_and_removed() {
    let h = Harness::new();
    h.put(task("t1", "web", 1, "n1")).await;
    assert_eq!(
        done!(h, get_task, GetTaskRequest { task_id: "t1".into() }).task.unwrap().node_id,
        "n1"
    );
    done!(h, remove_task, RemoveTaskRequest { task_id: "t1".into() });
    let gone = says(Code::NotFound, "task t1 not found");
    assert_eq!(refused!(h, remove_task, RemoveTaskRequest { task_id: "t1".into() }), gone);
    assert_eq!(refused!(h, get_task, GetTaskRequest { task_id: "t1".into() }), gone);
    assert_eq!(
        refused!(h, get_task, GetTaskRequest::default()),
        says(Code::InvalidArgument, "the id of the task must be provided")
    );
}
