//! What was measured, for people and for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::load::Measured;
use crate::{manager::Kind, statistics::Summary};

/// Everything that was measured.
pub struct Report {
    /// What was created.
    pub object: Kind,
    /// How large each was.
    pub payload_bytes: usize,
    /// How long each measurement took.
    pub window_seconds: f64,
    /// Connections to each socket.
    pub connections: u16,
    /// The target that the others are compared with.
    pub baseline: String,
    /// Memory of the managers.
    pub memory: Vec<Memory>,
    /// Each measurement, in the order in which they were made.
    pub measured: Vec<Measured>,
}

/// Memory of one process.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// The target it belongs to.
    pub target: String,
    /// The process.
    pub pid: u32,
    /// The most it has had resident.
    pub peak_bytes: u64,
}

/// The rounds of one target at one number of writers.
#[derive(Serialize)]
struct Line {
    target: String,
    writers: usize,
    rounds: usize,
    creates_per_second: Summary,
    p50_ms: Summary,
    p99_ms: Summary,
    manager_cpu_us: Option<Summary>,
    driver_cpu_us: Summary,
    /// How many times the baseline's median rate; nothing of the baseline itself.
    ratio: Option<f64>,
}

impl Report {
    /// A table of medians, with the range of the rates.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "WRITERS",
            "TARGET",
            "CREATES/S",
            "(MIN - MAX)",
            "RATIO",
            "P50 MS",
            "P99 MS",
            "MANAGERS' CPU µs",
            "DRIVER'S CPU µs",
        ]);
        for line in self.lines() {
            let rate = line.creates_per_second;
            table.add_row([
                line.writers.to_string(),
                line.target,
                format!("{:.0}", rate.median),
                format!("({:.0} - {:.0})", rate.min, rate.max),
                line.ratio.map(|r| format!("{r:.1}x")).unwrap_or_default(),
                format!("{:.2}", line.p50_ms.median),
                format!("{:.2}", line.p99_ms.median),
                line.manager_cpu_us.map(|c| format!("{:.0}", c.median)).unwrap_or_default(),
                format!("{:.0}", line.driver_cpu_us.median),
            ]);
        }
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if number != 1 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = table.trim_fmt();
        for target in self.targets() {
            let peaks = self.memory.iter().filter(|m| m.target == target);
            let peaks: Vec<String> =
                peaks.map(|m| format!("{:.1}", m.peak_bytes as f64 / (1 << 20) as f64)).collect();
            if !peaks.is_empty() {
                // Writing to a String does not fail.
                let _ = write!(
                    text,
                    "\n{target}: peak memory of each manager {} MiB",
                    peaks.join(", ")
                );
            }
        }
        text
    }

    /// Everything, the single measurements included.
    pub fn json(&self) -> Value {
        json!({
            "object": self.object,
            "payload_bytes": self.payload_bytes,
            "window_seconds": self.window_seconds,
            "connections": self.connections,
            "baseline": self.baseline,
            "lines": self.lines(),
            "memory": self.memory,
            "measurements": self.measured,
        })
    }

    fn lines(&self) -> Vec<Line> {
        let mut cells: Vec<(usize, String)> =
            self.measured.iter().map(|m| (m.writers, m.target.clone())).collect();
        // Measured in the order of writers and targets, and again in each round.
        let mut seen = Vec::new();
        cells.retain(|cell| {
            !seen.contains(cell) && {
                seen.push(cell.clone());
                true
            }
        });
        cells.iter().filter_map(|(writers, target)| self.line(*writers, target)).collect()
    }

    fn line(&self, writers: usize, target: &str) -> Option<Line> {
        let rounds: Vec<&Measured> = self.rounds(writers, target).collect();
        let of = |value: fn(&Measured) -> f64| Summary::of(rounds.iter().map(|m| value(m)));
        let rate = of(Measured::per_second)?;
        let base = Summary::of(self.rounds(writers, &self.baseline).map(Measured::per_second));
        Some(Line {
            target: target.to_owned(),
            writers,
            rounds: rounds.len(),
            creates_per_second: rate,
            p50_ms: of(|m| m.p50_ms)?,
            p99_ms: of(|m| m.p99_ms)?,
            manager_cpu_us: Summary::of(rounds.iter().filter_map(|m| m.manager_cpu_us)),
            driver_cpu_us: of(|m| m.driver_cpu_us)?,
            ratio: base.filter(|_| target != self.baseline).map(|b| rate.median / b.median),
        })
    }

    fn rounds(&self, writers: usize, target: &str) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter(move |m| m.writers == writers && m.target == target)
    }

    fn targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = self.memory.iter().map(|m| m.target.clone()).collect();
        targets.dedup();
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(target: &str, creates: usize) -> Measured {
        Measured {
            target: target.into(),
            writers: 1,
            creates,
            elapsed_seconds: 1.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            manager_cpu_us: Some(100.0),
            driver_cpu_us: 50.0,
        }
    }

    #[test]
    fn targets_are_compared_by_the_medians_of_their_rounds() {
        let rounds = [
            ("skep", 900),
            ("docker", 100),
            ("skep", 1000),
            ("docker", 300),
            ("skep", 5),
            ("docker", 200),
        ];
        let report = Report {
            object: Kind::Config,
            payload_bytes: 64,
            window_seconds: 1.0,
            connections: 4,
            baseline: "docker".into(),
            memory: vec![Memory { target: "skep".into(), pid: 1, peak_bytes: 3 << 20 }],
            measured: rounds.map(|(target, creates)| measured(target, creates)).into(),
        };
        let table = report.table();
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1],
            ["1", "skep", "900", "(5", "-", "1000)", "4.5x", "1.00", "2.00", "100", "50"]
        );
        assert_eq!(lines[2][..3], ["1", "docker", "200"]);
        assert_eq!(table.lines().last(), Some("skep: peak memory of each manager 3.0 MiB"));
    }
}
