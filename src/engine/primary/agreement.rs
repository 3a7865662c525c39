//! How a synchronisation ends: a barrier, the counters, and the word to the peer.
//!
//! ```text
//! Open --nothing left to copy--> Flushing --both flushed--> Noting --stored--> Telling --> Reached
//!   ^                                |                         |                  |           |
//!   +------------- something to copy again, a failure, or the connection lost ----+-----------+
//! ```
//!
//! Invariant: `Reached` means that the peer holds everything acknowledged, has flushed what was copied,
//! and both nodes' counters agree crosswise on their disks.

use super::requests::Side;
use super::{Action, Ahead, DisconnectReason, Notice, Primary, Sent, Stop};
use crate::engine::metadata_log::Generation;
use crate::engine::{Command, Operation, Outcome, Owner, PeerState, Range};
use nix::errno::Errno;

/// The owner number of barriers; pieces are numbered from the next on.
pub(super) const BARRIER: u64 = 0;

/// How far the two copies have come to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// They do not, or not yet.
    Open,
    /// What was copied is being flushed.
    Flushing,
    /// The counters are being stored here.
    Noting(Generation),
    /// The peer stores them.
    Telling,
    /// They do.
    Reached,
}

/// A flush of both copies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Barrier {
    number: u32,
    epoch: u64,
    local: Side,
    remote: Side,
}

impl Primary {
    pub(super) fn advance_agreement(&mut self, actions: &mut Vec<Action>) {
        let Some(peer) = self.together().copied() else {
            return;
        };
        let differ = !self.map.behind().is_empty() || !self.map.stale().is_empty();
        match self.agreement {
            _ if differ => self.agreement = Agreement::Open,
            Agreement::Open
                if self.barrier.is_none() && self.copies.is_idle() && !self.is_stopping() =>
            {
                if self.now >= self.barrier_retry_at {
                    self.begin_barrier(actions);
                    self.agreement = Agreement::Flushing;
                }
            }
            // With whatever changed since: the peer hears of it.
            Agreement::Noting(_) if self.metadata.is_durable(self.metadata.generation()) => {
                if peer.extension {
                    self.tell_consistent(peer.localcnt, actions);
                } else {
                    self.reach(actions);
                }
            }
            Agreement::Open
            | Agreement::Flushing
            | Agreement::Noting(_)
            | Agreement::Telling
            | Agreement::Reached => {}
        }
    }

    /// Stores that both nodes have the same: nothing is stale here, and the counters are the peer's.
    fn note(&mut self) {
        let Some(peer) = self.together().copied() else {
            return;
        };
        if !peer.extension {
            // A base secondary cannot be told our counters, so ours follow what it knows. From here on
            // whatever is acknowledged without it counts anew.
            self.raised = false;
        }
        let leant = self.metadata.get().inconsistent.is_some();
        let generation = self.metadata.change(|metadata| {
            metadata.inconsistent = None;
            metadata.remotecnt = peer.localcnt;
            if !peer.extension {
                metadata.localcnt = peer.remotecnt;
            }
        });
        if leant {
            self.unmapped_generation = generation;
        }
        self.agreement = Agreement::Noting(generation);
    }

    fn tell_consistent(&mut self, remotecnt: u64, actions: &mut Vec<Action>) {
        let state = PeerState::Consistent;
        let localcnt = self.metadata.get().localcnt;
        // The peer will know this count: what is acknowledged without it after this counts anew.
        self.raised = false;
        self.told = Some(state);
        self.agreement = Agreement::Telling;
        let seq = self.take_seq(Sent::State(state));
        actions.push(Action::SendState {
            seq,
            state,
            localcnt,
            remotecnt,
        });
    }

    fn reach(&mut self, actions: &mut Vec<Action>) {
        self.agreement = Agreement::Reached;
        self.ahead = Ahead::No;
        self.unconfirmed = false;
        self.peer_inconsistent = false;
        self.source_localcnt = None;
        if self.copies.end() {
            actions.push(Action::Notice(Notice::SynchronisationDone));
        }
    }

    pub(super) fn state_replied(
        &mut self,
        state: PeerState,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        match (state, outcome) {
            (PeerState::Ahead, _) => self.ahead_told(outcome, actions),
            (PeerState::Inconsistent, Ok(())) => {}
            (PeerState::Consistent, Ok(())) => {
                if self.agreement == Agreement::Telling {
                    self.reach(actions);
                }
            }
            (PeerState::Consistent, Err(_)) if !self.map.behind().is_empty() => {
                // It failed a write meanwhile, and says so by refusing; the write's answer said it too.
                self.told = None;
            }
            (PeerState::Inconsistent | PeerState::Consistent, Err(_)) => {
                self.leave(DisconnectReason::PeerCannotStore, actions);
            }
        }
    }

    /// Begins a flush of both copies, or of ours alone where the peer is away.
    pub(super) fn begin_barrier(&mut self, actions: &mut Vec<Action>) {
        if self.barrier.is_some() {
            return;
        }
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
        if both {
            self.map.end_barrier(barrier.epoch);
            self.map.evict(self.is_stopping().then_some(0));
        } else {
            self.barrier_retry_at = self.now + BARRIER_RETRY;
        }
        if self.agreement == Agreement::Flushing {
            self.agreement = Agreement::Open;
            if both && self.together().is_some() {
                self.note();
            }
        }
        if self.stop == Stop::Flushing(barrier.number) {
            self.stop = Stop::Flushed;
        }
        self.advance_agreement(actions);
    }

    /// The last flush before the end; true once it is over.
    pub(super) fn stop_barrier(&mut self, actions: &mut Vec<Action>) -> bool {
        if self.stop == Stop::Asked && self.barrier.is_none() {
            self.begin_barrier(actions);
            self.stop = Stop::Flushing(self.barrier_number);
        }
        self.stop == Stop::Flushed
    }
}

/// How long a flush that failed is not repeated, in milliseconds.
const BARRIER_RETRY: u64 = 5_000;
