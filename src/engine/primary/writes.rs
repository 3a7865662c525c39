//! What the results of a write or delete mean, and when it is acknowledged.
//!
//! | local | peer | then |
//! | --- | --- | --- |
//! | done | done | acknowledged |
//! | done | in memory | acknowledged in memsync |
//! | done | not yet | acknowledged in async |
//! | done | failed, lost, away | the peer is behind; acknowledged once a generation of this node's own is begun |
//! | failed | done | this node lacks it; acknowledged once the peer has flushed it and both have stored a point |
//! | failed | failed, lost, away | fails |
//!
//! While this node lacks something, or has no permit to go on alone (`permit`), nothing is acknowledged
//! that the peer does not have.

use super::requests::{Side, Stage};
use super::{Action, Notice, Primary, Sent};
use crate::engine::metadata_log::Revision;
use crate::engine::{Command, Operation, Outcome, Owner, Range};
use crate::terms::Replication;
use nix::errno::Errno;

/// What becomes of writes that only the peer has, when they cannot be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leading {
    /// The peer was not told: the extents count as undecided, and the peer as behind.
    Undone,
    /// The peer was told, and knows that it is relied on.
    Known,
}

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
            let revision = self.go_alone();
            self.finish_after(id, revision, actions);
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
        if !self.may_peer_lead() {
            // Each might lack something of the other: the write did not happen, the peer's is undone.
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

    /// Whether the peer has not answered a change yet.
    pub(super) fn is_peer_owing(&self) -> bool {
        self.requests.values().any(|pending| {
            pending.stage == Stage::Running
                && !pending.remote.is_final()
                && pending.request.command.mutates()
        })
    }

    /// Whether the peer is about to be told that it is relied on: no change begins meanwhile.
    pub(super) fn is_about_to_lean(&self) -> bool {
        !self.leaders.is_empty() && !self.is_lean_stored()
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
                pending.request.range.overlaps(whole) && !self.is_stale(pending.request.range)
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

    /// Whether the peer is complete, and all that was done alone is part of a point: then this node may rely on
    /// it. A base peer cannot say later that it is newer.
    pub(super) fn may_peer_lead(&self) -> bool {
        let complete = self
            .together()
            .is_some_and(|peer| peer.extension && !peer.lacks);
        let record = &self.metadata.get().record;
        complete && self.map.behind().is_empty() && record.own.is_none() && !record.counted
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
        if !peer_has_it || !self.may_peer_lead() {
            self.set_behind(range);
            return self.finish_leading(id, Err(errno), actions);
        }
        self.set_stage(
            id,
            Stage::Leading {
                flushed: true,
                errno,
            },
        );
        // Where the peer is relied on already, both know it; else a point tells it.
        if self.metadata.get().record.lacks {
            self.declare_leaders_stale(actions);
            self.settle_leading(actions);
        }
    }

    /// Whether the peer has to be told that it is relied on.
    pub(super) fn has_leaders_to_declare(&self) -> bool {
        !self.metadata.get().record.lacks && self.flushed_leaders().next().is_some()
    }

    fn flushed_leaders(&self) -> impl Iterator<Item = u64> {
        self.leaders.iter().copied().filter(|id| {
            self.requests.get(id).is_some_and(|pending| {
                matches!(pending.stage, Stage::Leading { flushed: true, .. })
            })
        })
    }

    /// What the peer has made durable, and this disk failed, is stale here from now on.
    pub(super) fn declare_leaders_stale(&mut self, actions: &mut Vec<Action>) {
        if self.map.stale().is_empty() {
            actions.push(Action::Notice(Notice::LocalStale));
        }
        for id in self.flushed_leaders().collect::<Vec<u64>>() {
            let range = self.requests[&id].request.range;
            for extent in self.geometry.extents_of(range.offset, range.length) {
                self.map.set_stale(extent);
            }
        }
    }

    /// Acknowledges what only the peer has, once both nodes have stored that it is relied on.
    pub(super) fn settle_leading(&mut self, actions: &mut Vec<Action>) {
        if !self.is_lean_stored() {
            return;
        }
        for id in self.flushed_leaders().collect::<Vec<u64>>() {
            if self.is_stale(self.requests[&id].request.range) {
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
        // Only now: its mark must not leave the map before its extents are known to differ.
        self.map.end(range, false);
        self.finish(id, outcome, actions);
        self.release_range(range, actions);
        self.wake_waiting_copy(actions);
    }

    /// The two cannot store that the peer is relied on.
    pub(super) fn fail_leaders(&mut self, leading: Leading, actions: &mut Vec<Action>) {
        let leaders: Vec<u64> = self.flushed_leaders().collect();
        if leaders.is_empty() {
            return;
        }
        if leading == Leading::Undone && self.metadata.get().record.lacks {
            let revision = self
                .metadata
                .change(|metadata| metadata.record.lacks = false);
            self.note_lacking(true, revision);
        }
        for id in leaders {
            if leading == Leading::Undone {
                self.give_up_stale(self.requests[&id].request.range);
            }
            self.finish_leading(id, Err(Errno::EIO), actions);
        }
    }

    fn give_up_stale(&mut self, range: Range) {
        for extent in self.geometry.extents_of(range.offset, range.length) {
            self.map.give_up_stale(extent);
            self.copies.repeat(extent);
        }
    }

    /// The peer went away before a write that only it has could be acknowledged.
    pub(super) fn leading_lost(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.leaders) {
            let Some(pending) = self.requests.get(&id) else {
                continue;
            };
            let range = pending.request.range;
            let Stage::Leading { errno, .. } = pending.stage else {
                unreachable!("a leader waits for its peer");
            };
            let stale = self.is_stale(range);
            if !stale {
                self.set_behind(range);
            }
            self.map.end(range, false);
            if stale {
                self.again(id, actions);
            } else {
                self.finish(id, Err(errno), actions);
            }
            self.release_range(range, actions);
        }
    }

    /// What is written from here on is this node's own: it begins a generation, durably before the write
    /// reaches the disk or is acknowledged. Anew after each separation and each proposed point: an older one
    /// may be what the peer knows.
    pub(super) fn go_alone(&mut self) -> Revision {
        self.uncovered = false;
        if self.alone {
            self.metadata.retry();
            return self.alone_revision;
        }
        self.alone = true;
        self.virgin = false;
        let (fresh, generation) = (self.fresh_resuid, self.draw_generation());
        let raised = std::mem::replace(&mut self.raised, true);
        let record = &self.metadata.get().record;
        self.alone_unused = record.own.is_none() && !record.counted;
        self.alone_revision = self.metadata.change(|metadata| {
            if metadata.resuid == 0 {
                metadata.resuid = fresh;
            }
            if !metadata.record.counted {
                metadata.record.own = Some(generation);
            }
            if !raised {
                metadata.localcnt += 1;
            }
        });
        self.alone_revision
    }

    /// A generation that was begun for what then was not done (the permit ran out, or it could not be stored at
    /// first) is taken back: nothing is this node's own, and a peer that went on is no split brain.
    pub(super) fn take_back_unused(&mut self) {
        let wanted = |pending: &super::requests::Pending| {
            matches!(pending.stage, Stage::WaitingOwn(_) | Stage::Raising(_))
        };
        if !self.alone || !self.alone_unused || self.requests.values().any(wanted) {
            return;
        }
        self.alone = false;
        self.alone_unused = false;
        self.uncovered = true;
        self.metadata.change(|metadata| metadata.record.own = None);
    }
}
