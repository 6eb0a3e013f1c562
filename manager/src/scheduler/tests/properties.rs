//! What holds for any cluster: spread is even, and nothing is placed where it does not fit.

use proptest::prelude::*;

use super::*;

/// Nodes by zone, each with what runs there already of the service and of others.
fn any_nodes() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0u8..4, 0u8..4, 0u8..6), 1..24)
}

/// A cluster of such nodes, with the tasks of `web` by node.
fn cluster_of(nodes: &[(u8, u8, u8)], make: impl Fn(Task) -> Task) -> (Cluster, Vec<u32>) {
    let mut cluster = Cluster::of([]);
    for (number, (zone, of_service, others)) in nodes.iter().enumerate() {
        let id = format!("n{number}");
        cluster.put_node(labelled(&id, &[("zone", &zone.to_string())]));
        for i in 0..*of_service {
            let name = format!("web.{}", 1_000 + number * 10 + usize::from(i));
            cluster.put(on(make(task(&name)), &id, TaskState::Running));
        }
        for i in 0..*others {
            let name = format!("other.{}", number * 10 + usize::from(i) + 1);
            cluster.put(on(task(&name), &id, TaskState::Running));
        }
    }
    (cluster, nodes.iter().map(|(_, of_service, _)| u32::from(*of_service)).collect())
}

fn number_of(node: &str) -> usize {
    node[1..].parse().unwrap()
}

proptest! {
    /// Tasks go to where the fewest are: after a pass, a node that got any has at most one more than any node of the leaf.
    #[test]
    fn a_leaf_is_even(nodes in any_nodes(), tasks in 1u64..60) {
        let by_zone = |task| spread_over(task, &["node.labels.zone"]);
        let (mut cluster, mut web) = cluster_of(&nodes, by_zone);
        let got = cluster.spread(replicas("web", tasks, by_zone));
        prop_assert_eq!(got.values().sum::<usize>() as u64, tasks);
        for (node, count) in &got {
            web[number_of(node)] += *count as u32;
        }
        for node in got.keys() {
            let own = number_of(node);
            let leaf = (0..nodes.len()).filter(|other| nodes[*other].0 == nodes[own].0);
            let least = leaf.map(|other| web[other]).min().unwrap();
            prop_assert!(web[own] <= least + 1, "{} of {:?} in {:?}", node, web, nodes);
        }
        // The same between zones: one that got any has at most one more than any other.
        let zone_sum = |zone: u8| {
            (0..nodes.len()).filter(|n| nodes[*n].0 == zone).map(|n| web[n]).sum::<u32>()
        };
        let least = nodes.iter().map(|node| zone_sum(node.0)).min().unwrap();
        for node in got.keys() {
            prop_assert!(zone_sum(nodes[number_of(node)].0) <= least + 1);
        }
    }

    /// With reservations: nothing is overdrawn, what waits fits nowhere, and as many are placed as fit.
    #[test]
    fn nodes_are_filled_and_not_overfilled(
        cpus in prop::collection::vec(0i64..9, 1..12),
        tasks in 1u64..40,
        each in 1i64..4,
    ) {
        let mut cluster = Cluster::of([]);
        for (number, cpus) in cpus.iter().enumerate() {
            cluster.put_node(described(&format!("n{number}"), |description| {
                description.resources.as_mut().unwrap().nano_cpus = cpus * CPU;
            }));
        }
        let got = cluster.spread(replicas("web", tasks, |t| reserving(t, each * CPU, 0, Vec::new())));
        for (node, count) in &got {
            prop_assert!(*count as i64 * each <= cpus[number_of(node)]);
        }
        let room: i64 = cpus.iter().map(|cpus| cpus / each).sum();
        prop_assert_eq!(got.values().sum::<usize>() as u64, tasks.min(room as u64));
    }

    /// What is kept step by step is what would be read anew from the same tasks.
    #[test]
    fn keeping_up_and_reading_anew_agree(
        steps in prop::collection::vec((0u64..12, 0usize..4, 0u8..5), 1..80),
    ) {
        let nodes = ["n0", "n1", "n2", "n3"];
        let spec = |name: String| reserving(task(&name), CPU / 2, GIB / 8, Vec::new());
        let mut kept = Cluster::of(nodes.map(node));
        let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
        for (slot, at, what) in steps {
            let name = format!("web.{slot}");
            let before = tasks.get(&name);
            // A task keeps its node, and its state never goes back.
            let at = before.map_or(nodes[at].to_owned(), |task| task.node_id.clone());
            let next = match (what, before) {
                (0, _) => {
                    tasks.remove(&name);
                    kept.state.take_back(name.parse().unwrap());
                    continue;
                }
                (1, _) => on(spec(name.clone()), &at, TaskState::Failed),
                (2, None) => on(spec(name.clone()), &at, TaskState::Assigned),
                (3, _) => wanted(on(spec(name.clone()), &at, TaskState::Running), TaskState::Shutdown),
                _ => on(spec(name.clone()), &at, TaskState::Running),
            };
            kept.put(next.clone());
            tasks.insert(name, next);
        }
        let mut anew = Cluster::of(nodes.map(node));
        tasks.values().for_each(|task| anew.put(task.clone()));
        for (index, info) in kept.state.nodes().iter() {
            let other = anew.state.nodes().get(index).unwrap();
            prop_assert_eq!(info.free_nano_cpus(), other.free_nano_cpus());
            prop_assert_eq!(info.free_memory_bytes(), other.free_memory_bytes());
            prop_assert_eq!(info.active(), other.active());
            let web = Some("web".parse().unwrap());
            prop_assert_eq!(kept.state.of_service(web, index), anew.state.of_service(web, index));
        }
    }
}
