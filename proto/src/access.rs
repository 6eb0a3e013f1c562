//! Who may call which method: the table that the build reads from the method options.

/// Who a method is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Callable without a client certificate.
    pub insecure: bool,
    /// Callable with a certificate whose OU is `swarm-worker`.
    pub worker: bool,
    /// Callable with a certificate whose OU is `swarm-manager`.
    pub manager: bool,
}

/// One method of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The HTTP/2 path, `/package.Service/Method`.
    pub path: &'static str,
    /// The client sends a stream.
    pub client_streaming: bool,
    /// The server sends a stream.
    pub server_streaming: bool,
    /// Who may call it.
    pub access: Access,
}

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The method behind an HTTP/2 path, or `None` for a path that no service has.
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|m| m.path.cmp(path)).ok().map(|i| &METHODS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swarmkits_65_methods_have_the_roles_of_the_map() {
        let swarmkit: Vec<_> =
            METHODS.iter().filter(|m| m.path.starts_with("/docker.swarmkit.v1.")).collect();
        assert_eq!(swarmkit.len(), 65);
        let count = |f: fn(&Access) -> bool| swarmkit.iter().filter(|m| f(&m.access)).count();
        assert_eq!(count(|a| a.insecure), 3);
        assert_eq!(count(|a| a.worker && a.manager), 10);
        assert_eq!(count(|a| a.manager && !a.worker), 52);
    }

    #[test]
    fn a_path_is_found_only_whole() {
        assert!(method("/docker.swarmkit.v1.Raft/StreamRaftMessage").is_some());
        assert!(method("/docker.swarmkit.v1.Raft/").is_none());
        assert!(method("").is_none());
    }
}
