//! One session with a manager, from the registration to its end. Everything that a session does runs in one future: an
//! agent is one task, however much it talks.

use std::{collections::HashSet, future::Future, time::Duration};

use skep_proto::{
    ids::TaskId,
    swarmkit::{
        Assignment, AssignmentsMessage, AssignmentsRequest, EncryptionKey, HeartbeatRequest, Node,
        NodeDescription, SessionMessage, SessionRequest, UpdateTaskStatusRequest, assignment::Item,
        assignment_change::AssignmentAction, assignments_message,
        dispatcher_client::DispatcherClient,
    },
};
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming, transport::Channel};

use crate::{agent::Shared, connector::ConnectError, executor::Assignments, identity::Seen, logs};

/// Limit of the registration, and of each call (SwarmKit's limit).
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the description is looked at.
pub(crate) const DESCRIBE_INTERVAL: Duration = Duration::from_secs(20);
/// Largest message taken from a manager. The first set of assignments holds every secret and config of a node's tasks,
/// of up to 1 MiB each, in one message.
const MESSAGE_MAX_BYTES: usize = 256 << 20;
/// A manager that asks for heartbeats more often than this is not obeyed.
const PERIOD_MIN: Duration = Duration::from_millis(10);

/// Why a session ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No way to a manager.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call took too long.
    #[error("the manager did not answer {call} within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// What was called.
        call: &'static str,
    },
    /// A call failed, or its stream broke.
    #[error("the manager ended {call}: {} ({:?})", .status.message(), .status.code())]
    Refused {
        /// What was called.
        call: &'static str,
        /// What the manager said.
        status: Box<Status>,
    },
    /// The manager closed a stream without a reason.
    #[error("the manager closed {call}")]
    Closed {
        /// What was called.
        call: &'static str,
    },
    /// The manager said what cannot be.
    #[error("the manager's answer to {call} is not valid: {what}")]
    Invalid {
        /// What was called.
        call: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// How a session that did not fail ended.
#[derive(Debug)]
pub(crate) struct Redescribe {
    /// The node describes itself otherwise now: register again under this session.
    pub session_id: String,
}

/// Registers, then serves the session until it fails or the description changes.
pub(crate) async fn serve(
    shared: &Shared,
    channel: Channel,
    resume: String,
    description: NodeDescription,
) -> Result<Redescribe, SessionError> {
    let client =
        DispatcherClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let mut session = Session { shared, client, id: String::new(), seen: Followed::default() };
    let (first, stream) = session.register(resume, description.clone()).await?;
    session.id.clone_from(&first.session_id);
    shared.seen_message(&mut session.seen, &first);
    shared.registered(&session.id);
    let Session { shared, client, id, seen } = session;

    let failed = tokio::select! {
        failed = follow_messages(shared, seen, stream) => failed,
        failed = beat(client.clone(), &id) => failed,
        failed = follow_assignments(shared, client.clone(), &id) => failed,
        failed = send_reports(shared, client, &id) => failed,
        never = logs::serve(&*shared.executor, channel) => match never {},
        () = description_changes(shared, &description) => {
            return Ok(Redescribe { session_id: id });
        }
    };
    match failed {
        Ok(never) => match never {},
        Err(error) => Err(error),
    }
}

/// What these futures return when they succeed: they do not, they serve until the session ends.
type Served = Result<std::convert::Infallible, SessionError>;

/// What was last seen in the session messages.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub identity: Seen,
    pub node: Option<Node>,
    pub keys: Vec<EncryptionKey>,
}

struct Session<'a> {
    shared: &'a Shared,
    client: DispatcherClient<Channel>,
    id: String,
    seen: Followed,
}

impl Session<'_> {
    async fn register(
        &mut self,
        session_id: String,
        description: NodeDescription,
    ) -> Result<(SessionMessage, Streaming<SessionMessage>), SessionError> {
        let call = "Session";
        let request = SessionRequest { description: Some(description), session_id };
        let opening = async {
            let mut stream = self.client.session(request).await?.into_inner();
            let first = stream.message().await?;
            Ok((first, stream))
        };
        let (first, stream) = limited(call, opening).await?;
        let first = first.ok_or(SessionError::Closed { call })?;
        if first.session_id.is_empty() {
            return Err(SessionError::Invalid { call, what: "the session has no id" });
        }
        Ok((first, stream))
    }
}

