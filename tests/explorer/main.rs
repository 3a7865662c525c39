//! The explorer.

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

use spaces::{Space, side_by_side};
use std::time::Duration;

#[test]
fn by_hand() {
    let Some(text) = std::env::var("HAST_SPACE").ok() else { return };
    let seconds = std::env::var("SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let spaces: Vec<&str> = text.split(';').map(str::trim).filter(|s| !s.is_empty()).collect();
    let reports = side_by_side(spaces.len(), |which| Space::new(spaces[which]).search(60_000_000, Duration::from_secs(seconds)));
    for (space, r) in spaces.iter().zip(reports) {
        println!("{space}: {} states, healed {}, depth {}, {:.1} s, {}", r.states, r.healed, r.depth, r.time.as_secs_f64(), if r.to_the_end { "END" } else { "cut" });
        if let Some(fault) = r.fault {
            println!("{:?} after {} steps\n{}", fault.wrong, fault.steps, fault.story);
        }
    }
}

#[test]
fn try_mutants() {
    let only = std::env::var("MUTANT").unwrap_or_default();
    let seconds = std::env::var("SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let list: Vec<_> = mutants::NOTICED.iter().filter(|m| format!("{:?}", m.0).contains(&only)).collect();
    let reports = side_by_side(list.len(), |which| {
        let (mutant, text, _) = *list[which];
        let mut space = Space::new(text);
        space.rules.mutant = Some(mutant);
        (space.search(60_000_000, Duration::from_secs(seconds)), "")
    });
    for (m, (r, _)) in list.iter().zip(reports) {
        match r.fault {
            Some(f) => {
                println!("{:?}: {:?} in {} states, {} steps, {:.1} s", m.0, f.wrong, r.states, f.steps, r.time.as_secs_f64());
                if !only.is_empty() { println!("{}", f.story); }
            }
            None => println!("{:?}: NOT NOTICED {} states depth {} {}", m.0, r.states, r.depth, r.to_the_end),
        }
    }
}
