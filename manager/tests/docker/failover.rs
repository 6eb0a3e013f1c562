//! An engine outlives the leader.

use std::time::{Duration, Instant};

use skep_proto::swarmkit::node_status::State;
use skep_testkit::docker_hosts::DockerHost;

use crate::support::{node_of, state, swarm, swarm_info};

/// How long a node may be silent before it counts as down: three heartbeats of 5 s.
const GRACE: Duration = Duration::from_secs(15);
/// How soon the engine has to be in session with the new leader.
const SESSION_LIMIT: Duration = GRACE;
/// A new leader gives nodes six heartbeats to come before it calls them down; some time for a busy machine.
const JUDGED_LIMIT: Duration = Duration::from_secs(60);

/// How often a manager has taken the engine into session.
fn sessions(engine: &DockerHost) -> usize {
    let log = std::fs::read(engine.log_path()).unwrap();
    String::from_utf8_lossy(&log).matches("agent: registered").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_stays_ready_when_the_leader_is_killed() {
    let Some(mut swarm) = swarm(1).await else { return };
    let (leader, survivor) = swarm.leader_and_follower().await;
    let joined = swarm.join(swarm.engine(0), &swarm.cluster.managers[survivor]).await;
    let before = sessions(swarm.engine(0));
    let dead = swarm.cluster.managers[leader].status().await.unwrap().node_id;
    swarm.cluster.managers[leader].kill();
    let killed = Instant::now();

    // Watched from a manager that lives on, until the new leader has called the dead one down: by then it would have
    // said the same of the engine.
    let (engine, survivor) = (swarm.engine(0), &swarm.cluster.managers[survivor]);
    let mut in_session = None;
    let mut not_ready_since = None;
    let mut longest = Duration::ZERO;
    loop {
        assert!(killed.elapsed() < JUDGED_LIMIT, "the dead manager is not down");
        if in_session.is_none() && sessions(engine) > before {
            in_session = Some(killed.elapsed());
        }
        assert!(in_session.is_some() || killed.elapsed() < SESSION_LIMIT, "no session");
        tokio::time::sleep(Duration::from_millis(50)).await;
        // While nobody leads there is nobody to ask.
        let Ok(nodes) = survivor.nodes().await else { continue };
        let find = |id: &str| nodes.iter().find(|node| node.id == id).expect("it is listed");
        match state(find(&joined.id)) {
            State::Ready => not_ready_since = None,
            State::Unknown => {
                let since = *not_ready_since.get_or_insert_with(Instant::now);
                longest = longest.max(since.elapsed());
            }
            other => panic!("the engine is {other:?}"),
        }
        if in_session.is_some() && state(find(&dead)) == State::Down {
            break;
        }
    }
    println!(
        "in session with the new leader {in_session:?} after the kill; not ready for {longest:?}"
    );
    assert!(longest < GRACE, "not ready for {longest:?}");
    assert_eq!(state(&node_of(survivor, engine).await.unwrap()), State::Ready);

    let info = swarm_info(engine);
    assert_eq!(info["LocalNodeState"], "active", "{info}");
    assert_eq!(info["Error"], "", "{info}");
}
