//! A flush of both copies, or of this one alone where the peer is away.
//!
//! Never decides what follows from it: that is told to `making`. Invariant: one at a time; it covers what
//! had ended on both copies when it began.

use super::requests::Side;
use super::{Action, Primary, Sent};
use crate::engine::activemap::Epoch;
use crate::engine::{Command, Operation, Outcome, Owner, Range};
use nix::errno::Errno;

/// The owner number of barriers; pieces are numbered from the next on.
pub(super) const BARRIER: u64 = 0;

/// How long a flush that failed is not repeated, in milliseconds.
pub(super) const BARRIER_RETRY: u64 = 5_000;

/// A flush of both copies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Barrier {
    number: u32,
    epoch: Epoch,
    local: Side,
    remote: Side,
}

impl Primary {
    pub(super) fn begin_barrier(&mut self, actions: &mut Vec<Action>) {
        assert!(self.barrier.is_none(), "one barrier at a time");
        self.barrier_number += 1;
        let number = self.barrier_number;
        let operation = Operation {
            owner: Owner::Engine(BARRIER),
            part: number,
        };
        let epoch = self.map.begin_barrier();
        let mut remote = Side::Unused;
        if self.together().is_some() {
            remote = Side::Outstanding;
            let seq = self.take_seq(Sent::Barrier);
            let (command, range) = (Command::Flush, Range::new(0, 0));
            actions.push(Action::Send {
                seq,
                operation,
                command,
                range,
                memsync: false,
            });
        }
        actions.push(Action::FlushLocal(operation));
        self.barrier = Some(Barrier {
            number,
            epoch,
            local: Side::Outstanding,
            remote,
        });
    }

    pub(super) fn barrier_local_done(
        &mut self,
        number: u32,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        if let Some(barrier) = &mut self.barrier
            && barrier.number == number
        {
            barrier.local = outcome.map_or_else(Side::Failed, |()| Side::Done);
            self.settle_barrier(actions);
        }
    }

    pub(super) fn barrier_peer_done(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if let Some(barrier) = &mut self.barrier {
            barrier.remote = match outcome {
                // No volatile cache, nothing to flush.
                Ok(()) | Err(Errno::EOPNOTSUPP) => Side::Done,
                Err(errno) => Side::Failed(errno),
            };
            self.settle_barrier(actions);
        }
    }

    pub(super) fn barrier_lost(&mut self, actions: &mut Vec<Action>) {
        if let Some(barrier) = &mut self.barrier {
            barrier.remote = Side::Lost;
            self.settle_barrier(actions);
        }
    }

    fn settle_barrier(&mut self, actions: &mut Vec<Action>) {
        let Some(barrier) = self.barrier else { return };
        if !barrier.local.is_final() || !barrier.remote.is_final() {
            return;
        }
        self.barrier = None;
        let both = barrier.local == Side::Done && barrier.remote == Side::Done;
        if !both {
            self.barrier_retry_at = self.now + BARRIER_RETRY;
        }
        self.flushed_for_point(both.then_some(barrier.epoch), actions);
    }
}
