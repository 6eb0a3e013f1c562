//! The subscriptions and listeners of one leadership.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use skep_ca::Clock;
use skep_proto::{
    ids::{Id, NodeId, ServiceId, TaskId},
    swarmkit::{
        LogMessage, LogSelector, LogStream, LogSubscriptionOptions, Node, SubscriptionMessage,
        Task, node_status::State,
    },
};
use skep_store::{Event, Kind, Selector, Store, View};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    notice,
    selection::{Selection, presence},
    sources::{Presence, Sources, Telling},
};

/// Clients that may read logs at once: each holds up to [`QUEUED_BYTES_MAX`] and costs every node with tasks of it a
/// stream.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Bytes of messages that wait for one client. Beyond it nothing is read from the nodes.
pub const QUEUED_BYTES_MAX: usize = 1 << 20;
/// The least that a message counts, which bounds their number to 4,096.
pub const QUEUED_BYTES_EACH_MIN: usize = 256;

/// Messages of one node on their way to the client, with the room that they take.
pub struct Queued {
    /// What the node sent.
    pub messages: Vec<LogMessage>,
    _room: OwnedSemaphorePermit,
}

/// What one client reads.
pub struct Subscription {
    pub id: Id,
    pub selection: Selection,
    sources: Mutex<Sources>,
    /// Something changed in `sources`.
    pub changed: Notify,
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    opening: SubscriptionMessage,
}

impl Subscription {
    /// Queues what a node sent and the client wants, as soon as there is room. Fails when the client is gone.
    pub async fn queue(&self, mut messages: Vec<LogMessage>, bytes: usize) -> Result<(), Status> {
        let gone = || Status::not_found("unknown subscription ID");
        messages.retain(|message| self.wants(message));
        if messages.is_empty() && !self.room.is_closed() {
            return Ok(());
        }
        let bytes = bytes.clamp(QUEUED_BYTES_EACH_MIN, QUEUED_BYTES_MAX);
        let room = self.room.clone().acquire_many_owned(bytes as u32).await.map_err(|_| gone())?;
        self.queue.send(Queued { messages, _room: room }).await.map_err(|_| gone())
    }

    /// Whether the client asked for the stream that this is of. Engines send all, whatever they are told.
    fn wants(&self, message: &LogMessage) -> bool {
        let asked = self.opening.options.as_ref().map_or(&[][..], |options| &options.streams);
        asked.is_empty()
            || message.stream() == LogStream::Unknown
            || asked.contains(&message.stream)
    }

    /// How a node is told by this id that somebody reads, or that nobody does any more.
    fn telling(&self, id: Id, close: bool) -> SubscriptionMessage {
        SubscriptionMessage { id: id.to_string(), close, ..self.opening.clone() }
    }

    /// The id by which this node knows it.
    pub fn id_for(&self, node: &NodeId) -> Id {
        self.sources.lock().id_for(node).unwrap_or(self.id)
    }

    /// Looks at the sources.
    pub fn look<R>(&self, look: impl FnOnce(&mut Sources) -> R) -> R {
        look(&mut self.sources.lock())
    }

    /// Changes what is known of the sources, and has the client's stream look at it.
    pub fn sources<R>(&self, change: impl FnOnce(&mut Sources) -> R) -> R {
        let result = change(&mut self.sources.lock());
        self.changed.notify_one();
        result
    }
}

/// A node that listens for subscriptions.
pub struct Listener {
    number: u64,
    outbox: Mutex<Outbox>,
    wake: Notify,
}

#[derive(Default)]
struct Outbox {
    /// One opening and two closing messages for each subscription at most.
    messages: VecDeque<SubscriptionMessage>,
    ended: bool,
}

impl Listener {
    fn push(&self, message: SubscriptionMessage) {
        let mut outbox = self.outbox.lock();
        // What was not told yet need not be taken back.
        match outbox.messages.iter().position(|told| message.close && told.id == message.id) {
            Some(at) => {
                outbox.messages.remove(at);
            }
            None => outbox.messages.push_back(message),
        }
        drop(outbox);
        self.wake.notify_one();
    }

    fn end(&self) {
        self.outbox.lock().ended = true;
        self.wake.notify_one();
    }

    /// The next message; none when another stream of the node took over, or the node was removed. Safe to drop.
    pub async fn next(&self) -> Option<SubscriptionMessage> {
        loop {
            {
                let mut outbox = self.outbox.lock();
                if outbox.ended {
                    return None;
                }
                if let Some(message) = outbox.messages.pop_front() {
                    return Some(message);
                }
            }
            self.wake.notified().await;
        }
    }
}

#[derive(Default)]
struct Registry {
    subscriptions: HashMap<Id, Arc<Subscription>>,
    listeners: HashMap<NodeId, Arc<Listener>>,
    /// Ids that single nodes were given when they were told again, and the subscription's own.
    given: HashMap<Id, Id>,
    listened: u64,
    /// Subscriptions that follow, by what they ask for: a change of a task costs those that it concerns.
    by_service: HashMap<ServiceId, BTreeSet<Id>>,
    by_task: HashMap<TaskId, BTreeSet<Id>>,
}

