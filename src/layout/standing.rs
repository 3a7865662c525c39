//! What a component says about itself when two nodes meet: base's counters and our record.

use super::{Metadata, Record};

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Names the data set; 0 for a component that was never used.
    pub resuid: u64,
    /// How often its node's data moved on without the other, as base counts it.
    pub localcnt: u64,
    /// The last `localcnt` known of the other.
    pub remotecnt: u64,
    /// What it knows of who has what; the default where base speaks.
    pub record: Record,
}

impl From<&Metadata> for Standing {
    fn from(metadata: &Metadata) -> Self {
        Self {
            resuid: metadata.resuid,
            localcnt: metadata.localcnt,
            remotecnt: metadata.remotecnt,
            record: metadata.record.clone(),
        }
    }
}
