//! Meeting the peer and losing it.
//!
//! ```text
//! Apart --Meet--> Introducing --Connected--> Storing --stored--> Together
//!   ^                 |  moved on meanwhile     |                   |
//!   |                 +------> Leaving <--------+                   |
//!   +--------------Disconnected, from anywhere----------------------+
//! ```
//!
//! Invariants: the resuid is on the disk before the peer hears of it; the merged map is before the
//! peer's own may be cleared, which its first request allows it to do.

use super::agreement::Agreement;
use super::requests::{Side, Stage};
use super::{Action, Ahead, Answer, DisconnectReason, Hello, Notice, Primary, Sent};
use crate::engine::handshake::Source;
use crate::engine::metadata_log::{Generation, Written};
use crate::engine::{Command, Outcome, Owner};
use crate::layout::Inconsistent;

/// What is known of a connected peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub extension: bool,
    pub memsync: bool,
    /// Its localcnt as it is now.
    pub localcnt: u64,
    /// Its remotecnt at the handshake.
    pub remotecnt: u64,
    /// It failed a write, and has marked itself inconsistent.
    pub failed: bool,
}

/// How near the peer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Link {
    Apart,
    /// The counters go out once they are on the disk.
    Introducing {
        generation: Generation,
        hello: Option<Hello>,
    },
    /// What the handshake decided is being stored.
    Storing {
        peer: Peer,
        generation: Generation,
    },
    Together(Peer),
    /// The connection is to be closed.
    Leaving,
}

impl Primary {
    pub(super) fn together(&self) -> Option<&Peer> {
        match &self.link {
            Link::Together(peer) => Some(peer),
            _ => None,
        }
    }

    pub(super) fn together_mut(&mut self) -> Option<&mut Peer> {
        match &mut self.link {
            Link::Together(peer) => Some(peer),
            _ => None,
        }
    }

    pub(super) fn is_storing(&self) -> bool {
        matches!(self.link, Link::Storing { .. })
    }

    pub(super) fn leave(&mut self, reason: DisconnectReason, actions: &mut Vec<Action>) {
        if !matches!(self.link, Link::Apart | Link::Leaving) {
            actions.push(Action::Disconnect(reason));
        }
        if !matches!(self.link, Link::Apart | Link::Together(_)) {
            self.link = Link::Leaving;
        }
    }

    pub(super) fn meet(&mut self) {
        if !matches!(self.link, Link::Apart) {
            return;
        }
        let fresh = self.fresh_resuid;
        if self.metadata.get().resuid == 0 {
            self.virgin = true;
        }
        let generation = self.metadata.change(|metadata| {
            if metadata.resuid == 0 {
                metadata.resuid = fresh;
            }
        });
        self.link = Link::Introducing {
            generation,
            hello: None,
        };
    }

    /// Goes on where something that had to be stored first is stored now.
    pub(super) fn advance_link(&mut self, actions: &mut Vec<Action>) {
        match self.link {
            Link::Introducing {
                generation,
                hello: None,
                // All of it: a count that the peer hears of must not be forgotten with this worker.
            } if self.metadata.is_durable(self.metadata.generation()) => {
                let metadata = self.metadata.get();
                let hello = Hello {
                    resuid: metadata.resuid,
                    localcnt: metadata.localcnt,
                    remotecnt: metadata.remotecnt,
                    virgin: self.virgin,
                };
                self.link = Link::Introducing {
                    generation,
                    hello: Some(hello),
                };
                actions.push(Action::Hello(hello));
            }
            Link::Storing { peer, generation }
                if self.map.is_stored() && self.metadata.is_durable(generation) =>
            {
                self.come_together(peer, actions);
            }
            Link::Apart
            | Link::Introducing { .. }
            | Link::Storing { .. }
            | Link::Together(_)
            | Link::Leaving => {}
        }
    }

    pub(super) fn connected(&mut self, answer: &Answer, actions: &mut Vec<Action>) {
        let Link::Introducing {
            hello: Some(hello), ..
        } = self.link
        else {
            return self.leave(DisconnectReason::MovedOn, actions);
        };
        let peer = Peer {
            extension: answer.extension,
            memsync: answer.memsync,
            localcnt: answer.localcnt,
            remotecnt: answer.remotecnt,
            failed: false,
        };
        let generation = match answer.source {
            Source::Primary if self.peer_forgot(answer) => {
                return self.leave(DisconnectReason::PeerForgot, actions);
            }
            Source::Primary => self.merge_as_source(&hello, answer),
            Source::Secondary if self.metadata.get().localcnt != hello.localcnt => {
                return self.leave(DisconnectReason::MovedOn, actions);
            }
            Source::Secondary => self.merge_as_target(answer),
        };
        self.link = Link::Storing { peer, generation };
    }

    /// Whether the peer itself lacks what is stale here: it was created anew since, and, this not being
    /// their first meeting any more, has every extent marked.
    fn peer_forgot(&self, answer: &Answer) -> bool {
        let marked = |extent| answer.map.as_ref().is_some_and(|map| map.test(extent));
        let stale = self.map.stale();
        !stale.is_empty() && (answer.virgin || stale.iter().any(marked))
    }

