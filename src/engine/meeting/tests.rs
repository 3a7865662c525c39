use super::*;
use crate::layout::Point;
use crate::layout::{Generation, Proposal};

const RESUID: u64 = 7;
const NONE: Option<Point> = None;

fn generation(number: u64) -> Generation {
    Generation::new(number).expect("not 0")
}

fn point(of: u64, number: u64) -> Point {
    Point {
        generation: generation(of),
        number,
    }
}

fn proposal(of: u64, number: u64, full: bool) -> Proposal {
    Proposal {
        point: point(of, number),
        full,
    }
}

/// A record at a point of generation 3, after generations 2 and 1.
fn at(number: u64) -> Record {
    Record {
        at: Some(point(3, number)),
        past: vec![point(2, 9), point(1, 4)],
        ..Record::default()
    }
}

/// A record of another history.
fn strange() -> Record {
    Record {
        at: Some(point(8, 1)),
        ..Record::default()
    }
}

/// What a forced role leaves of a copy that lacked something.
fn forced() -> Record {
    Record {
        forced: true,
        ..alone(9, Record::default())
    }
}

fn alone(own: u64, record: Record) -> Record {
    Record {
        own: Some(generation(own)),
        ..record
    }
}

fn lacking(record: Record) -> Record {
    Record {
        lacks: true,
        ..record
    }
}

fn standing(record: &Record) -> Standing {
    Standing {
        resuid: RESUID,
        localcnt: 1,
        remotecnt: 1,
        record: record.clone(),
    }
}

fn hello(record: &Record, holds: bool, leans: bool) -> Hello {
    Hello {
        standing: standing(record),
        virgin: false,
        holds,
        leans,
    }
}

/// Two nodes that speak the extension, the primary's device closed.
fn meet(primary: &Record, secondary: &Record) -> Verdict {
    decide(&hello(primary, false, false), &standing(secondary), true)
}

