//! Jobs: what is to be done a number of times is done that many times, whoever leads. What was done is read from a file
//! that the containers write to.

use std::{collections::BTreeSet, path::Path};

use skep_proto::swarmkit::{Task, TaskState};
use tempfile::TempDir;

use super::{
    scene::{Scene, describe, state},
    spec::{Spec, global_job, replicated_job},
};
use crate::support::docker;

/// Work that takes a second and notes when it began and ended.
const WORK: &str = "echo begin $TASK >> /done/log; sleep 1; echo end $TASK >> /done/log";
/// The first two that run it fail.
const FAILS_TWICE: &str = "busybox mkdir /done/one || busybox mkdir /done/two || \
     { echo begin $TASK >> /done/log; echo end $TASK >> /done/log; exit 0; }; exit 1";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_done_once_each_also_when_the_leader_dies() {
    let Some(mut scene) = Scene::new(2).await else { return };
    a_replicated_job(&mut scene).await;
    a_global_job(&mut scene).await;
    a_job_whose_first_tasks_fail(&scene).await;
}

async fn a_replicated_job(scene: &mut Scene) {
    const TOTAL: usize = 10;
    const AT_A_TIME: usize = 3;
    let notes = Notes::new();
    let spec = notes.kept_by(replicated_job("reports", TOTAL as u64, AT_A_TIME as u64), WORK);
    let job = scene.create(&spec).await;
    wait_until(scene, "some of the work to be done", || notes.ended() >= 3).await;
    let killed = scene.kill_leader().await;
    let ended = notes.ended();
    assert!(ended < TOTAL, "the leader was not killed in the midst: all {ended} are done");
    let tasks = complete(scene, &job, TOTAL).await;
    scene.revive(killed).await;

    assert_eq!(notes.done_by(), ids(&tasks), "who did it and who is said to have done it");
    assert_eq!((notes.began(), notes.ended()), (TOTAL, TOTAL), "it is done more than once");
    assert!(notes.at_a_time() <= AT_A_TIME, "{} at a time", notes.at_a_time());
    let slots: BTreeSet<u64> = tasks.iter().map(|task| task.slot).collect();
    assert_eq!(slots, (0..TOTAL as u64).collect());
    assert_eq!(containers(scene, &job), TOTAL, "there were more containers");

    // Once more, as a whole, and nothing is left of the first time.
    scene.update(&job, &spec.again()).await;
    wait_until(scene, "it to be done again", || notes.ended() == 2 * TOTAL).await;
    let again = complete(scene, &job, TOTAL).await;
    assert!(ids(&again).is_disjoint(&ids(&tasks)), "tasks of the first time are left");
    assert_eq!(notes.began(), 2 * TOTAL);
    assert!(notes.at_a_time() <= AT_A_TIME, "{} at a time", notes.at_a_time());
    scene.remove(&job).await;
}

async fn a_global_job(scene: &mut Scene) {
    let count = scene.engines().len();
    let notes = Notes::new();
    let job = scene.create(&notes.kept_by(global_job("rounds"), WORK)).await;
    wait_until(scene, "the work to begin", || notes.began() > 0).await;
    let killed = scene.kill_leader().await;
    let tasks = complete(scene, &job, count).await;
    scene.revive(killed).await;
    let nodes: BTreeSet<&str> = tasks.iter().map(|task| task.node_id.as_str()).collect();
    assert_eq!(nodes.len(), count, "it is done twice on a node");
    assert_eq!(notes.done_by(), ids(&tasks));
    assert_eq!((notes.began(), notes.ended()), (count, count), "it is done more than once");
    assert_eq!(containers(scene, &job), count, "there were more containers");
    scene.remove(&job).await;
}

async fn a_job_whose_first_tasks_fail(scene: &Scene) {
    const TOTAL: usize = 3;
    let notes = Notes::new();
    let spec = notes.kept_by(replicated_job("flaky", TOTAL as u64, TOTAL as u64), FAILS_TWICE);
    let job = scene.create(&spec).await;
    let tasks = complete(scene, &job, TOTAL).await;
    assert_eq!(notes.done_by(), ids(&tasks));
    assert_eq!(notes.ended(), TOTAL);
    assert_eq!(containers(scene, &job), TOTAL + 2, "two have failed");
    scene.remove(&job).await;
}

/// Waits until so many tasks are complete and all others have ended; gives the complete ones.
async fn complete(scene: &Scene, job: &str, count: usize) -> Vec<Task> {
    scene
        .wait(&format!("{count} tasks to be complete"), async |scene| {
            let all = scene.tasks(job).await?;
            let under_way = all.iter().filter(|task| state(task) < TaskState::Complete).count();
            let said = describe(&all);
            let is_complete = |task: &Task| state(task) == TaskState::Complete;
            let complete: Vec<Task> = all.into_iter().filter(is_complete).collect();
            assert!(complete.len() <= count, "more than {count} are complete:{said}");
            if complete.len() == count && under_way == 0 { Ok(complete) } else { Err(said) }
        })
        .await
}

async fn wait_until(scene: &Scene, what: &str, wanted: impl Fn() -> bool) {
    scene.wait(what, async |_| if wanted() { Ok(()) } else { Err("not yet".into()) }).await;
}

/// All containers of a job that there are on the engines, those that have ended too.
fn containers(scene: &Scene, job: &str) -> usize {
    let filter = format!("label=com.docker.swarm.service.id={job}");
    let listed = scene.engines().iter().map(|engine| {
        docker(engine, &["ps", "--all", "--quiet", "--filter", &filter]).unwrap().lines().count()
    });
    listed.sum()
}

fn ids(tasks: &[Task]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.id.clone()).collect()
}

/// What the containers of a job have written down, in the order in which they did.
struct Notes(TempDir);

impl Notes {
    fn new() -> Notes {
        Notes(TempDir::new().unwrap())
    }

    /// The job with this script, whose notes these are.
    fn kept_by(&self, job: Spec, script: &str) -> Spec {
        job.script(script).env("TASK", "{{.Task.ID}}").folder(self.folder(), "/done")
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn lines(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        // A line under way is not there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let words = whole.lines().filter_map(|line| line.split_once(' '));
        words.map(|(what, task)| (what.to_owned(), task.to_owned())).collect()
    }

    fn count(&self, wanted: &str) -> usize {
        self.lines().iter().filter(|(what, _)| what == wanted).count()
    }

    fn began(&self) -> usize {
        self.count("begin")
    }

    fn ended(&self) -> usize {
        self.count("end")
    }

    fn done_by(&self) -> BTreeSet<String> {
        let ended = self.lines().into_iter().filter(|(what, _)| what == "end");
        ended.map(|(_, task)| task).collect()
    }

    /// How many were at work at the same time, at the most.
    fn at_a_time(&self) -> usize {
        let mut now = 0;
        let at_work = |(what, _): &(String, String)| {
            now = if what == "begin" { now + 1 } else { now - 1 };
            now
        };
        self.lines().iter().map(at_work).max().unwrap_or(0)
    }
}
