//! Meeting the peer and losing it.
//!
//! ```text
//! Apart --Meet--> Introducing --Connected--> Meeting --its point is made--> Together
//!   ^                 |  moved on meanwhile     |                               |
//!   |                 +------> Leaving <--------+                               |
//!   +--------------Disconnected, from anywhere----------------------------------+
//! ```
//!
//! Invariants: all that the peer hears of is on this disk before it hears of it; the merged map is before the
//! peer's own may be cleared, which the meeting's point allows it to do; a primary whose device is open, or
//! that holds requests, never becomes the target of newer data.

use super::making::Making;
use super::requests::{Side, Stage};
use super::{Action, Answer, DisconnectReason, Hello, Notice, Primary, Sent};
use crate::engine::base;
use crate::engine::meeting::{self, Agreement, Party, Refusal, Scope, Source, Verdict};
use crate::engine::points::Copy;
use crate::engine::{Command, Outcome, Owner};
use crate::layout::record::NUMBER_LIMIT;
use crate::layout::{Bitmap, Standing};

/// What is known of a connected peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub extension: bool,
    pub memsync: bool,
    /// Its localcnt as it is now.
    pub localcnt: u64,
    /// Its remotecnt at the handshake.
    pub remotecnt: u64,
    /// It has stored that it lacks something; one that cannot be told needs not.
    pub lacks: bool,
    /// It has stored a point that says that this node relies on it, and so marks itself no more.
    pub leads: bool,
    /// That it lacks something was told, and is not answered.
    pub telling: bool,
    /// How many changes it failed in this connection.
    pub failures: u64,
}

/// How near the peer is.
#[derive(Debug, Clone)]
pub(super) enum Link {
    Apart,
    /// What this node says of itself goes out once it is on the disk.
    Introducing(Option<Box<Hello>>),
    /// What the two decided is being stored, as their first point.
    Meeting(Peer),
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

    /// The peer, also while the two still make the point of their meeting.
    pub(super) fn peer_mut(&mut self) -> Option<&mut Peer> {
        match &mut self.link {
            Link::Together(peer) | Link::Meeting(peer) => Some(peer),
            _ => None,
        }
    }

    pub(super) fn is_meeting(&self) -> bool {
        matches!(self.link, Link::Meeting(_))
    }

    pub(super) fn leave(&mut self, reason: DisconnectReason, actions: &mut Vec<Action>) {
        if !matches!(self.link, Link::Apart | Link::Leaving) {
            actions.push(Action::Disconnect(reason));
        }
        if !matches!(self.link, Link::Apart | Link::Together(_)) {
            self.making_lost();
            self.link = Link::Leaving;
        }
    }

