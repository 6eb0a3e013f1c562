//! What a worker is given to read: its own tasks, and what those refer to for as long as they do.

use std::collections::BTreeSet;

use skep_proto::swarmkit::{
    AssignmentsMessage, AssignmentsRequest, RemoveServiceRequest, TaskState, TasksRequest,
    assignment::Item, assignment_change::AssignmentAction, assignments_message::Type,
};
use skep_testkit::skepd_process::SETTLE_LIMIT;
use tonic::Streaming;

use super::scene::{Scene, Station};

/// What a stream of assignments has said so far.
struct Told {
    stream: Streaming<AssignmentsMessage>,
    kinds: Vec<Type>,
    /// What the worker has.
    tasks: BTreeSet<String>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
    /// Everything that was ever named.
    named: BTreeSet<String>,
}

impl Told {
    /// Opens the stream and reads the first message.
    async fn begin(station: &Station) -> Told {
        let request = AssignmentsRequest { session_id: station.session_id.clone() };
        let stream = station.dispatcher().assignments(request).await.unwrap().into_inner();
        let mut told = Told {
            stream,
            kinds: Vec::new(),
            tasks: BTreeSet::new(),
            secrets: BTreeSet::new(),
            configs: BTreeSet::new(),
            named: BTreeSet::new(),
        };
        told.read().await;
        told
    }

    async fn read(&mut self) {
        let message = tokio::time::timeout(SETTLE_LIMIT, self.stream.message()).await;
        let message = message.expect("a message in time").unwrap().expect("the stream goes on");
        self.kinds.push(message.r#type());
        for change in message.changes {
            let action = change.action();
            let (held, id) = match change.assignment.unwrap().item.unwrap() {
                Item::Task(task) => (&mut self.tasks, task.id),
                Item::Secret(secret) => (&mut self.secrets, secret.id),
                Item::Config(config) => (&mut self.configs, config.id),
                Item::Volume(volume) => panic!("there are no volumes, but it names {}", volume.id),
            };
            self.named.insert(id.clone());
            match action {
                AssignmentAction::Update => held.insert(id),
                AssignmentAction::Remove => held.remove(&id),
            };
        }
    }

    async fn until(&mut self, enough: impl Fn(&Told) -> bool) {
        while !enough(self) {
            self.read().await;
        }
    }
}

fn only(id: &str) -> BTreeSet<String> {
    BTreeSet::from([id.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reads_what_its_own_tasks_refer_to_and_nothing_else() {
    let scene = Scene::new().await;
    let near = scene.station(0).await;
    let far = scene.station_passed_on(1).await;
    let (mut told_near, mut told_far) = (Told::begin(&near).await, Told::begin(&far).await);

    let mut expected = Vec::new();
    for (name, station) in [("near", &near), ("far", &far)] {
        let (secret, config) = (scene.secret(name).await, scene.config(name).await);
        let task = scene
            .run_with(name, &station.node_id, vec![secret.clone()], vec![config.clone()])
            .await;
        expected.push((task, secret.secret_id, config.config_id));
    }
    // Of no use to anybody.
    scene.secret("idle").await;
    scene.config("idle").await;

    for (told, (task, secret, config)) in
        [(&mut told_near, &expected[0]), (&mut told_far, &expected[1])]
    {
        told.until(|told| !told.tasks.is_empty()).await;
        assert_eq!(told.tasks, only(&task.id));
        assert_eq!((&told.secrets, &told.configs), (&only(secret), &only(config)));
    }

    for (told, station, (task, ..)) in
        [(&mut told_near, &near, &expected[0]), (&mut told_far, &far, &expected[1])]
    {
        // The old way to ask for tasks shows the same ones; it takes the place of the other stream.
        let request = TasksRequest { session_id: station.session_id.clone() };
        let mut tasks = station.dispatcher().tasks(request).await.unwrap().into_inner();
        let ids: BTreeSet<_> =
            tasks.message().await.unwrap().unwrap().tasks.into_iter().map(|t| t.id).collect();
        assert_eq!(ids, only(&task.id));
        drop(tasks);
        let mut named = std::mem::take(&mut told.named);
        *told = Told::begin(station).await;
        told.named.append(&mut named);
        assert_eq!(told.kinds, [Type::Complete]);
    }

    // With the task goes what only it referred to.
    for (told, station, (task, ..)) in
        [(&mut told_near, &near, &expected[0]), (&mut told_far, &far, &expected[1])]
    {
        let request = RemoveServiceRequest { service_id: task.service_id.clone() };
        scene.control().remove_service(request).await.unwrap();
        let report = station.report(&task.id, TaskState::Shutdown);
        station.dispatcher().update_task_status(report).await.unwrap();
        told.until(|t| t.tasks.is_empty() && t.secrets.is_empty() && t.configs.is_empty()).await;
        assert!(told.kinds[1..].iter().all(|kind| *kind == Type::Incremental), "{:?}", told.kinds);
    }
    for (told, (task, secret, config)) in [(told_near, &expected[0]), (told_far, &expected[1])] {
        let all = BTreeSet::from([task.id.clone(), secret.clone(), config.clone()]);
        assert_eq!(told.named, all, "nothing else was ever named");
    }
}
