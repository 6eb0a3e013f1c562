//! Sessions, and reports about tasks and volumes.

use skep_proto::swarmkit::{
    AssignmentsRequest, HeartbeatRequest, TaskState, TasksRequest, UpdateTaskStatusRequest,
    UpdateVolumeStatusRequest, dispatcher_client::DispatcherClient,
    update_volume_status_request::VolumeStatusUpdate,
};
use skep_testkit::{skepd_process::SETTLE_LIMIT, wait};
use tonic::Code;

use super::scene::{Scene, Station, refusal, update};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reports_on_its_own_tasks_in_its_own_session() {
    let scene = Scene::new().await;
    let (intruder, neighbour) = (scene.station(0).await, scene.station(1).await);
    let own = scene.run("own", &intruder.node_id).await;
    let other = scene.run("other", &neighbour.node_id).await;
    let before = scene.stored_but(&own.id).await;

    let foreign =
        (Code::PermissionDenied, "cannot update a task not assigned this node".to_owned());
    let session = (Code::InvalidArgument, "session invalid".to_owned());
    for (door, channel) in scene.doors(0).await {
        let mut client = DispatcherClient::new(channel);
        let report = intruder.report(&other.id, TaskState::Failed);
        assert_eq!(refusal(client.update_task_status(report).await), foreign, "{door}");
        // One that it may not make takes along those that it may.
        let updates = vec![
            update(&own.id, TaskState::Failed as i32),
            update(&other.id, TaskState::Failed as i32),
        ];
        let report = UpdateTaskStatusRequest { session_id: intruder.session_id.clone(), updates };
        assert_eq!(refusal(client.update_task_status(report).await), foreign, "{door}");
        for state in [-1, 1, i32::MAX] {
            let updates = vec![update(&own.id, state)];
            let report =
                UpdateTaskStatusRequest { session_id: intruder.session_id.clone(), updates };
            let text = format!("task {}: {state} is not a state of a task", own.id);
            let refused = refusal(client.update_task_status(report).await);
            assert_eq!(refused, (Code::InvalidArgument, text), "{door}");
        }

        for stolen in [neighbour.session_id.clone(), String::new()] {
            let session_id = || stolen.clone();
            let beat = HeartbeatRequest { session_id: session_id() };
            assert_eq!(refusal(client.heartbeat(beat).await), session, "{door}");
            let updates = vec![update(&own.id, TaskState::Failed as i32)];
            let report = UpdateTaskStatusRequest { session_id: session_id(), updates };
            assert_eq!(refusal(client.update_task_status(report).await), session, "{door}");
            let updates = vec![VolumeStatusUpdate { id: "volume".into(), unpublished: true }];
            let report = UpdateVolumeStatusRequest { session_id: session_id(), updates };
            assert_eq!(refusal(client.update_volume_status(report).await), session, "{door}");
            let tasks = TasksRequest { session_id: session_id() };
            assert_eq!(refusal(client.tasks(tasks).await), session, "{door}");
            let assignments = AssignmentsRequest { session_id: session_id() };
            assert_eq!(refusal(client.assignments(assignments).await), session, "{door}");
        }
    }

    // What it may say is heard; whatever was heard before it would be written too by now.
    let report = intruder.report(&own.id, TaskState::Starting);
    intruder.dispatcher().update_task_status(report).await.unwrap();
    wait::until("the report to be written", SETTLE_LIMIT, async || {
        let tasks = scene.tasks_of(&own.service_id).await;
        match tasks.iter().map(|task| task.status.as_ref().unwrap().state()).collect::<Vec<_>>()[..]
        {
            [TaskState::Starting] => Ok(()),
            ref states => Err(format!("{states:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(scene.stored_but(&own.id).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_anothers_session_gives_a_worker_a_session_of_its_own() {
    let scene = Scene::new().await;
    let neighbour = scene.station(1).await;
    for (door, channel) in scene.doors(0).await {
        let opened = Station::open(channel, &neighbour.session_id).await;
        assert_eq!(opened.node_id, scene.security(0).identity().node_id.as_str(), "{door}");
        assert_ne!(opened.session_id, neighbour.session_id, "{door}");
    }
    let session_id = neighbour.session_id.clone();
    neighbour.dispatcher().heartbeat(HeartbeatRequest { session_id }).await.unwrap();
}
