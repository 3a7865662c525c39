//! The simulator: two engines on simulated disks and a simulated network, everything from one seed,
//! checked at every step against the rules at the head of `oracle`.
//!
//! `HAST_SEED=n cargo test --test simulation replay` repeats a run, with its trace if HAST_TRACE=1 is set;
//! `HAST_SEEDS=n cargo test --release --test simulation -- --nocapture long_run` plays n runs, from
//! HAST_FIRST_SEED on. HAST_PROFILE=gentle, disks, images, roles or all chooses what is let loose (all);
//! HAST_PENDING=1 plays and judges also what the engine does not stand yet (see `profile`);
//! HAST_OVERLOOK=Served,Changed leaves rules out, HAST_WITHOUT=torn,given-up calamities.

mod actions;
mod adversary;
mod bonds;
mod consumer;
mod dialect;
mod disk;
mod fate;
mod faults;
mod images;
mod links;
mod network;
mod node;
mod operators;
mod oracle;
mod primary;
mod profile;
mod record;
mod sabotage;
mod secondary;
mod view;
mod watch;
mod workload;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use oracle::{Checked, Rule, Violation};
use sabotage::Sabotage;
use world::{Played, World};

/// Runs of an ordinary test: a third in each mode.
const ORDINARY_RUNS: u64 = 2_100;
/// A sabotage is to be noticed within so many runs.
const SABOTAGED_RUNS: u64 = 2_000;
/// How much of a trace is shown with a violation.
const TRACE_LINES: usize = 200;
/// Runs played at the same time.
const THREADS: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn is_tracing() -> bool {
    std::env::var_os("HAST_TRACE").is_some_and(|value| value == "1")
}

fn play(seed: u64, sabotage: Option<Sabotage>) -> Played {
    World::new(seed, sabotage, false).run()
}

/// Plays a run again for its trace.
fn trace(seed: u64, sabotage: Option<Sabotage>) -> String {
    let lines = World::new(seed, sabotage, true).run().trace;
    let skipped = if is_tracing() {
        0
    } else {
        lines.len().saturating_sub(TRACE_LINES)
    };
    lines[skipped..].join("\n")
}

fn explain(seed: u64, violation: &Violation) -> String {
    let mode = hast::terms::Replication::ALL[(seed % 3) as usize];
    format!(
        "{}\nseed {seed} ({mode}): {:?}: {}\nreplay with HAST_SEED={seed} cargo test --test simulation replay",
        trace(seed, None),
        violation.rule,
        violation.what
    )
}

/// What many runs came to.
#[derive(Debug, Default)]
struct Found {
    /// Those that ended in a violation, by seed.
    violations: Vec<(u64, Violation)>,
    /// What was looked at in all of them.
    checked: Checked,
    /// Those that looked at nothing.
    idle: u64,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.violations.extend(other.violations);
        self.checked.add(other.checked);
        self.idle += other.idle;
    }
}

/// Plays runs: all of them, or with a sabotage until one ends in a violation.
fn search(seeds: std::ops::Range<u64>, sabotage: Option<Sabotage>) -> Found {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        let mut found = Found::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return found;
            }
            let played = play(seed, sabotage);
            found.checked.add(played.checked);
            found.idle += u64::from(played.checked.is_nothing());
            if let Some(violation) = played.violation {
                found.violations.push((seed, violation));
                if sabotage.is_some() {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    let mut found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        let mut all = Found::default();
        for thread in threads {
            all.add(thread.join().expect("a run panicked"));
        }
        all
    });
    found.violations.sort_by_key(|(seed, _)| *seed);
    found
}

#[test]
fn long_run() {
    let runs = number("HAST_SEEDS").unwrap_or(ORDINARY_RUNS);
    let first = number("HAST_FIRST_SEED").unwrap_or(0);
    let begin = Instant::now();
    let Found {
        violations: found,
        checked,
        idle,
    } = search(first..first + runs, None);
    for (seed, violation) in found.iter().skip(1) {
        println!("seed {seed}: {:?}: {}", violation.rule, violation.what);
    }
    println!(
        "{:?}: {} reads, {} promotions, {} meetings, {} flushes, {} sectors looked at; {idle} of {runs} runs looked \
         at nothing",
        profile::wanted().0,
        checked.reads,
        checked.promotions,
        checked.meetings,
        checked.flushes,
        checked.sectors,
    );
    if let Some((seed, violation)) = found.first() {
        panic!(
            "{}\n{} of {runs} runs end in a violation",
            explain(*seed, violation),
            found.len()
        );
    }
    println!(
        "{runs} runs without a violation in {:.1} s",
        begin.elapsed().as_secs_f64()
    );
}

