//! The spec and the endpoint of a service and its tasks are in memory once, wherever they come from, and so are the networks of
//! its tasks.

mod common;

use bytes::Bytes;
use common::Script;
use futures::FutureExt as _;
use prost::Message as _;
use skep_proto::{
    shared::Shared,
    swarmkit::{
        ClusterSnapshot, ContainerSpec, Driver, Endpoint, InternalRaftRequest, Network,
        NetworkAttachment, Service, ServiceSpec, StoreAction, StoreActionKind, Task, TaskSpec,
        TaskStatus, endpoint::VirtualIp, store_action::Target, task_spec::Runtime,
    },
};
use skep_store::{Store, Tables};

fn spec(image: &str) -> TaskSpec {
    let container = ContainerSpec { image: image.into(), ..Default::default() };
    TaskSpec { runtime: Some(Runtime::Container(container)), force_update: 3, ..Default::default() }
}

fn network(id: &str) -> Network {
    let driver_state = Some(Driver { name: "overlay".into(), ..Default::default() });
    Network { id: id.into(), driver_state, ..Default::default() }
}

fn endpoint(address: &str) -> Endpoint {
    let address = VirtualIp { network_id: "n1".into(), addr: address.into() };
    Endpoint { virtual_ips: vec![address], ..Default::default() }
}

fn attachment(network: Network, address: &str) -> NetworkAttachment {
    let addresses = vec![address.to_owned()];
    NetworkAttachment { network: Some(network.into()), addresses, ..Default::default() }
}

/// A leader with a service of two tasks on two networks, of which one has changed its state, and its log.
fn leader() -> (Store, Vec<Bytes>) {
    let store = common::store();
    let log = Script::lead(&store, 1);
    let service = Service {
        spec: Some(ServiceSpec {
            task: Some(spec("web:1").into()),
            ..common::service("s1", "web").spec.unwrap()
        }),
        endpoint: Some(endpoint("10.0.0.2/24").into()),
        ..common::service("s1", "web")
    };
    let of_service = |service: &Service| service.spec.as_ref().unwrap().task.clone();
    let write = store.update(|tx| {
        let service = tx.create(service)?;
        for id in ["t1", "t2"] {
            let networks = vec![attachment(network("n1"), id), attachment(network("n2"), id)];
            let spec = of_service(&service);
            let endpoint = Some(endpoint("10.0.0.2/24").into());
            tx.create(Task { spec, networks, endpoint, ..common::task(id, "s1", 1) })?;
        }
        tx.modify::<Task>(&"t1".parse().unwrap(), |task| {
            task.status = Some(TaskStatus { state: 512, ..Default::default() });
        })
    });
    assert!(write.now_or_never().is_none(), "it is not committed");
    let entries: Vec<(u64, u64, Bytes)> = log.take();
    for (index, (_, ticket, entry)) in (1..).zip(&entries) {
        store.apply(index, Some(*ticket), entry).unwrap();
    }
    (store, entries.into_iter().map(|(_, _, entry)| entry).collect())
}

fn task_spec(tables: &Tables, id: &str) -> Shared<TaskSpec> {
    tables.get_text::<Task>(id).unwrap().spec.clone().unwrap()
}

fn networks(tables: &Tables, id: &str) -> Vec<Shared<Network>> {
    let attachments = &tables.get_text::<Task>(id).unwrap().networks;
    attachments.iter().map(|attachment| attachment.network.clone().unwrap()).collect()
}

fn assert_shares(tables: &Tables) {
    let service = tables.get_text::<Service>("s1").unwrap();
    let common = service.spec.as_ref().unwrap().task.as_ref().unwrap();
    let endpoint = service.endpoint.as_ref().unwrap();
    for id in ["t1", "t2"] {
        assert!(Shared::is_same(&task_spec(tables, id), common), "{id} has a copy of its own");
        assert_eq!(task_spec(tables, id), spec("web:1"));
        let own = tables.get_text::<Task>(id).unwrap().endpoint.clone().unwrap();
        assert!(Shared::is_same(&own, endpoint), "{id} has an endpoint of its own");
        assert_eq!(own, self::endpoint("10.0.0.2/24"));
        let networks = networks(tables, id);
        assert_eq!(networks, [network("n1"), network("n2")]);
        for (own, first) in networks.iter().zip(&self::networks(tables, "t1")) {
            assert!(Shared::is_same(own, first), "{id} has a network of its own");
        }
        let attachments = &tables.get_text::<Task>(id).unwrap().networks;
        assert!(attachments.iter().all(|attachment| attachment.addresses == [id]));
    }
}