/// One leadership of this manager.
pub struct Term {
    pub store: Store,
    /// The leadership is over.
    pub over: CancellationToken,
    began: Instant,
    registry: Mutex<Registry>,
    clock: Clock,
    rng: Mutex<StdRng>,
}

impl Term {
    pub fn begin(store: Store, clock: Clock, rng: StdRng) -> Arc<Term> {
        Arc::new(Term {
            store,
            over: CancellationToken::new(),
            began: Instant::now(),
            registry: Mutex::default(),
            clock,
            rng: Mutex::new(rng),
        })
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.over.cancel();
    }

    /// The present moment on this leadership's own time line.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What a client that follows has to be told of its sources, as lines of its stream.
    pub fn notices(&self, subscription: &Subscription) -> Vec<LogMessage> {
        let news = subscription.look(Sources::news);
        if news.is_empty() {
            return Vec::new();
        }
        let (view, now) = (self.store.view(), self.clock.now().into());
        let lines = news.iter().filter_map(|(node, text)| {
            Some(notice::line(subscription.selection.representative(&view, node)?, text, now))
        });
        lines.collect()
    }

    /// How many subscriptions are open.
    pub fn subscription_count(&self) -> usize {
        self.registry.lock().subscriptions.len()
    }

    /// Opens a subscription and tells the nodes that have tasks of it.
    pub fn subscribe(
        &self,
        selector: LogSelector,
        options: LogSubscriptionOptions,
    ) -> Result<(Arc<Subscription>, mpsc::Receiver<Queued>), Status> {
        let selection = Selection::of(Some(&selector))?;
        let id = Id::random(&mut *self.rng.lock());
        let follow = options.follow;
        let (queue, queued) = mpsc::channel(QUEUED_BYTES_MAX / QUEUED_BYTES_EACH_MIN);
        let opening = SubscriptionMessage {
            id: id.to_string(),
            selector: Some(selector),
            // Engines take it for given that there are options.
            options: Some(options),
            close: false,
        };
        let subscription = Arc::new(Subscription {
            id,
            selection,
            sources: Mutex::new(Sources::new(follow)),
            changed: Notify::new(),
            queue,
            room: Arc::new(Semaphore::new(QUEUED_BYTES_MAX)),
            opening,
        });
        let mut registry = self.registry.lock();
        if registry.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Status::resource_exhausted(format!(
                "{SUBSCRIPTIONS_MAX} clients are reading logs already; try again when one has ended"
            )));
        }
        registry.subscriptions.insert(id, subscription.clone());
        if follow {
            for service in &subscription.selection.services {
                registry.by_service.entry(*service).or_default().insert(id);
            }
            for task in &subscription.selection.tasks {
                registry.by_task.entry(*task).or_default().insert(id);
            }
        }
        // Taken after it can be found: what happens from now on is told to it.
        registry.expect_found(&subscription, &self.store.view(), self.now());
        Ok((subscription, queued))
    }

    /// Closes a subscription and tells the nodes.
    pub fn unsubscribe(&self, subscription: &Subscription) {
        let mut registry = self.registry.lock();
        let id = subscription.id;
        if registry.subscriptions.remove(&id).is_none() {
            return;
        }
        for service in &subscription.selection.services {
            drop_from(&mut registry.by_service, service, id);
        }
        for task in &subscription.selection.tasks {
            drop_from(&mut registry.by_task, task, id);
        }
        let sources = subscription.sources.lock();
        for given in sources.ids_given() {
            registry.given.remove(given);
        }
        for (node, listener) in registry.listeners.iter().filter(|(node, _)| sources.includes(node))
        {
            listener.push(subscription.telling(sources.id_for(node).unwrap_or(id), true));
        }
        subscription.room.close();
    }

    /// The open subscription that the node knows by this id.
    pub fn subscription(&self, id: &Id, node: &NodeId) -> Option<Arc<Subscription>> {
        let registry = self.registry.lock();
        let own = registry.given.get(id).unwrap_or(id);
        let subscription = registry.subscriptions.get(own)?;
        let concerned = subscription.sources.lock().includes(node);
        (concerned && subscription.id_for(node) == *id).then(|| subscription.clone())
    }

    /// A node listens from now on, in place of an earlier stream of it.
    pub fn listen(&self, node: NodeId) -> Arc<Listener> {
        let mut registry = self.registry.lock();
        registry.listened += 1;
        let listener = Arc::new(Listener {
            number: registry.listened,
            outbox: Mutex::default(),
            wake: Notify::new(),
        });
        if let Some(earlier) = registry.listeners.insert(node, listener.clone()) {
            earlier.end();
        }
        let now = self.now();
        let Registry { subscriptions, given, .. } = &mut *registry;
        for subscription in subscriptions.values() {
            match subscription.sources(|sources| sources.listening(&node, now)) {
                Some(Telling::First) => listener.push(subscription.opening.clone()),
                Some(Telling::Again) => {
                    // By another id: engines pass over what they believe to be open, although nobody hears them any more, and
                    // mix up the old and the new if one is closed and opened at once.
                    let id = Id::random(&mut *self.rng.lock());
                    let before = subscription.look(|sources| sources.tell_again(node, id));
                    given.extend([(id, subscription.id)]);
                    if let Some(before) = before {
                        given.remove(&before);
                    }
                    let before = before.unwrap_or(subscription.id);
                    listener.push(subscription.telling(before, true));
                    listener.push(subscription.telling(id, false));
                }
                None => {}
            }
        }
        listener
    }

    /// The stream of a node that listened has ended.
    pub fn unlisten(&self, node: &NodeId, listener: &Listener) {
        let mut registry = self.registry.lock();
        if registry.listeners.get(node).is_some_and(|held| held.number == listener.number) {
            registry.listeners.remove(node);
            registry.lost(node, "disconnected unexpectedly");
        }
    }

    /// Follows tasks to their nodes, and gives up nodes that are down, for as long as it is polled.
    pub async fn follow_store(&self) {
        loop {
            let (view, mut watcher) = self.store.watch(Selector::kinds(&[Kind::Node, Kind::Task]));
            self.look_again(&view);
            drop(view);
            // An error says that this fell behind: begin again from a view.
            while let Ok(commit) = watcher.next().await {
                for event in &commit.events {
                    self.take_up(event);
                }
            }
        }
    }

    fn look_again(&self, view: &View) {
        let mut registry = self.registry.lock();
        let subscriptions: Vec<_> = registry.subscriptions.values().cloned().collect();
        for subscription in subscriptions {
            if subscription.opening.options.as_ref().is_some_and(|options| options.follow) {
                registry.expect_found(&subscription, view, self.now());
            }
        }
        let gone: Vec<NodeId> = registry
            .listeners
            .keys()
            .filter(|node| presence(view, node) == Presence::Gone)
            .copied()
            .collect();
        for node in gone {
            registry.lost(&node, "is not available");
        }
    }

    fn take_up(&self, event: &Event) {
        match event {
            Event::Node(change) => {
                let node = change.id.into();
                let down =
                    |node: &Node| node.status.as_ref().is_some_and(|s| s.state() == State::Down);
                match (&change.old, &change.new) {
                    (_, None) => {
                        let mut registry = self.registry.lock();
                        registry.lost(&node, "is not available");
                        if let Some(listener) = registry.listeners.remove(&node) {
                            listener.end();
                        }
                    }
                    (old, Some(new)) if down(new) && !old.as_deref().is_some_and(down) => {
                        self.registry.lock().lost(&node, "is not available");
                    }
                    _ => {}
                }
            }
            Event::Task(change) => {
                let node = |task: &Option<Arc<Task>>| {
                    task.as_ref().and_then(|task| task.node_id.parse::<NodeId>().ok())
                };
                // Only the step onto a node is news.
                if let (Some(task), Some(to)) = (&change.new, node(&change.new))
                    && node(&change.old) != Some(to)
                {
                    self.registry.lock().scheduled(task, to, &self.store.view(), self.now());
                }
            }
            _ => {}
        }
    }
}

