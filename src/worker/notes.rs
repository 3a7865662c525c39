//! A primary's notes to its secondary, as the engine has them and as they are on the wire. Translates, and
//! nothing else. On the wire the counters are the secondary's; the engine names them as the primary does.

use crate::engine::points::{Copy, PointNote};
use crate::engine::{PeerNote, Told};
use crate::wire::request::{self as wire, CopyState, RecordChange, RecordRequest};

/// The note of this number for the wire.
pub fn to_wire(seq: u64, note: PeerNote) -> RecordRequest {
    let change = match note {
        PeerNote::Lacking => RecordChange::Lacking,
        PeerNote::Point(told) => {
            let Told {
                note,
                failures,
                localcnt,
                remotecnt,
            } = *told;
            RecordChange::Point {
                note: wire::PointNote {
                    at: note.at,
                    copy: match note.copy {
                        Copy::Lacking => CopyState::Lacking,
                        Copy::Unchanged => CopyState::Unchanged,
                        Copy::Full => CopyState::Full,
                    },
                    leads: note.leads,
                    past: note.past,
                },
                failures,
                localcnt: remotecnt,
                remotecnt: localcnt,
            }
        }
    };
    RecordRequest { seq, change }
}

/// The number and the note that came.
pub fn from_wire(request: RecordRequest) -> (u64, PeerNote) {
    let note = match request.change {
        RecordChange::Lacking => PeerNote::Lacking,
        RecordChange::Point {
            note,
            failures,
            localcnt,
            remotecnt,
        } => PeerNote::Point(Box::new(Told {
            note: PointNote {
                at: note.at,
                copy: match note.copy {
                    CopyState::Lacking => Copy::Lacking,
                    CopyState::Unchanged => Copy::Unchanged,
                    CopyState::Full => Copy::Full,
                },
                leads: note.leads,
                past: note.past,
            },
            failures,
            localcnt: remotecnt,
            remotecnt: localcnt,
        })),
    };
    (request.seq, note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Generation, Point};

    #[test]
    fn notes_come_back_and_counters_cross() {
        let point = |of, number| Point {
            generation: Generation::new(of).expect("not 0"),
            number,
        };
        for copy in [Copy::Lacking, Copy::Unchanged, Copy::Full] {
            let note = PeerNote::Point(Box::new(Told {
                note: PointNote {
                    at: point(3, 9),
                    copy,
                    leads: copy == Copy::Unchanged,
                    past: vec![point(2, 1)],
                },
                failures: 4,
                localcnt: 5,
                remotecnt: 6,
            }));
            let wire = to_wire(7, note.clone());
            assert!(matches!(
                wire.change,
                RecordChange::Point {
                    localcnt: 6,
                    remotecnt: 5,
                    ..
                }
            ));
            assert_eq!(from_wire(wire), (7, note));
        }
        assert_eq!(
            from_wire(to_wire(8, PeerNote::Lacking)),
            (8, PeerNote::Lacking)
        );
    }
}
