//! Who cleans up: a shell that waits for the end of its standard input, which this process holds open. So the hosts go
//! away when they are dropped, and also when this process panics, is interrupted or killed.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::HostsError;

/// Kills every process in the namespaces of the set, then removes the namespaces, control groups and files. Its
/// arguments are the prefix of the namespaces and the folder. The namespaces were made for the set, so whatever
/// runs in them was started in it; an engine is the first process of a process namespace and takes its containers with it.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
namespaces() { ip netns list | cut -d' ' -f1 | grep "^$1-"; }
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    left=$(for name in $(namespaces "$1"); do ip netns pids "$name"; done)
    test -z "$left" && break
    kill -9 $left
    sleep 0.2
done
for name in $(namespaces "$1"); do ip netns delete "$name"; done
find /sys/fs/cgroup -depth -type d -path "*/$1/*" -exec rmdir {} \;
find /sys/fs/cgroup -depth -type d -name "$1" -exec rmdir {} \;
rm -rf "$2"
test -z "$(namespaces "$1")"
"#;

/// The waiting shell.
pub struct Janitor(Option<Child>);

impl Janitor {
    /// Starts it for the namespaces that begin with `prefix` and a dash, and for `dir`.
    pub fn hire(prefix: &str, dir: &Path) -> Result<Janitor, HostsError> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "janitor", prefix])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal is for the process that is cleaned up after.
            .process_group(0)
            .spawn()
            .map_err(|source| HostsError::Run { program: "sh".into(), source })?;
        Ok(Janitor(Some(child)))
    }

    /// Lets it clean up and waits until it has.
    pub fn finish(&mut self) -> Result<(), HostsError> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
        // Waiting closes the standard input first.
        let ended = child.wait();
        let ended = ended.map_err(|source| HostsError::Run { program: "sh".into(), source })?;
        if ended.success() {
            return Ok(());
        }
        Err(HostsError::Command {
            command: "clean up".into(),
            output: "namespaces are left; see 'ip netns list'".into(),
        })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            eprintln!("docker hosts: {error}");
        }
    }
}
