//! What a secondary decides when a primary introduces itself (spec, section 4, the table).
//!
//! A pure function of the two nodes' counters. It never touches the disk: what must be stored before
//! the answer is sent is part of the decision.

use super::primary::Hello;
use crate::layout::{Inconsistent, Metadata};
use crate::terms::Role;

/// Who is the source of what has to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The primary; also when nothing has to be copied.
    Primary,
    /// The secondary: the primary is out of date.
    Secondary,
}

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

/// The answer to a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// To be stored, durably, before the answer goes out; also what the answer's counters are.
    pub metadata: Metadata,
    /// Who is the source.
    pub source: Source,
    /// What map to send.
    pub map: MapSent,
    /// Say that this component was freshly created.
    pub virgin: bool,
}

/// Why the two can not work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The components do not belong together.
    #[error("Resource unique ID mismatch (primary={primary}, secondary={secondary}).")]
    UniqueId {
        /// The primary's resuid.
        primary: u64,
        /// The secondary's.
        secondary: u64,
    },
    /// Both were written to apart from each other.
    #[error("Split-brain condition!")]
    SplitBrain,
}

/// Decides for the secondary with this metadata what to answer to `primary`. `extension` says
/// whether the primary sends state messages (so that it, not the handshake, rules the inconsistent mark).
pub fn decide(
    mut metadata: Metadata,
    primary: &Hello,
    extension: bool,
) -> Result<Agreement, Refusal> {
    metadata.prevrole = Role::Secondary;
    if metadata.resuid == 0 {
        return Ok(adopt(metadata, primary, extension));
    }
    if metadata.resuid != primary.resuid {
        return Err(Refusal::UniqueId {
            primary: primary.resuid,
            secondary: metadata.resuid,
        });
    }
    let ahead = metadata.localcnt > primary.remotecnt;
    let known = metadata.localcnt == primary.remotecnt;
    let behind = primary.localcnt > metadata.remotecnt;
    let in_step = metadata.remotecnt == primary.localcnt;
    let (source, map) = match (ahead, known, behind, in_step) {
        (true, _, _, true) => (Source::Secondary, MapSent::OnDisk),
        (_, true, false, true) | (_, true, true, false) => (Source::Primary, MapSent::OnDisk),
        (true, _, true, _) => return Err(Refusal::SplitBrain),
        // Counters that went backwards: should not happen, so nothing short of everything will do.
        (true, _, false, false) => (Source::Secondary, MapSent::Everything),
        _ => (Source::Primary, MapSent::Everything),
    };
    if !extension {
        // Base's primary never says when a synchronisation ends, only that the next meeting is in step.
        // What our own map has marked stale it copies now, and our map is gone from then on.
        let complete = known && in_step;
        let mapped = metadata.inconsistent == Some(Inconsistent::Mapped);
        metadata.inconsistent = match source {
            Source::Primary if complete && !mapped => None,
            Source::Primary => Some(Inconsistent::Unmapped),
            Source::Secondary => metadata.inconsistent,
        };
    }
    Ok(Agreement {
        metadata,
        source,
        map,
        virgin: false,
    })
}

/// A component used for the first time takes over the primary's data set.
fn adopt(mut metadata: Metadata, primary: &Hello, extension: bool) -> Agreement {
    metadata.resuid = primary.resuid;
    if extension {
        // Crosswise, so that an interrupted first copy resumes where it was. Base keeps zeros, and
        // with a base primary so do we: its counters follow the secondary's at the end.
        metadata.localcnt = primary.remotecnt;
        metadata.remotecnt = primary.localcnt;
    }
    let map = if primary.virgin {
        MapSent::Nothing
    } else {
        MapSent::Everything
    };
    metadata.inconsistent = if primary.virgin {
        None
    } else {
        Some(Inconsistent::Unmapped)
    };
    Agreement {
        metadata,
        source: Source::Primary,
        map,
        virgin: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            inconsistent: None,
        }
    }

    fn hello(resuid: u64, localcnt: u64, remotecnt: u64) -> Hello {
        Hello {
            resuid,
            localcnt,
            remotecnt,
            virgin: false,
        }
    }

    /// The secondary's local and remote count, the primary's, and what is decided: the cases of the
    /// table in the spec, section 4, and those that should not happen.
    #[test]
    fn the_table_is_the_specification_s() {
        use MapSent::{Everything, OnDisk};
        use Source::{Primary, Secondary};
        for (secondary, primary, expected) in [
            ((3, 3), (3, 3), Some((Primary, OnDisk))),
            ((3, 3), (4, 3), Some((Primary, OnDisk))),
            ((3, 3), (3, 2), Some((Secondary, OnDisk))),
            ((3, 3), (4, 2), None),
            ((3, 3), (2, 2), Some((Secondary, Everything))),
            ((3, 3), (2, 3), Some((Primary, Everything))),
            ((3, 3), (2, 4), Some((Primary, Everything))),
            ((3, 3), (3, 4), Some((Primary, Everything))),
            ((3, 3), (4, 4), Some((Primary, Everything))),
        ] {
            let found = decide(
                metadata(7, secondary.0, secondary.1),
                &hello(7, primary.0, primary.1),
                true,
            );
            let found = found.map(|agreed| (agreed.source, agreed.map));
            assert_eq!(
                found,
                expected.ok_or(Refusal::SplitBrain),
                "{secondary:?} {primary:?}"
            );
        }
    }

    #[test]
    fn components_of_different_data_sets_do_not_meet() {
        let refusal = decide(metadata(7, 0, 0), &hello(8, 0, 0), true).expect_err("mismatch");
        assert_eq!(
            refusal.to_string(),
            "Resource unique ID mismatch (primary=8, secondary=7)."
        );
    }

    #[test]
    fn a_fresh_component_joins_and_is_inconsistent_until_it_has_everything() {
        let agreed = decide(metadata(0, 0, 0), &hello(8, 5, 2), true).expect("joins");
        assert_eq!((agreed.map, agreed.virgin), (MapSent::Everything, true));
        let joined = agreed.metadata;
        assert_eq!(
            (joined.resuid, joined.localcnt, joined.remotecnt),
            (8, 2, 5)
        );
        assert_eq!(joined.inconsistent, Some(Inconsistent::Unmapped));

        let virgin = Hello {
            virgin: true,
            ..hello(8, 0, 0)
        };
        let agreed = decide(metadata(0, 0, 0), &virgin, true).expect("joins");
        assert_eq!(
            (agreed.map, agreed.metadata.inconsistent),
            (MapSent::Nothing, None)
        );
    }

    #[test]
    fn a_base_primary_is_believed_to_have_finished_only_when_in_step() {
        let unmapped = Some(Inconsistent::Unmapped);
        let after = |inconsistent, primary: Hello| {
            let metadata = Metadata {
                inconsistent,
                ..metadata(7, 3, 3)
            };
            decide(metadata, &primary, false)
                .expect("agrees")
                .metadata
                .inconsistent
        };
        assert_eq!(after(None, hello(7, 4, 3)), unmapped, "out of date");
        assert_eq!(after(unmapped, hello(7, 3, 3)), None, "in step again");
        assert_eq!(
            after(Some(Inconsistent::Mapped), hello(7, 3, 3)),
            unmapped,
            "copied only now"
        );
    }
}