async fn limited<T>(
    call: &'static str,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, SessionError> {
    match timeout(CALL_TIMEOUT, answer).await {
        Err(_) => Err(SessionError::TimedOut { call }),
        Ok(Err(status)) => Err(refused(call)(status)),
        Ok(Ok(answer)) => Ok(answer),
    }
}

fn refused(call: &'static str) -> impl Fn(Status) -> SessionError {
    move |status| SessionError::Refused { call, status: Box::new(status) }
}

async fn follow_messages(
    shared: &Shared,
    mut seen: Followed,
    mut stream: Streaming<SessionMessage>,
) -> Served {
    let call = "Session";
    loop {
        let message = stream.message().await.map_err(refused(call))?;
        shared.seen_message(&mut seen, &message.ok_or(SessionError::Closed { call })?);
    }
}

/// Sends the first heartbeat at once, and each further one after the period that the last answer named.
async fn beat(mut client: DispatcherClient<Channel>, session_id: &str) -> Served {
    let call = "Heartbeat";
    loop {
        let request = HeartbeatRequest { session_id: session_id.to_owned() };
        let answer = limited(call, client.heartbeat(request)).await?.into_inner();
        let period = answer
            .period
            .and_then(|p| Duration::try_from(p).ok())
            .ok_or(SessionError::Invalid { call, what: "it names no period" })?;
        sleep(period.max(PERIOD_MIN)).await;
    }
}

async fn follow_assignments(
    shared: &Shared,
    mut client: DispatcherClient<Channel>,
    session_id: &str,
) -> Served {
    let call = "Assignments";
    'open: loop {
        let request = AssignmentsRequest { session_id: session_id.to_owned() };
        let mut stream = limited(call, client.assignments(request)).await?.into_inner();
        let mut state: Option<String> = None;
        loop {
            let message = stream.message().await.map_err(refused(call))?;
            let message = message.ok_or(SessionError::Closed { call })?;
            let complete = message.r#type() == assignments_message::Type::Complete;
            if !complete && state.as_ref() != Some(&message.applies_to) {
                // A gap: only a complete set can be trusted now.
                tracing::debug!(have = ?state, applies_to = message.applies_to, "reopening");
                if state.is_none() {
                    let what = "the first set of assignments is not a complete one";
                    return Err(SessionError::Invalid { call, what });
                }
                continue 'open;
            }
            state = Some(message.results_in.clone());
            assign(shared, complete, message);
        }
    }
}

fn assign(shared: &Shared, complete: bool, message: AssignmentsMessage) {
    let task = |assignment: &Option<Assignment>| match assignment {
        Some(Assignment { item: Some(Item::Task(task)) }) => task.id.parse::<TaskId>().ok(),
        _ => None,
    };
    let changes = message.changes;
    if complete {
        let held: HashSet<_> = changes.iter().filter_map(|c| task(&c.assignment)).collect();
        shared.reporter.forget_others(&held);
        shared.executor.assign(Assignments::Complete(changes), &shared.reporter);
    } else {
        let gone: Vec<_> = changes
            .iter()
            .filter(|c| c.action() == AssignmentAction::Remove)
            .filter_map(|c| task(&c.assignment))
            .collect();
        shared.executor.assign(Assignments::Incremental(changes), &shared.reporter);
        for task in &gone {
            shared.reporter.forget(task);
        }
    }
}

async fn send_reports(
    shared: &Shared,
    mut client: DispatcherClient<Channel>,
    session_id: &str,
) -> Served {
    shared.reporter.all_unheard();
    loop {
        let updates = shared.reporter.next().await;
        let request =
            UpdateTaskStatusRequest { session_id: session_id.to_owned(), updates: updates.clone() };
        limited("UpdateTaskStatus", client.update_task_status(request)).await?;
        shared.executor.acknowledged(&updates);
    }
}

/// Returns when the node describes itself otherwise than it did.
async fn description_changes(shared: &Shared, described: &NodeDescription) {
    loop {
        // Asked for before looking, so that a change in between is not missed.
        let tls_changed = shared.identity.tls_changed();
        if shared.description() != *described {
            return;
        }
        tokio::select! {
            () = sleep(DESCRIBE_INTERVAL) => {}
            () = tls_changed => {}
        }
    }
}
