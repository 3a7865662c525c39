//! The status of a resource as far as the main process knows it without asking its worker.
//!
//! Never promises anything: what only a worker can know is said to be unknown.

use std::time::Instant;

use super::lifecycle::Stage;
use super::managed::Managed;
use crate::control::{
    Condition, Connection, Details, LocalState, PeerState, Queues, ResourceStatus, Statistics,
    WorkerStatus,
};
use crate::terms::Role;

/// What the main process knows by itself.
pub(super) fn known_status(managed: &Managed) -> ResourceStatus {
    let resource = &managed.resource;
    ResourceStatus {
        provname: resource.provname.clone(),
        localpath: resource.local.display().to_string(),
        remoteaddr: resource.remote_text().to_owned(),
        sourceaddr: resource.source.as_ref().map(ToString::to_string),
        replication: resource.replication,
        checksum: resource.checksum,
        compression: resource.compression,
        role: managed.lifecycle.role(),
        workerpid: managed
            .worker
            .as_ref()
            .map_or(0, |worker| worker.pid().cast_signed()),
        invited: managed
            .claims
            .invited(Instant::now())
            .map(|ago| ago.as_secs() as u32),
        worker: None,
    }
}

/// The status of a resource whose worker can not be asked.
pub(super) fn status_without_report(managed: &Managed) -> ResourceStatus {
    let mut status = known_status(managed);
    let complaint = managed.complaint.message();
    status.worker = match (managed.lifecycle.stage(), managed.lifecycle.role()) {
        // Its workers come and go with the primary's attempts: why the last one went is what counts.
        (Stage::Idle | Stage::Starting, Role::Secondary) if complaint.is_some() => {
            complaint.map(unknown)
        }
        _ if managed.lifecycle.is_superseded() => Some(WorkerStatus {
            condition: Condition::Superseded,
            ..unknown(complaint.unwrap_or("the other node went on as primary"))
        }),
        (Stage::Idle | Stage::Running | Stage::Superseded, _) => None,
        (Stage::Starting, _) => Some(unknown("the role is being taken; ask again in a moment")),
        (Stage::Stopping, _) => Some(unknown(
            "the worker process is ending; ask again in a moment",
        )),
        (Stage::BackOff, _) => {
            let why = complaint.unwrap_or("the worker process died");
            Some(unknown(&format!("{why}; it will be started again")))
        }
    };
    if managed.complaint.is_split_brain()
        && let Some(details) = status.worker.as_mut().and_then(|it| it.details.as_mut())
    {
        details.peer = PeerState::SplitBrain;
    }
    status
}

/// A status that promises nothing, and says why.
pub(super) fn unknown(reason: &str) -> WorkerStatus {
    WorkerStatus {
        condition: Condition::Degraded,
        dirty: 0,
        extentsize: 0,
        keepdirty: 0,
        statistics: Statistics::default(),
        queues: Queues::default(),
        details: Some(Details {
            connection: Connection::Disconnected,
            peer: PeerState::Unknown,
            local: LocalState::Unknown,
            synchronisation: None,
            holding: None,
            reason: Some(reason.to_owned()),
        }),
    }
}
