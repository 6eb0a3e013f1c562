//! What was measured, for people and for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::measure::Measured;
use crate::statistics::Summary;

/// The one column that is text.
const TARGET_COLUMN: usize = 3;

/// Everything that was measured.
pub struct Report {
    /// Each measurement, in the order in which they were made.
    pub measured: Vec<Measured>,
}

/// The rounds of one target under one load.
#[derive(Serialize)]
struct Line {
    target: String,
    nodes: usize,
    tasks: usize,
    networks: usize,
    rounds: usize,
    /// Whether all tasks ran in the end, in every round.
    complete: bool,
    tasks_per_second: Summary,
    first_seconds: Summary,
    p50_seconds: Summary,
    p99_seconds: Summary,
    all_seconds: Summary,
    manager_cpu_us: Summary,
    worker_cpu_us: Summary,
    peak_mib: Summary,
    /// How many times the tasks a second of Docker under the same load.
    ratio: Option<f64>,
}

/// What is told apart: workers, tasks, networks, target.
type Cell<'r> = (usize, usize, usize, &'r str);

impl Report {
    /// A table of medians.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "WORKERS",
            "TASKS",
            "NETWORKS",
            "TARGET",
            "TASKS/S",
            "RATIO",
            "FIRST S",
            "P50 S",
            "P99 S",
            "ALL S",
            "MANAGERS' CPU µs",
            "WORKERS' CPU µs",
            "PEAK MiB",
        ]);
        for line in self.lines() {
            let of = |summary: Summary, digits: usize| format!("{:.*}", digits, summary.median);
            let more = if line.complete { "" } else { " (not all)" };
            table.add_row([
                line.nodes.to_string(),
                line.tasks.to_string(),
                line.networks.to_string(),
                line.target,
                of(line.tasks_per_second, 0),
                line.ratio.map(|ratio| format!("{ratio:.1}x")).unwrap_or_default(),
                of(line.first_seconds, 3),
                of(line.p50_seconds, 2),
                of(line.p99_seconds, 2),
                format!("{}{more}", of(line.all_seconds, 2)),
                of(line.manager_cpu_us, 0),
                of(line.worker_cpu_us, 0),
                of(line.peak_mib, 1),
            ]);
        }
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if number != TARGET_COLUMN {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// Everything, the single measurements included.
    pub fn json(&self) -> Value {
        json!({ "lines": self.lines(), "measurements": self.measured })
    }

    fn lines(&self) -> Vec<Line> {
        let mut cells: Vec<Cell> = Vec::new();
        for m in &self.measured {
            let cell = (m.nodes, m.tasks, m.networks, m.target.as_str());
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells.into_iter().filter_map(|cell| self.line(cell)).collect()
    }

    fn line(&self, cell: Cell) -> Option<Line> {
        let (nodes, tasks, networks, target) = cell;
        let rounds = self.rounds(cell);
        let of = |value: fn(&Measured) -> f64| Summary::of(rounds.iter().map(|m| value(m)));
        let tasks_per_second = of(Measured::per_second)?;
        let docker = self.rounds((nodes, tasks, networks, "docker"));
        let docker = Summary::of(docker.iter().map(|m| m.per_second()));
        Some(Line {
            target: target.to_owned(),
            nodes,
            tasks,
            networks,
            rounds: rounds.len(),
            complete: rounds.iter().all(|m| m.running == m.tasks),
            tasks_per_second,
            first_seconds: of(|m| m.first_seconds)?,
            p50_seconds: of(|m| m.p50_seconds)?,
            p99_seconds: of(|m| m.p99_seconds)?,
            all_seconds: of(|m| m.all_seconds)?,
            manager_cpu_us: of(Measured::manager_cpu_us)?,
            worker_cpu_us: of(Measured::worker_cpu_us)?,
            peak_mib: of(Measured::peak_mib)?,
            ratio: docker
                .filter(|_| target != "docker")
                .map(|docker| tasks_per_second.median / docker.median),
        })
    }

    fn rounds(&self, cell: Cell) -> Vec<&Measured> {
        let same = |m: &&Measured| (m.nodes, m.tasks, m.networks, m.target.as_str()) == cell;
        self.measured.iter().filter(same).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::measure::Usage;

    fn usage(cpu_seconds: f64, peak_mib: u64) -> Usage {
        Usage { cpu_seconds, peak_bytes: peak_mib << 20, peak_bytes_before: 0 }
    }

    pub(crate) fn measured(target: &str, running: usize, all_seconds: f64) -> Measured {
        Measured {
            target: target.into(),
            round: 1,
            nodes: 10,
            tasks: 100,
            services: 1,
            networks: 0,
            running,
            created_seconds: 0.1,
            first_seconds: 0.25,
            p50_seconds: 0.5,
            p99_seconds: 0.75,
            all_seconds,
            managers: vec![usage(0.02, 50), usage(0.01, 20)],
            workers: usage(0.005, 10),
            curve: vec![0.25, 0.5, all_seconds],
        }
    }

    #[test]
    fn a_line_has_the_medians_of_its_rounds_and_the_ratio_to_docker() {
        let report = Report {
            measured: vec![
                measured("skep", 100, 1.0),
                measured("docker", 100, 10.0),
                measured("skep", 100, 2.0),
                measured("docker", 50, 10.0),
                measured("skep", 100, 0.5),
                measured("docker", 100, 20.0),
            ],
        };
        let expected = "\
WORKERS  TASKS  NETWORKS  TARGET  TASKS/S  RATIO  FIRST S  P50 S  P99 S            ALL S  MANAGERS' CPU µs  WORKERS' CPU µs  PEAK MiB
     10    100         0  skep        100  20.0x    0.250   0.50   0.75             1.00               300               50      50.0
     10    100         0  docker        5           0.250   0.50   0.75  10.00 (not all)               300               50      50.0";
        assert_eq!(report.table(), expected);
        assert_eq!(report.json()["measurements"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn a_plot_has_a_curve_for_each_target() {
        let picture =
            crate::scale::plot::svg(&[measured("skep", 100, 1.0), measured("docker", 100, 10.0)]);
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("10 workers, 100 tasks"), "{picture}");
    }
}
