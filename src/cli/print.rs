//! The texts of `status`, `list` and `dump`. Base's lines are base's to the byte, in its order;
//! ours stand between them.

use super::humanize;
use crate::control::{
    Details, Direction, Failure, Holding, ResourceStatus, StatusReply, Synchronisation,
    WorkerStatus,
};
use crate::layout::Metadata;
use crate::layout::block::Found;
use std::fmt::Write;
use std::time::Duration;

/// `hastctl status`: a line a resource under one heading.
pub fn status(reply: &StatusReply) -> String {
    let mut text = String::new();
    if !reply.resources.is_empty() {
        line!(text, "Name\tStatus\t Role\t\tComponents");
    }
    for (name, result) in &reply.resources {
        match result {
            Ok(status) => line!(
                text,
                "{name}\t{:<9}{:<15}{}\t{}{}",
                status
                    .worker
                    .as_ref()
                    .map_or("-", |worker| worker.condition.word()),
                status.role,
                status.localpath,
                status.remoteaddr,
                synchronisation(status)
                    .map(percentage_column)
                    .unwrap_or_default(),
            ),
            Err(failure) => line!(text, "{name}\tERR{}", failure.code.0),
        }
    }
    text
}

/// While synchronising, how far it is stands behind base's columns.
fn percentage_column(synchronisation: &Synchronisation) -> String {
    format!("\t{}%", percentage(synchronisation))
}

fn synchronisation(status: &ResourceStatus) -> Option<&Synchronisation> {
    status
        .worker
        .as_ref()?
        .details
        .as_ref()?
        .synchronisation
        .as_ref()
}

/// Rounded down: 100 only when all is copied.
fn percentage(synchronisation: &Synchronisation) -> u64 {
    let (done, total) = (
        u128::from(synchronisation.done),
        u128::from(synchronisation.total),
    );
    (done * 100)
        .checked_div(total)
        .map_or(100, |percentage| percentage.min(100) as u64)
}

/// `hastctl list`: everything, in lines.
pub fn list(reply: &StatusReply) -> String {
    let mut text = String::new();
    for (name, result) in &reply.resources {
        line!(text, "{name}:");
        match result {
            Ok(status) => list_one(&mut text, status),
            Err(failure) => list_failure(&mut text, failure),
        }
    }
    text
}

fn list_failure(text: &mut String, failure: &Failure) {
    line!(text, "  error: {}", failure.code.0);
    line!(text, "  reason: {failure}");
}

fn list_one(text: &mut String, status: &ResourceStatus) {
    let worker = status.worker.as_ref();
    // Without a worker base prints zeros.
    let extentsize = worker.map_or(0, |worker| worker.extentsize);
    let keepdirty = worker.map_or(0, |worker| worker.keepdirty);
    let dirty = worker.map_or(0, |worker| worker.dirty);

    line!(text, "  role: {}", status.role);
    line!(text, "  provname: {}", status.provname);
    line!(text, "  localpath: {}", status.localpath);
    line!(
        text,
        "  extentsize: {extentsize} ({})",
        humanize::bytes(u64::from(extentsize))
    );
    line!(text, "  keepdirty: {keepdirty}");
    line!(text, "  remoteaddr: {}", status.remoteaddr);
    if let Some(source) = &status.sourceaddr {
        line!(text, "  sourceaddr: {source}");
    }
    line!(text, "  replication: {}", status.replication);
    if let Some(worker) = worker {
        line!(text, "  status: {}", worker.condition);
    }
    if status.workerpid != 0 {
        line!(text, "  workerpid: {}", status.workerpid);
    }
    line!(text, "  dirty: {dirty} ({})", humanize::bytes(dirty));
    if let Some(details) = worker.and_then(|worker| worker.details.as_ref()) {
        list_details(text, details);
    }
    list_counts(text, worker);
}

/// The lines that are ours.
fn list_details(text: &mut String, details: &Details) {
    line!(text, "  connection: {}", details.connection);
    line!(text, "  peer: {}", details.peer);
    line!(text, "  local: {}", details.local);
    if let Some(synchronisation) = &details.synchronisation {
        let Synchronisation {
            direction,
            done,
            total,
            rate,
        } = *synchronisation;
        let way = match direction {
            Direction::ToPeer => "to the peer",
            Direction::FromPeer => "from the peer",
        };
        let left = match total.saturating_sub(done).checked_div(rate) {
            Some(seconds) => format!("{} left", humanize::duration(Duration::from_secs(seconds))),
            None => "time left unknown".to_owned(),
        };
        line!(
            text,
            "  synchronisation: {way}, {}% ({} of {}), {}/s, {left}",
            percentage(synchronisation),
            humanize::bytes(done),
            humanize::bytes(total),
            humanize::bytes(rate),
        );
    }
    if let Some(Holding { left, held }) = details.holding {
        match left {
            0 => line!(text, "  permit: run out, {held} requests held"),
            left => line!(text, "  permit: {left} s to go on alone"),
        }
    }
    if let Some(reason) = &details.reason {
        line!(text, "  reason: {reason}");
    }
}

fn list_counts(text: &mut String, worker: Option<&WorkerStatus>) {
    let counts = worker.map(|worker| worker.statistics).unwrap_or_default();
    let queues = worker.map(|worker| worker.queues).unwrap_or_default();
    line!(text, "  statistics:");
    line!(text, "    reads: {}", counts.read);
    line!(text, "    writes: {}", counts.write);
    line!(text, "    deletes: {}", counts.delete);
    line!(text, "    flushes: {}", counts.flush);
    line!(text, "    activemap updates: {}", counts.activemap_update);
    line!(
        text,
        "    local errors: read: {}, write: {}, delete: {}, flush: {}",
        counts.read_error,
        counts.write_error,
        counts.delete_error,
        counts.flush_error,
    );
    line!(
        text,
        "    queues: local: {}, send: {}, recv: {}, done: {}, idle: {}",
        queues.local,
        queues.send,
        queues.receive,
        queues.done,
        queues.idle,
    );
}

/// `hastctl dump`: the metadata of one component.
pub fn dump(metadata: &Metadata, found: Found) -> String {
    let mut text = String::new();
    line!(text, "resource: {}", metadata.resource);
    let (data, extent) = (metadata.datasize, metadata.extentsize);
    line!(text, "    datasize: {data} ({})", humanize::bytes(data));
    line!(
        text,
        "    extentsize: {extent} ({})",
        humanize::bytes(u64::from(extent))
    );
    line!(text, "    keepdirty: {}", metadata.keepdirty);
    line!(text, "    localoff: {}", metadata.offset);
    line!(text, "    resuid: {}", metadata.resuid);
    line!(text, "    localcnt: {}", metadata.localcnt);
    line!(text, "    remotecnt: {}", metadata.remotecnt);
    line!(text, "    prevrole: {}", metadata.prevrole);
    line!(text, "    record: {}", metadata.record);
    if matches!(found, Found::Void | Found::Damaged) {
        line!(text, "    note: the component {found}");
    }
    text
}
