//! Points: moments that both nodes make together, in three record writes.
//!
//! The primary stores that it proposes the point (`next`); the secondary stores it (`at`); the primary
//! stores it. Each is durable before the next. So after a crash at any moment either both have the same
//! `at`, or the primary's `next` is the secondary's `at`: then the point was made. A node alone makes no
//! points; two `at` that differ in any other way mean that a component is not what it was.
//!
//! Pure functions of records; what has to be flushed or merged first is said by whoever proposes.
//! Invariants: a number is never used twice within a generation; what was settled of an earlier proposal is
//! stored with the new one, never overwritten by it.

use crate::layout::{Generation, Point, Proposal, Record};

/// What a point says of the secondary's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copy {
    /// It lacks something from here on: it is about to be copied onto.
    Lacking,
    /// As complete as it was.
    Unchanged,
    /// Both are complete, flushed, and the same.
    Full,
}

/// What a secondary is told to store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointNote {
    /// The point.
    pub at: Point,
    /// What becomes of its copy.
    pub copy: Copy,
    /// The primary lacks what this secondary has, and relies on it.
    pub leads: bool,
    /// The older generations of the one whose data counts, the newest first.
    pub past: Vec<Point>,
}

/// The primary's record with a new proposal, and what to tell the secondary. `record` is what counts of it
/// now (earlier proposals settled), `source` the record of the node whose data counts; `spare` is a new
/// generation, for two that have none.
pub fn propose(
    record: &Record,
    source: &Record,
    spare: Generation,
    copy: Copy,
    leads: bool,
) -> (Record, PointNote) {
    let generation = source
        .own
        .or(source.at.map(|at| at.generation))
        .unwrap_or(spare);
    let used = [record.at, source.at]
        .into_iter()
        .chain([record.next, source.next].map(|next| next.map(|next| next.point)))
        .flatten()
        .filter(|point| point.generation == generation)
        .map(|point| point.number)
        .max();
    let at = Point {
        generation,
        number: used.unwrap_or(0) + 1,
    };
    let mut history = source.clone();
    history.move_to(at);
    let note = PointNote {
        at,
        copy,
        leads,
        past: history.past,
    };
    let mut next = record.clone();
    next.next = Some(Proposal {
        point: at,
        full: copy == Copy::Full,
    });
    next.lacks |= leads;
    (next, note)
}

/// The secondary's record once it has stored a point.
pub fn store(record: &Record, note: &PointNote) -> Record {
    Record {
        at: Some(note.at),
        next: None,
        own: None,
        lacks: match note.copy {
            Copy::Lacking => true,
            Copy::Unchanged => record.lacks,
            Copy::Full => false,
        },
        counted: false,
        forced: false,
        past: note.past.clone(),
    }
}

/// The primary's record once the secondary has stored the point of `note`. `own` says what it did alone
/// since it proposed; `complete`, that nothing was found to be missing here meanwhile.
pub fn made(record: &Record, note: &PointNote, own: Option<Generation>, complete: bool) -> Record {
    Record {
        at: Some(note.at),
        next: None,
        own,
        lacks: record.lacks && !(note.copy == Copy::Full && complete),
        counted: false,
        forced: false,
        past: note.past.clone(),
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
    fn the_first_point_of_two_that_have_none_begins_a_generation() {
        let fresh = Record::default();
        let (next, note) = propose(&fresh, &fresh, generation(9), Copy::Full, false);
        assert_eq!(note.at, point(9, 1));
        assert_eq!(next.next.map(|next| next.full), Some(true));
        let there = store(&fresh, &note);
        let here = made(&next, &note, None, true);
        assert_eq!((here.at, &here), (there.at, &there));
        assert_eq!(
            next.resolved(&there),
            here,
            "also where the answer was lost"
        );
    }

    #[test]
    fn what_somebody_did_alone_becomes_the_generation_of_both() {
        let common = Record {
            at: Some(point(1, 4)),
            ..Record::default()
        };
        let alone = Record {
            own: Some(generation(2)),
            ..common.clone()
        };
        let (next, note) = propose(&alone, &alone, generation(9), Copy::Lacking, false);
        assert_eq!(
            (note.at, note.past.as_slice()),
            (point(2, 1), &[point(1, 4)][..])
        );
        let there = store(&common, &note);
        assert!(there.lacks);
        assert_eq!(made(&next, &note, None, true).past, there.past);

        let (next, note) = propose(&common, &alone, generation(9), Copy::Unchanged, true);
        assert_eq!(note.at, point(2, 1));
        assert!(next.lacks, "durable before anything is fetched");
        let there = store(&alone, &note);
        assert_eq!((there.own, there.lacks), (None, false));
        assert_eq!(made(&next, &note, None, true).at, there.at);
    }

    #[test]
    fn a_number_is_not_used_again_though_its_point_was_not_made() {
        let proposed = Record {
            at: Some(point(1, 4)),
            next: Some(Proposal {
                point: point(1, 7),
                full: false,
            }),
            ..Record::default()
        };
        let (_, note) = propose(&proposed, &proposed, generation(9), Copy::Unchanged, false);
        assert_eq!(note.at, point(1, 8));
    }
}
