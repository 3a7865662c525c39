//! Bounded spaces: where a history begins and what may happen in it.
//!
//! Written as words, so that a table of them reads as what it is, and that one can be asked for by hand:
//! `HAST_SPACE='events 4 writes 2 flushes 1 promote 2 cut 1' make explore`. `events` bounds all that
//! fate and people do together; what a consumer asks for comes on top of it.

use std::time::Duration;

use crate::mutants::Mutant;
use crate::rules::{Mode, Rules};
use crate::search::{Limits, Report, explore};
use crate::world::{ALL, Budget, Event, Node, Promise, Rec, Spot, World};

/// Played with the other tests, each until so many states: most of them to their end.
pub const ORDINARY: &[(&str, usize)] = &[
    (
        "events 4 writes 1 flushes 1 promote 2 disconnect 1 cut 1",
        2_000_000,
    ),
    (
        "events 4 writes 2 flushes 1 promote 2 disconnect 1 cut 1",
        300_000,
    ),
    (
        "events 3 writes 2 flushes 1 promote 1 disconnect 1 cut 1 two-at-once",
        500_000,
    ),
    ("events 4 writes 1 flushes 1 promote 2 cut 2", 1_000_000),
    (
        "events 4 writes 1 flushes 1 promote 2 disconnect 2",
        1_000_000,
    ),
    (
        "events 5 writes 1 promote 2 image 1 put-back 1 cut 1 heal-each",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 write-error 1 disconnect 1",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 write-error 1 cut 1",
        1_000_000,
    ),
    (
        "events 3 writes 2 flushes 1 promote 1 write-error 2 two-at-once",
        500_000,
    ),
    (
        "events 4 writes 2 promote 1 write-error 2 disconnect 1 two-at-once",
        400_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 flush-error 1 cut 1",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 2 promote 1 flush-error 1 cut 1 two-at-once",
        400_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 slot-error 1 cut 1",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 slot-error 1 disconnect 1",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 metadata-dies 1 cut 1",
        1_000_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 data-dies 1 cut 1",
        1_000_000,
    ),
    (
        "events 4 writes 2 flushes 1 promote 1 kill-primary 1 write-error 1 disconnect 1",
        300_000,
    ),
    (
        "events 4 writes 2 promote 2 kill-secondary 1 cut 1 memsync",
        1_000_000,
    ),
    (
        "events 4 writes 2 flushes 1 promote 2 disconnect 1 cut 1 memsync two-at-once",
        300_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 disconnect 1 cut 1 async",
        1_000_000,
    ),
    (
        "events 4 writes 2 flushes 1 promote 2 disconnect 1 cut 1 async two-at-once",
        300_000,
    ),
    (
        "events 4 writes 1 flushes 1 promote 2 disconnect 1 permit 1",
        1_000_000,
    ),
    (
        "events 5 writes 1 promote 2 disconnect 1 force 1 discard 1",
        1_000_000,
    ),
    (
        "joining events 3 writes 1 flushes 1 promote 2 force 1 disconnect 1 cut 1",
        400_000,
    ),
    (
        "virgin events 3 writes 1 flushes 1 promote 2 disconnect 1 cut 1",
        400_000,
    ),
    (
        "leaning events 3 writes 1 flushes 1 promote 2 cut 1 disconnect 1",
        500_000,
    ),
    (
        "leaning events 3 writes 1 flushes 1 write-error 1 kill-primary 1 disconnect 1",
        1_000_000,
    ),
    (
        "leaning events 3 writes 1 kill-primary 1 cut 1 disconnect 1",
        1_000_000,
    ),
    (
        "leaning events 2 writes 1 flushes 1 write-error 1 permit 1",
        500_000,
    ),
    (
        "leaning events 2 writes 2 flushes 1 write-error 1 cut 1 two-at-once",
        300_000,
    ),
];

/// Played by `make explore`, as long as it is given.
pub const DEEP: &[&str] = &[
    "events 4 writes 2 flushes 1 promote 2 disconnect 1 cut 2",
    "events 5 writes 2 flushes 1 promote 2 write-error 1 cut 1 disconnect 1",
    "events 5 writes 2 flushes 1 promote 2 write-error 2 cut 1 two-at-once",
    "events 5 writes 2 flushes 1 promote 2 image 1 put-back 1 cut 1",
    "events 5 writes 2 flushes 1 promote 2 flush-error 1 cut 1 two-at-once",
    "events 5 writes 2 flushes 1 promote 2 slot-error 1 cut 1 disconnect 1",
    "events 5 writes 2 flushes 1 promote 2 kill-primary 1 disconnect 1 write-error 1",
    "events 5 writes 2 flushes 1 promote 2 permit 1 disconnect 1 cut 1",
    "events 5 writes 2 flushes 1 promote 2 metadata-dies 1 cut 1 disconnect 1",
    "events 5 writes 2 flushes 1 promote 2 data-dies 1 cut 1 disconnect 1",
    "events 5 writes 2 flushes 1 promote 2 kill-secondary 1 disconnect 1 cut 1 memsync two-at-once",
    "events 5 writes 2 flushes 1 promote 2 disconnect 1 cut 1 async two-at-once",
    "events 5 writes 2 flushes 1 promote 2 force 1 discard 1 disconnect 1",
    "joining events 4 writes 2 flushes 1 promote 2 force 1 disconnect 1 cut 1",
    "leaning events 4 writes 2 flushes 1 promote 2 cut 1 disconnect 1 kill-primary 1 write-error 1",
    "leaning events 4 writes 2 flushes 1 promote 2 cut 1 permit 1 write-error 1 two-at-once",
];

