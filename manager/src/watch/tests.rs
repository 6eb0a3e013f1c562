//! The Watch service over a store that leads alone.

use skep_proto::swarmkit::{
    Annotations, Cluster, ClusterSpec, Config, ConfigSpec, EncryptionKey, Object as WireObject,
    Secret, SecretSpec, SelectBy, Version, object::Object as Of, select_by::By as Wire,
    watch_request::WatchEntry,
};
use skep_store::{
    StoreError, WATCHER_EVENTS_MAX,
    solo::{Solo, lead_alone},
};
use tonic::Code;

use super::*;

fn leading() -> (Store, Solo) {
    let store = Store::system();
    let solo = lead_alone(&store);
    (store, solo)
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

fn config(id: &str) -> Config {
    let spec = ConfigSpec { annotations: named(id), data: "data".into(), ..Default::default() };
    Config { id: id.into(), spec: Some(spec), ..Default::default() }
}

async fn create(store: &Store, ids: &[&str]) {
    store
        .update(|tx| {
            for id in ids {
                tx.create(config(id))?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

fn entry(kind: &str, action: i32, by: Option<Wire>) -> WatchEntry {
    let filters = by.into_iter().map(|by| SelectBy { by: Some(by) }).collect();
    WatchEntry { kind: kind.into(), action, filters }
}

async fn open(store: &Store, request: WatchRequest) -> WatchStream {
    let service = WatchService::new(store.clone());
    let mut stream = service.watch(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), WatchMessage::default(), "it stands");
    stream
}

async fn next(stream: &mut WatchStream) -> WatchMessage {
    stream.next().await.unwrap().unwrap()
}

/// "1 config/a" and the like: the action and the object of each event.
fn shape(message: &WatchMessage) -> Vec<String> {
    message
        .events
        .iter()
        .map(|event| format!("{} {}", event.action, label(event.object.as_ref())))
        .collect()
}

fn label(object: Option<&WireObject>) -> String {
    match object.and_then(|object| object.object.as_ref()) {
        Some(Of::Config(config)) => format!("config/{}", config.id),
        Some(Of::Secret(secret)) => format!("secret/{}", secret.id),
        Some(Of::Cluster(cluster)) => format!("cluster/{}", cluster.id),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_is_one_message_with_its_version() {
    let (store, _solo) = leading();
    create(&store, &["before"]).await;
    let mut stream = open(&store, WatchRequest::default()).await;
    create(&store, &["a", "b"]).await;
    let version = store.view().version();
    let message = next(&mut stream).await;
    assert_eq!(shape(&message), ["1 config/a", "1 config/b"]);
    assert_eq!(message.version, Some(Version { index: version }));
}

#[tokio::test]
async fn only_what_was_asked_for_comes() {
    let (store, _solo) = leading();
    let entries =
        vec![entry("config", 4, None), entry("config", 1, Some(Wire::NamePrefix("b".into())))];
    let mut stream = open(&store, WatchRequest { entries, ..Default::default() }).await;
    create(&store, &["a"]).await;
    create(&store, &["a2", "b"]).await;
    let id = "a".parse().unwrap();
    store.update(|tx| tx.modify::<Config>(&id, |_| ())).await.unwrap();
    store.update(|tx| tx.remove::<Config>(&id)).await.unwrap();
    assert_eq!(shape(&next(&mut stream).await), ["1 config/b"]);
    assert_eq!(shape(&next(&mut stream).await), ["4 config/a"]);
}

#[tokio::test]
async fn the_old_object_comes_with_updates_when_it_is_asked_for() {
    let (store, _solo) = leading();
    for include_old_object in [false, true] {
        let id = format!("c{include_old_object}");
        let mut stream =
            open(&store, WatchRequest { include_old_object, ..Default::default() }).await;
        create(&store, &[&id]).await;
        let typed = id.parse().unwrap();
        store.update(|tx| tx.modify::<Config>(&typed, |config| config.spec = None)).await.unwrap();
        store.update(|tx| tx.remove::<Config>(&typed)).await.unwrap();
        let olds = [next(&mut stream).await, next(&mut stream).await, next(&mut stream).await]
            .map(|message| message.events[0].old_object.clone());
        assert_eq!(olds[0], None);
        assert_eq!(olds[1].is_some(), include_old_object);
        assert_eq!(olds[2], None);
    }
}

#[tokio::test]
async fn no_secret_comes() {
    let (store, _solo) = leading();
    let request = WatchRequest { include_old_object: true, ..Default::default() };
    let mut stream = open(&store, request).await;
    let key = EncryptionKey { key: "hunter2".into(), ..Default::default() };
    let cluster = ClusterSpec { annotations: named("default"), ..Default::default() };
    let cluster = Cluster {
        id: "c".into(),
        spec: Some(cluster),
        unlock_keys: vec![key],
        ..Default::default()
    };
    let secret =
        SecretSpec { annotations: named("s"), data: "hunter2".into(), ..Default::default() };
    let secret = Secret { id: "s".into(), spec: Some(secret), ..Default::default() };
    store
        .update(|tx| {
            tx.create(cluster)?;
            tx.create(secret)
        })
        .await
        .unwrap();
    let (c, s) = ("c".parse().unwrap(), "s".parse().unwrap());
    store
        .update(|tx| {
            tx.modify::<Cluster>(&c, |_| ())?;
            tx.modify::<Secret>(&s, |_| ())
        })
        .await
        .unwrap();
    for expected in [["1 cluster/c", "1 secret/s"], ["2 cluster/c", "2 secret/s"]] {
        let message = next(&mut stream).await;
        assert_eq!(shape(&message), expected);
        let bytes = prost::Message::encode_to_vec(&message);
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}

#[tokio::test]
async fn a_watch_goes_on_after_the_version_that_was_seen() {
    let (store, _solo) = leading();
    create(&store, &["a"]).await;
    let seen = store.view().version();
    create(&store, &["b"]).await;
    let resume_from = Some(Version { index: seen });
    let mut stream = open(&store, WatchRequest { resume_from, ..Default::default() }).await;
    create(&store, &["c"]).await;
    assert_eq!(shape(&next(&mut stream).await), ["1 config/b"]);
    assert_eq!(shape(&next(&mut stream).await), ["1 config/c"]);
}

#[tokio::test]
async fn what_cannot_be_resumed_is_said() {
    let (store, _solo) = leading();
    create(&store, &["a"]).await;
    let service = WatchService::new(store.clone());
    let resume_from = Some(Version { index: store.view().version() + 1 });
    let request = Request::new(WatchRequest { resume_from, ..Default::default() });
    let status = service.watch(request).await.err().unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.message(),
        "version 2 is ahead of this manager, which is at 1; try again, or ask another manager"
    );
    let status = cannot_resume(ResumeError::Compacted { asked: 3, oldest: 7 });
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(
        status.message().ends_with("list the objects, and watch without a version"),
        "{status}"
    );
}

#[tokio::test]
async fn bad_selectors_are_refused() {
    let (store, _solo) = leading();
    let service = WatchService::new(store);
    for bad in [entry("", 7, None), entry("node", 0, None), entry("task", 7, Some(Wire::Role(1)))] {
        let request = Request::new(WatchRequest { entries: vec![bad], ..Default::default() });
        assert_eq!(service.watch(request).await.err().unwrap().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_where_to_resume() {
    let (store, _solo) = leading();
    let mut stream = open(&store, WatchRequest::default()).await;
    create(&store, &["a"]).await;
    let seen = next(&mut stream).await.version.unwrap().index;
    let id = "a".parse().unwrap();
    let changes = (0..WATCHER_EVENTS_MAX).map(|_| ());
    for result in store.batch(changes, |tx, ()| tx.modify::<Config>(&id, |_| ())).await {
        result.unwrap();
    }
    let status = stream.next().await.unwrap().err().unwrap();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(
        status.message(),
        format!(
            "the watcher fell behind and missed changes: start again from a view (or resume from version {seen}, \
             while it is still kept)"
        )
    );
    assert!(stream.next().await.is_none(), "it ends");
}

#[tokio::test]
async fn a_large_commit_comes_in_pieces_and_counts_when_it_is_whole() {
    let events = (0..5).map(|i| {
        let mut config = config(&format!("c{i}"));
        config.spec.as_mut().unwrap().data = vec![0; 600 * 1024].into();
        skep_store::Event::Config(skep_store::Change {
            id: config.id.parse().unwrap(),
            old: None,
            new: Some(std::sync::Arc::new(config)),
        })
    });
    let commit = skep_store::Commit { version: 9, events: events.collect() };
    let versions: Vec<_> =
        message::messages(&commit, false).iter().map(|m| (m.events.len(), m.version)).collect();
    let last = Some(Version { index: 9 });
    assert_eq!(versions, [(1, None), (1, None), (1, None), (1, None), (1, last)]);
}
