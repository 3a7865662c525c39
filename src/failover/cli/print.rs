//! How `hast-failover status` looks.

use std::fmt::Write;

use crate::failover::agent::protocol::{Ended, GroupReport, ResourceReport};

/// Columns between which two spaces are left at least.
const HEADINGS: [&str; 5] = ["Group", "State", "CARP", "Peer", "Step"];

/// The table, and below it what is wrong and the last step of each group; all that are known where more is wanted.
pub fn status(groups: &[GroupReport], more: bool) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(groups.iter().map(row));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            put(&mut line, format_args!("{cell:width$}  "));
        }
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    for group in groups {
        for remark in remarks(group) {
            put(&mut text, format_args!("{}: {remark}\n", group.group));
        }
    }
    for group in groups {
        let from = if more {
            0
        } else {
            group.steps.len().saturating_sub(1)
        };
        for step in &group.steps[from..] {
            put(&mut text, format_args!("{}: {}\n", group.group, line(step)));
        }
    }
    text
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a String takes any text");
}

fn row(group: &GroupReport) -> [String; 5] {
    let step = match (&group.step, group.step_milliseconds) {
        (Some(step), Some(time)) => format!("{step} ({} s)", time / 1000),
        (Some(step), None) => step.clone(),
        (None, _) => "-".to_owned(),
    };
    let mut state = group.state.clone();
    if group.pinned {
        state.push_str(" (kept)");
    }
    [
        group.group.clone(),
        state,
        group.carp.clone().unwrap_or_else(|| "-".to_owned()),
        peer(&group.resources),
        step,
    ]
}

/// The worst of the resources.
fn peer(resources: &[ResourceReport]) -> String {
    let has = |word: &str| {
        resources
            .iter()
            .any(|it| it.status.as_deref().unwrap_or("unknown") == word)
    };
    let words = ["unknown", "degraded", "syncing", "complete"];
    let worst = words.into_iter().find(|word| has(word));
    worst.unwrap_or("unknown").to_owned()
}

fn remarks(group: &GroupReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(why) = &group.trouble {
        remarks.push(format!("the last way up failed: {why}"));
    }
    if group.demoted {
        remarks.push(
            "this node's CARP demotion is raised; 'hast-failover clear' lowers it".to_owned(),
        );
    }
    if group.pinned {
        remarks.push("CARP is not followed until 'hast-failover clear'".to_owned());
    }
    if let Some(seconds) = group.lease_seconds {
        remarks.push(match seconds {
            0 => "the lease has run out".to_owned(),
            seconds => format!("the lease runs for {seconds} more seconds"),
        });
    }
    if let Some(why) = &group.hastd {
        remarks.push(why.clone());
    }
    for resource in &group.resources {
        if let Some(reason) = &resource.reason {
            remarks.push(format!("{} ({}): {reason}", resource.name, resource.role));
        }
    }
    remarks
}

fn line(step: &Ended) -> String {
    let seconds = step.milliseconds as f64 / 1000.0;
    format!("{}: {} ({seconds:.1} s)", step.what, step.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_a_group_and_says_what_is_wrong() {
        let mut report = GroupReport {
            group: "storage".to_owned(),
            state: "backup".to_owned(),
            step: None,
            step_milliseconds: None,
            trouble: Some("import pool zhast: no".to_owned()),
            carp: Some("MASTER".to_owned()),
            pinned: false,
            demoted: true,
            lease_seconds: None,
            fresh_seconds: Some(3),
            hastd: None,
            resources: vec![ResourceReport {
                name: "disk1".to_owned(),
                role: "secondary".to_owned(),
                status: Some("degraded".to_owned()),
                connection: None,
                local: None,
                peer: None,
                reason: Some("no peer".to_owned()),
            }],
            steps: vec![Ended {
                what: "import pool zhast".to_owned(),
                done: false,
                outcome: "no".to_owned(),
                milliseconds: 1234,
                at: 0,
            }],
        };
        let expected = "Group    State   CARP    Peer      Step\n\
            storage  backup  MASTER  degraded  -\n\
            storage: the last way up failed: import pool zhast: no\n\
            storage: this node's CARP demotion is raised; 'hast-failover clear' lowers it\n\
            storage: disk1 (secondary): no peer\n\
            storage: import pool zhast: no (1.2 s)\n";
        assert_eq!(status(std::slice::from_ref(&report), false), expected);
        let first = Ended {
            what: "wait for hastd".to_owned(),
            done: true,
            outcome: "done".to_owned(),
            milliseconds: 0,
            at: 0,
        };
        report.steps.insert(0, first);
        let all = status(&[report], true);
        assert!(
            all.contains("storage: wait for hastd: done (0.0 s)\nstorage: import"),
            "{all}"
        );
    }
}
