//! How a secondary is, for hastctl.

use crate::control::{Condition, Connection, Details, LocalState, PeerState, Queues, WorkerStatus};
use crate::layout::Metadata;
use crate::worker::counts::Counts;
use crate::worker::local::Local;

/// How a secondary is. What the two copies are to each other the primary knows.
pub fn report(local: &Local, metadata: &Metadata, counts: &Counts, queues: Queues) -> WorkerStatus {
    let inconsistent = metadata.inconsistent.is_some();
    WorkerStatus {
        condition: if inconsistent {
            Condition::Syncing
        } else {
            Condition::Complete
        },
        dirty: 0,
        extentsize: metadata.extentsize,
        keepdirty: 0,
        statistics: counts.statistics(local),
        queues,
        details: Some(Details {
            connection: Connection::Connected,
            peer: PeerState::UpToDate,
            local: if inconsistent {
                LocalState::Inconsistent
            } else {
                LocalState::UpToDate
            },
            synchronisation: None,
            reason: local
                .last_failure()
                .map(|failure| format!("last failure: {failure}")),
        }),
    }
}