    pub(super) fn meet(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.link, Link::Apart) {
            return;
        }
        self.link = Link::Introducing(None);
        if self.superseded {
            return self.leave(DisconnectReason::Superseded, actions);
        }
        let fresh = self.fresh_resuid;
        if self.metadata.get().resuid == 0 {
            self.virgin = true;
        }
        self.metadata.change(|metadata| {
            if metadata.resuid == 0 {
                metadata.resuid = fresh;
            }
        });
    }

    /// Introduces this node once all that it says is stored.
    pub(super) fn advance_link(&mut self, actions: &mut Vec<Action>) {
        // All of it: what the peer hears of must not be forgotten with this worker.
        if matches!(self.link, Link::Introducing(None))
            && self.metadata.is_durable(self.metadata.revision())
        {
            let hello = Box::new(self.introduction());
            self.link = Link::Introducing(Some(hello.clone()));
            actions.push(Action::Hello(hello));
        }
    }

    fn standing(&self) -> Standing {
        Standing::from(self.metadata.get())
    }

    fn introduction(&self) -> Hello {
        Hello {
            standing: self.standing(),
            virgin: self.virgin,
            holds: self.open || !self.requests.is_empty(),
            leans: self.leans_on_peer(),
        }
    }

    pub(super) fn connected(&mut self, answer: &Answer, actions: &mut Vec<Action>) {
        let Link::Introducing(Some(hello)) = &self.link else {
            return self.leave(DisconnectReason::MovedOn, actions);
        };
        if hello.standing != self.standing() {
            return self.leave(DisconnectReason::MovedOn, actions);
        }
        // As it is now: the device may have been opened or closed meanwhile.
        let now = self.introduction();
        let verdict = if answer.extension {
            meeting::decide(&now, &answer.standing, true)
        } else {
            by_base(&now, answer, self.base_source)
        };
        match verdict {
            Ok(agreement) if agreement.source == answer.source => {
                self.meet_as_agreed(&now, answer, agreement, actions);
            }
            Ok(_) => self.leave(DisconnectReason::MovedOn, actions),
            Err(Refusal::Superseded) => self.supersede(&answer.standing, actions),
            Err(refusal) => self.leave(DisconnectReason::Unfit(refusal), actions),
        }
    }

    /// The peer refused, and said how it stands: it may be newer.
    pub(super) fn refused(&mut self, theirs: &Standing, actions: &mut Vec<Action>) {
        let Link::Introducing(Some(_)) = &self.link else {
            return;
        };
        match meeting::decide(&self.introduction(), theirs, true) {
            Err(Refusal::Superseded) => self.supersede(theirs, actions),
            Err(refusal) => self.leave(DisconnectReason::Unfit(refusal), actions),
            Ok(_) => self.leave(DisconnectReason::MovedOn, actions),
        }
    }

    fn meet_as_agreed(
        &mut self,
        hello: &Hello,
        answer: &Answer,
        agreement: Agreement,
        actions: &mut Vec<Action>,
    ) {
        if let Some(party) = agreement.older {
            actions.push(Action::Notice(Notice::OlderImage(party)));
        }
        self.merge(answer, agreement);
        let theirs = &answer.standing;
        let behind = !self.map.behind().is_empty();
        let from_here = agreement.source == Source::Primary;
        // A peer that is to be copied to has to know, by base's counters, too, that it lacks something.
        let floor = if from_here && (behind || answer.virgin && !hello.virgin) {
            theirs.remotecnt + 1
        } else {
            0
        };
        let raised = self
            .metadata
            .change(|metadata| metadata.localcnt = metadata.localcnt.max(floor));
        self.raised = self.metadata.get().localcnt > theirs.remotecnt;
        let stale = !self.map.stale().is_empty();
        let lacking = from_here && behind;
        self.link = Link::Meeting(Peer {
            extension: answer.extension,
            memsync: answer.memsync,
            localcnt: theirs.localcnt,
            remotecnt: theirs.remotecnt,
            lacks: !answer.extension || lacking || theirs.record.lacks,
            leads: false,
            telling: false,
            failures: 0,
        });
        if !answer.extension {
            let leant = hello.standing.record.lacks;
            let revision = self.metadata.change(|metadata| {
                metadata.record = base::counted(leant || stale);
            });
            self.note_lacking(leant, revision);
            self.alone = self.raised;
            self.base_source = (!from_here).then_some(theirs.localcnt);
            return self.store_meeting(revision.max(raised));
        }
        let record = hello.standing.record.resolved(&theirs.record);
        let other = theirs.record.resolved(&hello.standing.record);
        let leads = !from_here && (stale || record.lacks);
        let copy = if lacking {
            Copy::Lacking
        } else {
            Copy::Unchanged
        };
        let (mine, source) = if from_here {
            (record.clone(), record)
        } else {
            // What this node did alone is part of the other's history, or there was nothing.
            let mut mine = record;
            mine.own = None;
            (mine, other)
        };
        self.propose_meeting(&mine, &source, copy, leads);
    }

    /// What either node has marked, the one that is not the source lacks.
    fn merge(&mut self, answer: &Answer, agreement: Agreement) {
        let leaning = self.leans_on_peer();
        match (agreement.source, agreement.scope) {
            (Source::Primary, Scope::Everything) => self.map.everything_behind(),
            (Source::Primary, Scope::Marked) => {
                // A worker that resumed may have taken for missing here what a point that it did not hear of
                // says is complete.
                self.map.give_up_all_stale();
                for extent in marks(answer) {
                    self.map.set_behind(extent);
                }
            }
            (Source::Secondary, Scope::Everything) => self.map.everything_stale(),
            (Source::Secondary, Scope::Marked) => {
                if !leaning {
                    self.map.all_marked_stale();
                }
                // What this node failed to write, or the peer, is known better here.
                for extent in marks(answer) {
                    if !self.map.behind().test(extent) {
                        self.map.set_stale(extent);
                    }
                }
            }
        }
    }

    pub(super) fn come_together(&mut self, actions: &mut Vec<Action>) {
        let Link::Meeting(peer) = self.link else {
            unreachable!("the point of a meeting is made with the peer that was met");
        };
        self.link = Link::Together(peer);
        self.agreed = false;
        self.last_point = self.now;
        self.peer_lacks = peer.extension && peer.lacks || !self.map.behind().is_empty();
        self.begin_copies(actions);
        self.wake_waiting_link(actions);
        self.wake_waiting_peer(actions);
    }

    /// The other node went on without this one, and somebody still watches what is here: it must not change.
    fn supersede(&mut self, theirs: &Standing, actions: &mut Vec<Action>) {
        self.superseded = true;
        let leant = self.metadata.get().record.lacks;
        let revision = self.metadata.change(|metadata| {
            metadata.record = metadata.record.resolved(&theirs.record);
            metadata.record.lacks = true;
        });
        self.note_lacking(leant, revision);
        self.leave(DisconnectReason::Superseded, actions);
        let waiting: Vec<u64> = self.requests.keys().copied().collect();
        let mut failed = 0;
        for id in waiting {
            failed += u64::from(self.fail_superseded(id, actions));
        }
        actions.push(Action::Notice(Notice::Superseded { requests: failed }));
    }

    pub(super) fn link_not_stored(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.link, Link::Introducing(_)) {
            self.leave(DisconnectReason::CannotStore, actions);
        }
    }

    pub(super) fn link_map_written(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if outcome.is_err() && self.is_meeting() {
            self.leave(DisconnectReason::CannotStore, actions);
        }
    }

    pub(super) fn disconnected(&mut self, actions: &mut Vec<Action>) {
        let was_together = self.together().is_some();
        self.link = Link::Apart;
        self.making_lost();
        if was_together {
            // What is done from here on is done alone, anew.
            self.alone = self.metadata.get().record.counted && self.raised;
            self.doubt_unfinished();
            if !self.map.lose_peer().is_empty() {
                self.uncovered = true;
            }
            if self.copies.is_running() {
                actions.push(Action::Notice(Notice::SynchronisationInterrupted));
            }
            self.abandon_pieces(actions);
            for (_, sent) in std::mem::take(&mut self.sent) {
                self.lost(sent, actions);
            }
            self.leading_lost(actions);
        } else {
            self.sent.clear();
        }
        self.wake_waiting_link(actions);
        self.wake_waiting_copy(actions);
    }

    /// What the peer has done, but this node not yet: unflushed there, it may be gone with the peer, and
    /// what ends only now is not among the extents that were found uncovered.
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
            Sent::FlushAfter(_) | Sent::Piece(_) | Sent::Point | Sent::Lacking => {}
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
                let range = pending.request.range;
                if outcome.is_err() && pending.request.command.mutates() {
                    self.peer_failed();
                    // At once, whatever the local disk says later: no full point is made over it meanwhile.
                    self.set_behind(range);
                }
                self.settle(id, actions);
            }
            Sent::FlushAfter(id) => self.flushed_after(id, outcome, actions),
            Sent::Piece(id) => self.piece_replied(id, outcome, actions),
            Sent::Barrier => self.barrier_peer_done(outcome, actions),
            Sent::Point => self.point_replied(outcome, actions),
            Sent::Lacking => self.lacking_told(outcome, actions),
        }
    }

    /// The peer failed to carry out a change. It has stored that it lacks something, unless this node relies on
    /// it.
    pub(super) fn peer_failed(&mut self) {
        // While it is told a point, it may or may not be relied on: it is told what it lacks afterwards.
        let undecided = matches!(self.making, Making::Telling(_));
        if let Some(peer) = self.peer_mut() {
            peer.failures += 1;
            peer.lacks |= !peer.leads && !undecided;
        }
    }
}

fn marks(answer: &Answer) -> impl Iterator<Item = u64> {
    answer.map.iter().flat_map(Bitmap::iter)
}

/// What a base secondary decided, looked at with what it does not know.
fn by_base(primary: &Hello, answer: &Answer, source_before: Option<u64>) -> Verdict {
    let lacks = primary.standing.record.lacks;
    let (source, theirs) = (answer.source, &answer.standing);
    match source {
        _ if theirs.localcnt.max(theirs.remotecnt) >= NUMBER_LIMIT => Err(Refusal::Counter),
        Source::Primary if lacks => Err(Refusal::CompleteCopyGone),
        // What it has is what this node's own consumer wrote only if it has not gone on since.
        Source::Secondary if primary.holds && source_before != Some(theirs.localcnt) => {
            Err(Refusal::Superseded)
        }
        Source::Primary | Source::Secondary => Ok(Agreement {
            source,
            scope: Scope::Marked,
            older: None::<Party>,
        }),
    }
}
