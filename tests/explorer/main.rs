//! The explorer: plays every order of events between two nodes, breadth first, with the functions of
//! the product that decide who has what (`engine::meeting`, `engine::points`, `layout::Record`).
//!
//! | file | what |
//! | --- | --- |
//! | `world` | two nodes with their disks and records, one connection, what a judge remembers |
//! | `rules` | the steps that can follow a state |
//! | `events` | what people, machines and fate do |
//! | `meetings`, `points`, `requests` | the order in which the engine stores, sends and acknowledges |
//! | `product` | the product's functions, on small records |
//! | `judge` | what was promised, and whether it is kept |
//! | `heal` | mends everything: do the two come to rest? |
//! | `naming`, `search` | when two states are the same; the search |
//! | `spaces` | where a history begins, and what may happen in it |
//! | `mutants` | conditions that can be dropped, to see that it is noticed |
//!
//! Two nodes, two extents of a block each, one or two requests at once. What the engine does around the
//! pure functions is written down here once more, small; where the two differ, one of them is wrong.
//! Not here: base peers and their counters, pages that a failed flush drops, several blocks to an extent.
//! A torn record is the old or the new one (the slots' checksums see to that): as a cut before or after
//! the write, or as a write that failed and left either.
//!
//! `make explore EXPLORE_SECONDS=600` goes deeper; `HAST_SPACE='...' make explore` plays one space
//! (`spaces`), with the states on the way if HAST_TRACE is set.

mod events;
mod heal;
mod judge;
mod meetings;
mod mutants;
mod naming;
mod points;
mod product;
mod requests;
mod rules;
mod search;
mod spaces;
mod world;

use std::io::Write as _;
use std::time::Duration;

use mutants::{NOTICED, UNNOTICED};
use search::Report;
use spaces::{DEEP, ORDINARY, Space, side_by_side};

/// No space of an ordinary run takes as long, but on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(5);
/// A mutant that is listed as unnoticed is played as far as this.
const UNNOTICED_STATES: usize = 20_000;

/// To whoever runs the tests, also where they pass.
fn say(text: &str) {
    // Where nobody listens nothing is lost.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn figures(report: &Report) -> String {
    format!(
        "{:>9} states, depth {:>2}, {:>7} healed, {:>5.1} s, {}",
        report.states,
        report.depth,
        report.healed,
        report.time.as_secs_f64(),
        match (&report.fault, report.to_the_end) {
            (Some(_), _) => "FAULT",
            (None, true) => "to the end",
            (None, false) => "cut off",
        }
    )
}

/// Searches spaces, says how far, and fails with the first history that breaks a rule.
fn play(spaces: &[(&str, usize)], time: Duration) {
    let reports = side_by_side(spaces.len(), |which| {
        let (text, states) = spaces[which];
        let report = Space::new(text).search(states, time);
        say(&format!("explorer: {}: {text}", figures(&report)));
        report
    });
    for ((text, _), report) in spaces.iter().zip(reports) {
        if let Some(fault) = report.fault {
            panic!(
                "{text}\n{:?} after {} steps\n{}",
                fault.wrong, fault.steps, fault.story
            );
        }
    }
}

#[test]
fn the_rules_hold_in_every_space() {
    play(ORDINARY, PATIENCE);
}

/// A mutant may be found somewhat later than when its number of states was measured.
const ROOM: usize = 8;

#[test]
fn each_dropped_condition_is_noticed() {
    let reports = side_by_side(NOTICED.len(), |which| {
        let (mutant, text, states) = NOTICED[which];
        Space::new(text)
            .without(mutant)
            .search(states * ROOM, PATIENCE)
    });
    let mut missed = vec![];
    for ((mutant, text, _), report) in NOTICED.iter().zip(reports) {
        match report.fault {
            Some(fault) => say(&format!(
                "explorer: without {mutant:?}: {:?} after {} states, {} steps",
                fault.wrong, report.states, fault.steps
            )),
            None => missed.push(format!("{mutant:?}: {}: {text}", figures(&report))),
        }
    }
    assert!(missed.is_empty(), "not noticed:\n{}", missed.join("\n"));
}

#[test]
fn what_is_listed_as_unnoticed_is() {
    for (mutant, why, text) in UNNOTICED {
        let report = Space::new(text)
            .without(*mutant)
            .search(UNNOTICED_STATES, PATIENCE);
        if let Some(fault) = report.fault {
            panic!("{mutant:?} ({why}): {:?}\n{}", fault.wrong, fault.story);
        }
    }
}

/// The history that a dropped condition leads to: `HAST_MUTANT=LeadWithOwn make explore`.
#[test]
fn a_mutant_by_name() {
    let Ok(name) = std::env::var("HAST_MUTANT") else {
        return;
    };
    for (mutant, text, states) in NOTICED.iter().filter(|row| format!("{:?}", row.0) == name) {
        let report = Space::new(text).without(*mutant).search(*states, PATIENCE);
        if let Some(fault) = report.fault {
            say(&format!("{name}: {:?}\n{}", fault.wrong, fault.story));
        }
    }
}

/// Nothing unless asked for: see the head.
#[test]
fn long_run() {
    let Some(seconds) = std::env::var("HAST_EXPLORE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
    else {
        return;
    };
    let time = Duration::from_secs(seconds);
    if let Ok(text) = std::env::var("HAST_SPACE") {
        play(&[(&text, usize::MAX)], time);
    } else {
        let spaces: Vec<(&str, usize)> = DEEP.iter().map(|text| (*text, usize::MAX)).collect();
        play(&spaces, time * 2 / spaces.len() as u32);
    }
}
