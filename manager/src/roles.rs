//! The role manager: makes each node's role follow the desired one, and takes demoted managers out of the raft group.
