//! Admission: a request's way to the disks, and the places where it may have to wait.
//!
//! In this order: for the peer, where it alone holds current data and is away; for a handshake that
//! is being stored; for a stale extent to be fetched; for its range; for its marks. Whatever has
//! changed while it waited is looked at again.

use super::making::Purpose;
use super::{Action, Holder, Primary, Sent};
use crate::engine::metadata_log::{Revision, Written};
use crate::engine::{Command, Operation, Outcome, Owner, Range, Request};
use crate::terms::Replication;
use nix::errno::Errno;

/// How one copy's part of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Not asked: the peer is away, or the local copy is stale and broken.
    Unused,
    /// Asked.
    Outstanding,
    /// In the peer's memory (memsync).
    Received,
    /// Done.
    Done,
    /// Answered with an error.
    Failed(Errno),
    /// The connection ended before the answer.
    Lost,
}

impl Side {
    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::Outstanding | Self::Received)
    }
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// In one of the engine's waiting sets.
    Parked,
    /// For its range.
    WaitingRange,
    /// For its marks.
    WaitingMark,
    /// For the generation that what this node does alone begins.
    WaitingOwn(Revision),
    /// A write, delete or flush that was sent to the copies.
    Running,
    /// Finished but for the metadata that must be durable before it is acknowledged.
    Raising(Revision),
    /// Only the peer has it: it must be durable there (`flushed`) and known to be ahead.
    Leading { flushed: bool, errno: Errno },
    /// A read, by its parts.
    Reading(super::reads::Parts),
}

/// A request not released yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub request: Request,
    /// The mode when it was sent to the copies.
    pub mode: Replication,
    pub stage: Stage,
    pub local: Side,
    pub remote: Side,
    pub acknowledged: bool,
    /// The barrier a flush makes, where both copies take part.
    pub epoch: Option<u64>,
    /// When it began to wait for the peer.
    pub waiting_since: u64,
}

impl Primary {
    pub(super) fn submit(&mut self, request: Request, actions: &mut Vec<Action>) {
        debug_assert!(
            !self.requests.contains_key(&request.id),
            "request numbers are unique"
        );
        let pending = Pending {
            request,
            mode: self.replication,
            stage: Stage::Parked,
            local: Side::Unused,
            remote: Side::Unused,
            acknowledged: false,
            epoch: None,
            waiting_since: self.now,
        };
        self.requests.insert(request.id, pending);
        self.submitted += 1;
        self.admit(request.id, actions);
    }

    /// Lets a parked request try again from the start.
    pub(super) fn admit(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get_mut(&id) else {
            return;
        };
        pending.stage = Stage::Parked;
        let Request { command, range, .. } = pending.request;
        if self.superseded {
            return self.finish(id, Err(Errno::ENXIO), actions);
        }
        match command {
            Command::Read => self.start_read(id, range, actions),
            Command::Flush => self.start_flush(id, actions),
            Command::Write | Command::Delete => {
                if !self.is_clear(id, range) {
                    return;
                }
                if self.lock.acquire(range, Holder::Request(id)) {
                    self.granted(id, actions);
                } else {
                    self.set_stage(id, Stage::WaitingRange);
                }
            }
        }
    }

    /// Whether a change may go ahead now; otherwise it has been parked where it will be woken.
    fn is_clear(&mut self, id: u64, range: Range) -> bool {
        if self.superseded || self.is_peer_needed() {
            self.wait_for_peer(id);
            return false;
        }
        if self.is_meeting() {
            self.set_stage(id, Stage::Parked);
            self.waiting_link.push_back(id);
            return false;
        }
        if self.is_about_to_lean() || self.is_about_to_be_stale(range) {
            self.set_stage(id, Stage::Parked);
            self.waiting_copy.insert(id);
            return false;
        }
        if self.map.stale().is_empty() {
            return true;
        }
        let extents = self.geometry.extents_of(range.offset, range.length);
        let missing: Vec<u64> = extents
            .filter(|extent| self.map.stale().test(*extent) && !self.copies.is_broken(*extent))
            .collect();
        if missing.is_empty() {
            return true;
        }
        // Fetched first, so that what the peer alone holds never mixes with newer writes.
        self.copies.want(&missing);
        self.set_stage(id, Stage::Parked);
        self.waiting_copy.insert(id);
        false
    }

