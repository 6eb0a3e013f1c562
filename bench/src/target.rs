//! What is measured: a named cluster, by the control sockets of its managers and their processes.

use std::{path::PathBuf, str::FromStr};

/// A cluster under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is called in the report.
    pub name: String,
    /// The control sockets that writers use, in turn.
    pub sockets: Vec<PathBuf>,
    /// The managers' processes, whose CPU time and memory are measured.
    pub pids: Vec<u32>,
}

/// Why a text is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no target: {why}; write NAME=unix:///PATH[,unix:///PATH…][,pid=PID…]")]
pub struct TargetError {
    text: String,
    why: &'static str,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let refused = |why| TargetError { text: text.to_owned(), why };
        let (name, rest) = text.split_once('=').ok_or_else(|| refused("it has no name"))?;
        let mut target = Target { name: name.to_owned(), sockets: Vec::new(), pids: Vec::new() };
        for part in rest.split(',') {
            if let Some(path) = part.strip_prefix("unix://") {
                target.sockets.push(path.into());
            } else if let Some(pid) = part.strip_prefix("pid=") {
                target.pids.push(pid.parse().map_err(|_| refused("a pid is a number"))?);
            } else {
                return Err(refused("its parts are sockets and pids"));
            }
        }
        if target.name.is_empty() || target.sockets.is_empty() {
            return Err(refused("it needs a name and a socket"));
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_sockets_and_processes() {
        let target: Target = "skep=unix:///a,unix:///b,pid=7,pid=8".parse().unwrap();
        assert_eq!(target.name, "skep");
        assert_eq!(target.sockets, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(target.pids, [7, 8]);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in
            ["", "skep", "skep=", "=unix:///a", "skep=pid=7", "skep=unix:///a,pid=x", "a=tcp://b"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
