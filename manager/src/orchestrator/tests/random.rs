//! Clusters to which everything happens in a random order: specs change, nodes drain, fall and come back, tasks fail, leaders
//! change. The watchdog looks on; in the end everything is as the specs say.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use skep_proto::{
    ids::ServiceId,
    swarmkit::{
        GlobalService, ServiceSpec, TaskState, UpdateConfig,
        node_spec::Availability,
        node_status::State,
        service_spec::Mode,
        update_config::{FailureAction, UpdateOrder},
    },
};

use super::world::{Image, World, job, replicated, seconds, set_image, wire_seconds, with_mode};
use crate::orchestrator::task::state;

const NODES: usize = 4;
const STEPS: usize = 60;
/// Histories of a run; `SKEP_ORCHESTRATOR_SEEDS` asks for more.
const SEEDS: u64 = 60;

async fn history(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::seeded(NODES, seed).await;
    world.images.insert("bad".into(), Image::Ends(seconds(2), TaskState::Failed));
    world.images.insert("refused".into(), Image::Rejected);
    world.images.insert("work".into(), Image::Ends(seconds(7), TaskState::Complete));
    let web = world.add_service("web", replicated(5)).await;
    let agent = world.add_service("agent", with_mode(Mode::Global(GlobalService {}))).await;
    let mut work = job(3, 8);
    set_image(&mut work, "work");
    let work = world.add_service("work", work).await;
    for _ in 0..STEPS {
        let node = format!("n{}", rng.random_range(1..=NODES));
        match rng.random_range(0..12) {
            0 => world.update(web, |spec| change_spec(spec, &mut rng)).await,
            1 => world.update(agent, |spec| change_spec(spec, &mut rng)).await,
            2 if rng.random_ratio(1, 3) => world.update(work, |_| {}).await,
            3 => world.set_availability(&node, Availability::Drain).await,
            4 => world.set_availability(&node, Availability::Pause).await,
            5 => world.set_availability(&node, Availability::Active).await,
            6 => world.set_state(&node, State::Down).await,
            7 | 8 => world.set_state(&node, State::Ready).await,
            9 => {
                let running = world.running(web);
                if !running.is_empty() {
                    let task = &running[rng.random_range(0..running.len())];
                    world.end(&task.id, TaskState::Failed).await;
                }
            }
            10 => world.change_leader(),
            _ => world.lose_leadership().await,
        }
        for _ in 0..rng.random_range(0..6) {
            world.turn().await;
        }
        let time = [0, 0, 1, 3, 8][rng.random_range(0..5)];
        world.pass(seconds(time)).await;
    }
    converges(&mut world, seed, web, agent, work).await;
}

fn change_spec(spec: &mut ServiceSpec, rng: &mut StdRng) {
    if rng.random_ratio(1, 2) {
        set_image(spec, ["v1", "v2", "v3", "bad", "refused"][rng.random_range(0..5)]);
    }
    if let Some(Mode::Replicated(mode)) = &mut spec.mode
        && rng.random_ratio(1, 2)
    {
        mode.replicas = rng.random_range(0..12);
    }
    let mut update = UpdateConfig {
        parallelism: rng.random_range(0..4),
        delay: wire_seconds(rng.random_range(0..4)),
        max_failure_ratio: [0.0, 0.3, 1.0][rng.random_range(0..3)],
        ..Default::default()
    };
    update.set_order([UpdateOrder::StopFirst, UpdateOrder::StartFirst][rng.random_range(0..2)]);
    let actions = [FailureAction::Pause, FailureAction::Continue, FailureAction::Rollback];
    update.set_failure_action(actions[rng.random_range(0..3)]);
    spec.update = Some(update);
    spec.rollback = Some(update);
}

/// Everything is well again, and given a good spec everything is as it should be.
async fn converges(
    world: &mut World,
    seed: u64,
    web: ServiceId,
    agent: ServiceId,
    work: ServiceId,
) {
    for n in 1..=NODES {
        world.set_state(&format!("n{n}"), State::Ready).await;
        world.set_availability(&format!("n{n}"), Availability::Active).await;
    }
    for service in [web, agent] {
        world.update(service, |spec| set_image(spec, "final")).await;
    }
    world.pass(seconds(600)).await;
    let Some(Mode::Replicated(mode)) = world.service(web).spec.clone().unwrap().mode else {
        unreachable!("it does not change")
    };
    assert_eq!(world.running(web).len() as u64, mode.replicas, "seed {seed}");
    let mut slots: Vec<u64> = world.wanted(web).iter().map(|task| task.slot).collect();
    assert_eq!(slots.len() as u64, mode.replicas, "seed {seed}");
    slots.dedup();
    assert_eq!(slots.len() as u64, mode.replicas, "seed {seed}: a slot is taken twice");
    assert_eq!(world.nodes(agent), "n1 n2 n3 n4", "seed {seed}");
    assert_eq!(world.wanted(agent).len(), NODES, "seed {seed}");
    for service in [web, agent] {
        let images = world.running_images(service);
        assert!(["final", ""].contains(&&*images), "seed {seed}: {images}");
        let message = world.update_message(service);
        assert!(["update completed", ""].contains(&&*message), "seed {seed}: {message}");
    }
    let done = world.tasks(work).iter().filter(|t| state(t) == TaskState::Complete as i32).count();
    assert_eq!(done, 8, "seed {seed}");
    assert!(world.running(work).is_empty(), "seed {seed}");
}

#[tokio::test]
async fn whatever_happens_in_the_end_everything_is_as_the_specs_say() {
    let asked = std::env::var("SKEP_ORCHESTRATOR_SEEDS").ok().and_then(|n| n.parse().ok());
    for seed in 0..asked.unwrap_or(SEEDS) {
        history(seed).await;
    }
}
