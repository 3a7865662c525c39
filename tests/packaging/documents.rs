//! docs/failover.md: what it says that programs say, they say; and what it points at is there.

use std::path::Path;

use crate::manual::sources;
use crate::{read, root};

const DOCUMENT: &str = "docs/failover.md";

/// The texts between a mark and the next.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let pieces = text.split(open).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(close)?.0))
        .collect()
}

/// As a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let text = read(DOCUMENT);
    let anchors: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    let links = between(&text, "](", ")");
    assert!(links.len() > 10);
    for link in links {
        match link.strip_prefix('#') {
            Some(own) => assert!(anchors.contains(&own.to_owned()), "{link}: {anchors:?}"),
            None => assert!(root().join("docs").join(link).exists(), "{link}"),
        }
    }
}

/// In the first column of the last table; `...` stands for what varies.
#[test]
fn refusals_are_those_of_the_code() {
    let text = read(DOCUMENT);
    let sources = sources();
    let (_, table) = text.split_once("## When it says no").expect("a section");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() >= 6);
    for row in rows {
        let said = between(row, "| `", "`")[0];
        for piece in said.split("...") {
            let piece = piece.trim_matches([' ', ':']);
            assert!(sources.contains(piece), "{piece:?}");
        }
    }
}

/// Every failure of the overview has a section of its own, and says how it can be tried.
#[test]
fn every_failure_can_be_tried() {
    let text = read(DOCUMENT);
    let (_, failures) = text
        .split_once("## Every failure of the thread")
        .expect("a section");
    let (failures, _) = failures.split_once("\n## ").expect("another section");
    for section in failures.split("\n### ").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        // It is not a failure of its own, but what should not come of one.
        let tried = section.contains("*Try it:*") || heading.starts_with("A damaged pool");
        assert!(tried, "{heading}");
        let link = format!("(#{})", anchor(heading));
        assert!(failures.contains(&link), "{heading} is not in the overview");
    }
    assert!(
        Path::new(root())
            .join("examples/failover/article.toml")
            .exists()
    );
}
