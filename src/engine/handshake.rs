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
    /// None: neither node ever wrote.
    Nothing,
    /// The one on the secondary's disk.
    OnDisk,
    /// One with every extent set.
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
        let complete = known && in_step;
        metadata.inconsistent = match source {
            Source::Primary if complete => None,
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
