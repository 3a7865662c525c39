//! The record: what a node knows of who has what, beside base's metadata.
//!
//! Two nodes need no tree of generations, only the last *point* that they made together and whether
//! somebody went on without the other since. What a map means hangs on it: if both nodes' `at` is the
//! same point, every extent in which the copies may differ is marked in one of the two maps; if not, no
//! map says anything and everything has to be copied.
//!
//! Holds no decisions (those are the engine's) and never touches a disk. Invariants: a generation is
//! never 0; `past` holds each generation once, the newest first, and at most [`PAST`] of them.

use std::num::NonZeroU64;

mod bytes;
mod words;

pub use bytes::{
    NUMBER_LIMIT, POINT_SIZE, RECORD_SIZE, RecordError, check_past, past_from_bytes, past_to_bytes,
};

/// How many older generations a record remembers.
pub const PAST: usize = 24;

/// Names what one node, or both together, wrote between two moments at which somebody went on alone.
/// Random, so that no two are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The generation of this number; none where it is 0.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number, never 0.
    pub const fn number(self) -> u64 {
        self.0.get()
    }
}

/// A moment that both nodes made together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    /// In which generation.
    pub generation: Generation,
    /// Counts the points of a generation; grows.
    pub number: u64,
}

/// A point that this node proposed, and of which it does not know whether the other stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The point.
    pub point: Point,
    /// Once it is made, nothing is left to copy.
    pub full: bool,
}

/// What a node knows of who has what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Record {
    /// The last point made with the other node; none before the first.
    pub at: Option<Point>,
    /// A point proposed.
    pub next: Option<Proposal>,
    /// The generation begun by what this node did alone since `at`.
    pub own: Option<Generation>,
    /// This copy lacks something: it is a mixture of two times, or older than what the other has.
    pub lacks: bool,
    /// Base's counters say who has what: until the next point no generation does.
    pub counted: bool,
    /// An operator took what is here as the truth, whatever it lacked: it has no point in common with any other
    /// copy until the next one. (An older image of before the first point has none either, and is not that.)
    pub forced: bool,
    /// Older generations, the newest first, each with its last point.
    pub past: Vec<Point>,
}

impl Record {
    /// The record of a component that has none: base's, or one just created. Base's counters speak for a
    /// component that belongs to a data set.
    pub fn of_base(resuid: u64) -> Self {
        Self {
            counted: resuid != 0,
            ..Self::default()
        }
    }

    /// Whether the component never took part in anything, or has been told to forget it.
    pub fn is_fresh(&self) -> bool {
        self.at.is_none() && self.own.is_none() && !self.counted
    }

    /// Whether this node was at a point at some time, and has moved on since.
    pub fn has_passed(&self, point: Point) -> bool {
        let earlier = |mark: &Point| mark.generation == point.generation;
        self.at
            .is_some_and(|at| earlier(&at) && point.number < at.number)
            || self
                .past
                .iter()
                .any(|mark| earlier(mark) && point.number <= mark.number)
    }

    /// Whether what `generation` names is part of this node's history.
    pub fn knows(&self, generation: Generation) -> bool {
        self.at.is_some_and(|at| at.generation == generation)
            || self.past.iter().any(|mark| mark.generation == generation)
    }

    /// The record as it counts once the other's is known: a proposal of this node that the other has
    /// stored was made, and what the other's history has was not done alone.
    #[must_use]
    pub fn resolved(&self, other: &Self) -> Self {
        let mut record = self.clone();
        if let Some(next) = self.next
            && other.at == Some(next.point)
        {
            record.move_to(next.point);
            record.lacks &= !next.full;
            record.next = None;
            record.counted = false;
            record.forced = false;
        }
        if record.own.is_some_and(|own| other.knows(own)) {
            record.own = None;
        }
        record
    }

    /// Takes `point` as the last one made; where its generation is another, the old one becomes past.
    pub fn move_to(&mut self, point: Point) {
        if let Some(old) = self.at
            && old.generation != point.generation
        {
            self.push_past(old);
        }
        self.past.retain(|mark| mark.generation != point.generation);
        self.at = Some(point);
    }

    /// Remembers where an older generation ended.
    pub fn push_past(&mut self, point: Point) {
        let known = |mark: &&mut Point| mark.generation == point.generation;
        if let Some(mark) = self.past.iter_mut().find(known) {
            mark.number = mark.number.max(point.number);
            return;
        }
        self.past.insert(0, point);
        self.past.truncate(PAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64) -> Generation {
        Generation::new(number).expect("not 0")
    }

    fn point(of: u64, number: u64) -> Point {
        Point {
            generation: generation(of),
            number,
        }
    }

    #[test]
    fn what_was_passed_and_what_is_known() {
        let record = Record {
            at: Some(point(3, 7)),
            past: vec![point(2, 4), point(1, 9)],
            ..Record::default()
        };
        for (asked, passed) in [
            (point(3, 6), true),
            (point(3, 7), false),
            (point(3, 8), false),
            (point(2, 4), true),
            (point(2, 5), false),
            (point(1, 1), true),
            (point(4, 1), false),
        ] {
            assert_eq!(record.has_passed(asked), passed, "{asked:?}");
        }
        assert!(record.knows(generation(3)) && record.knows(generation(1)));
        assert!(!record.knows(generation(4)));
    }

    #[test]
    fn a_proposal_counts_once_the_other_has_it() {
        let proposed = Record {
            at: Some(point(1, 5)),
            next: Some(Proposal {
                point: point(2, 1),
                full: true,
            }),
            own: Some(generation(2)),
            lacks: true,
            ..Record::default()
        };
        let not = Record {
            at: Some(point(1, 5)),
            ..Record::default()
        };
        assert_eq!(proposed.resolved(&not), proposed);
        let made = Record {
            at: Some(point(2, 1)),
            ..Record::default()
        };
        let resolved = proposed.resolved(&made);
        assert_eq!(resolved.at, made.at);
        assert_eq!(
            (resolved.next, resolved.own, resolved.lacks),
            (None, None, false)
        );
        assert_eq!(resolved.past, [point(1, 5)]);
        let again = Record {
            own: Some(generation(9)),
            ..proposed
        };
        assert_eq!(
            again.resolved(&made).own,
            Some(generation(9)),
            "begun after the proposal"
        );
    }

    #[test]
    fn what_the_other_s_history_has_was_not_done_alone() {
        let older = Record {
            at: Some(point(1, 5)),
            own: Some(generation(2)),
            next: Some(Proposal {
                point: point(3, 8),
                full: false,
            }),
            lacks: true,
            ..Record::default()
        };
        let other = Record {
            at: Some(point(3, 7)),
            past: vec![point(2, 4), point(1, 5)],
            ..Record::default()
        };
        assert_eq!(
            older.resolved(&other).own,
            None,
            "an image, from when it was alone"
        );
        let made = Record {
            at: Some(point(3, 8)),
            ..other
        };
        let resolved = older.resolved(&made);
        assert_eq!(
            (resolved.at, resolved.own),
            (made.at, None),
            "else a split brain of one"
        );
    }

    #[test]
    fn the_past_is_bounded_and_holds_each_generation_once() {
        let mut record = Record::default();
        for number in 1..100 {
            record.move_to(point(number, 1));
            record.move_to(point(number, 2));
        }
        assert_eq!(record.at, Some(point(99, 2)));
        assert_eq!(record.past.len(), PAST);
        assert_eq!(record.past[0], point(98, 2));
    }
}
