//! The signal that makes a manager conclude that it was removed from the group, stop, and delete its raft state: code
//! `NOT_FOUND` **and** exactly this text. Made in one place and read in one place, because a peer that gets it for any
//! other reason destroys itself, and because neither half alone means anything.

use tonic::{Code, Status};

const TEXT: &str = "raft: member was removed from the cluster";

/// The signal, for a sender that is in the group's list of removed members. Never for one that is merely unknown.
pub fn signal() -> Status {
    Status::not_found(TEXT)
}

/// Whether a peer's answer is the signal.
pub fn is_signal(status: &Status) -> bool {
    status.code() == Code::NotFound && status.message() == TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_text_together_are_the_signal() {
        assert!(is_signal(&signal()));
        assert!(!is_signal(&Status::not_found("")));
        assert!(!is_signal(&Status::not_found(format!("{TEXT}."))));
        assert!(!is_signal(&Status::unknown(TEXT)));
    }
}
