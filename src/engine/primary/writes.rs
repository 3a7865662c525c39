//! What the results of a write or delete mean, and when it is acknowledged.
//!
//! | local | peer | then |
//! | --- | --- | --- |
//! | done | done | acknowledged |
//! | done | in memory | acknowledged in memsync |
//! | done | not yet | acknowledged in async |
//! | done | failed, lost, away | the peer is behind; acknowledged once localcnt is raised |
//! | failed | done | this node is stale; acknowledged once it is durable there and known to be ahead |
//! | failed | failed, lost, away | fails |
//!
//! While this node is stale somewhere, or has no permit to go on alone (`permit`), nothing is acknowledged
//! that the peer does not have.

use super::requests::{Side, Stage};
use super::{Action, Ahead, DisconnectReason, Notice, Primary, Sent};
use crate::engine::metadata_log::Written;
use crate::engine::{Command, Operation, Outcome, Owner, PeerState, Range};
use crate::layout::Inconsistent;
use crate::terms::Replication;
use nix::errno::Errno;

impl Primary {
    pub(super) fn settle_write(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let range = pending.request.range;
        match (pending.local, pending.remote) {
            (Side::Outstanding, _) => {}
            (Side::Done, Side::Done) => {
                self.map.end(range, true);
                self.finish(id, Ok(()), actions);
                self.release_range(range, actions);
            }
            (Side::Done, Side::Received) => self.acknowledge(id, Ok(()), actions),
            (Side::Done, Side::Outstanding) => {
                if pending.mode == Replication::Async && self.may_run_ahead() {
                    self.acknowledge(id, Ok(()), actions);
                }
            }
            (Side::Done, remote) => self.only_here(id, range, remote, actions),
            (_, Side::Outstanding | Side::Received) => {}
            (local, Side::Done) => self.only_there(id, range, local, actions),
            (local, remote) => self.nowhere(id, range, local, remote, actions),
        }
    }

    /// The local disk has it, the peer has not.
    fn only_here(&mut self, id: u64, range: Range, remote: Side, actions: &mut Vec<Action>) {
        self.set_behind(range);
        self.map.end(range, false);
        let acknowledged = self
            .requests
            .get(&id)
            .is_some_and(|pending| pending.acknowledged);
        if self.is_held(id) {
            self.hold(id, remote, actions);
        } else if !self.leans_on_peer() {
            let generation = self.raise();
            self.finish_after(id, generation, actions);
        } else if acknowledged {
            self.finish(id, Ok(()), actions);
        } else if matches!(remote, Side::Failed(_)) {
            self.finish(id, Err(Errno::EIO), actions);
        } else {
            self.again(id, actions);
        }
        self.release_range(range, actions);
    }

    /// The peer has it, the local disk has not. Until the peer has flushed it, the local copy is still
    /// the one to rely on: the peer may lose it yet.
    fn only_there(&mut self, id: u64, range: Range, local: Side, actions: &mut Vec<Action>) {
        if self.may_peer_lack() {
            // Each would lack something of the other: the write did not happen, the peer's is undone.
            return self.nowhere(id, range, local, Side::Done, actions);
        }
        let errno = if let Side::Failed(errno) = local {
            errno
        } else {
            Errno::EIO
        };
        self.set_stage(
            id,
            Stage::Leading {
                flushed: false,
                errno,
            },
        );
        self.leaders.insert(id);
        self.flush_after(id, actions);
    }

