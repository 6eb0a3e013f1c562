//! Which service is reached on which listener, and which calls belong to the leader: one table.
//!
//! The services and their order follow SwarmKit, where a worker may call any manager, and where the control API of the
//! remote listener is answered by the manager that was called. Ours stand at the end.

use std::{collections::HashMap, sync::LazyLock};

use skep_proto::access::{self, Method};

/// The two doors of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// TCP with TLS: other nodes.
    Remote,
    /// The control socket: this machine's operator and this node's own agent.
    Local,
}

/// What a listener does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Refuses it: the service is not registered here.
    Absent,
    /// Answers it on this manager, whoever leads.
    Here,
    /// Answers it if this manager leads, and passes it on to the leader otherwise.
    Leader,
}

use Exposure::{Absent, Here, Leader};

/// Full name of a service, or of a method where one differs from the rest of its service; remote; local.
const TABLE: &[(&str, Exposure, Exposure)] = &[
    ("docker.swarmkit.v1.CA", Leader, Leader),
    ("docker.swarmkit.v1.NodeCA", Leader, Leader),
    ("docker.swarmkit.v1.Raft", Here, Absent),
    ("docker.swarmkit.v1.RaftMembership", Leader, Absent),
    ("docker.swarmkit.v1.Health", Here, Here),
    ("docker.swarmkit.v1.Control", Here, Leader),
    ("docker.swarmkit.v1.Watch", Here, Here),
    ("docker.swarmkit.v1.Logs", Here, Leader),
    ("docker.swarmkit.v1.LogBroker", Leader, Leader),
    ("docker.swarmkit.v1.ResourceAllocator", Leader, Leader),
    ("docker.swarmkit.v1.Dispatcher", Leader, Leader),
    ("skep.v1.Daemon", Absent, Here),
    ("skep.v1.RaftAdmin", Absent, Here),
    // Another manager's control socket passes this one on to us.
    ("skep.v1.RaftAdmin/TransferLeadership", Here, Leader),
    ("skep.v1.RaftStream", Here, Absent),
    ("skep.v1.Networks", Here, Leader),
    ("skep.v1.Scheduling", Here, Leader),
];

/// Calls that may be made twice without harm: they read, or they state a fact that does not change by being repeated.
/// Only these are made again when it is not certain that the first one was not carried out.
const REPEATABLE: &[&str] = &[
    "/docker.swarmkit.v1.CA/GetRootCACertificate",
    "/docker.swarmkit.v1.CA/GetUnlockKey",
    "/docker.swarmkit.v1.NodeCA/NodeCertificateStatus",
    "/docker.swarmkit.v1.Dispatcher/Heartbeat",
    "/docker.swarmkit.v1.Dispatcher/UpdateTaskStatus",
    "/docker.swarmkit.v1.Dispatcher/UpdateVolumeStatus",
    "/docker.swarmkit.v1.RaftMembership/Join",
    "/skep.v1.Networks/Check",
    "/skep.v1.Networks/Usage",
    "/skep.v1.Scheduling/Explain",
    "/skep.v1.Scheduling/Plan",
];

/// How a method is served.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method, with the roles that may call it.
    pub method: &'static Method,
    /// On the remote listener.
    pub remote: Exposure,
    /// On the control socket.
    pub local: Exposure,
    /// A second call does no harm.
    pub repeatable: bool,
}

impl Route {
    /// What this listener does with the method.
    pub fn on(&self, listener: Listener) -> Exposure {
        match listener {
            Listener::Remote => self.remote,
            Listener::Local => self.local,
        }
    }

    /// Whether members of the raft group call it of each other, or to become one.
    pub fn is_of_raft(&self) -> bool {
        let services =
            ["/docker.swarmkit.v1.Raft", "/docker.swarmkit.v1.Health/", "/skep.v1.RaftStream/"];
        services.iter().any(|service| self.method.path.starts_with(service))
    }

    /// Whether the size of a request is the service's own business: of streams, and of what members of the raft group send
    /// each other.
    pub fn takes_large_messages(&self) -> bool {
        self.method.client_streaming || self.method.path.starts_with("/docker.swarmkit.v1.Raft/")
    }

    /// One request message, one answer.
    pub fn is_unary(&self) -> bool {
        !self.method.client_streaming && !self.method.server_streaming
    }
}

static ROUTES: LazyLock<HashMap<&'static str, Route>> = LazyLock::new(|| {
    let exposure = |name: &str| TABLE.iter().find(|(n, _, _)| *n == name);
    let mut routes = HashMap::with_capacity(access::METHODS.len());
    for method in access::METHODS {
        let name = method.path.trim_start_matches('/');
        let service = name.split('/').next().unwrap_or(name);
        let (remote, local) = exposure(name)
            .or_else(|| exposure(service))
            .map_or((Absent, Absent), |(_, remote, local)| (*remote, *local));
        let repeatable = REPEATABLE.contains(&method.path)
            || (service == "docker.swarmkit.v1.Control"
                && ["Get", "List"].iter().any(|verb| name[service.len() + 1..].starts_with(verb)));
        routes.insert(method.path, Route { method, remote, local, repeatable });
    }
    routes
});

/// The route of an HTTP/2 path; `None` for a path that no service has.
pub fn route(path: &str) -> Option<&'static Route> {
    ROUTES.get(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_wire_has_its_row_and_every_row_its_service() {
        for (name, _, _) in TABLE {
            let found = access::METHODS.iter().any(|m| {
                let path = m.path.trim_start_matches('/');
                path == *name || path.split('/').next() == Some(name)
            });
            assert!(found, "{name} is not on the wire");
        }
        for method in access::METHODS {
            let route = route(method.path).expect("in the table");
            assert!(
                (route.remote, route.local) != (Absent, Absent),
                "{} is served nowhere",
                method.path
            );
        }
    }

    #[test]
    fn what_may_be_repeated_exists_and_is_unary() {
        for path in REPEATABLE {
            assert!(route(path).expect("in the table").is_unary(), "{path}");
        }
    }

    #[test]
    fn the_control_api_is_passed_on_only_from_the_control_socket() {
        let route = route("/docker.swarmkit.v1.Control/CreateService").expect("in the table");
        assert_eq!((route.on(Listener::Remote), route.on(Listener::Local)), (Here, Leader));
        assert!(!route.repeatable);
    }

    #[test]
    fn the_life_of_a_daemon_is_nobody_elses_business() {
        let route = route("/skep.v1.Daemon/Leave").expect("in the table");
        assert_eq!(route.on(Listener::Remote), Absent);
        assert!(super::route("/skep.v1.Daemon/Nothing").is_none());
    }
}
