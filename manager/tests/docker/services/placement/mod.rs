//! Where tasks go, and what those say that find no node.

mod constraints;
mod ports;
mod resources;
mod spread;

use skep_proto::skep::PlacementExplanation;

use super::scene::Scene;

/// What the engines are told to say of themselves: the first has two of one kind of thing, the second two of another kind
/// that have names.
const ENGINES: [&[&str]; 3] = [
    &["--label", "disk=ssd", "--node-generic-resource", "gpu=2"],
    &[
        "--label",
        "disk=hdd",
        "--node-generic-resource",
        "fpga=north",
        "--node-generic-resource",
        "fpga=south",
    ],
    &[],
];

#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_where_they_may_and_the_others_say_why_they_wait() {
    let Some(scene) = Scene::with(&ENGINES).await else { return };
    for (place, zone) in ["a", "a", "b"].into_iter().enumerate() {
        scene.label(scene.engine(place), "zone", zone).await;
    }
    constraints::hold(&scene).await;
    constraints::are_enforced_when_a_node_changes(&scene).await;
    spread::is_even_over_a_label(&scene).await;
    spread::is_limited_on_each_node(&scene).await;
    resources::are_set_aside(&scene).await;
    resources::of_a_kind_are_given_out(&scene).await;
    ports::are_one_to_a_node(&scene).await;
    scene.wait_gone().await;
}

/// How many nodes a filter rejects, for this reason among others.
fn rejected_by(placement: &PlacementExplanation, filter: &str) -> u32 {
    let rejection = placement.rejections.iter().find(|rejection| rejection.filter == filter);
    rejection.map_or(0, |rejection| rejection.nodes_total)
}

/// What a filter says of the engines.
fn said_by(placement: &PlacementExplanation, filter: &str) -> Vec<String> {
    let rejection = placement.rejections.iter().find(|rejection| rejection.filter == filter);
    rejection.into_iter().flat_map(|r| &r.nodes).map(|node| node.detail.clone()).collect()
}