#[test]
fn on_the_leader_on_a_follower_and_after_a_snapshot() {
    let (leader, log) = leader();
    assert_shares(&leader.view());

    let follower = common::store();
    for (index, entry) in (1..).zip(&log) {
        follower.apply(index, None, entry).unwrap();
    }
    assert_shares(&follower.view());

    let restored = common::store();
    restored.restore(1, &leader.snapshot().encode(&ClusterSnapshot::default())).unwrap();
    assert_shares(&restored.view());
}

#[test]
fn a_task_that_differs_from_its_service_keeps_what_is_its_own() {
    let (store, _) = leader();
    let networks = vec![attachment(network("n1"), "t2"), attachment(network("n3"), "t2")];
    let spec_of_its_own = Some(spec("web:2").into());
    let of_its_own = Some(endpoint("10.0.0.3/24").into());
    let other = Task {
        spec: spec_of_its_own,
        networks,
        endpoint: of_its_own,
        ..common::task("t2", "s1", 1)
    };
    store.apply(2, None, &entry(other.encode_to_vec())).unwrap();
    let view = store.view();
    assert_eq!(task_spec(&view, "t2"), spec("web:2"));
    assert_eq!(task_spec(&view, "t1"), spec("web:1"));
    let addresses = |id| view.get_text::<Task>(id).unwrap().endpoint.clone().unwrap();
    assert_eq!(addresses("t2"), endpoint("10.0.0.3/24"));
    assert_eq!(addresses("t1"), endpoint("10.0.0.2/24"));
    assert_eq!(self::networks(&view, "t2"), [network("n1"), network("n3")]);
    assert_eq!(self::networks(&view, "t1"), [network("n1"), network("n2")]);
}

#[test]
fn however_the_writer_orders_the_fields() {
    let (store, _) = leader();
    // The fields of the spec in another order, as a writer in another language may have them.
    let force = TaskSpec { force_update: 3, ..Default::default() }.encode_to_vec();
    let rest = TaskSpec { force_update: 0, ..spec("web:1") }.encode_to_vec();
    let in_field = |spec: &[u8]| [&[3 << 3 | 2, spec.len() as u8], spec].concat();
    // So may those of the attachments.
    let address = field(2, b"t2");
    let backwards = [address.clone(), field(1, &network("n1").encode_to_vec())].concat();
    let driver_state = Network { id: String::new(), ..network("n2") }.encode_to_vec();
    let id = Network { id: "n2".into(), ..Default::default() }.encode_to_vec();
    let in_parts = [field(1, &driver_state), address, field(1, &id)].concat();
    let attachments = [field(11, &backwards), field(11, &in_parts)].concat();
    let endpoint = field(12, &endpoint("10.0.0.2/24").encode_to_vec());
    let task = [common::task("t2", "s1", 1).encode_to_vec(), attachments, endpoint].concat();
    let once = [task.clone(), in_field(&[force.clone(), rest.clone()].concat())].concat();
    // A message that comes in two parts is put together of both.
    let twice = [in_field(&rest), task, in_field(&force)].concat();
    for (index, task) in (2..).zip([once, twice]) {
        store.apply(index, None, &entry(task)).unwrap();
        assert_shares(&store.view());
    }
}

/// An entry that updates this task.
fn entry(task: Vec<u8>) -> Bytes {
    let task = Task::decode(&*task).map(|_| task).expect("it is a task");
    // Written by hand, so that the task stands in it as it is.
    let action = [&[1 << 3, StoreActionKind::StoreActionUpdate as u8], &*field(4, &task)].concat();
    let entry = field(2, &action);
    let whole = InternalRaftRequest::decode(&*entry).unwrap();
    assert!(matches!(&whole.action[..], [StoreAction { target: Some(Target::Task(_)), .. }]));
    entry.into()
}

fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut field);
    field.extend(value);
    field
}
