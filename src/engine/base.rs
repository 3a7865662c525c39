//! What a secondary stores before it answers a base primary, which knows no records and no points.
//!
//! Pure. Invariant: base never says when a synchronisation ends, only that the next meeting is in step; so a
//! copy counts as lacking from a meeting at which something is to be copied to it until one in step.

use super::meeting::{Agreement, Hello, Scope, Source};
use crate::layout::{Metadata, Record};
use crate::terms::Role;

/// Which map goes into the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapSent {
    /// None, as neither node ever finished a write; but the one on the disk where that has marks: a
    /// first write may have reached the component before its resuid did.
    Nothing,
    /// The one on the secondary's disk.
    OnDisk,
    /// One with every extent set. It has to lie on the secondary's own disk, durably, before the
    /// metadata does: should the primary be gone before it has stored this map, the next meeting
    /// sends the one on the disk.
    Everything,
}

/// The answer to a base primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To be stored, durably, before the answer goes out; also what the answer's counters are.
    pub metadata: Metadata,
    /// What map to send.
    pub map: MapSent,
    /// Say that this component was freshly created.
    pub virgin: bool,
}

/// What to store and to send where the meeting came to `agreement`. `marked` says whether the secondary's own
/// map has marks.
pub fn answer(metadata: Metadata, primary: &Hello, agreement: Agreement, marked: bool) -> Answer {
    let fresh = metadata.resuid == 0;
    let theirs = &primary.standing;
    let in_step = metadata.localcnt == theirs.remotecnt && metadata.remotecnt == theirs.localcnt;
    let lacks = match agreement.source {
        Source::Primary if fresh => !primary.virgin,
        // What our own map has marked is copied only now.
        Source::Primary => !in_step || (metadata.record.lacks && marked),
        Source::Secondary => metadata.record.lacks,
    };
    let map = match agreement.scope {
        Scope::Everything => MapSent::Everything,
        Scope::Marked if fresh => MapSent::Nothing,
        Scope::Marked => MapSent::OnDisk,
    };
    Answer {
        metadata: Metadata {
            resuid: theirs.resuid,
            prevrole: Role::Secondary,
            record: counted(lacks),
            ..metadata
        },
        map,
        virgin: fresh,
    }
}

/// The record of a component while base's counters speak for it.
pub fn counted(lacks: bool) -> Record {
    Record {
        lacks,
        counted: true,
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::meeting::decide;
    use crate::layout::Standing;

    fn metadata(resuid: u64, localcnt: u64, remotecnt: u64) -> Metadata {
        Metadata {
            resource: "disk1".to_owned(),
            datasize: 1 << 20,
            extentsize: 4096,
            keepdirty: 64,
            offset: 4608,
            resuid,
            localcnt,
            remotecnt,
            prevrole: Role::Init,
            record: Record::of_base(resuid),
        }
    }

    fn meet(ours: Metadata, localcnt: u64, remotecnt: u64, virgin: bool, marked: bool) -> Answer {
        let standing = |resuid, localcnt, remotecnt, record| Standing {
            resuid,
            localcnt,
            remotecnt,
            record,
        };
        let hello = Hello {
            standing: standing(7, localcnt, remotecnt, Record::of_base(7)),
            virgin,
            holds: false,
            leans: false,
        };
        let here = standing(
            ours.resuid,
            ours.localcnt,
            ours.remotecnt,
            ours.record.clone(),
        );
        let agreement = decide(&hello, &here, false).expect("agrees");
        answer(ours, &hello, agreement, marked)
    }

    #[test]
    fn a_base_primary_is_believed_to_have_finished_only_when_in_step() {
        let lacking = |lacks| Metadata {
            record: counted(lacks),
            ..metadata(7, 3, 3)
        };
        let after = |before, localcnt, marked| {
            meet(lacking(before), localcnt, 3, false, marked)
                .metadata
                .record
        };
        assert!(after(false, 4, false).lacks, "out of date");
        assert!(!after(true, 3, false).lacks, "in step again");
        assert!(after(true, 3, true).lacks, "copied only now");
        assert!(
            after(false, 3, false).counted,
            "no generation speaks from here on"
        );
    }

    #[test]
    fn a_fresh_component_joins_and_lacks_everything_until_it_has_it() {
        let joined = meet(metadata(0, 0, 0), 5, 2, false, false);
        assert_eq!((joined.map, joined.virgin), (MapSent::Everything, true));
        assert!(joined.metadata.record.lacks);
        assert_eq!(joined.metadata.resuid, 7);
        let virgin = meet(metadata(0, 0, 0), 0, 0, true, false);
        assert_eq!(virgin.map, MapSent::Nothing);
        assert!(!virgin.metadata.record.lacks);
    }
}
