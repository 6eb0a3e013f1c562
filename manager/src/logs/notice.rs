//! What the manager itself says in a stream of logs. Pure.

use skep_proto::{
    log_notice::ATTRIBUTE,
    prost_types::Timestamp,
    swarmkit::{LogAttr, LogContext, LogMessage, LogStream, Task},
};

/// A line that says something of a task's node. Clients ask for the task that a line is of, so it has to be of one.
pub fn line(task: &Task, text: &str, now: Timestamp) -> LogMessage {
    LogMessage {
        context: Some(LogContext {
            service_id: task.service_id.clone(),
            node_id: task.node_id.clone(),
            task_id: task.id.clone(),
        }),
        timestamp: Some(now),
        stream: LogStream::Stderr.into(),
        data: text.to_owned().into(),
        attrs: vec![LogAttr { key: ATTRIBUTE.to_owned(), value: "manager".to_owned() }],
    }
}
