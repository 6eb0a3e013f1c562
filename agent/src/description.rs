//! What this machine is, in the words that the managers expect.

use skep_proto::swarmkit::{
    EngineDescription, NodeDescription, Platform, PluginDescription, Resources,
};

/// Where Linux says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";

/// Describes this machine under that name: platform, CPUs and memory, and this program's version as the engine's.
/// What the system does not tell stays zero. Reads a small file of the kernel.
pub fn of_this_machine(hostname: &str) -> NodeDescription {
    let cpus = std::thread::available_parallelism().map_or(0, |n| n.get());
    let memory = std::fs::read_to_string(MEMINFO).ok().and_then(|t| total_bytes(&t)).unwrap_or(0);
    described(hostname, cpus, memory)
}

/// A description from its parts.
pub fn described(hostname: &str, cpus: usize, memory_bytes: i64) -> NodeDescription {
    NodeDescription {
        hostname: hostname.to_owned(),
        platform: Some(Platform {
            // What engines report: the machine's own name, as `uname -m` gives it.
            architecture: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
        }),
        resources: Some(Resources {
            nano_cpus: i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000),
            memory_bytes,
            ..Default::default()
        }),
        engine: Some(EngineDescription {
            engine_version: concat!("skep-", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The plugins that a stock engine on Linux has without anybody's doing, in the order in which it reports them: kind and
/// name.
const ENGINE_PLUGINS: &[(&str, &str)] = &[
    ("Log", "awslogs"),
    ("Log", "fluentd"),
    ("Log", "gcplogs"),
    ("Log", "gelf"),
    ("Log", "journald"),
    ("Log", "json-file"),
    ("Log", "local"),
    ("Log", "splunk"),
    ("Log", "syslog"),
    ("Network", "bridge"),
    ("Network", "host"),
    ("Network", "ipvlan"),
    ("Network", "macvlan"),
    ("Network", "null"),
    ("Network", "overlay"),
    ("Volume", "local"),
];

/// The description with the plugins of a stock engine, for a node that stands in for one: managers give no task to a node
/// that lacks a plugin which the task needs.
pub fn with_engine_plugins(mut description: NodeDescription) -> NodeDescription {
    let plugin = |&(kind, name): &(&str, &str)| PluginDescription {
        r#type: kind.to_owned(),
        name: name.to_owned(),
    };
    description.engine.get_or_insert_default().plugins =
        ENGINE_PLUGINS.iter().map(plugin).collect();
    description
}

fn total_bytes(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:        2048000 kB\nMemFree:          100 kB\n";
        assert_eq!(total_bytes(text), Some(2_097_152_000));
        assert_eq!(total_bytes("MemTotal: much"), None);
        assert_eq!(total_bytes(""), None);
    }

    #[test]
    fn a_description_says_who_runs_and_on_what() {
        let described = described("host", 2, 1 << 30);
        assert_eq!(described.hostname, "host");
        assert_eq!(described.resources.unwrap().nano_cpus, 2_000_000_000);
        assert_eq!(described.platform.unwrap().os, "linux");
        let version = described.engine.unwrap().engine_version;
        assert!(version.starts_with("skep-"), "{version}");
    }

    #[test]
    fn who_stands_in_for_an_engine_has_its_plugins() {
        let engine = with_engine_plugins(described("host", 2, 1 << 30)).engine.unwrap();
        let networks: Vec<_> =
            engine.plugins.iter().filter(|p| p.r#type == "Network").map(|p| &*p.name).collect();
        assert_eq!(networks, ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"]);
        assert!(engine.plugins.is_sorted_by_key(|plugin| (&plugin.r#type, &plugin.name)));
        assert!(engine.engine_version.starts_with("skep-"), "the rest stays");
    }
}
