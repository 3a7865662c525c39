//! How a worker is: for hastctl, and for itself to notice that the peer has gone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::local::Local;
use super::lock;
use super::meeting::State;
use super::primary::Primary;
use crate::control::{
    Condition, Connection, Details, Direction, LocalState, PeerState, Queues, Statistics,
    Synchronisation, WorkerStatus,
};
use crate::engine::Command;
use crate::engine::primary::{self, Progress, Status};
use crate::layout::Metadata;

/// Seconds over which the rate of a synchronisation is averaged.
const RATE_WINDOW: usize = 5;
/// Seconds without a message after which a keepalive is sent (spec, section 3).
const KEEPALIVE: u64 = 10;

/// How fast a synchronisation is, lately.
#[derive(Debug, Default)]
pub struct Rate {
    /// Bytes copied, at the last seconds.
    seen: VecDeque<u64>,
}

impl Rate {
    /// A second passed, and so many bytes are copied in all; `None` while there is nothing to copy.
    pub fn second(&mut self, done: Option<u64>) {
        match done {
            None => self.seen.clear(),
            Some(done) => {
                // Another synchronisation has begun.
                if self.seen.back().is_some_and(|last| done < *last) {
                    self.seen.clear();
                }
                if self.seen.len() > RATE_WINDOW {
                    self.seen.pop_front();
                }
                self.seen.push_back(done);
            }
        }
    }

    /// Bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        match (self.seen.front(), self.seen.back()) {
            (Some(first), Some(last)) if self.seen.len() > 1 => {
                (last - first) / (self.seen.len() as u64 - 1)
            }
            (_, Some(only)) => *only,
            _ => 0,
        }
    }
}

/// Requests since the worker started.
#[derive(Debug, Default)]
pub struct Counts {
    read: AtomicU64,
    write: AtomicU64,
    delete: AtomicU64,
    flush: AtomicU64,
}

impl Counts {
    /// One more.
    pub fn count(&self, command: Command) {
        let counter = match command {
            Command::Read => &self.read,
            Command::Write => &self.write,
            Command::Delete => &self.delete,
            Command::Flush => &self.flush,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn statistics(&self, local: &Local) -> Statistics {
        let mut statistics = Statistics {
            read: self.read.load(Ordering::Relaxed),
            write: self.write.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            flush: self.flush.load(Ordering::Relaxed),
            ..Statistics::default()
        };
        local.add_errors(&mut statistics);
        statistics
    }
}

/// What the connection did in the last seconds.
#[derive(Debug, Default)]
pub struct Watch {
    progress: u64,
    /// Seconds in which nothing was sent.
    unsent: u64,
    /// Of those, seconds in which there was something to be sent.
    stuck: u64,
    /// Seconds in which nothing was heard while an answer was due.
    silent: u64,
}

impl Watch {
    /// A second passed. `progress` grows with what is sent.
    pub fn second(&mut self, progress: u64, stuck: bool, due: bool, heard: bool) {
        let sent = self.progress != progress;
        self.progress = progress;
        self.unsent = if sent { 0 } else { self.unsent + 1 };
        self.stuck = if sent || !stuck { 0 } else { self.stuck + 1 };
        self.silent = if heard || !due { 0 } else { self.silent + 1 };
    }

    /// Why the peer is to be given up.
    pub fn complaint(&self, timeout: Duration) -> Option<String> {
        let seconds = timeout.as_secs();
        if self.stuck >= seconds {
            Some(format!(
                "the other node has taken nothing for {} seconds",
                self.stuck
            ))
        } else if self.silent >= seconds {
            Some(format!(
                "the other node has not answered for {} seconds",
                self.silent
            ))
        } else {
            None
        }
    }

    /// Begins anew.
    pub fn forgive(&mut self) {
        *self = Self {
            progress: self.progress,
            ..Self::default()
        };
    }

    /// Whether it is time to let the peer know that we are alive; counts as sent.
    pub fn wants_keepalive(&mut self) -> bool {
        let due = self.unsent >= KEEPALIVE;
        if due {
            self.unsent = 0;
        }
        due
    }
}

impl Primary {
    /// How it is.
    pub(super) fn report(&self) -> WorkerStatus {
        let (status, unanswered) = {
            let core = lock(&self.core);
            (core.engine().status(), core.unanswered.count())
        };
        let mut statistics = self.counts.statistics(&self.local);
        statistics.activemap_update = status.map_updates;
        let meeting = self.meeting.state();
        WorkerStatus {
            condition: condition(&status),
            dirty: status.behind + status.stale,
            extentsize: self.local.geometry().extent_size,
            keepdirty: self.keepdirty,
            statistics,
            queues: Queues {
                local: self.waiting_for_disk() as u64,
                send: self.outbox.waiting() as u64,
                receive: unanswered as u64,
                ..Queues::default()
            },
            details: Some(Details {
                connection: if status.connected {
                    Connection::Connected
                } else {
                    meeting.connection()
                },
                peer: peer_state(&status, &meeting),
                local: if status.stale > 0 {
                    LocalState::Inconsistent
                } else {
                    LocalState::UpToDate
                },
                synchronisation: status
                    .synchronising
                    .map(|progress| self.synchronisation(progress)),
                reason: self.reason(&status, &meeting),
            }),
        }
    }

    fn synchronisation(&self, progress: Progress) -> Synchronisation {
        Synchronisation {
            direction: match progress.direction {
                primary::Direction::ToPeer => Direction::ToPeer,
                primary::Direction::FromPeer => Direction::FromPeer,
            },
            done: progress.done,
            total: progress.total,
            rate: lock(&self.rate).bytes_per_second(),
        }
    }

    fn reason(&self, status: &Status, meeting: &State) -> Option<String> {
        let connection = match condition(status) {
            Condition::Complete => None,
            Condition::Syncing => Some(String::from("the copies are being made equal")),
            Condition::Degraded => Some(meeting.reason()),
        };
        let failure = self
            .local
            .last_failure()
            .map(|failure| format!("last failure: {failure}"));
        match (connection, failure) {
            (Some(connection), Some(failure)) => Some(format!("{connection}; {failure}")),
            (connection, failure) => connection.or(failure),
        }
    }
}

fn condition(status: &Status) -> Condition {
    match (status.connected, status.up_to_date) {
        (true, true) => Condition::Complete,
        (true, false) => Condition::Syncing,
        (false, _) => Condition::Degraded,
    }
}

fn peer_state(status: &Status, meeting: &State) -> PeerState {
    if meeting.is_split_brain() {
        PeerState::SplitBrain
    } else if status.connected && (status.up_to_date || status.stale > 0) {
        PeerState::UpToDate
    } else if status.connected && status.behind > 0 {
        PeerState::Inconsistent
    } else if status.behind > 0 && meeting.has_met() {
        PeerState::Outdated
    } else {
        PeerState::Unknown
    }
}

/// How a secondary is. What the two copies are to each other the primary knows.
pub fn secondary_status(
    local: &Local,
    metadata: &Metadata,
    counts: &Counts,
    queues: Queues,
) -> WorkerStatus {
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
