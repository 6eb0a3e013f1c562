//! Notices: what a manager itself has to say in the middle of a stream of logs, such as that a node went away.
//!
//! SwarmKit's messages have no place for that, and a stream that ended with it would not go on with the other nodes. So a
//! notice is a line on the standard error of a task of the node that it speaks of, marked by an attribute. A client
//! that knows nothing of this prints it as a line.

use crate::swarmkit::LogMessage;

/// The attribute that marks a notice.
pub const ATTRIBUTE: &str = "skep.notice";

/// Whether the line is a manager's notice. A container whose labels its log driver notes can make its own lines look so:
/// it may change how a line is printed, and must not decide anything.
pub fn is_notice(message: &LogMessage) -> bool {
    message.attrs.iter().any(|attribute| attribute.key == ATTRIBUTE)
}