    /// This node is the source: the peer lacks what either map has marked.
    fn merge_as_source(&mut self, hello: &Hello, answer: &Answer) -> Generation {
        if let Some(map) = &answer.map {
            for extent in map.iter() {
                self.map.set_behind(extent);
            }
        }
        let fresh = answer.virgin && !hello.virgin;
        let known = answer.localcnt == hello.remotecnt && answer.remotecnt <= hello.localcnt;
        if fresh {
            self.map.everything_behind();
        }
        // A peer that gets everything has to know, by the counters, that it lacks something.
        // One that can be told that it is inconsistent has to for any copy: forced to be primary in the
        // middle of it, it would else overwrite this node's better copy without a split brain.
        let lacks = answer.extension && !self.map.behind().is_empty();
        let floor = if fresh || !known || lacks {
            answer.remotecnt + 1
        } else {
            0
        };
        self.metadata.change(|metadata| {
            metadata.localcnt = metadata.localcnt.max(floor);
            if fresh {
                // Nothing is stale here any more, and there is nobody left to lean on.
                metadata.inconsistent = None;
            }
        })
    }

    /// The peer is the source: this node lacks what either map has marked.
    fn merge_as_target(&mut self, answer: &Answer) -> Generation {
        let same_as_before = self.source_localcnt == Some(answer.localcnt);
        if !same_as_before {
            self.map.all_marked_stale(answer.map.as_ref());
        }
        // Otherwise the peer has not moved on since this worker first met it: what is still stale here
        // is known better here, and so is what the peer lost since.
        self.source_localcnt = Some(answer.localcnt);
        let stale = !self.map.stale().is_empty();
        self.metadata.change(|metadata| {
            if stale {
                metadata.inconsistent = Some(Inconsistent::Mapped);
            }
        })
    }

    fn come_together(&mut self, peer: Peer, actions: &mut Vec<Action>) {
        self.link = Link::Together(peer);
        self.agreement = Agreement::Open;
        self.ahead = Ahead::No;
        self.told = None;
        self.raised = self.metadata.get().localcnt > peer.remotecnt;
        self.raise_generation = self.metadata.generation();
        // Before any write goes out: the peer must not look complete while it takes newer writes only.
        self.tell_inconsistent(actions);
        self.begin_copies(actions);
        self.wake_waiting_link(actions);
        self.wake_waiting_peer(actions);
    }

    pub(super) fn link_settled_by(&mut self, written: Written, actions: &mut Vec<Action>) {
        let (Link::Introducing { generation, .. } | Link::Storing { generation, .. }) = self.link
        else {
            return;
        };
        if matches!(written, Written::Failed(reached) if generation <= reached) {
            self.leave(DisconnectReason::CannotStore, actions);
        }
    }

    pub(super) fn link_map_written(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if outcome.is_err() && self.is_storing() {
            self.leave(DisconnectReason::CannotStore, actions);
        }
    }

    pub(super) fn disconnected(&mut self, actions: &mut Vec<Action>) {
        let was_together = self.together().is_some();
        self.link = Link::Apart;
        self.told = None;
        if was_together {
            self.agreement = Agreement::Open;
            self.doubt_unfinished();
            if !self.map.lose_peer().is_empty() {
                self.unconfirmed = true;
            }
            if self.copies.is_running() {
                actions.push(Action::Notice(Notice::SynchronisationInterrupted));
            }
            self.abandon_pieces(actions);
            for (_, sent) in std::mem::take(&mut self.sent) {
                self.lost(sent, actions);
            }
            self.leading_lost(actions);
        }
        self.wake_waiting_link(actions);
        self.wake_waiting_copy(actions);
    }

    /// What the peer has done, but this node not yet: unflushed there, it may be gone with the peer, and
    /// what ends only now is not among the extents that were found unflushed.
    fn doubt_unfinished(&mut self) {
        for pending in self.requests.values_mut() {
            let changes = pending.request.command.mutates() && pending.stage == Stage::Running;
            if changes && pending.remote == Side::Done {
                pending.remote = Side::Lost;
            }
        }
    }

    /// The connection ended before this was answered.
    fn lost(&mut self, sent: Sent, actions: &mut Vec<Action>) {
        match sent {
            Sent::Operation(operation) => {
                let Owner::Request(id) = operation.owner else {
                    return;
                };
                let Some(pending) = self.requests.get_mut(&id) else {
                    return;
                };
                if pending.request.command == Command::Read {
                    self.part_lost(id, operation.part, actions);
                } else {
                    pending.remote = Side::Lost;
                    self.settle(id, actions);
                }
            }
            Sent::Barrier => self.barrier_lost(actions),
            // Their requests, pieces and states are dealt with by whoever sent them.
            Sent::FlushAfter(_) | Sent::Piece(_) | Sent::State(_) => {}
        }
    }

    pub(super) fn reply(
        &mut self,
        seq: u64,
        received: bool,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let sent = if received {
            self.sent.get(&seq).copied()
        } else {
            self.sent.remove(&seq)
        };
        let Some(sent) = sent else {
            return self.leave(DisconnectReason::UnknownReply, actions);
        };
        match sent {
            Sent::Operation(operation) => {
                let Owner::Request(id) = operation.owner else {
                    return;
                };
                let Some(pending) = self.requests.get_mut(&id) else {
                    return;
                };
                if pending.request.command == Command::Read {
                    return self.part_done(id, operation.part, outcome, true, actions);
                }
                pending.remote = match outcome {
                    Ok(()) if received => Side::Received,
                    Ok(()) => Side::Done,
                    Err(errno) => Side::Failed(errno),
                };
                let failed = outcome.is_err() && pending.request.command.mutates();
                if failed && let Some(peer) = self.together_mut() {
                    peer.failed = true;
                }
                self.settle(id, actions);
            }
            Sent::FlushAfter(id) => self.flushed_after(id, outcome, actions),
            Sent::Piece(id) => self.piece_replied(id, outcome, actions),
            Sent::Barrier => self.barrier_peer_done(outcome, actions),
            Sent::State(state) => self.state_replied(state, outcome, actions),
        }
    }
}