/// Each row: the primary's record, the secondary's, what is decided where nothing holds the primary's
/// device, and what where something does.
type Row = (&'static str, Record, Record, Verdict, Verdict);

fn check(rows: &[Row]) {
    for (name, ours, theirs, closed, held) in rows {
        assert_eq!(meet(ours, theirs), *closed, "{name}");
        let found = decide(&hello(ours, true, false), &standing(theirs), true);
        assert_eq!(found, *held, "{name}, the device held");
    }
}

#[test]
fn a_fresh_copy_is_copied_onto_from_a_complete_one() {
    use Refusal::{BothLack, CompleteCopyGone, Superseded};
    use Scope::Everything;
    let fresh = Record::default();
    let all = Ok(from_primary(Everything, None));
    check(&[
        ("S fresh", at(5), fresh.clone(), all, all),
        ("S discarded", at(5), lacking(fresh.clone()), all, all),
        ("S fresh, P alone before", forced(), fresh.clone(), all, all),
        (
            "S fresh, P lacks",
            lacking(at(5)),
            fresh.clone(),
            Err(CompleteCopyGone),
            Err(CompleteCopyGone),
        ),
        (
            "S discarded, P lacks",
            lacking(at(5)),
            lacking(fresh.clone()),
            Err(BothLack),
            Err(BothLack),
        ),
        (
            "P fresh",
            fresh.clone(),
            at(5),
            Ok(from_secondary(Everything, None)),
            Err(Superseded),
        ),
        (
            "P discarded",
            lacking(fresh.clone()),
            alone(4, at(5)),
            Ok(from_secondary(Everything, None)),
            Err(Superseded),
        ),
        (
            "P fresh, S lacks",
            fresh,
            lacking(at(5)),
            Err(BothLack),
            Err(BothLack),
        ),
    ]);
}

#[test]
fn at_the_same_point_the_maps_say_what_differs() {
    use Refusal::{BothLack, SplitBrain, Superseded};
    use Scope::Marked;
    let (ours, theirs) = (
        Ok(from_primary(Marked, None)),
        Ok(from_secondary(Marked, None)),
    );
    let (both, split) = (Err(BothLack), Err(SplitBrain));
    check(&[
        ("in step", at(5), at(5), ours, ours),
        ("S lacks", at(5), lacking(at(5)), ours, ours),
        ("P lacks", lacking(at(5)), at(5), theirs, Err(Superseded)),
        ("both lack", lacking(at(5)), lacking(at(5)), both, both),
        ("P alone", alone(4, at(5)), at(5), ours, ours),
        (
            "P alone, S lacks",
            alone(4, at(5)),
            lacking(at(5)),
            ours,
            ours,
        ),
        ("S alone", at(5), alone(4, at(5)), theirs, Err(Superseded)),
        (
            "S alone, P lacks",
            lacking(at(5)),
            alone(4, at(5)),
            theirs,
            Err(Superseded),
        ),
        ("both alone", alone(4, at(5)), alone(6, at(5)), split, split),
        (
            "both alone, S lacks",
            alone(4, at(5)),
            lacking(alone(6, at(5))),
            split,
            split,
        ),
        // Neither can be: a node that lacks something does not go on alone.
        (
            "P lacks and alone",
            lacking(alone(4, at(5))),
            at(5),
            split,
            split,
        ),
        (
            "P lacks and alone, S lacks",
            lacking(alone(4, at(5))),
            lacking(at(5)),
            both,
            both,
        ),
        (
            "S lacks and alone",
            at(5),
            lacking(alone(4, at(5))),
            split,
            split,
        ),
        (
            "S lacks and alone, P lacks",
            lacking(at(5)),
            lacking(alone(4, at(5))),
            both,
            both,
        ),
    ]);
}

#[test]
fn an_older_image_is_copied_onto_and_named() {
    use Refusal::{CompleteCopyGone, PrimaryOlder, SplitBrain, Superseded};
    use Scope::Everything;
    let before = Record {
        at: Some(point(2, 9)),
        past: vec![point(1, 4)],
        ..Record::default()
    };
    let (gone, split) = (Err(CompleteCopyGone), Err(SplitBrain));
    let ours = Ok(from_primary(Everything, Some(Party::Secondary)));
    let theirs = Ok(from_secondary(Everything, Some(Party::Primary)));
    check(&[
        ("S older", at(5), at(4), ours, ours),
        ("S a generation older", at(5), before.clone(), ours, ours),
        ("S older, lacks", at(5), lacking(at(4)), ours, ours),
        ("S older, P alone", alone(4, at(5)), at(4), ours, ours),
        (
            "S older, from when it was alone",
            at(5),
            alone(3, before.clone()),
            ours,
            ours,
        ),
        ("S older, alone since", at(5), alone(6, at(4)), split, split),
        ("S older, P lacks", lacking(at(5)), at(4), gone, gone),
        ("P older", at(4), at(5), theirs, Err(Superseded)),
        (
            "P older, S alone",
            at(4),
            alone(6, at(5)),
            theirs,
            Err(Superseded),
        ),
        (
            "P older, lacks",
            lacking(before.clone()),
            at(5),
            theirs,
            Err(Superseded),
        ),
        (
            "P older, from when it was alone",
            alone(3, before),
            at(5),
            theirs,
            Err(Superseded),
        ),
        ("P older, alone since", alone(6, at(4)), at(5), split, split),
        (
            "P older, S lacks",
            at(4),
            lacking(at(5)),
            Err(PrimaryOlder),
            Err(PrimaryOlder),
        ),
    ]);
}

#[test]
fn two_histories_meet_only_where_a_person_chose_one() {
    use Refusal::{BothLack, SplitBrain, Superseded};
    use Scope::Everything;
    let (split, both) = (Err(SplitBrain), Err(BothLack));
    let ours = Ok(from_primary(Everything, None));
    let theirs = Ok(from_secondary(Everything, None));
    check(&[
        ("two histories", at(5), strange(), split, split),
        (
            "two histories, P lacks",
            lacking(at(5)),
            strange(),
            split,
            split,
        ),
        (
            "two histories, S lacks",
            at(5),
            lacking(strange()),
            split,
            split,
        ),
        (
            "two histories, both lack",
            lacking(at(5)),
            lacking(strange()),
            both,
            both,
        ),
        (
            "P ahead by a point that S never saw",
            at(6),
            alone(4, at(5)),
            split,
            split,
        ),
        ("P forced, S lacks", forced(), lacking(at(5)), ours, ours),
        (
            "P an image of before the first point, S lacks",
            alone(9, Record::default()),
            lacking(at(5)),
            split,
            split,
        ),
        ("P forced, S complete", forced(), at(5), split, split),
        (
            "S forced, P lacks",
            lacking(at(5)),
            forced(),
            theirs,
            Err(Superseded),
        ),
        ("S forced, P complete", at(5), forced(), split, split),
        ("both forced", forced(), alone(4, forced()), split, split),
    ]);
}

#[test]
fn who_leans_goes_on_with_an_open_device_but_not_past_news() {
    let leaning = |record: &Record, theirs: &Record| {
        decide(&hello(record, true, true), &standing(theirs), true)
    };
    let ours = lacking(at(5));
    assert_eq!(
        leaning(&ours, &at(5)),
        Ok(from_secondary(Scope::Marked, None))
    );
    for (theirs, refusal) in [
        (alone(4, at(5)), Refusal::Superseded),
        (at(6), Refusal::Superseded),
        (lacking(at(5)), Refusal::BothLack),
        (at(4), Refusal::CompleteCopyGone),
        (Record::default(), Refusal::CompleteCopyGone),
        (strange(), Refusal::SplitBrain),
    ] {
        assert_eq!(leaning(&ours, &theirs), Err(refusal), "{theirs:?}");
    }
}

#[test]
fn a_proposal_that_the_other_stored_was_made() {
    let proposed = |full, record| Record {
        next: Some(proposal(3, 6, full)),
        ..record
    };
    let marked = Ok(from_primary(Scope::Marked, None));
    assert_eq!(meet(&proposed(false, at(5)), &at(6)), marked);
    assert_eq!(
        meet(&at(6), &proposed(false, at(5))),
        marked,
        "the roles changed since"
    );
    assert_eq!(meet(&proposed(false, at(5)), &at(5)), marked, "not made");
    let theirs = Ok(from_secondary(Scope::Marked, None));
    assert_eq!(meet(&proposed(false, lacking(at(5))), &at(6)), theirs);
    assert_eq!(
        meet(&proposed(true, lacking(at(5))), &at(6)),
        marked,
        "nothing was missing any more"
    );
    assert_eq!(
        meet(&proposed(true, lacking(at(5))), &at(5)),
        theirs,
        "it was"
    );

    let own = |own| Record {
        next: Some(proposal(4, 1, false)),
        ..alone(own, at(5))
    };
    let stored = Record {
        at: Some(point(4, 1)),
        past: vec![point(3, 5)],
        ..Record::default()
    };
    assert_eq!(
        meet(&own(4), &alone(6, stored.clone())),
        theirs,
        "what it did alone became common"
    );
    assert_eq!(meet(&own(5), &stored), marked, "begun after the proposal");
    assert_eq!(meet(&own(5), &alone(6, stored)), Err(Refusal::SplitBrain));
}

/// The secondary's local and remote count, the primary's, and what is decided: the cases of the table in
/// the spec, section 4, and those that should not happen.
#[test]
fn the_counters_table_is_the_specification_s() {
    use Scope::{Everything, Marked};
    for (theirs, ours, expected) in [
        ((3, 3), (3, 3), Ok(from_primary(Marked, None))),
        ((3, 3), (4, 3), Ok(from_primary(Marked, None))),
        ((3, 3), (3, 2), Ok(from_secondary(Marked, None))),
        ((3, 3), (4, 2), Err(Refusal::SplitBrain)),
        ((3, 3), (2, 2), Ok(from_secondary(Everything, None))),
        ((3, 3), (2, 3), Ok(from_primary(Everything, None))),
        ((3, 3), (2, 4), Ok(from_primary(Everything, None))),
        ((3, 3), (3, 4), Ok(from_primary(Everything, None))),
        ((3, 3), (4, 4), Ok(from_primary(Everything, None))),
    ] {
        for (extended, counted) in [
            (false, (true, true)),
            (true, (true, false)),
            (true, (false, true)),
        ] {
            let found = by_counters((ours, counted.0), (theirs, counted.1), extended);
            assert_eq!(
                found, expected,
                "{theirs:?} {ours:?} {extended} {counted:?}"
            );
        }
    }
}

fn counting((localcnt, remotecnt): (u64, u64), record: &Record) -> Standing {
    Standing {
        localcnt,
        remotecnt,
        ..standing(record)
    }
}

fn by_counters(ours: ((u64, u64), bool), theirs: ((u64, u64), bool), extended: bool) -> Verdict {
    let record = |counted| Record { counted, ..at(5) };
    let primary = Hello {
        standing: counting(ours.0, &record(ours.1)),
        ..hello(&Record::default(), false, false)
    };
    decide(&primary, &counting(theirs.0, &record(theirs.1)), extended)
}

#[test]
fn counters_take_no_lacking_copy_as_the_source() {
    use Scope::{Everything, Marked};
    let base = Record::of_base(RESUID);
    let found = |ours, lacks: (bool, bool), situation: (bool, bool)| {
        let record = |lacks| {
            if lacks {
                lacking(base.clone())
            } else {
                base.clone()
            }
        };
        let primary = Hello {
            standing: counting(ours, &record(lacks.0)),
            ..hello(&base, situation.0, situation.1)
        };
        decide(&primary, &counting((3, 3), &record(lacks.1)), true)
    };
    let (closed, held, leaning) = ((false, false), (true, false), (true, true));
    let (in_step, behind, backwards) = ((3, 3), (3, 2), (2, 2));
    for (ours, lacks, situation, expected) in [
        (
            in_step,
            (true, false),
            closed,
            Err(Refusal::CompleteCopyGone),
        ),
        (in_step, (true, true), closed, Err(Refusal::BothLack)),
        (in_step, (false, true), held, Ok(from_primary(Marked, None))),
        (behind, (false, true), closed, Err(Refusal::BothLack)),
        (
            behind,
            (false, false),
            closed,
            Ok(from_secondary(Marked, None)),
        ),
        (behind, (false, false), held, Err(Refusal::Superseded)),
        (
            behind,
            (true, false),
            leaning,
            Ok(from_secondary(Marked, None)),
        ),
        (behind, (true, true), leaning, Err(Refusal::BothLack)),
        (behind, (false, false), leaning, Err(Refusal::Superseded)),
        (
            backwards,
            (true, false),
            closed,
            Ok(from_secondary(Everything, None)),
        ),
        (backwards, (true, false), leaning, Err(Refusal::Superseded)),
    ] {
        assert_eq!(
            found(ours, lacks, situation),
            expected,
            "{ours:?} {lacks:?} {situation:?}"
        );
    }
}

#[test]
fn components_of_different_data_sets_do_not_meet() {
    let other = Standing {
        resuid: 8,
        ..standing(&at(5))
    };
    let refusal = decide(&hello(&at(5), false, false), &other, true).expect_err("mismatch");
    let words = "Resource unique ID mismatch (primary=7, secondary=8).";
    assert_eq!(refusal.to_string(), words);
}

#[test]
fn a_component_used_for_the_first_time_joins() {
    let new = Standing {
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        record: Record::of_base(0),
    };
    for extended in [true, false] {
        let join = |record: &Record, virgin| {
            let primary = Hello {
                virgin,
                ..hello(record, true, false)
            };
            decide(&primary, &new, extended)
        };
        assert_eq!(
            join(&alone(3, Record::default()), false),
            Ok(from_primary(Scope::Everything, None))
        );
        assert_eq!(
            join(&Record::default(), true),
            Ok(from_primary(Scope::Marked, None))
        );
        assert_eq!(join(&lacking(at(5)), false), Err(Refusal::CompleteCopyGone));
    }
}

#[test]
fn a_counter_that_no_node_reaches_is_refused() {
    for which in 0..4 {
        for (counter, refused) in [
            (NUMBER_LIMIT - 1, false),
            (NUMBER_LIMIT, true),
            (u64::MAX, true),
        ] {
            let mut primary = hello(&at(5), false, false);
            let mut secondary = standing(&at(5));
            *[
                &mut primary.standing.localcnt,
                &mut primary.standing.remotecnt,
                &mut secondary.localcnt,
                &mut secondary.remotecnt,
            ][which] = counter;
            let found = decide(&primary, &secondary, true);
            assert_eq!(found == Err(Refusal::Counter), refused, "{which} {counter}");
        }
    }
}

/// Whether two nodes can come to hold these: no own generation is history already, and not each has
/// stored what the other proposes.
fn can_be(ours: &Record, theirs: &Record) -> bool {
    let history = |record: &Record| record.own.is_some_and(|own| record.knows(own));
    let made = |record: &Record, other: &Record| {
        record.next.is_some_and(|next| other.at == Some(next.point))
    };
    let crosswise = made(ours, theirs) && made(theirs, ours);
    !history(ours) && !history(theirs) && !crosswise
}

/// Every pair of a small space that can be.
fn pairs(records: &[Record]) -> impl Iterator<Item = (&Record, &Record)> {
    let all = records
        .iter()
        .flat_map(|ours| records.iter().map(move |theirs| (ours, theirs)));
    all.filter(|(ours, theirs)| can_be(ours, theirs))
}

/// Every record of a small space: three generations, two points, with and without a proposal.
fn records() -> Vec<Record> {
    let mut records = vec![];
    let pasts = [vec![], vec![point(1, 1)], vec![point(2, 1), point(1, 2)]];
    let ats = [
        NONE,
        Some(point(1, 1)),
        Some(point(1, 2)),
        Some(point(2, 1)),
        Some(point(3, 1)),
    ];
    let nexts = [
        None,
        Some(proposal(1, 2, false)),
        Some(proposal(1, 2, true)),
        Some(proposal(2, 1, false)),
        Some(proposal(3, 1, true)),
    ];
    for (past, at) in pasts.iter().flat_map(|past| ats.map(|at| (past, at))) {
        let twice = |at: Point| past.iter().any(|mark| mark.generation == at.generation);
        if at.map_or(!past.is_empty(), twice) {
            continue;
        }
        for (next, own) in nexts
            .iter()
            .flat_map(|next| [0, 2, 3, 4].map(|own| (*next, own)))
        {
            for lacks in [false, true] {
                records.push(Record {
                    at,
                    next,
                    own: Generation::new(own),
                    lacks,
                    counted: false,
                    forced: false,
                    past: past.clone(),
                });
            }
        }
    }
    records
}

/// The head of the module, over all pairs of a small space and every situation of the primary.
#[test]
fn no_pair_of_records_breaks_the_invariants() {
    let records = records();
    for (ours, theirs) in pairs(&records) {
        let (here, there) = (ours.resolved(theirs), theirs.resolved(ours));
        for (holds, leans) in [(false, false), (true, false), (true, true)] {
            let verdict = decide(&hello(ours, holds, leans), &standing(theirs), true);
            let Ok(agreement) = verdict else { continue };
            let (source, target) = match agreement.source {
                Source::Primary => (&here, &there),
                Source::Secondary => (&there, &here),
            };
            let pair = || format!("{verdict:?} {holds} {leans}\n{ours:?}\n{theirs:?}");
            assert!(!source.lacks, "a lacking source: {}", pair());
            assert!(
                target.own.is_none() || target.lacks,
                "what it did alone is lost: {}",
                pair()
            );
            if holds && agreement.source == Source::Secondary {
                assert!(
                    leans && here.lacks && there.own.is_none(),
                    "data under a device: {}",
                    pair()
                );
                assert_eq!(
                    (here.at, agreement.scope),
                    (there.at, Scope::Marked),
                    "{}",
                    pair()
                );
            }
            if agreement.scope == Scope::Marked {
                assert!(
                    here.at.is_some() && here.at == there.at,
                    "maps that say nothing: {}",
                    pair()
                );
            }
            if agreement.older.is_some() {
                let at = target.at.expect("it has a point");
                assert!(source.has_passed(at), "not older: {}", pair());
            }
        }
    }
}

/// Whoever connects: it is about the same two copies.
#[test]
fn the_roles_do_not_change_whose_data_counts() {
    let records = records();
    for (one, two) in pairs(&records).filter(|(one, two)| !one.is_fresh() || !two.is_fresh()) {
        let (there, back) = (meet(one, two), meet(two, one));
        let pair = || format!("{there:?} {back:?}\n{one:?}\n{two:?}");
        assert_eq!(there.is_ok(), back.is_ok(), "{}", pair());
        let (Ok(there), Ok(back)) = (there, back) else {
            continue;
        };
        assert_eq!(there.scope, back.scope, "{}", pair());
        assert_eq!(there.older.is_some(), back.older.is_some(), "{}", pair());
        if there.source == back.source {
            let (one, two) = (one.resolved(two), two.resolved(one));
            let complete = [&one, &two]
                .iter()
                .all(|record| !record.lacks && record.own.is_none());
            assert!(
                there.source == Source::Primary && complete && one.at == two.at,
                "{}",
                pair()
            );
        }
    }
}
