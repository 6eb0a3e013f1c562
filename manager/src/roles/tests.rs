use skep_proto::swarmkit::NodeSpec;
use skep_store::solo::{Solo, lead_alone};
use tokio::task::JoinHandle;

use super::*;
use crate::test_group::TestGroup;

fn node(id: &str, role: NodeRole, desired: NodeRole) -> Node {
    let spec = Some(NodeSpec { desired_role: desired.into(), ..Default::default() });
    Node { id: id.into(), role: role.into(), spec, ..Default::default() }
}

fn member(raft_id: u64) -> MemberState {
    MemberState {
        raft_id,
        node_id: String::new(),
        addr: String::new(),
        leader: false,
        reachable: true,
    }
}

#[test]
fn what_is_next_for_a_node() {
    use NodeRole::{Manager, Worker};
    let own = 1;
    let table = [
        (Worker, Worker, None, true, Step::Nothing),
        (Manager, Manager, Some(2), true, Step::Nothing),
        (Worker, Manager, None, true, Step::Promote),
        (Worker, Manager, Some(2), true, Step::Promote),
        (Manager, Worker, Some(2), true, Step::RemoveMember(2)),
        (Manager, Worker, Some(2), false, Step::Wait),
        (Manager, Worker, Some(own), true, Step::HandOver),
        (Manager, Worker, Some(own), false, Step::Wait),
        (Manager, Worker, None, false, Step::Demote),
    ];
    for (role, desired, raft_id, removable, expected) in table {
        let node = node("n", role, desired);
        let member = raft_id.map(member);
        let found = next_step(&node, member.as_ref(), own, |_| removable);
        assert_eq!(found, expected, "{role:?} {desired:?} {raft_id:?} {removable}");
    }
}

struct Managed {
    store: Store,
    group: Arc<TestGroup>,
    task: JoinHandle<()>,
    _solo: Solo,
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Managed {
    async fn with(members: &[&str], nodes: impl IntoIterator<Item = Node>) -> Managed {
        let store = Store::system();
        let solo = lead_alone(&store);
        for node in nodes {
            store.update(|tx| tx.create(node)).await.unwrap();
        }
        let group = Arc::new(TestGroup::of(members));
        let task = tokio::spawn(run(store.clone(), group.clone()));
        Managed { store, group, task, _solo: solo }
    }

    /// The node's role after that much time, which passes at once when nothing else is to do.
    async fn role_after(&self, seconds: u64, id: &str) -> NodeRole {
        sleep(Duration::from_secs(seconds)).await;
        self.store.view().get_text::<Node>(id).unwrap().role()
    }

    async fn desire(&self, id: &str, desired: NodeRole) {
        let id = id.parse().unwrap();
        let change =
            |node: &mut Node| node.spec.get_or_insert_default().desired_role = desired.into();
        self.store.update(|tx| tx.modify::<Node>(&id, change)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_is_immediate() {
    let nodes = [node("a", NodeRole::Worker, NodeRole::Manager)];
    let managed = Managed::with(&["a"], nodes).await;
    assert_eq!(managed.role_after(1, "a").await, NodeRole::Manager, "the founder's own");
    let worker = node("b", NodeRole::Worker, NodeRole::Worker);
    managed.store.update(|tx| tx.create(worker)).await.unwrap();
    managed.desire("b", NodeRole::Manager).await;
    assert_eq!(managed.role_after(1, "b").await, NodeRole::Manager);
}

#[tokio::test(start_paused = true)]
async fn a_demoted_manager_leaves_the_group_first() {
    let manager = |id| node(id, NodeRole::Manager, NodeRole::Manager);
    let managed = Managed::with(&["a", "b", "c"], ["a", "b", "c"].map(manager)).await;
    managed.group.set_removable(false);
    managed.desire("b", NodeRole::Worker).await;
    assert_eq!(managed.role_after(60, "b").await, NodeRole::Manager, "the quorum would be lost");
    assert!(managed.group.asked().is_empty());
    managed.group.set_removable(true);
    assert_eq!(managed.role_after(6, "b").await, NodeRole::Worker);
    assert_eq!(managed.group.asked(), ["remove 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_demoted_leader_hands_over_and_leaves_the_rest_to_the_next_one() {
    let manager = |id| node(id, NodeRole::Manager, NodeRole::Manager);
    let managed = Managed::with(&["a", "b", "c"], ["a", "b", "c"].map(manager)).await;
    managed.desire("a", NodeRole::Worker).await;
    assert_eq!(managed.role_after(1, "a").await, NodeRole::Manager);
    assert_eq!(managed.group.asked(), ["transfer"]);
}

#[tokio::test(start_paused = true)]
async fn members_without_a_node_are_evicted_at_the_start_and_when_the_node_is_removed() {
    let manager = |id| node(id, NodeRole::Manager, NodeRole::Manager);
    let managed = Managed::with(&["a", "gone", "c"], ["a", "c"].map(manager)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(managed.group.asked(), ["remove 2"]);
    let id = "c".parse().unwrap();
    managed.store.update(|tx| tx.remove::<Node>(&id)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(managed.group.asked(), ["remove 2", "remove 3"]);
}
