//! A picture of one service that is kept up to date: read once, then moved on by what the Watch interface tells.
//!
//! The watch is served by the manager at the socket, so a change of leader does not end it. When it ends anyway (the
//! daemon was started again, or the client was too slow), it is opened anew and everything is read again.

use std::{collections::HashMap, time::Duration};

use skep_proto::swarmkit::{
    GetServiceRequest, ListNodesRequest, ListServiceStatusesRequest, Meta, Node, SelectBy, Service,
    Task, WatchActionKind, WatchMessage, WatchRequest, list_tasks_request::Filters,
    object::Object as Of, select_by::By, service_spec::Mode, watch_message::Event,
    watch_request::WatchEntry,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{connect::Connection, errors::Failure, task};

/// Creations, updates and removals, as the bits of one number.
const EVERY_ACTION: i32 = WatchActionKind::WatchActionCreate as i32
    | WatchActionKind::WatchActionUpdate as i32
    | WatchActionKind::WatchActionRemove as i32;
/// Changes that follow one another within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(100);
/// Pause before the daemon is asked again after it could not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// How long nobody may answer: longer than an election and than the restart of a daemon.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is known of a service.
#[derive(Debug, Default)]
pub struct Picture {
    /// The service; none when it was removed.
    pub service: Option<Service>,
    /// Its tasks by id.
    pub tasks: HashMap<String, Task>,
    /// All nodes by id.
    pub nodes: HashMap<String, Node>,
    /// How many tasks the managers want, where that follows from the nodes.
    pub desired: u64,
}

/// Follows one service.
pub struct Follower {
    connection: Connection,
    service_id: String,
    picture: Option<Picture>,
    stream: Option<Streaming<WatchMessage>>,
    lost_at: Option<Instant>,
    /// How many tasks are wanted may have changed.
    recount: bool,
}

impl Follower {
    /// Nothing is known until the first [`Follower::changed`].
    pub fn new(connection: Connection, service: &Service) -> Follower {
        let service_id = service.id.clone();
        Follower {
            connection,
            service_id,
            picture: None,
            stream: None,
            lost_at: None,
            recount: false,
        }
    }

    /// What is known; nothing at first.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// Waits until the picture has changed. Dropping the future loses no change.
    pub async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            let moved_on = match &mut self.stream {
                None => self.open().await,
                // Left from a call that was dropped.
                Some(_) if self.recount => Ok(()),
                Some(_) => self.some_messages().await,
            };
            let counted = match moved_on {
                Ok(()) if self.recount => self.count().await,
                moved_on => moved_on,
            };
            let Err(status) = counted else {
                self.lost_at = None;
                return Ok(());
            };
            self.stream = None;
            let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
            if !is_passing(&status) || lost_at.elapsed() > SILENCE_MAX {
                return Err(Failure::call("follow the service")(status));
            }
            sleep(AGAIN).await;
        }
    }

    /// Takes at least one message, and what follows at once.
    async fn some_messages(&mut self) -> Result<(), Status> {
        let mut until = None;
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let message = match until {
                None => stream.message().await,
                Some(until) => match timeout_at(until, stream.message()).await {
                    Ok(message) => message,
                    Err(_) => return Ok(()),
                },
            };
            let message = message?.ok_or_else(|| Status::unavailable("the stream ended"))?;
            if let Some(picture) = &mut self.picture {
                for event in message.events {
                    self.recount |= picture.take(event, &self.service_id);
                }
            }
            until.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
    }

    /// Asks the managers, which alone know what nodes a service is for, how many tasks there should be.
    async fn count(&mut self) -> Result<(), Status> {
        let services = vec![self.service_id.clone()];
        let request = self.connection.request(ListServiceStatusesRequest { services });
        let reply = self.connection.control().list_service_statuses(request).await?;
        if let Some(picture) = &mut self.picture {
            picture.desired = reply.into_inner().statuses.first().map_or(0, |s| s.desired_tasks);
        }
        self.recount = false;
        Ok(())
    }

    /// Opens the watch first and reads then, so that nothing falls between the two.
    async fn open(&mut self) -> Result<(), Status> {
        let filter = |by| vec![SelectBy { by: Some(by) }];
        let entry =
            |kind: &str, filters| WatchEntry { kind: kind.into(), action: EVERY_ACTION, filters };
        let request = WatchRequest {
            entries: vec![
                entry("service", filter(By::Id(self.service_id.clone()))),
                entry("task", filter(By::ServiceId(self.service_id.clone()))),
                entry("node", Vec::new()),
            ],
            resume_from: None,
            include_old_object: false,
        };
        // No deadline: the stream goes on for as long as it takes.
        let mut stream = self.connection.watch().watch(request).await?.into_inner();
        // The first message is empty and says that the watch stands.
        let established = stream.message().await?;
        established.ok_or_else(|| Status::unavailable("the stream ended"))?;

        let mut control = self.connection.control();
        let service_id = self.service_id.clone();
        let request = GetServiceRequest { service_id: service_id.clone(), insert_defaults: false };
        let service = match control.get_service(self.connection.request(request)).await {
            Ok(reply) => reply.into_inner().service,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(status),
        };
        let filters = Filters { service_ids: vec![service_id], ..Filters::default() };
        let tasks = task::list_raw(&self.connection, filters).await?;
        let request = self.connection.request(ListNodesRequest::default());
        let nodes = control.list_nodes(request).await?.into_inner().nodes;
        self.recount = true;
        self.picture = Some(Picture {
            desired: 0,
            service,
            tasks: tasks.into_iter().map(|task| (task.id.clone(), task)).collect(),
            nodes: nodes.into_iter().map(|node| (node.id.clone(), node)).collect(),
        });
        self.stream = Some(stream);
        Ok(())
    }
}