impl Registry {
    fn expect_found(&mut self, subscription: &Subscription, view: &View, now: Duration) {
        let found = subscription.selection.found(view);
        for task in found.unscheduled {
            subscription.sources(|sources| sources.unscheduled(task));
        }
        for node in found.nodes {
            self.expect(subscription, node, view, now);
        }
    }

    fn expect(&self, subscription: &Subscription, node: NodeId, view: &View, now: Duration) {
        let listener = self.listeners.get(&node);
        let presence = match listener {
            Some(_) => Presence::Listening,
            None => presence(view, &node),
        };
        if subscription.sources(|sources| sources.expect(node, presence, now))
            && let Some(listener) = listener
        {
            listener.push(subscription.opening.clone());
        }
    }

    fn scheduled(&mut self, task: &Task, node: NodeId, view: &View, now: Duration) {
        let Ok(id) = task.id.parse::<TaskId>() else { return };
        let by_service =
            task.service_id.parse().ok().and_then(|s: ServiceId| self.by_service.get(&s));
        let concerned = by_service.into_iter().chain(self.by_task.get(&id)).flatten();
        for subscription in concerned.filter_map(|id| self.subscriptions.get(id)) {
            subscription.sources(|sources| sources.scheduled(&id));
            self.expect(subscription, node, view, now);
        }
    }

    fn lost(&mut self, node: &NodeId, how: &str) {
        for subscription in self.subscriptions.values() {
            subscription.sources(|sources| sources.lost(node, how));
        }
    }
}

fn drop_from<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<Id>>, key: &K, id: Id) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
