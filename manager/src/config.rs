//! What a daemon is configured with, independent of where it was written down.

use std::{net::SocketAddr, path::PathBuf};

use skep_proto::swarmkit::node_spec;

use crate::options::DaemonOptions;

/// The settings of one daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for certificate, keys and raft state.
    pub state_dir: PathBuf,
    /// Address of the remote listener; port 0 lets the system choose (for tests).
    pub listen: SocketAddr,
    /// `host:port` that others are told; none: derived from `listen`.
    pub advertise: Option<String>,
    /// Path of the control socket.
    pub control: PathBuf,
    /// Address of the metrics endpoint; none: off.
    pub metrics: Option<SocketAddr>,
    /// Name that the node reports.
    pub hostname: String,
    /// Whether a new node is offered tasks.
    pub availability: node_spec::Availability,
    /// File with the unlock key.
    pub unlock_key_file: Option<PathBuf>,
    /// Drop all other members of the group at the next start.
    pub force_new_cluster: bool,
}

/// Longest host name that is taken (RFC 1035 §2.3.4).
const HOSTNAME_LEN_MAX: usize = 253;

impl Config {
    /// The settings behind a command line, with the machine's name filled in.
    pub fn from_options(options: &DaemonOptions) -> Result<Config, String> {
        let hostname = match &options.hostname {
            Some(name) => name.clone(),
            None => hostname::get()
                .map_err(|error| {
                    format!("the machine's name cannot be read ({error}): give --hostname")
                })?
                .to_string_lossy()
                .into_owned(),
        };
        if hostname.is_empty() || hostname.len() > HOSTNAME_LEN_MAX {
            return Err(format!(
                "the host name {hostname:?} is not usable: give --hostname with 1 to {HOSTNAME_LEN_MAX} characters"
            ));
        }
        if let Some(addr) = &options.advertise {
            check_host_port(addr).map_err(|error| format!("--advertise {addr:?}: {error}"))?;
        }
        Ok(Config {
            state_dir: options.state_dir.clone(),
            listen: options.listen,
            advertise: options.advertise.clone(),
            control: options.control.clone(),
            metrics: options.metrics,
            hostname,
            availability: options.availability.to_wire(),
            unlock_key_file: options.unlock_key_file.clone(),
            force_new_cluster: options.force_new_cluster,
        })
    }
}

/// Checks that a text is `host:port`, with brackets around an IPv6 address.
pub fn check_host_port(addr: &str) -> Result<(), String> {
    let expected = "expected host:port, for example 192.0.2.1:2377 or [2001:db8::1]:2377";
    let (host, port) = addr.rsplit_once(':').ok_or(expected)?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_v6 || port.parse::<u16>().map_or(true, |p| p == 0) {
        return Err(expected.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for good in ["192.0.2.1:2377", "manager-1:1", "[2001:db8::1]:2377"] {
            assert_eq!(check_host_port(good), Ok(()), "{good}");
        }
        for bad in ["", "192.0.2.1", ":2377", "h:0", "h:65536", "h:x", "2001:db8::1:2377"] {
            assert!(check_host_port(bad).is_err(), "{bad}");
        }
    }
}
