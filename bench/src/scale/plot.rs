//! A picture of measurements: tasks that run over time, one panel for each load, one curve for each measurement.

use std::fmt::Write as _;

use super::measure::Measured;

const WIDTH: f64 = 720.0;
const PANEL_HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 45.0;
/// Lines across a panel, and marks along its time.
const MARKS: u32 = 5;
/// Told apart also without colour sight; more targets than that share them.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// An SVG document.
pub fn svg(measured: &[Measured]) -> String {
    let mut panels: Vec<(usize, usize, usize)> = Vec::new();
    let mut targets: Vec<&str> = Vec::new();
    for m in measured {
        if !panels.contains(&(m.nodes, m.tasks, m.networks)) {
            panels.push((m.nodes, m.tasks, m.networks));
        }
        if !targets.contains(&m.target.as_str()) {
            targets.push(&m.target);
        }
    }
    let height = PANEL_HEIGHT * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, shown) in panels.into_iter().enumerate() {
        let same = |m: &&Measured| (m.nodes, m.tasks, m.networks) == shown;
        let load: Vec<&Measured> = measured.iter().filter(same).collect();
        let top = PANEL_HEIGHT * number as f64;
        let (nodes, tasks, networks) = shown;
        let attached = if networks > 0 { format!(", {networks} networks") } else { String::new() };
        panel(&mut out, top, &format!("{nodes} workers, {tasks} tasks{attached}"), &load, &targets);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, title: &str, load: &[&Measured], targets: &[&str]) {
    let seconds = load.iter().map(|m| m.all_seconds).fold(0.001, f64::max);
    let tasks = load.iter().map(|m| m.tasks).max().unwrap_or(1).max(1) as f64;
    let (width, height) = (WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM);
    let x = |time: f64| LEFT + width * time / seconds;
    let y = |count: f64| top + TOP + height * (1.0 - count / tasks);
    let mut text = |x: f64, y: f64, anchor: &str, colour: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        );
    };
    text(LEFT, top + 20.0, "start", "black", title);
    text(WIDTH / 2.0, top + PANEL_HEIGHT - 8.0, "middle", "black", "seconds since the first call");
    for mark in 0..=MARKS {
        let share = f64::from(mark) / f64::from(MARKS);
        let label = format!("{:.0}", tasks * share);
        text(LEFT - 6.0, y(tasks * share) + 4.0, "end", "black", &label);
        let digits = if seconds < 3.0 { 2 } else { 1 };
        let label = format!("{:.digits$}", seconds * share);
        text(x(seconds * share), top + PANEL_HEIGHT - BOTTOM + 16.0, "middle", "black", &label);
    }
    for (number, target) in targets.iter().enumerate() {
        let right = WIDTH - RIGHT - 90.0 * number as f64;
        text(right, top + 20.0, "end", COLOURS[number % COLOURS.len()], target);
    }
    for mark in 0..=MARKS {
        let line = y(tasks * f64::from(mark) / f64::from(MARKS));
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{line:.1}\" x2=\"{right}\" y2=\"{line:.1}\" stroke=\"#ddd\"/>"
        );
    }
    for measured in load {
        let place = targets.iter().position(|target| *target == measured.target).unwrap_or(0);
        let colour = COLOURS[place % COLOURS.len()];
        let each = measured.running as f64 / measured.curve.len().max(1) as f64;
        let points: Vec<String> = std::iter::once((0.0, 0.0))
            .chain(measured.curve.iter().zip(1..).map(|(time, n)| (*time, each * f64::from(n))))
            .map(|(time, count)| format!("{:.1},{:.1}", x(time), y(count)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
}
