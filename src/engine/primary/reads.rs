//! Reads: each extent from the side that is current there, and from the peer where the local disk fails.

use super::requests::Stage;
use super::{Action, Primary, Sent};
use crate::engine::{Command, Operation, Outcome, Owner, Range};
use nix::errno::Errno;

/// The parts a read was cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    ranges: Vec<Range>,
    outstanding: u32,
    failed: Option<Errno>,
    /// A part was lost with the connection, and only the peer has it.
    again: bool,
}

impl Primary {
    pub(super) fn start_read(&mut self, id: u64, range: Range, actions: &mut Vec<Action>) {
        let runs = self.runs(range);
        if runs.iter().any(|(_, stale)| *stale) && self.together().is_none() {
            self.wait_for_peer(id);
            return;
        }
        let parts = Parts {
            ranges: runs.iter().map(|(range, _)| *range).collect(),
            outstanding: runs.len() as u32,
            failed: None,
            again: false,
        };
        self.set_stage(id, Stage::Reading(parts));
        for (part, (range, stale)) in runs.into_iter().enumerate() {
            let operation = Operation {
                owner: Owner::Request(id),
                part: part as u32,
            };
            if stale {
                self.read_from_peer(operation, range, actions);
            } else {
                actions.push(Action::ReadLocal(operation, range));
            }
        }
    }

    fn read_from_peer(&mut self, operation: Operation, range: Range, actions: &mut Vec<Action>) {
        let seq = self.take_seq(Sent::Operation(operation));
        let command = Command::Read;
        actions.push(Action::Send {
            seq,
            operation,
            command,
            range,
            memsync: false,
        });
    }

    /// Cuts a range where the current side changes; true marks what is stale here.
    fn runs(&self, range: Range) -> Vec<(Range, bool)> {
        if self.map.stale().is_empty() {
            return vec![(range, false)];
        }
        let mut runs: Vec<(Range, bool)> = Vec::new();
        for extent in self.geometry.extents_of(range.offset, range.length) {
            let stale = self.map.stale().test(extent);
            let (start, length) = self.geometry.range_of(extent);
            let (from, to) = (start.max(range.offset), (start + length).min(range.end()));
            match runs.last_mut() {
                Some((run, same)) if *same == stale => run.length += to - from,
                _ => runs.push((Range::new(from, to - from), stale)),
            }
        }
        runs
    }

    pub(super) fn part_done(
        &mut self,
        id: u64,
        part: u32,
        outcome: Outcome,
        from_peer: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(range) = self.part_range(id, part) else {
            return;
        };
        if outcome.is_err() && !from_peer && self.peer_has(range) {
            let operation = Operation {
                owner: Owner::Request(id),
                part,
            };
            self.read_from_peer(operation, range, actions);
            return;
        }
        // It may have failed a write there before it answered.
        let outcome = if from_peer && outcome.is_ok() && !self.peer_has(range) {
            Err(Errno::EIO)
        } else {
            outcome
        };
        self.part_ended(
            id,
            |parts| {
                if let Err(errno) = outcome {
                    parts.failed.get_or_insert(errno);
                }
            },
            actions,
        );
    }

    /// The connection ended before the peer answered a part.
    pub(super) fn part_lost(&mut self, id: u64, part: u32, actions: &mut Vec<Action>) {
        let Some(range) = self.part_range(id, part) else {
            return;
        };
        let stale = self.runs(range).iter().any(|(_, stale)| *stale);
        self.part_ended(
            id,
            |parts| {
                if stale {
                    parts.again = true;
                } else {
                    parts.failed.get_or_insert(Errno::EIO);
                }
            },
            actions,
        );
    }

    fn part_ended(&mut self, id: u64, change: impl FnOnce(&mut Parts), actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get_mut(&id) else {
            return;
        };
        let Stage::Reading(parts) = &mut pending.stage else {
            return;
        };
        change(parts);
        parts.outstanding -= 1;
        if parts.outstanding > 0 {
            return;
        }
        match (parts.failed, parts.again) {
            (Some(errno), _) => self.finish(id, Err(errno), actions),
            (None, true) => self.again(id, actions),
            (None, false) => self.finish(id, Ok(()), actions),
        }
    }

    fn part_range(&self, id: u64, part: u32) -> Option<Range> {
        match &self.requests.get(&id)?.stage {
            Stage::Reading(parts) => parts.ranges.get(part as usize).copied(),
            _ => None,
        }
    }

    /// Whether the peer is there and current for all of a range.
    fn peer_has(&self, range: Range) -> bool {
        let mut extents = self.geometry.extents_of(range.offset, range.length);
        self.together().is_some() && extents.all(|extent| !self.map.behind().test(extent))
    }
}
