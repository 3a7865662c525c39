//! How a primary is, for hastctl.

use std::collections::VecDeque;

use super::Primary;
use super::meeting::State;
use crate::control::{
    Condition, Connection, Details, Direction, Holding, LocalState, PeerState, Queues,
    Synchronisation, WorkerStatus,
};
use crate::engine::primary::{self, Progress, Status};
use crate::worker::lock;

/// Seconds over which the rate of a synchronisation is averaged.
const RATE_WINDOW: usize = 5;

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

impl Primary {
    /// How it is.
    pub(super) fn report(&self) -> WorkerStatus {
        let (status, unanswered, permit) = {
            let core = lock(&self.core);
            let permit = core.permit_in_force();
            (core.engine().status(), core.unanswered.count(), permit)
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
                holding: permit.left().map(|left| Holding {
                    left: left.as_millis().div_ceil(1000) as u32,
                    held: status.held,
                }),
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
        let mut reasons = Vec::new();
        match condition(status) {
            Condition::Complete => {}
            Condition::Syncing => reasons.push(String::from("the copies are being made equal")),
            Condition::Degraded => reasons.push(meeting.reason()),
        }
        if status.stale > 0 && !status.connected {
            reasons.push(format!(
                "{} bytes are current on the other node only, and requests for them fail until it is \
                 back",
                status.stale
            ));
        }
        if status.held > 0 {
            reasons.push(format!(
                "{} requests are held until the other node is back, because this node has no permit to go on \
                 alone",
                status.held
            ));
        }
        reasons.extend(self.local.last_failure());
        (!reasons.is_empty()).then(|| reasons.join("; "))
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
    } else if status.peer_lacks {
        PeerState::Inconsistent
    } else if status.connected && (status.up_to_date || status.stale > 0) {
        // What this node lacks is fetched from a peer that has everything.
        PeerState::UpToDate
    } else if !status.connected && status.behind > 0 && meeting.has_met() {
        PeerState::Outdated
    } else {
        PeerState::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_needs_a_peer_that_is_there_and_has_everything() {
        for (connected, up_to_date, expected) in [
            (true, true, Condition::Complete),
            (true, false, Condition::Syncing),
            (false, true, Condition::Degraded),
            (false, false, Condition::Degraded),
        ] {
            let status = Status {
                connected,
                up_to_date,
                peer_lacks: false,
                behind: 0,
                stale: 0,
                synchronising: None,
                superseded: false,
                map_updates: 0,
                requests: 0,
                held: 0,
            };
            assert_eq!(condition(&status), expected);
        }
    }
}
