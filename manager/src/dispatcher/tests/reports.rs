//! What nodes report, and what becomes of tasks of which nothing is heard.

use std::time::Duration;

use skep_proto::swarmkit::{
    Task, TaskState, TaskStatus, UpdateTaskStatusRequest, dispatcher_server::Dispatcher,
    node_status::State, update_task_status_request::TaskStatusUpdate,
};
use tokio::time::sleep;
use tonic::Code;

use super::{Running, from, refusal, seconds, task, until};

#[tokio::test(start_paused = true)]
async fn reports_are_believed_of_a_nodes_own_tasks_only_and_never_lead_back() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    for t in [task("a", "w", TaskState::Ready), task("b", "other", TaskState::Ready)] {
        running.store.update(|tx| tx.create(t)).await.unwrap();
    }
    let report_number = |task: &str, state: i32| {
        let status = Some(TaskStatus { state, ..Default::default() });
        let updates = vec![TaskStatusUpdate { task_id: task.into(), status }];
        let session_id = session_id.clone();
        running
            .dispatcher
            .update_task_status(from("w", UpdateTaskStatusRequest { session_id, updates }))
    };
    let report = |task: &str, state: TaskState| report_number(task, state.into());
    let foreign = "cannot update a task not assigned this node".to_owned();
    let refused = refusal(report("b", TaskState::Running).await);
    assert_eq!(refused, (Code::PermissionDenied, foreign));
    // A state that is none would stand for ever: nothing is further along.
    let refused = refusal(report_number("a", i32::MAX).await);
    let text = "task a: 2147483647 is not a state of a task".to_owned();
    assert_eq!(refused, (Code::InvalidArgument, text));
    report("missing", TaskState::Running).await.unwrap();
    report("a", TaskState::Running).await.unwrap();
    let stored = || running.store.view().get_text::<Task>("a").unwrap().status.clone().unwrap();
    until(|| stored().state() == TaskState::Running).await;
    assert_eq!(stored().applied_by, "manager1");
    assert!(stored().applied_at.is_some());
    report("a", TaskState::Starting).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(stored().state(), TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn states_that_a_task_passes_through_become_one_write() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    running.store.update(|tx| tx.create(task("a", "w", TaskState::Assigned))).await.unwrap();
    let stored = || {
        let view = running.store.view();
        view.get_text::<Task>("a").unwrap().status.clone().unwrap().state()
    };
    let report = async |state: TaskState| {
        let status = Some(TaskStatus { state: state.into(), ..Default::default() });
        let updates = vec![TaskStatusUpdate { task_id: "a".into(), status }];
        let request = UpdateTaskStatusRequest { session_id: session_id.clone(), updates };
        running.dispatcher.update_task_status(from("w", request)).await.unwrap();
    };
    sleep(seconds(1)).await;
    let before = running.store.view().version();
    for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Starting] {
        report(state).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(stored(), TaskState::Assigned);
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stored(), TaskState::Starting);
    sleep(seconds(1)).await;
    report(TaskState::Running).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(stored(), TaskState::Running, "at once");
    assert_eq!(running.store.view().version() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_node_that_is_down_for_a_day_are_given_up() {
    let running = Running::with(&[("w", State::Down)]).await;
    running.store.update(|tx| tx.create(task("a", "w", TaskState::Running))).await.unwrap();
    let state = || {
        let view = running.store.view();
        view.get_text::<Task>("a").unwrap().status.clone().unwrap().state()
    };
    tokio::time::advance(seconds(24 * 3600 - 10)).await;
    sleep(seconds(1)).await;
    assert_eq!(state(), TaskState::Running);
    sleep(seconds(20)).await;
    assert_eq!(state(), TaskState::Orphaned);
}
