//! What processes have used, as the kernel counts it.

use std::{fs, io, time::Duration};

/// The kernel tells CPU time to user space in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process, its threads included, since it started.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain anything; utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u32> = fields.skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(TICK * user + TICK * system),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {stat}"))),
    }
}

/// User and system time of several processes together.
pub fn cpu_time_of_all(pids: &[u32]) -> io::Result<Duration> {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.map(|k| k * 1024).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "there is no VmHWM in the status")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let own = std::process::id();
        assert!(peak_resident_bytes(own).unwrap() > 100_000);
        assert!(cpu_time(own).unwrap() < Duration::from_secs(3600));
    }
}