    /// Makes durable what the peer has.
    fn flush_after(&mut self, id: u64, actions: &mut Vec<Action>) {
        let epoch = self.map.begin_barrier();
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.epoch = Some(epoch);
        }
        let seq = self.take_seq(Sent::FlushAfter(id));
        let operation = Operation {
            owner: Owner::Request(id),
            part: 1,
        };
        let none = Range::new(0, 0);
        let command = Command::Flush;
        actions.push(Action::Send {
            seq,
            operation,
            command,
            range: none,
            memsync: false,
        });
    }

    /// Whether another write in the extents of `range` is under way.
    fn is_written_beside(&self, id: u64, range: Range) -> bool {
        let whole = self.whole_extents(range);
        self.requests.iter().any(|(other, pending)| {
            *other != id
                && pending.stage == Stage::Running
                && pending.request.command.mutates()
                && pending.request.range.overlaps(whole)
        })
    }

    /// Whether a change may be acknowledged before the peer has answered. Who is about to lean on it gives it
    /// no more to catch up with.
    fn may_run_ahead(&self) -> bool {
        self.may_go_alone() && self.leaders.is_empty()
    }

    /// Whether a change was acknowledged that the peer has not answered.
    fn is_peer_behind_what_was_said(&self) -> bool {
        self.requests.values().any(|pending| {
            pending.acknowledged
                && pending.stage == Stage::Running
                && pending.remote == Side::Outstanding
                && pending.request.command.mutates()
        })
    }

    /// Whether an extent of `range` becomes stale here as soon as the peer has made a write to it durable.
    pub(super) fn is_about_to_be_stale(&self, range: Range) -> bool {
        let whole = self.whole_extents(range);
        self.leaders.iter().any(|id| {
            self.requests.get(id).is_some_and(|pending| {
                matches!(pending.stage, Stage::Leading { flushed: false, .. })
                    && pending.request.range.overlaps(whole)
                    && !self.is_stale(pending.request.range)
            })
        })
    }

    fn is_stale(&self, range: Range) -> bool {
        let mut extents = self.geometry.extents_of(range.offset, range.length);
        extents.all(|extent| self.map.stale().test(extent))
    }

    /// The extents that a range touches, from the first's beginning to the last's end.
    fn whole_extents(&self, range: Range) -> Range {
        let extents = self.geometry.extents_of(range.offset, range.length);
        let (start, _) = self.geometry.range_of(*extents.start());
        let (last, length) = self.geometry.range_of(*extents.end());
        Range::new(start, last + length - start)
    }

    /// Whether the peer lacks something, or does not know yet that it lacks nothing.
    fn may_peer_lack(&self) -> bool {
        let untold = self.together().is_some_and(|peer| {
            self.told.is_none() && peer.remotecnt < self.metadata.get().localcnt
        });
        untold || self.told == Some(PeerState::Inconsistent) || !self.map.behind().is_empty()
    }

    /// Neither copy can be relied on to have it.
    fn nowhere(
        &mut self,
        id: u64,
        range: Range,
        local: Side,
        remote: Side,
        actions: &mut Vec<Action>,
    ) {
        self.set_behind(range);
        self.map.end(range, false);
        let errno = match (local, remote) {
            (Side::Failed(errno), _) | (_, Side::Failed(errno)) => errno,
            _ => Errno::EIO,
        };
        if remote == Side::Lost && self.leans_on_peer() {
            self.again(id, actions);
        } else {
            self.finish(id, Err(errno), actions);
        }
        self.release_range(range, actions);
    }

    /// Not acknowledged and worth another try when the peer is back, or at once if it is.
    pub(super) fn again(&mut self, id: u64, actions: &mut Vec<Action>) {
        self.wait_for_peer(id);
        if self.together().is_some() {
            self.waiting_peer.remove(&id);
            self.admit(id, actions);
        }
    }

    /// Sees to it that both nodes know, durably, that the peer has what this node lacks.
    fn declare_ahead(&mut self, actions: &mut Vec<Action>) {
        let generation = self
            .metadata
            .change(|metadata| metadata.inconsistent = Some(Inconsistent::Mapped));
        self.mapped_generation = generation;
        if self.ahead != Ahead::No {
            return;
        }
        let Some(peer) = self.together_mut() else {
            return;
        };
        if !peer.extension {
            self.ahead = if self.metadata.is_durable(generation) {
                Ahead::Told
            } else {
                Ahead::Noting(generation)
            };
            return;
        }
        peer.localcnt += 1;
        let localcnt = peer.localcnt;
        self.source_localcnt = Some(localcnt);
        self.ahead = Ahead::Telling;
        let state = PeerState::Ahead;
        let seq = self.take_seq(Sent::State(state));
        let remotecnt = localcnt;
        actions.push(Action::SendState {
            seq,
            state,
            localcnt,
            remotecnt,
        });
    }

    pub(super) fn ahead_told(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if outcome.is_err() {
            actions.push(Action::Disconnect(DisconnectReason::PeerCannotStore));
            return;
        }
        self.ahead = Ahead::Told;
        self.settle_leading(actions);
    }

    pub(super) fn ahead_settled_by(&mut self, written: Written, actions: &mut Vec<Action>) {
        let Ahead::Noting(generation) = self.ahead else {
            return self.settle_leading(actions);
        };
        match written {
            Written::Durable(reached) if generation <= reached => {
                self.ahead = Ahead::Told;
                self.settle_leading(actions);
            }
            Written::Failed(reached) if generation <= reached => {
                self.ahead = Ahead::No;
                for id in self.leaders.clone() {
                    self.finish_leading(id, Err(Errno::EIO), actions);
                }
            }
            Written::Durable(_) | Written::Failed(_) => {}
        }
    }

    /// The flush behind a write that only the peer has was answered.
    pub(super) fn flushed_after(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let Stage::Leading { errno, .. } = pending.stage else {
            return;
        };
        let range = pending.request.range;
        let epoch = pending.epoch.unwrap_or_default();
        let peer_has_it = matches!(outcome, Ok(()) | Err(Errno::EOPNOTSUPP));
        if peer_has_it
            && (self.is_written_beside(id, range)
                || self.map.is_written_since(range, epoch)
                || self.is_peer_behind_what_was_said())
        {
            // An extent becomes stale with all that is in it: what else was written there has to be
            // durable at the peer, too; and so has whatever was acknowledged before it had it (async),
            // anywhere, because it is the one to lean on. No more comes meanwhile, so that this ends.
            return self.flush_after(id, actions);
        }
        if !peer_has_it || self.may_peer_lack() {
            self.set_behind(range);
            self.map.end(range, false);
            return self.finish_leading(id, Err(errno), actions);
        }
        if self.map.stale().is_empty() {
            actions.push(Action::Notice(Notice::LocalStale));
        }
        for extent in self.geometry.extents_of(range.offset, range.length) {
            self.map.set_stale(extent);
        }
        self.map.end(range, false);
        self.set_stage(
            id,
            Stage::Leading {
                flushed: true,
                errno,
            },
        );
        self.declare_ahead(actions);
        self.settle_leading(actions);
        self.wake_waiting_copy(actions);
    }

    fn settle_leading(&mut self, actions: &mut Vec<Action>) {
        // Both have to know it: a worker that replaces this one is to find it, too. A disk that takes no
        // metadata either is beyond that; the peer knows.
        let noted = self.metadata.is_durable(self.mapped_generation) || self.metadata.is_failing();
        if self.ahead != Ahead::Told || !noted {
            return;
        }
        for id in self.leaders.clone() {
            let stage = self.requests.get(&id).map(|pending| &pending.stage);
            if matches!(stage, Some(Stage::Leading { flushed: true, .. })) {
                self.finish_leading(id, Ok(()), actions);
            }
        }
    }

    fn finish_leading(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let range = pending.request.range;
        self.leaders.remove(&id);
        self.finish(id, outcome, actions);
        self.release_range(range, actions);
        self.wake_waiting_copy(actions);
    }

    /// The peer went away before a write that only it has could be acknowledged.
    pub(super) fn leading_lost(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.leaders) {
            let Some(pending) = self.requests.get(&id) else {
                continue;
            };
            let range = pending.request.range;
            if let Stage::Leading {
                flushed: false,
                errno,
            } = pending.stage
            {
                self.set_behind(range);
                self.map.end(range, false);
                self.finish(id, Err(errno), actions);
            } else {
                self.again(id, actions);
            }
            self.release_range(range, actions);
        }
    }
}
