//! Random and mutated text: refused or read, never a panic.

use crate::target::configuration;

const ROUNDS: u64 = 4000;
const SAMPLES: [&str; 3] = [
    include_str!("full.conf"),
    include_str!("full.toml"),
    include_str!("failover.toml"),
];
const PIECES: &[&str] = &[
    "{",
    "}",
    "\"",
    "\\",
    "#",
    "\n",
    " ",
    "on",
    "resource",
    "listen",
    "provider nbd",
    "none",
    "[",
    "]",
    "=",
    "://",
    ":",
    "99999999999999999999",
    "\u{e9}",
    "\0",
    "all",
    "tcp6://[",
    "%",
    "k",
    "[group.x",
    "resources",
    "'disk1'",
    "@",
    "{ resource = ",
    "-1",
];

/// One sample with a few pieces cut out, doubled or put in.
fn mutated(random: &mut fastrand::Rng) -> String {
    let mut text: Vec<char> = random.choice(SAMPLES).unwrap().chars().collect();
    for _ in 0..random.usize(1..6) {
        let start = random.usize(0..=text.len());
        let end = text.len().min(start + random.usize(0..40));
        match random.u8(0..3) {
            0 => drop(text.drain(start..end)),
            1 => {
                let copy = text[start..end].to_vec();
                let at = random.usize(0..=text.len());
                text.splice(at..at, copy);
            }
            _ => drop(text.splice(start..start, random.choice(PIECES).unwrap().chars())),
        }
    }
    text.into_iter().collect()
}

/// Nothing but pieces.
fn random_text(random: &mut fastrand::Rng) -> String {
    (0..random.usize(0..60))
        .map(|_| *random.choice(PIECES).unwrap())
        .collect()
}

#[test]
fn no_text_makes_the_parsers_panic() {
    let mut refused = 0;
    for seed in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(seed);
        for text in [mutated(&mut random), random_text(&mut random)] {
            refused += configuration(&text);
        }
    }
    assert!(
        refused > 6 * ROUNDS,
        "mutations that no parser minds test nothing"
    );
}