#[test]
fn replay() {
    let seed = number("HAST_SEED").unwrap_or(1);
    let [first, second] = [(); 2].map(|()| World::new(seed, None, true).run().trace);
    assert!(first == second, "seed {seed} does not repeat");
    assert!(!first.is_empty(), "a run leaves a trace");
    if let Some(violation) = play(seed, None).violation {
        panic!("{}", explain(seed, &violation));
    }
    if is_tracing() {
        println!("{}", first.join("\n"));
    }
}

/// Shows that a fault is noticed, and as what.
fn is_noticed(sabotage: Sabotage, rules: &[Rule]) {
    let found = search(0..SABOTAGED_RUNS, Some(sabotage));
    let Some((seed, violation)) = found.violations.into_iter().next() else {
        panic!("{sabotage:?} went unnoticed in {SABOTAGED_RUNS} runs");
    };
    if is_tracing() {
        println!("{}", trace(seed, Some(sabotage)));
    }
    println!("{sabotage:?}: seed {seed}: {violation:?}");
    assert!(
        rules.contains(&violation.rule),
        "{sabotage:?} was taken for {violation:?}"
    );
}

macro_rules! noticed {
    ($($name:ident: $sabotage:ident => $($rule:ident)|+;)+) => {
        $(#[test] fn $name() { is_noticed(Sabotage::$sabotage, &[$(Rule::$rule),+]); })+
    };
}

noticed! {
    a_map_write_skipped: SkipMapWrite => Unmarked;
    a_map_flush_skipped: SkipMapFlush => Unmarked;
    a_metadata_flush_skipped: SkipMetadataFlush => SplitBrain | Lost | Stuck | Refused | UpToDate | Changed | Cleared;
    a_mark_cleared_early: ClearMarkEarly => Cleared | Unmarked;
    a_generation_not_begun: ForgetOwn => SplitBrain | Lost | Stuck | UpToDate | Changed | Cleared;
    a_counter_not_raised: ForgetLocalcnt => SplitBrain | Lost | Stuck | UpToDate | Changed | Cleared;
    an_answer_before_the_second_copy: AcknowledgeBeforePeer => Lost | Alone | UpToDate | Cleared | Read | SplitBrain | Changed;
    an_answer_before_any_copy: AcknowledgeAtOnce => Lost | Read | UpToDate | Alone | Changed | Cleared | SplitBrain;
    a_flush_that_does_nothing: FlushNothing => Lost | Cleared | UpToDate | Read | SplitBrain | Changed | Alone;
    a_reply_lost: LoseFirstReply => Stuck;
    an_inconsistent_mark_dropped: DropInconsistentMark => Lost | UpToDate | Cleared | Read | SplitBrain | Changed | Alone;
    an_inconsistent_mark_overlooked: PromoteInconsistent => UpToDate;
    a_flush_that_overtakes_writes: FlushOvertakes => Lost | Cleared | Read | UpToDate | SplitBrain | Changed | Alone;
    a_map_of_yesterday: SendOldMap => Lost | UpToDate | Cleared | Read | SplitBrain | Changed | Alone;
    a_copy_that_overtakes_a_write: StalePiece => UpToDate | Lost | Cleared | Read | SplitBrain | Changed | Alone;
    a_failure_of_the_peer_overlooked: TrustFailedReply => UpToDate | Lost | Cleared | Read | SplitBrain | Changed | Alone;
    a_failure_of_the_disk_overlooked: TrustFailedDisk => UpToDate | Lost | Cleared | Read | SplitBrain | Changed | Alone;
    a_window_ignored: WideWindow => Bound;
    a_mark_that_stays: KeepInconsistentMark => Refused | Stuck;
    a_split_brain_ignored: IgnoreSplitBrain => SplitBrain;
    a_permit_ignored: IgnorePermit => Alone;
    a_source_ignored: IgnoreSource => Read | UpToDate | Lost | SplitBrain | Cleared | Changed | Alone;
}