/// A space, ready to be searched.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub rules: Rules,
    pub first: World,
    /// See `Limits::healed`.
    pub healed: Option<u64>,
}

impl Space {
    /// Reads one, as `events 4 writes 2 promote 2 cut 1 memsync`.
    pub fn new(text: &str) -> Self {
        let mut space = Self {
            rules: Rules {
                parallel: 1,
                ..Rules::default()
            },
            first: used(),
            healed: Some(7),
        };
        let mut budget = Budget::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "memsync" => space.rules.mode = Mode::Memsync,
                "async" => space.rules.mode = Mode::Async,
                "two-at-once" => space.rules.parallel = 2,
                "joining" => space.first = joining(),
                "virgin" => space.first = virgin(),
                "leaning" => space.first = leaning(),
                "heal-each" => space.healed = Some(0),
                "heal-none" => space.healed = None,
                _ => {
                    let times = words.next().and_then(|number| number.parse().ok());
                    let times = times.unwrap_or_else(|| panic!("how often '{word}'?"));
                    match word {
                        "events" => budget.total = times,
                        "writes" => budget.writes = times,
                        "flushes" => budget.flushes = times,
                        _ => budget = budget.with(event(word), times),
                    }
                }
            }
        }
        space.first.budget = budget;
        space
    }

    pub fn without(mut self, mutant: Mutant) -> Self {
        self.rules.mutant = Some(mutant);
        self
    }

    pub fn search(&self, states: usize, time: Duration) -> Report {
        let limits = Limits {
            states,
            time,
            healed: self.healed,
        };
        explore(&self.rules, &self.first, limits)
    }
}

fn event(word: &str) -> Event {
    match word {
        "promote" => Event::Promote,
        "force" => Event::Force,
        "cut" => Event::Cut,
        "disconnect" => Event::Disconnect,
        "kill-primary" => Event::KillPrimary,
        "kill-secondary" => Event::KillSecondary,
        "write-error" => Event::WriteError,
        "flush-error" => Event::FlushError,
        "slot-error" => Event::SlotError,
        "metadata-dies" => Event::MetadataDies,
        "data-dies" => Event::DataDies,
        "image" => Event::Image,
        "put-back" => Event::PutBack,
        "permit" => Event::Permit,
        "discard" => Event::Discard,
        _ => panic!("no event '{word}'"),
    }
}

fn two(recs: [Rec; 2]) -> World {
    let mut world = World::default();
    for (node, rec) in world.nodes.iter_mut().zip(recs) {
        *node = Node {
            up: true,
            permit: true,
            ..Node::default()
        };
        node.disk.rec = rec;
    }
    world
}

/// Both have been together, and are the same.
fn used() -> World {
    let at = Spot {
        generation: 1,
        number: 1,
    };
    let rec = Rec {
        used: true,
        at,
        ..Rec::default()
    };
    two([rec, rec])
}

/// Both were just created.
fn virgin() -> World {
    two([Rec::default(); 2])
}

/// One was used alone; the other is new.
fn joining() -> World {
    let alone = Rec {
        used: true,
        own: 1,
        ..Rec::default()
    };
    let mut world = two([alone, Rec::default()]);
    world.writes = 1;
    world.over[1] = 1;
    let node = &mut world.nodes[0];
    node.disk.cache = [1, 0];
    node.disk.medium = [1, 0];
    node.disk.map = 1;
    node.promise = Promise {
        held: [1, 0],
        flushed: [1, 0],
        alone: true,
        alone_flushed: true,
        tried: true,
        ..Promise::default()
    };
    world
}

/// A primary whose disk failed a write that the other has, and that lost its connection since.
fn leaning() -> World {
    let mut world = used();
    world.writes = 1;
    world.over[1] = 1;
    world.faulty = true;
    for node in &mut world.nodes {
        node.promise.held = [1, 0];
    }
    world.nodes[1].disk.cache = [1, 0];
    world.nodes[1].disk.medium = [1, 0];
    let node = &mut world.nodes[0];
    node.disk.rec.lacks = true;
    node.disk.map = 1;
    node.stale = 1;
    node.uncovered = ALL;
    node.primary = true;
    node.open = true;
    node.leans = true;
    node.seen = [1 << 1, 1];
    world
}

/// Several at once, a thread each; what comes back is in the order of the spaces.
pub fn side_by_side<T: Send>(count: usize, play: impl Fn(usize) -> T + Sync) -> Vec<T> {
    const THREADS: usize = 2;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let which = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if which >= count {
                        break;
                    }
                    let played = play(which);
                    found.lock().expect("no thread died").push((which, played));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread died");
    found.sort_by_key(|(which, _)| *which);
    found.into_iter().map(|(_, played)| played).collect()
}
