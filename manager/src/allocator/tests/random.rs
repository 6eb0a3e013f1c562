//! Whatever happens: what the store says agrees with itself and with the leader's memory, and nobody waits without a cause.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use super::*;
use crate::allocator::audit::{audit, compare};

const NETWORKS: [&str; 4] = ["span", "tiny", "both", "bridge"];
const STEPS: usize = 150;

fn sized(name: &str, subnets: &[&str]) -> Network {
    let config = |subnet: &&str| skep_proto::swarmkit::IpamConfig {
        subnet: (*subnet).to_owned(),
        ..Default::default()
    };
    let configs = subnets.iter().map(config).collect();
    let mut network = network(name, "overlay", false, false);
    let ipam = skep_proto::swarmkit::IpamOptions { driver: None, configs };
    network.spec.as_mut().unwrap().ipam = Some(ipam);
    network
}

fn some_networks(rng: &mut StdRng) -> Vec<&'static str> {
    let count = rng.random_range(0..3);
    NETWORKS.into_iter().choose_multiple(rng, count)
}

fn spec(rng: &mut StdRng, service: &mut Service) {
    let ports: &[u32] = [&[][..], &[80], &[0], &[0, 81]].into_iter().choose(rng).unwrap();
    let networks = some_networks(rng);
    let attached = task("x", "", &networks).spec;
    let spec = service.spec.as_mut().unwrap();
    spec.endpoint = publishing(ports);
    spec.task = attached;
}

fn any<T: skep_store::Object>(tables: &Tables, rng: &mut StdRng) -> Option<String> {
    tables.all::<T>().choose(rng).map(|object| object.id().to_owned())
}

async fn step(running: &mut Running, rng: &mut StdRng, number: usize) {
    let view = running.store.view();
    let service_id = any::<Service>(&view, rng);
    let task_id = any::<Task>(&view, rng);
    let node_id = any::<Node>(&view, rng);
    drop(view);
    match rng.random_range(0..14) {
        0 => {
            let mut made = service(&format!("s{number}"), None);
            spec(rng, &mut made);
            running.put(endowed(made)).await;
        }
        1 => {
            if let Some(id) = service_id {
                running.change_service(&id, |service| spec(rng, service)).await;
            }
        }
        2 if rng.random_bool(0.4) => {
            if let Some(id) = service_id {
                running.remove::<Service>(&id).await;
            }
        }
        3..6 => {
            let made = (0..rng.random_range(1..6)).map(|n| {
                let mut made = task(&format!("t{number}-{n}"), "", &some_networks(rng));
                if let Some(id) = &service_id {
                    let view = running.store.view();
                    let service = view.get_text::<Service>(id).unwrap();
                    made.service_id.clone_from(id);
                    made.spec = service.spec.as_ref().unwrap().task.clone();
                }
                made
            });
            let made: Vec<Task> = made.collect();
            let book = running.book.clone();
            let fails = rng.random_bool(0.2);
            let written = running.store.batch(made, |tx, task| {
                create(tx, &book, task)?;
                match fails {
                    true => Err(StoreError::NotFound { kind: Kind::Task, id: "x".into() }),
                    false => Ok(()),
                }
            });
            written.await;
        }
        6..8 => {
            if let (Some(id), Some(node)) = (task_id, node_id) {
                let assign = |task: &mut Task| {
                    let status = task.status.as_mut().unwrap();
                    if status.state == TaskState::Pending as i32 {
                        status.state = TaskState::Assigned.into();
                        task.node_id = node;
                    }
                };
                running.change::<Task>(&id, assign).await;
            }
        }
        8..10 => {
            if let Some(id) = task_id {
                running.report(&id, TaskState::Complete).await;
            }
        }
        10 => {
            if let Some(id) = task_id {
                running.remove::<Task>(&id).await;
            }
        }
        11 => running.put(Node { id: format!("node{number}"), ..Default::default() }).await,
        12 if rng.random_bool(0.3) => {
            if let Some(id) = node_id {
                running.remove::<Node>(&id).await;
            }
        }
        13 if rng.random_bool(0.3) => {
            if rng.random_bool(0.5) {
                running.solo = None;
                running.solo = Some(lead_alone(&running.store));
            } else {
                running.change_leader();
            }
        }
        _ => running.settle().await,
    }
}

async fn check(running: &Running) {
    running.settle().await;
    let view = running.store.view();
    // Two services may name one port in these histories: the Control service would have refused the second.
    // A service that waits keeps what it had until then.
    let waits = |kind: &str| kind.starts_with("service-") || kind == "duplicate-port";
    let full = |kind: &str| kind == "node-without-address" && is_full(&view);
    let found: Vec<_> = audit(&view)
        .into_iter()
        .filter(|found| !waits(found.kind()) && !full(found.kind()))
        .collect();
    assert!(found.is_empty(), "{found:?}");
    let book = running.book.clone();
    let found = running.store.update(|tx| {
        let ledger = book.open(tx);
        Ok::<_, StoreError>(compare(tx, &ledger.ipam, &ledger.vxlan))
    });
    let found = found.await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(without_a_cause(running).await, Vec::<String>::new());
}

/// Services and tasks that wait and could have what they need: tried, and taken back.
async fn without_a_cause(running: &Running) -> Vec<String> {
    let book = running.book.clone();
    let mut found = Vec::new();
    let tried = running.store.update(|tx| {
        let ids: Vec<String> = {
            let services = tx.all::<Service>().map(|service| service.id.clone());
            let tasks = tx.find::<Task>(By::TaskState(TaskState::New)).map(|task| task.id.clone());
            services.chain(tasks).collect()
        };
        for id in ids {
            let mut ledger = book.open(tx);
            let now = tx.now();
            let service = tx.get_text::<Service>(&id).cloned();
            if service.as_ref().is_some_and(|s| endpoint::is_current(tx, &mut ledger, s)) {
                continue;
            }
            let task = tx.get_text::<Task>(&id).cloned();
            let mut giver = give::Giver { tx, ledger: &mut ledger, ports: &mut None };
            let given = match (service, task) {
                (Some(service), _) => giver.service(service).is_ok(),
                (None, Some(task)) => {
                    let service = giver.tx.get_text::<Service>(&task.service_id).cloned();
                    let gone = service.is_none() && !task.service_id.is_empty();
                    let service = service.map(|service| giver.service(service)).transpose();
                    !gone && service.is_ok_and(|s| giver.task(&task, s.as_deref(), now).is_ok())
                }
                (None, None) => false,
            };
            if given {
                found.push(id);
            }
        }
        Err::<(), _>(())
    });
    tried.await.unwrap_err();
    book.forget();
    found
}

/// Whether the smallest network has no room.
fn is_full(tables: &Tables) -> bool {
    let tiny = tables.get_text::<Network>("n-tiny").unwrap();
    network_state(tables, tiny).unwrap()[0].free == 0
}

#[tokio::test(start_paused = true)]
async fn in_the_end_everything_agrees() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut running = Running::begin().await;
        running.put(sized("tiny", &["10.9.0.0/28"])).await;
        running.put(sized("both", &["10.8.0.0/24", "fd00::/64"])).await;
        for number in 0..STEPS {
            step(&mut running, &mut rng, number).await;
            if number % 25 == 24 {
                check(&running).await;
            }
        }
    }
}
