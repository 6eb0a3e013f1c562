//! What is replicated: the entries of the log, their limits, and what becomes of them.

use bytes::Bytes;
use prost::Message;

/// The longest key.
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// The largest value: below the largest proposal of the raft crate, with room for the key.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// A member's name or an address.
pub const NAME_BYTES_MAX: usize = 255;

/// One entry of the log.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    /// Random, and so different in every entry: by it a proposal is known again in logs and in the simulation.
    #[prost(fixed64, tag = "1")]
    pub request: u64,
    /// What to do.
    #[prost(oneof = "Action", tags = "2, 3, 4, 5")]
    pub action: Option<Action>,
}

/// What a command does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Action {
    /// Gives a key a value.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Takes a key away.
    #[prost(message, tag = "3")]
    Delete(Delete),
    /// Lets nodes become members.
    #[prost(message, tag = "4")]
    Admit(Admit),
    /// No longer lets it.
    #[prost(string, tag = "5")]
    Expel(String),
}

/// See [`Action::Put`].
#[derive(Clone, PartialEq, Message)]
pub struct Put {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Only if the key has this revision; 0: only if there is no such key.
    #[prost(uint64, optional, tag = "3")]
    pub if_revision: Option<u64>,
}

/// See [`Action::Delete`].
#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Only if the key has this revision.
    #[prost(uint64, optional, tag = "2")]
    pub if_revision: Option<u64>,
}

/// See [`Action::Admit`].
#[derive(Clone, PartialEq, Message)]
pub struct Admit {
    /// Those who may.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
}

/// A node that may become a member.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// The node's name, the `--id` it is started with.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it will be.
    #[prost(string, tag = "2")]
    pub addr: String,
}

/// What became of a command, the same on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Outcome {
    /// The revision that the store has with it: the entry's place in the log.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// The revision that the key had before; 0 for none.
    #[prost(uint64, tag = "2")]
    pub before: u64,
    /// It changed nothing, because the key had another revision than the command asked for.
    #[prost(bool, tag = "3")]
    pub conflict: bool,
}

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The key.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, and this one {0}")]
    Key(usize),
    /// The value.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes, and this one {0}")]
    Value(usize),
    /// A member's name or address.
    #[error("a member has an id and an address HOST:PORT, of at most {NAME_BYTES_MAX} bytes each")]
    Member,
    /// Not a command.
    #[error("the command cannot be read")]
    Unreadable,
}

impl Command {
    /// A command with a random request number.
    pub fn new(action: Action) -> Command {
        Command { request: rand::random(), action: Some(action) }
    }

    /// Reads a command that somebody else wrote.
    pub fn decode_checked(bytes: &Bytes) -> Result<Command, CommandError> {
        let command = Command::decode(bytes.clone()).map_err(|_| CommandError::Unreadable)?;
        command.check()?;
        Ok(command)
    }

    /// Whether it is within the limits.
    pub fn check(&self) -> Result<(), CommandError> {
        let key = |key: &Bytes| match key.len() {
            1..=KEY_BYTES_MAX => Ok(()),
            bytes => Err(CommandError::Key(bytes)),
        };
        let name = |name: &str| match name.len() {
            1..=NAME_BYTES_MAX => Ok(()),
            _ => Err(CommandError::Member),
        };
        match self.action.as_ref().ok_or(CommandError::Unreadable)? {
            Action::Put(put) if put.value.len() > VALUE_BYTES_MAX => {
                Err(CommandError::Value(put.value.len()))
            }
            Action::Put(put) => key(&put.key),
            Action::Delete(delete) => key(&delete.key),
            Action::Admit(admit) => admit.nodes.iter().try_for_each(|node| {
                let port = node
                    .addr
                    .rsplit_once(':')
                    .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
                name(&node.name)?;
                name(&node.addr)?;
                port.map(drop).ok_or(CommandError::Member)
            }),
            Action::Expel(member) => name(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: usize, value: usize) -> Action {
        let (key, value) = (vec![1; key].into(), vec![2; value].into());
        Action::Put(Put { key, value, if_revision: None })
    }

    fn admit(name: &str, addr: &str) -> Action {
        let node = Node { name: name.to_owned(), addr: addr.to_owned() };
        Action::Admit(Admit { nodes: vec![node] })
    }

    #[test]
    fn limits() {
        for (action, expected) in [
            (put(1, 0), Ok(())),
            (put(KEY_BYTES_MAX, VALUE_BYTES_MAX), Ok(())),
            (put(0, 1), Err(CommandError::Key(0))),
            (put(KEY_BYTES_MAX + 1, 1), Err(CommandError::Key(KEY_BYTES_MAX + 1))),
            (put(1, VALUE_BYTES_MAX + 1), Err(CommandError::Value(VALUE_BYTES_MAX + 1))),
            (admit("4", "127.0.0.1:7004"), Ok(())),
            (admit("", "127.0.0.1:7004"), Err(CommandError::Member)),
            (admit("4", "127.0.0.1"), Err(CommandError::Member)),
            (admit("4", ":1"), Err(CommandError::Member)),
            (admit("4", "a:70000"), Err(CommandError::Member)),
            (Action::Expel("4".to_owned()), Ok(())),
        ] {
            let command = Command::new(action);
            assert_eq!(command.check(), expected);
            let bytes = Bytes::from(command.encode_to_vec());
            assert_eq!(Command::decode_checked(&bytes), expected.map(|()| command));
        }
        let garbage = Bytes::from_static(b"\xff\xff\xff");
        assert_eq!(Command::decode_checked(&garbage), Err(CommandError::Unreadable));
        assert_eq!(Command::decode_checked(&Bytes::new()), Err(CommandError::Unreadable));
    }

    #[test]
    fn the_largest_command_is_a_proposal() {
        let bytes = Command::new(put(KEY_BYTES_MAX, VALUE_BYTES_MAX)).encode_to_vec();
        assert!(bytes.len() <= skep_raft::PROPOSAL_BYTES_MAX);
    }
}
