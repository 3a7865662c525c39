//! A model of two nodes with their agents' supervisors, hastds, CARP, fencing, a witness, networks that fail
//! and machines that die, everything from one seed: two nodes never serve the same pool unless the policy
//! named that risk, no acknowledged write is left behind, and what can be healed heals.
//!
//! `HAST_SEED=n HAST_TRACE=1 cargo test --test failover replay -- --nocapture` shows a run;
//! `HAST_SEEDS=n` sets how many are played.

mod every;
mod machine;
mod profile;
mod rules;
mod steps;
mod superseded;
mod witness;
mod world;

use profile::Sabotage;
use world::World;

/// Runs of an ordinary test.
const RUNS: u64 = 1_500;
/// A sabotage is to be noticed within so many.
const SABOTAGED_RUNS: u64 = 1_500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn play(seed: u64, sabotage: Option<Sabotage>) -> Option<String> {
    World::new(seed, sabotage).run().violation
}

fn explain(seed: u64, violation: &str) -> String {
    let lines = World::new(seed, None).run().trace;
    let from = lines.len().saturating_sub(150);
    format!(
        "{}\nseed {seed}: {violation}\nreplay with HAST_SEED={seed} cargo test --test failover replay",
        lines[from..].join("\n")
    )
}

#[test]
fn no_run_breaks_a_rule() {
    let runs = number("HAST_SEEDS").unwrap_or(RUNS);
    let found: Vec<_> = (0..runs)
        .filter_map(|seed| Some((seed, play(seed, None)?)))
        .collect();
    if let Some((seed, violation)) = found.first() {
        for (seed, violation) in &found[1..] {
            println!("seed {seed}: {violation}");
        }
        let (count, first) = (found.len(), explain(*seed, violation));
        panic!("{first}\n{count} of {runs} runs break a rule");
    }
}

#[test]
fn replay() {
    let seed = number("HAST_SEED").unwrap_or(1);
    let [first, second] = [(); 2].map(|()| World::new(seed, None).run());
    assert!(first.trace == second.trace, "seed {seed} does not repeat");
    assert!(!first.trace.is_empty(), "a run leaves a trace");
    if std::env::var_os("HAST_TRACE").is_some() {
        println!("{}", first.trace.join("\n"));
    }
    assert_eq!(first.violation, None, "seed {seed}");
}

/// The model would be worth nothing if much of it never happened.
#[test]
fn runs_go_through_what_they_are_for() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..600 {
        for (what, count) in World::new(seed, None).run().counts {
            *seen.entry(what).or_insert(0_u64) += count;
        }
    }
    for what in [
        "master",
        "import",
        "import by force",
        "fenced",
        "lease",
        "claimed",
        "refused",
        "held",
        "switchover",
        "rolled back",
        "agent restarted",
        "power lost",
        "undone",
        "forced down",
        "reboot",
        "fail-back",
    ] {
        assert!(
            seen.get(what).is_some_and(|count| *count >= 5),
            "{what} in {seen:?}"
        );
    }
}

fn is_noticed(sabotage: Sabotage) {
    let found = (0..SABOTAGED_RUNS).find_map(|seed| Some((seed, play(seed, Some(sabotage))?)));
    let Some((seed, violation)) = found else {
        panic!("{sabotage:?} went unnoticed in {SABOTAGED_RUNS} runs");
    };
    println!("{sabotage:?}: seed {seed}: {violation}");
}

macro_rules! noticed {
    ($($name:ident: $sabotage:ident;)+) => {
        $(#[test] fn $name() { is_noticed(Sabotage::$sabotage); })+
    };
}

noticed! {
    a_peer_that_is_not_asked: PeerNotAsked;
    a_claim_that_is_not_heeded: ClaimIgnored;
    a_lease_given_to_both: LeaseForAll;
    a_permit_that_never_ends: PermitForEver;
    a_witness_that_forgets_who_is_current: AloneForgotten;
    a_fence_that_lies: FenceLies;
    a_stale_copy_taken_for_fresh: StaleIsFresh;
    an_export_that_is_skipped: ExportSkipped;
}