    /// Whether the peer's copy is the one to rely on: this one lacks something, or did until just
    /// now and that it does not is not stored yet. Nothing is acknowledged without it then.
    pub(super) fn leans_on_peer(&self) -> bool {
        self.metadata.get().record.lacks || !self.metadata.is_durable(self.unlacked)
    }

    /// Whether this disk says, and the peer knows, that the peer is relied on.
    pub(super) fn is_lean_stored(&self) -> bool {
        self.metadata.get().record.lacks
            && self.metadata.is_durable(self.lacked)
            && self.making.purpose() != Some(Purpose::Lead)
    }

    /// Whether nothing can be acknowledged because the peer is away.
    pub(super) fn is_peer_needed(&self) -> bool {
        !self.may_go_alone() && self.together().is_none()
    }

    pub(super) fn wait_for_peer(&mut self, id: u64) {
        let now = self.now;
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.stage = Stage::Parked;
            pending.local = Side::Unused;
            pending.remote = Side::Unused;
            if self.waiting_peer.insert(id) {
                pending.waiting_since = now;
            }
        }
    }

    /// The request holds its range.
    pub(super) fn granted(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let range = pending.request.range;
        if !self.is_clear(id, range) {
            self.release_range(range, actions);
        } else if self.map.begin(range) {
            self.dispatch(id, actions);
        } else {
            self.set_stage(id, Stage::WaitingMark);
            self.waiting_mark.push(id);
        }
    }

    /// Gives a range back and lets those go on who waited for it.
    pub(super) fn release_range(&mut self, range: Range, actions: &mut Vec<Action>) {
        for holder in self.lock.release(range) {
            match holder {
                Holder::Request(id) => self.granted(id, actions),
                Holder::Piece(id) => self.piece_granted(id, actions),
            }
        }
    }

    pub(super) fn map_written(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.map.written(outcome);
        self.stop_failed |= self.is_stopping() && outcome.is_err();
        for id in std::mem::take(&mut self.waiting_mark) {
            let Some(pending) = self.requests.get(&id) else {
                continue;
            };
            let range = pending.request.range;
            if self.map.is_stable(range) {
                self.dispatch(id, actions);
            } else if let Err(errno) = outcome {
                // Without its mark nothing may be written anywhere.
                self.not_begun(id, errno, actions);
            } else {
                self.waiting_mark.push(id);
            }
        }
        self.link_map_written(outcome, actions);
    }

    /// Sends a marked change to the copies.
    fn dispatch(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let Request { command, range, .. } = pending.request;
        if !self.is_clear(id, range) {
            self.map.end(range, false);
            self.release_range(range, actions);
            return;
        }
        if self.together().is_none() {
            let revision = self.go_alone();
            if !self.metadata.is_durable(revision) {
                self.set_stage(id, Stage::WaitingOwn(revision));
                return;
            }
        }
        self.virgin = false;
        let mut extents = self.geometry.extents_of(range.offset, range.length);
        let peer_only = extents.any(|extent| self.map.stale().test(extent));
        let mode = self.replication;
        let remote = self.send_to_peer(id, command, range, mode, actions);
        if remote == Side::Unused {
            self.set_behind(range);
            self.alone_unused = false;
        }
        let operation = Operation {
            owner: Owner::Request(id),
            part: 0,
        };
        if !peer_only {
            actions.push(match command {
                Command::Delete => Action::DeleteLocal(operation, range),
                _ => Action::WriteLocal(operation, range),
            });
        }
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.mode = mode;
            pending.stage = Stage::Running;
            pending.local = if peer_only {
                Side::Unused
            } else {
                Side::Outstanding
            };
            pending.remote = remote;
        }
    }

    /// Sends an operation of a request if the peer is there.
    pub(super) fn send_to_peer(
        &mut self,
        id: u64,
        command: Command,
        range: Range,
        mode: Replication,
        actions: &mut Vec<Action>,
    ) -> Side {
        let Some(peer) = self.together() else {
            return Side::Unused;
        };
        let memsync = peer.memsync
            && mode == Replication::Memsync
            && command == Command::Write
            && !self.leans_on_peer();
        let operation = Operation {
            owner: Owner::Request(id),
            part: 0,
        };
        let seq = self.take_seq(Sent::Operation(operation));
        actions.push(Action::Send {
            seq,
            operation,
            command,
            range,
            memsync,
        });
        Side::Outstanding
    }

    /// The peer lacks a range; a copy of it that is under way has to be made again.
    pub(super) fn set_behind(&mut self, range: Range) {
        for extent in self.geometry.extents_of(range.offset, range.length) {
            self.map.set_behind(extent);
            self.copies.repeat(extent);
        }
    }

    pub(super) fn local_done(
        &mut self,
        operation: Operation,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let id = match operation.owner {
            Owner::Engine(super::barrier::BARRIER) => {
                return self.barrier_local_done(operation.part, outcome, actions);
            }
            Owner::Engine(id) => return self.piece_local_done(id, outcome, actions),
            Owner::Request(id) => id,
        };
        let Some(pending) = self.requests.get_mut(&id) else {
            return;
        };
        if pending.request.command == Command::Read {
            return self.part_done(id, operation.part, outcome, false, actions);
        }
        pending.local = outcome.map_or_else(Side::Failed, |()| Side::Done);
        self.settle(id, actions);
    }

    /// Looks whether a write, delete or flush has come to an end.
    pub(super) fn settle(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        if pending.stage != Stage::Running {
            return;
        }
        if pending.request.command == Command::Flush {
            self.settle_flush(id, actions);
        } else {
            self.settle_write(id, actions);
        }
    }

    pub(super) fn requests_settled_by(&mut self, written: Written, actions: &mut Vec<Action>) {
        let (reached, outcome) = match written {
            Written::Durable(reached) => (reached, Ok(())),
            Written::Failed(reached) => (reached, Err(Errno::EIO)),
        };
        let raising = self
            .requests
            .iter()
            .filter_map(|(id, pending)| match pending.stage {
                Stage::Raising(revision) if revision <= reached => Some(*id),
                _ => None,
            });
        for id in raising.collect::<Vec<u64>>() {
            if outcome.is_ok() && self.is_held(id) {
                self.again(id, actions);
            } else {
                self.alone_unused &= outcome.is_err();
                self.finish(id, outcome, actions);
            }
        }
        let own = self
            .requests
            .iter()
            .filter_map(|(id, pending)| match pending.stage {
                Stage::WaitingOwn(revision) if revision <= reached => Some(*id),
                _ => None,
            });
        for id in own.collect::<Vec<u64>>() {
            match outcome {
                Ok(()) => self.dispatch(id, actions),
                Err(errno) => self.not_begun(id, errno, actions),
            }
        }
        self.take_back_unused();
    }

    /// A change that holds its range and its marks cannot be begun.
    fn not_begun(&mut self, id: u64, errno: Errno, actions: &mut Vec<Action>) {
        let range = self.requests[&id].request.range;
        self.map.end(range, false);
        self.release_range(range, actions);
        self.finish(id, Err(errno), actions);
    }

    /// Fails a request because this node is superseded; true if it had not been acknowledged. One that a disk
    /// is working on ends when it ends there.
    pub(super) fn fail_superseded(&mut self, id: u64, actions: &mut Vec<Action>) -> bool {
        let Some(pending) = self.requests.get(&id) else {
            return false;
        };
        let waiting = !pending.acknowledged;
        match pending.stage {
            Stage::Parked => {
                self.waiting_peer.remove(&id);
                self.waiting_copy.remove(&id);
                self.waiting_link.retain(|other| *other != id);
                self.finish(id, Err(Errno::ENXIO), actions);
            }
            Stage::WaitingMark | Stage::WaitingOwn(_) => {
                self.waiting_mark.retain(|other| *other != id);
                self.not_begun(id, Errno::ENXIO, actions);
            }
            Stage::WaitingRange
            | Stage::Running
            | Stage::Raising(_)
            | Stage::Leading { .. }
            | Stage::Reading(_) => return false,
        }
        waiting
    }

    /// Acknowledges, unless that has been done.
    pub(super) fn acknowledge(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        if let Some(pending) = self.requests.get_mut(&id)
            && !pending.acknowledged
        {
            pending.acknowledged = true;
            actions.push(Action::Complete(id, outcome));
        }
    }

    /// Acknowledges and forgets.
    pub(super) fn finish(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        self.acknowledge(id, outcome, actions);
        if self.requests.remove(&id).is_some() {
            actions.push(Action::Release(Owner::Request(id)));
        }
    }

    /// Acknowledges once `revision` is on the disk.
    pub(super) fn finish_after(&mut self, id: u64, revision: Revision, actions: &mut Vec<Action>) {
        let acknowledged = self
            .requests
            .get(&id)
            .is_none_or(|pending| pending.acknowledged);
        if acknowledged || self.metadata.is_durable(revision) {
            self.alone_unused = false;
            self.finish(id, Ok(()), actions);
        } else {
            self.set_stage(id, Stage::Raising(revision));
        }
    }

    pub(super) fn set_stage(&mut self, id: u64, stage: Stage) {
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.stage = stage;
        }
    }

    /// Lets those try again that waited for the peer.
    pub(super) fn wake_waiting_peer(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.waiting_peer) {
            self.admit(id, actions);
        }
    }

    /// Lets those try again that waited for an extent, or for a handshake to be stored.
    pub(super) fn wake_waiting_copy(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.waiting_copy) {
            self.admit(id, actions);
        }
    }

    /// The only current copy of an extent cannot be read: what waits for it fails.
    pub(super) fn fail_waiting_copy(&mut self, extent: u64, actions: &mut Vec<Action>) {
        let (start, length) = self.geometry.range_of(extent);
        let extent = Range::new(start, length);
        for id in self.waiting_copy.clone() {
            if self
                .requests
                .get(&id)
                .is_some_and(|p| p.request.range.overlaps(extent))
            {
                self.waiting_copy.remove(&id);
                self.finish(id, Err(Errno::EIO), actions);
            }
        }
    }

    pub(super) fn wake_waiting_link(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.waiting_link) {
            self.admit(id, actions);
        }
    }

    /// Fails what has waited for the peer for too long, or has to end now.
    pub(super) fn give_up_waiting(&mut self, actions: &mut Vec<Action>) {
        let (now, patience) = (self.now, self.patience);
        let stopping = self.is_stopping() || self.superseded;
        let held = self.held() > 0;
        if held && !stopping {
            return;
        }
        let over: Vec<u64> =
            self.waiting_peer
                .iter()
                .copied()
                .filter(|id| {
                    stopping
                        || self.requests.get(id).is_none_or(|pending| {
                            now.saturating_sub(pending.waiting_since) >= patience
                        })
                })
                .collect();
        if !over.is_empty() && !held && !self.superseded {
            actions.push(Action::Notice(super::Notice::PeerNeeded));
        }
        for id in over {
            self.waiting_peer.remove(&id);
            let errno = if self.superseded {
                Errno::ENXIO
            } else {
                Errno::EIO
            };
            self.finish(id, Err(errno), actions);
        }
    }
}
