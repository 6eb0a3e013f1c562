//! A commit as messages of the wire.

use std::{collections::VecDeque, sync::Arc};

use prost::Message;
use skep_proto::swarmkit::{
    Object as WireObject, Secret, Version, WatchActionKind, WatchMessage, object::Object as Of,
    watch_message,
};
use skep_store::{Action, Change, Commit, Event, Object};

use crate::control::redact;

/// Room for events in one message, in bytes: peers take messages of 4 MiB, and one event (an object of at most 1.5 MiB, new
/// and old) may come on top. Only a restored snapshot needs more than one message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The messages of a commit: one, unless it is very large. The last one carries the version, so that who resumes gets a
/// commit whole.
pub(super) fn messages(commit: &Commit, old: bool) -> VecDeque<WatchMessage> {
    let mut messages = VecDeque::new();
    let mut current = WatchMessage::default();
    let mut bytes = 0;
    for event in &commit.events {
        let event = wire_event(event, old);
        let len = event.encoded_len();
        if bytes > 0 && bytes + len > MESSAGE_BYTES_MAX {
            messages.push_back(std::mem::take(&mut current));
            bytes = 0;
        }
        bytes += len;
        current.events.push(event);
    }
    current.version = Some(Version { index: commit.version });
    messages.push_back(current);
    messages
}

fn wire_event(event: &Event, old: bool) -> watch_message::Event {
    match event {
        Event::Node(change) => one(change, old, |node| Of::Node(node.clone())),
        Event::Service(change) => one(change, old, |service| Of::Service(service.clone())),
        Event::Task(change) => one(change, old, |task| Of::Task(task.clone())),
        Event::Network(change) => one(change, old, |network| Of::Network(network.clone())),
        Event::Cluster(change) => one(change, old, |cluster| Of::Cluster(redact::cluster(cluster))),
        Event::Secret(change) => {
            one(change, old, |secret| Of::Secret(redact::secret(Secret::clone(secret))))
        }
        Event::Resource(change) => one(change, old, |resource| Of::Resource(resource.clone())),
        Event::Extension(change) => one(change, old, |extension| Of::Extension(extension.clone())),
        Event::Config(change) => one(change, old, |config| Of::Config(config.clone())),
        Event::Volume(change) => one(change, old, |volume| Of::Volume(volume.clone())),
    }
}

/// The old object goes with updates alone: of a created one there is none, and a removed one is the object itself.
fn one<T: Object>(change: &Change<T>, old: bool, wire: impl Fn(&T) -> Of) -> watch_message::Event {
    let action = match change.action() {
        Action::Create => WatchActionKind::WatchActionCreate,
        Action::Update => WatchActionKind::WatchActionUpdate,
        Action::Remove => WatchActionKind::WatchActionRemove,
    };
    let object = |object: &Arc<T>| WireObject { object: Some(wire(object)) };
    let before = change.old.as_ref().filter(|_| old && change.new.is_some());
    watch_message::Event {
        action: action.into(),
        object: change.object().map(object),
        old_object: before.map(object),
    }
}
