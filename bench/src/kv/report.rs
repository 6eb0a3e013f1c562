//! What was measured, for people.

use comfy_table::{CellAlignment, Table, presets};

use super::{Measured, Operation};
use crate::statistics::Summary;

/// The target that the others are compared with.
const BASELINE: &str = "etcd";

fn of<'a>(
    measured: &'a [Measured],
    operation: Operation,
    clients: usize,
    target: &str,
) -> Vec<&'a Measured> {
    let like = |m: &&Measured| (m.operation, m.clients, m.target) == (operation, clients, target);
    measured.iter().filter(like).collect()
}

/// Medians over the rounds, with the range of the rates.
pub fn table(measured: &[Measured]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "REQUEST",
        "CLIENTS",
        "TARGET",
        "PER SECOND",
        "(MIN - MAX)",
        "RATIO",
        "P50 MS",
        "P99 MS",
        "MEMBERS' CPU µs",
        "RATIO",
        "DRIVER'S CPU µs",
    ]);
    let mut told = Vec::new();
    for one in measured {
        let line = (one.operation, one.clients, one.target);
        if told.contains(&line) {
            continue;
        }
        told.push(line);
        let rounds = of(measured, one.operation, one.clients, one.target);
        let baseline = of(measured, one.operation, one.clients, BASELINE);
        let median = |of: &[&Measured], value: fn(&Measured) -> f64| {
            Summary::of(of.iter().map(|m| value(m))).map(|summary| summary.median)
        };
        let ratio = |value: fn(&Measured) -> f64| {
            let ratio = median(&rounds, value)? / median(&baseline, value)?;
            (one.target != BASELINE).then(|| format!("{ratio:.2}x"))
        };
        let Some(rate) = Summary::of(rounds.iter().map(|m| m.per_second)) else { continue };
        let number = |value: fn(&Measured) -> f64| median(&rounds, value).unwrap_or_default();
        table.add_row([
            format!("{:?}", one.operation).to_lowercase(),
            one.clients.to_string(),
            one.target.to_owned(),
            format!("{:.0}", rate.median),
            format!("({:.0} - {:.0})", rate.min, rate.max),
            ratio(|m| m.per_second).unwrap_or_default(),
            format!("{:.2}", number(|m| m.p50_ms)),
            format!("{:.2}", number(|m| m.p99_ms)),
            format!("{:.0}", number(|m| m.members_cpu_us)),
            ratio(|m| m.members_cpu_us).unwrap_or_default(),
            format!("{:.0}", number(|m| m.driver_cpu_us)),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
