//! Messages of our extension, which base never sends: seeds to be mutated.

use hast::layout::{Generation, Point, Proposal, Record, Standing};
use hast::nv::Nv;
use hast::wire::handshake::{Identity, Refusal, Situation, Start, StartAnswer, SyncSource};
use hast::wire::request::{CopyState, PointNote, RecordChange, RecordRequest};

fn point(of: u64, number: u64) -> Point {
    let generation = Generation::new(of).expect("not 0");
    Point { generation, number }
}

fn record() -> Record {
    Record {
        at: Some(point(50, 2)),
        next: Some(Proposal {
            point: point(51, 1),
            full: false,
        }),
        own: Generation::new(51),
        lacks: true,
        counted: false,
        forced: false,
        past: vec![point(40, 7), point(30, 1)],
    }
}

/// The entries of one message of each kind.
pub fn messages() -> Vec<Vec<u8>> {
    let start = Start {
        resource: "disk1".to_owned(),
        token: [7; 16],
        resuid: 77,
        localcnt: 3,
        remotecnt: 2,
        virgin: false,
        ours: Some(Situation {
            record: record(),
            holds: true,
            leans: false,
        }),
    };
    let answer = StartAnswer {
        datasize: 1 << 30,
        extentsize: 2 << 20,
        localcnt: 2,
        remotecnt: 3,
        virgin: false,
        syncsrc: SyncSource::Primary,
        map: Vec::new(),
        ours: Some(Identity {
            resuid: 77,
            record: record(),
        }),
    };
    let refusal = Refusal::split_brain().with_standing(Standing {
        resuid: 77,
        localcnt: 2,
        remotecnt: 3,
        record: record(),
    });
    let point = RecordChange::Point {
        note: PointNote {
            at: point(51, 1),
            copy: CopyState::Lacking,
            leads: false,
            past: record().past,
        },
        failures: 1,
        localcnt: 4,
        remotecnt: 4,
    };
    let requests = [point, RecordChange::Lacking]
        .map(|change| Nv::build(|nv| RecordRequest { seq: 5, change }.write(nv)));
    let [first, second] = requests;
    [
        start.to_nv(),
        answer.to_nv(),
        refusal.to_nv(),
        first,
        second,
    ]
    .iter()
    .map(Nv::encode)
    .collect()
}