impl Picture {
    /// Takes a change over. The manager that serves the watch may lag behind the leader, which was read from: what is older
    /// than what is known is left out. Says whether the managers may
    /// want another number of tasks now.
    fn take(&mut self, event: Event, service_id: &str) -> bool {
        let removed = event.action() == WatchActionKind::WatchActionRemove;
        let object = event.object.and_then(|object| object.object);
        let concerns_nodes = matches!(object, Some(Of::Service(_) | Of::Node(_)));
        match object {
            Some(Of::Service(service)) if service.id == service_id => {
                if removed {
                    self.service = None;
                } else if self
                    .service
                    .as_ref()
                    .is_none_or(|own| !is_older(&service.meta, &own.meta))
                {
                    self.service = Some(service);
                }
            }
            Some(Of::Task(task)) if task.service_id == service_id => {
                if removed {
                    self.tasks.remove(&task.id);
                } else if self
                    .tasks
                    .get(&task.id)
                    .is_none_or(|own| !is_older(&task.meta, &own.meta))
                {
                    self.tasks.insert(task.id.clone(), task);
                }
            }
            Some(Of::Node(node)) => {
                if removed {
                    self.nodes.remove(&node.id);
                } else if self
                    .nodes
                    .get(&node.id)
                    .is_none_or(|own| !is_older(&node.meta, &own.meta))
                {
                    self.nodes.insert(node.id.clone(), node);
                }
            }
            _ => {}
        }
        let mode =
            self.service.as_ref().and_then(|s| s.spec.as_ref()).and_then(|s| s.mode.as_ref());
        concerns_nodes && matches!(mode, Some(Mode::Global(_) | Mode::GlobalJob(_)))
    }
}

fn is_older(one: &Option<Meta>, other: &Option<Meta>) -> bool {
    let version = |meta: &Option<Meta>| meta.and_then(|m| m.version).unwrap_or_default().index;
    version(one) < version(other)
}

/// Whether the daemon may answer if asked again: there is no leader for a moment, it starts anew, or it had more to tell
/// than the client took.
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Aborted
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_proto::swarmkit::{Object, Version};

    fn event(action: WatchActionKind, id: &str, slot: u64, index: u64) -> Event {
        let task = Task {
            id: id.into(),
            service_id: "web".into(),
            slot,
            meta: Some(Meta { version: Some(Version { index }), ..Meta::default() }),
            ..Task::default()
        };
        Event {
            action: action.into(),
            object: Some(Object { object: Some(Of::Task(task)) }),
            old_object: None,
        }
    }

    #[test]
    fn what_lags_behind_changes_nothing() {
        use WatchActionKind::{WatchActionCreate as Create, WatchActionRemove as Remove};
        let mut picture = Picture::default();
        picture.take(event(Create, "t", 1, 20), "web");
        picture.take(event(Create, "t", 9, 10), "web");
        assert_eq!(picture.tasks["t"].slot, 1);
        picture.take(event(Create, "t", 2, 30), "web");
        assert_eq!(picture.tasks["t"].slot, 2);
        picture.take(event(Create, "other", 2, 30), "db");
        assert_eq!(picture.tasks.len(), 1);
        picture.take(event(Remove, "t", 2, 30), "web");
        assert!(picture.tasks.is_empty());
    }
}
