//! Transactions on a leader that is alone in its group.

use bytes::Bytes;
use skep_proto::{
    ids::ServiceId,
    swarmkit::{Annotations, Config, ConfigSpec, Service, ServiceSpec},
};
use skep_store::{By, Kind, Selector, Store, StoreError, UpdateError, solo::lead_alone};

fn service(id: &str, name: &str) -> Service {
    let annotations = Some(Annotations { name: name.into(), ..Default::default() });
    Service {
        id: id.into(),
        spec: Some(ServiceSpec { annotations, ..Default::default() }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_write_is_in_the_view_and_at_the_watcher_when_it_returns() {
    let store = Store::system();
    let _solo = lead_alone(&store);
    let (view, mut watcher) = store.watch(Selector::kinds(&[Kind::Service]));
    assert_eq!(view.count::<Service>(), 0);

    let written = store.update(|tx| tx.create(service("s1", "Web"))).await.unwrap();

    let id: ServiceId = "s1".parse().unwrap();
    assert_eq!(store.view().get::<Service>(&id), Some(&written));
    assert_eq!(store.view().find_one::<Service>(By::Name("wEB".into())), Some(&written));
    let commit = watcher.next().await.unwrap();
    assert_eq!(format!("{:?}", commit.events), "[Create service s1]");
}

#[tokio::test]
async fn a_stored_payload_does_not_keep_the_message_that_it_came_in() {
    let store = Store::system();
    let _solo = lead_alone(&store);
    let message = Bytes::from(vec![7; 100_000]);
    let spec = ConfigSpec { data: message.slice(10..20), ..Default::default() };
    let config = Config { id: "c1".into(), spec: Some(spec), ..Default::default() };
    store.update(|tx| tx.create(config)).await.unwrap();
    assert!(message.is_unique(), "the store holds the message, too");
    let stored = store.view().get_text::<Config>("c1").unwrap().clone();
    assert_eq!(stored.spec.as_ref().unwrap().data, [7; 10][..]);
}

#[tokio::test]
async fn a_taken_name_is_refused_in_any_case() {
    let store = Store::system();
    let _solo = lead_alone(&store);
    store.update(|tx| tx.create(service("s1", "web"))).await.unwrap();
    let error = store.update(|tx| tx.create(service("s2", "WEB"))).await.unwrap_err();
    assert_eq!(
        error,
        UpdateError::Aborted(StoreError::NameConflict { kind: Kind::Service, name: "WEB".into() })
    );
    assert_eq!(error.to_string(), "name conflicts with an existing object");
}
