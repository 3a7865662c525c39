//! The product's own functions, on the explorer's small records.
//!
//! What is explored is what runs: `meeting::decide`, `Record::resolved` and `points::{propose, store,
//! made}`. A mutant alters what one of them gives, here and nowhere else.

use hast::engine::meeting::{self, Hello, Refusal, Source, Verdict};
use hast::engine::points::{self, Copy, PointNote};
use hast::layout::{Generation, Point, Proposal, Record, Standing};

use crate::mutants::Mutant;
use crate::naming::unused_generation;
use crate::world::{PAST, Rec, Spot, World};

/// Every component's data set.
const RESUID: u64 = 7;

fn point(spot: Spot) -> Option<Point> {
    Generation::new(u64::from(spot.generation)).map(|generation| Point {
        generation,
        number: u64::from(spot.number),
    })
}

fn spot(point: Option<Point>) -> Spot {
    point.map_or_else(Spot::default, |point| Spot {
        generation: point.generation.number() as u8,
        number: point.number as u8,
    })
}

fn record(rec: &Rec) -> Record {
    Record {
        at: point(rec.at),
        next: point(rec.next).map(|point| Proposal {
            point,
            full: rec.full,
        }),
        own: Generation::new(u64::from(rec.own)),
        lacks: rec.lacks,
        counted: false,
        forced: rec.forced,
        past: rec.past.iter().filter_map(|mark| point(*mark)).collect(),
    }
}

fn small(record: &Record) -> Rec {
    let mut past = [Spot::default(); PAST];
    for (small, mark) in past.iter_mut().zip(&record.past) {
        *small = spot(Some(*mark));
    }
    Rec {
        used: true,
        at: spot(record.at),
        next: spot(record.next.map(|next| next.point)),
        full: record.next.is_some_and(|next| next.full),
        own: record.own.map_or(0, |own| own.number() as u8),
        lacks: record.lacks,
        forced: record.forced,
        past,
    }
}

fn standing(record: Record, used: bool) -> Standing {
    Standing {
        resuid: if used { RESUID } else { 0 },
        localcnt: 0,
        remotecnt: 0,
        record,
    }
}

/// What two nodes come to where `primary` introduces itself.
pub fn decide(world: &World, primary: usize, mutant: Option<Mutant>) -> Verdict {
    let here = &world.nodes[primary];
    let (ours, mut theirs) = (here.record(), world.nodes[1 - primary].record());
    if mutant == Some(Mutant::LackingMayBeSource) {
        theirs.lacks = false;
    }
    let mut ours_told = record(&ours);
    ours_told.lacks |= here.stale != 0;
    let hello = Hello {
        virgin: ours.at.generation == 0 && ours.own == 0 && !ours.lacks,
        standing: standing(ours_told, true),
        holds: here.holds_device() && mutant != Some(Mutant::OpenDeviceFetchesNewer),
        leans: here.leans && here.lacks(),
    };
    let verdict = meeting::decide(&hello, &standing(record(&theirs), theirs.used), true);
    altered(verdict, mutant, &hello.standing.record, &record(&theirs))
}

fn altered(verdict: Verdict, mutant: Option<Mutant>, ours: &Record, theirs: &Record) -> Verdict {
    let primary = |scope| {
        Ok(meeting::Agreement {
            source: Source::Primary,
            scope,
            older: None,
        })
    };
    let (here, there) = (ours.resolved(theirs), theirs.resolved(ours));
    match (mutant, verdict) {
        (Some(Mutant::BothOwnIsNoSplit), Err(Refusal::SplitBrain)) if here.at == there.at => {
            primary(meeting::Scope::Marked)
        }
        (Some(Mutant::UnknownOwnIgnored), Err(Refusal::SplitBrain))
            if there.at.is_some_and(|at| here.has_passed(at)) =>
        {
            primary(meeting::Scope::Everything)
        }
        (Some(Mutant::OlderCopiesMarkedOnly), Ok(agreement)) if agreement.older.is_some() => {
            Ok(meeting::Agreement {
                scope: meeting::Scope::Marked,
                ..agreement
            })
        }
        (_, verdict) => verdict,
    }
}

/// A record with what the other's settles of it.
pub fn resolved(rec: &Rec, other: &Rec) -> Rec {
    Rec {
        used: rec.used,
        ..small(&record(rec).resolved(&record(other)))
    }
}

/// The record that proposes a point, with which the data of `source` counts, and the point.
pub fn propose(world: &World, rec: &Rec, source: &Rec, full: bool, leads: bool) -> (Rec, Spot) {
    let spare = Generation::new(u64::from(unused_generation(world))).expect("not 0");
    let copy = if full { Copy::Full } else { Copy::Unchanged };
    let (next, note) = points::propose(&record(rec), &record(source), spare, copy, leads);
    (small(&next), spot(Some(note.at)))
}

/// What the secondary was told: the point of this link, with the past of the one whose data counts.
/// Both ends compute it from records that do not change between a proposal and its point.
pub struct Told<'a> {
    pub point: Spot,
    pub copy: Copy,
    pub leads: bool,
    /// The record of the node whose data counts, as it was when the point was proposed.
    pub source: &'a Rec,
}

impl Told<'_> {
    fn note(&self) -> PointNote {
        let mut history = record(self.source);
        let at = point(self.point).expect("a point is under way");
        history.move_to(at);
        PointNote {
            at,
            copy: self.copy,
            leads: self.leads,
            past: history.past,
        }
    }
}

/// The secondary's record once it has stored a point.
pub fn store(rec: &Rec, told: &Told<'_>) -> Rec {
    small(&points::store(&record(rec), &told.note()))
}

/// The primary's record once the secondary has.
pub fn made(rec: &Rec, told: &Told<'_>, own: u8, complete: bool) -> Rec {
    let own = Generation::new(u64::from(own));
    small(&points::made(&record(rec), &told.note(), own, complete))
}
