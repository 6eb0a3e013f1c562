//! `skep network check`: whether what was given out agrees with itself.

use std::time::Duration;

use serde_json::{Value, json};
use skep_proto::skep::{NetworkCheckRequest, NetworkCheckResponse, NetworkFinding};

use crate::{
    commands::Session,
    errors::{Failure, one_line},
    output::{Column, Format, ListOptions, column},
};

/// How long after the first look the second one comes, where something may have been a change under way: the managers
/// take a fraction of it even under load.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(2);

const COLUMNS: &[Column] =
    &[column("Kind", "KIND"), column("Text", "FINDING"), column("ObjectIDs", "OBJECTS")];

/// Look whether the addresses, subnets, VXLAN ids and ports that were given out agree. The exit code is 0 when they do, and
/// 1 when something was found.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// How to print what was found: table (a line each), json (one object a line), a template such as '{{.Kind}}', or
    /// fields such as kind,objectids
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl Check {
    /// Prints what was found.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mut checked = ask(&session).await?;
        if checked.findings.iter().any(|finding| finding.may_pass) {
            tokio::time::sleep(SECOND_LOOK_AFTER).await;
            let before = std::mem::replace(&mut checked, ask(&session).await?);
            leave_what_stayed(&mut checked, &before.findings);
        }
        match self.format {
            Format::Table => {
                lines(&checked).iter().try_for_each(|line| session.output.line(line))?;
            }
            format => {
                let rows: Vec<Value> = checked.findings.iter().map(row).collect();
                session.output.list(COLUMNS, &rows, &ListOptions { format, quiet: false })?;
            }
        }
        match checked.findings_total {
            0 => Ok(()),
            count => Err(Failure::Findings { count }),
        }
    }
}

async fn ask(session: &Session) -> Result<NetworkCheckResponse, Failure> {
    let request = session.connection.request(NetworkCheckRequest {});
    let reply = session.connection.networks().check(request).await;
    Ok(reply.map_err(Failure::call("check the networks"))?.into_inner())
}

/// Takes out what may be a change under way and was not there `before`.
fn leave_what_stayed(checked: &mut NetworkCheckResponse, before: &[NetworkFinding]) {
    let found = checked.findings.len();
    checked.findings.retain(|finding| !finding.may_pass || before.contains(finding));
    let passed = (found - checked.findings.len()) as u64;
    checked.findings_total = checked.findings_total.saturating_sub(passed);
}

fn lines(checked: &NetworkCheckResponse) -> Vec<String> {
    let NetworkCheckResponse { findings, findings_total, .. } = checked;
    if *findings_total == 0 {
        return vec![format!(
            "Nothing was found: what {}, {}, {} and {} hold agrees.",
            counted(checked.networks_total, "network"),
            counted(checked.services_total, "service"),
            counted(checked.tasks_total, "task"),
            counted(checked.nodes_total, "node"),
        )];
    }
    let line = |finding: &NetworkFinding| {
        let ids = match finding.object_ids.as_slice() {
            [] => String::new(),
            ids => format!(" ({})", ids.join(", ")),
        };
        one_line(&format!("{}: {}{ids}", finding.kind, finding.text))
    };
    let mut lines: Vec<String> = findings.iter().map(line).collect();
    let left = findings_total.saturating_sub(findings.len() as u64);
    if left > 0 {
        lines.push(format!("… and {left} more"));
    }
    lines
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn row(finding: &NetworkFinding) -> Value {
    json!({ "Kind": finding.kind, "Text": finding.text, "ObjectIDs": finding.object_ids })
}
