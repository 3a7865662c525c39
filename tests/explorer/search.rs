//! The search: breadth first, so that the first history found is one of the shortest.
//!
//! A state is known by 64 bits of it; of some millions two are then taken for one with a chance of one in
//! a million, and that can only hide a state, never invent a fault.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use crate::heal::heal;
use crate::naming::fingerprint;
use crate::rules::{Label, Rules, successors};
use crate::world::{Kind, Node, World, Wrong};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub states: usize,
    pub time: Duration,
    /// Heals each state whose fingerprint has none of these bits; none: none.
    pub healed: Option<u64>,
}

/// A history that ends where something is wrong.
#[derive(Debug)]
pub struct Fault {
    pub wrong: Wrong,
    pub steps: usize,
    pub story: String,
}

#[derive(Debug)]
pub struct Report {
    pub states: usize,
    pub healed: usize,
    pub depth: usize,
    pub time: Duration,
    /// Every state was seen.
    pub to_the_end: bool,
    pub fault: Option<Fault>,
}

/// A fingerprint is a hash already.
#[derive(Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

struct Search<'a> {
    rules: &'a Rules,
    limits: Limits,
    began: Instant,
    seen: HashSet<u64, BuildHasherDefault<Already>>,
    /// For each state, the one before it and which of its successors it was.
    origins: Vec<(u32, u16)>,
    healed: usize,
}

/// Explores from `first`.
pub fn explore(rules: &Rules, first: &World, limits: Limits) -> Report {
    let mut search = Search {
        rules,
        limits,
        began: Instant::now(),
        seen: HashSet::default(),
        origins: vec![(0, 0)],
        healed: 0,
    };
    search.seen.insert(fingerprint(first));
    let (mut frontier, mut depth, mut fault) = (vec![(0, *first)], 0, None);
    let mut to_the_end = true;
    while !frontier.is_empty() && fault.is_none() {
        let mut next = vec![];
        match search.layer(&frontier, &mut next) {
            Outcome::Done => {}
            Outcome::CutOff => {
                to_the_end = false;
                break;
            }
            Outcome::Fault(state, wrong) => fault = Some((state, wrong)),
        }
        depth += 1;
        frontier = next;
    }
    Report {
        states: search.origins.len(),
        healed: search.healed,
        depth,
        time: search.began.elapsed(),
        to_the_end: to_the_end && fault.is_none(),
        fault: fault.map(|(state, wrong)| Fault {
            wrong,
            steps: depth,
            story: search.story(first, state),
        }),
    }
}

enum Outcome {
    Done,
    CutOff,
    Fault(u32, Wrong),
}

impl Search<'_> {
    fn layer(&mut self, frontier: &[(u32, World)], next: &mut Vec<(u32, World)>) -> Outcome {
        let mut list = vec![];
        for (state, world) in frontier {
            list.clear();
            successors(self.rules, world, true, &mut list);
            for (which, (_, after)) in list.iter().enumerate() {
                let print = fingerprint(after);
                if !self.seen.insert(print) {
                    continue;
                }
                let id = self.origins.len() as u32;
                self.origins.push((*state, which as u16));
                if let Some(wrong) = after.wrong.or_else(|| self.heals(after, print)) {
                    return Outcome::Fault(id, wrong);
                }
                next.push((id, *after));
            }
            let late = self.origins.len() >= self.limits.states;
            if late || self.began.elapsed() > self.limits.time {
                return Outcome::CutOff;
            }
        }
        Outcome::Done
    }

    fn heals(&mut self, world: &World, print: u64) -> Option<Wrong> {
        if self.limits.healed.is_none_or(|mask| print & mask != 0) {
            return None;
        }
        self.healed += 1;
        heal(self.rules, world).map(|ill| ill.wrong)
    }

    /// The history that led to a state, for people.
    fn story(&self, first: &World, state: u32) -> String {
        let mut turns = vec![];
        let mut at = state;
        while at != 0 {
            let (before, which) = self.origins[at as usize];
            turns.push(which);
            at = before;
        }
        let mut text = String::new();
        let mut world = *first;
        for which in turns.iter().rev() {
            let mut list = vec![];
            successors(self.rules, &world, true, &mut list);
            let (label, after) = list[*which as usize];
            world = after;
            tell(&mut text, label, &world);
        }
        text += &show(&world);
        if world.wrong.is_none()
            && let Some(ill) = heal(self.rules, &world)
        {
            let steps: Vec<String> = ill.steps.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "  healing: {}\n{}",
                steps.join("; "),
                show(&ill.world)
            );
        }
        text
    }
}

fn tell(text: &mut String, label: Label, world: &World) {
    let _ = writeln!(text, "  {label}");
    if std::env::var_os("HAST_TRACE").is_some() {
        *text += &show(world);
    }
}

/// A state, for people.
pub fn show(world: &World) -> String {
    let link = &world.link;
    let mut text = String::new();
    for (name, node) in ["A", "B"].into_iter().zip(&world.nodes) {
        text += &show_node(name, node);
    }
    let _ = writeln!(
        text,
        "      link {:?} of {} source {} every {} lean {} point {:?} making {:?} full {} leads {} since {:02b} cover {:02b} failed {} reached {}",
        link.phase,
        if link.primary == 0 { "A" } else { "B" },
        if link.secondary_is_source {
            "secondary"
        } else {
            "primary"
        },
        link.everything,
        link.lean,
        (link.point.generation, link.point.number),
        link.making,
        link.full,
        link.leads,
        link.since,
        link.cover,
        link.failed,
        link.reached
    );
    text
}

fn show_node(name: &str, node: &Node) -> String {
    let words = [
        (node.up, "up"),
        (!node.up, "DOWN"),
        (node.primary, "primary"),
        (node.open, "open"),
        (node.superseded, "superseded"),
        (!node.permit, "no permit"),
        (node.meta_dead, "metadata dead"),
        (node.data_dead, "data dead"),
        (node.unsure, "unsure"),
        (node.fresh, "fresh"),
        (node.leans, "leans"),
        (node.leads, "leads"),
    ];
    let words: Vec<&str> = words
        .into_iter()
        .filter(|word| word.0)
        .map(|word| word.1)
        .collect();
    let rec = node.record();
    let mut text = format!(
        "      {name} {}: cache {:?} medium {:?} map {:02b} | at {}.{} next {}.{}{} own {} lacks {} past {:?} | stale {:02b} behind {:02b} uncovered {:02b} received {:?} seen {:?}\n        promise {:?}\n",
        words.join(" "),
        node.disk.cache,
        node.disk.medium,
        node.disk.map,
        rec.at.generation,
        rec.at.number,
        rec.next.generation,
        rec.next.number,
        if rec.full { " full" } else { "" },
        rec.own,
        rec.lacks,
        rec.past.map(|mark| (mark.generation, mark.number)),
        node.stale,
        node.behind,
        node.uncovered,
        node.received,
        node.seen,
        node.promise
    );
    for request in node
        .requests
        .iter()
        .filter(|request| request.kind != Kind::None)
    {
        let _ = writeln!(text, "        {request:?}");
    }
    text
}
