//! Points in the making: what the two nodes store together, one at a time.
//!
//! ```text
//! Idle --wanted--> Flushing --both flushed--> Noting --stored here--> Telling --stored there--> Settling --stored here--> Idle
//!   ^                 |                         |
//!   +-- a failure ----+---- not wanted any more-+            (the connection lost: Idle, from anywhere)
//! ```
//!
//! A base peer knows no points: there the counters take their place, and nothing is told. Invariants: a
//! point once told is waited for as long as the connection lasts; marks leave the map only once their point is
//! stored on both disks; the word *agreed* means that the peer holds everything acknowledged, has flushed what
//! was copied, and both nodes have stored that.

use super::link::Link;
use super::writes::Leading;
use super::{Action, DisconnectReason, Notice, Primary, Sent, Stop};
use crate::engine::activemap::Epoch;
use crate::engine::metadata_log::Revision;
use crate::engine::points::{self, Copy, PointNote};
use crate::engine::{Outcome, PeerNote, Told};
use crate::layout::Record;

/// Why a point is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The two have just met.
    Meeting,
    /// Nothing is left to copy.
    Full,
    /// So that what was written and copied is covered, and marks may go.
    Progress,
    /// This node's disk failed what the peer has.
    Lead,
}

/// A point that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    purpose: Purpose,
    /// None with a base peer.
    note: Option<Box<PointNote>>,
    /// What was flushed for it on both copies.
    epoch: Option<Epoch>,
    /// The peer was relied on before.
    led: bool,
}

/// How far a point has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Making {
    Idle,
    /// Both copies are flushed for it.
    Flushing(Purpose),
    /// The proposal is being stored here.
    Noting(Plan, Revision),
    /// The peer stores it.
    Telling(Plan),
    /// It is being stored here.
    Settling(Plan, Revision),
}

impl Making {
    /// Why the point that is being made is, once it is proposed.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::Idle | Self::Flushing(_) => None,
            Self::Noting(plan, _) | Self::Telling(plan) | Self::Settling(plan, _) => {
                Some(plan.purpose)
            }
        }
    }
}

impl Primary {
    /// Goes on with the point that is being made, or begins one that is wanted.
    pub(super) fn advance_making(&mut self, actions: &mut Vec<Action>) {
        if self.differs() {
            self.agreed = false;
        }
        match self.making.clone() {
            Making::Idle => self.begin_wanted_point(actions),
            Making::Noting(plan, revision)
                if self.metadata.is_durable(revision)
                    && (plan.purpose != Purpose::Meeting || self.map.is_stored()) =>
            {
                self.noted(plan, actions);
            }
            Making::Settling(plan, revision) if self.metadata.is_durable(revision) => {
                self.point_made(&plan, actions);
            }
            Making::Flushing(_)
            | Making::Noting(..)
            | Making::Telling(_)
            | Making::Settling(..) => {}
        }
    }

    /// Whether one copy lacks something, as far as this node knows.
    pub(super) fn differs(&self) -> bool {
        !self.map.behind().is_empty() || !self.map.stale().is_empty()
    }

    fn begin_wanted_point(&mut self, actions: &mut Vec<Action>) {
        if self.together().is_none() || self.barrier.is_some() {
            return;
        }
        if self.has_leaders_to_declare() {
            return self.begin_to_lead(actions);
        }
        if self.is_stopping() || self.now < self.barrier_retry_at {
            return;
        }
        let purpose = if !self.differs() && !self.agreed && self.copies.is_idle() {
            Purpose::Full
        } else if self.point_due {
            Purpose::Progress
        } else {
            return;
        };
        self.flush_for_point(purpose, actions);
    }

    /// Has the peer told that it is relied on, once it has answered all that was sent: a change that it fails
    /// meanwhile would leave both copies lacking something.
    fn begin_to_lead(&mut self, actions: &mut Vec<Action>) {
        if self.is_peer_owing() {
            return;
        }
        if self.may_peer_lead() {
            self.propose_own(Purpose::Lead, None, actions);
        } else {
            self.fail_leaders(Leading::Undone, actions);
        }
    }

    /// Whether enough was written since the last point, or for long enough. Looked at once a tick, as it looks
    /// at every extent in use.
    pub(super) fn is_point_due(&self) -> bool {
        let waited = self.now.saturating_sub(self.last_point);
        let crowded =
            waited >= CROWDED_INTERVAL.min(self.point_interval) && self.map.evictable() > 0;
        let own = self.metadata.get().record.own.is_some();
        (waited >= self.point_interval || crowded) && (own || self.map.is_uncovered())
    }

    pub(super) fn flush_for_point(&mut self, purpose: Purpose, actions: &mut Vec<Action>) {
        self.last_point = self.now;
        self.point_due = false;
        self.making = Making::Flushing(purpose);
        self.begin_barrier(actions);
    }

    /// Both copies were flushed, up to this epoch, or could not be.
    pub(super) fn flushed_for_point(&mut self, epoch: Option<Epoch>, actions: &mut Vec<Action>) {
        let Making::Flushing(purpose) = self.making else {
            // The connection that it was for is gone; a last flush at the end is all that is wanted of it.
            return self.stop_flushed();
        };
        self.making = Making::Idle;
        match epoch {
            Some(epoch) if self.together().is_some() => {
                let purpose = if self.differs() {
                    Purpose::Progress
                } else {
                    purpose
                };
                self.propose_own(purpose, Some(epoch), actions);
                self.advance_making(actions);
            }
            _ => self.stop_flushed(),
        }
    }

    /// Stores the proposal of a point in which this node's record is the source.
    fn propose_own(&mut self, purpose: Purpose, epoch: Option<Epoch>, actions: &mut Vec<Action>) {
        let Some(peer) = self.together().copied() else {
            return;
        };
        if purpose == Purpose::Lead {
            self.declare_leaders_stale(actions);
        }
        let full = purpose == Purpose::Full;
        let leads = !full && (purpose == Purpose::Lead || self.metadata.get().record.lacks);
        let copy = if full { Copy::Full } else { Copy::Unchanged };
        let record = self.metadata.get().record.clone();
        let proposal = peer
            .extension
            .then(|| points::propose(&record, &record, self.draw_generation(), copy, leads));
        let complete = self.map.stale().is_empty();
        let leant = record.lacks;
        let revision = self.metadata.change(|metadata| {
            match &proposal {
                Some((proposed, _)) => metadata.record = proposed.clone(),
                None => metadata.record.lacks &= !(full && complete),
            }
            if full {
                metadata.remotecnt = peer.localcnt;
                if !peer.extension {
                    // A base secondary cannot be told our counters, so ours follow what it knows.
                    metadata.localcnt = peer.remotecnt;
                }
            }
        });
        self.note_lacking(leant, revision);
        if peer.extension {
            self.alone = false;
        }
        if full {
            self.raised = false;
            self.alone = false;
        }
        let note = proposal.map(|(_, note)| Box::new(note));
        let plan = Plan {
            purpose,
            note,
            epoch,
            led: peer.leads,
        };
        self.making = Making::Noting(plan, revision);
    }

    /// Stores the proposal of the point of a meeting; `source` is the record of the node whose data counts.
    pub(super) fn propose_meeting(
        &mut self,
        record: &Record,
        source: &Record,
        copy: Copy,
        leads: bool,
    ) {
        let spare = self.draw_generation();
        let (proposed, note) = points::propose(record, source, spare, copy, leads);
        let leant = self.metadata.get().record.lacks;
        let revision = self.metadata.change(|metadata| metadata.record = proposed);
        self.note_lacking(leant, revision);
        self.alone = false;
        let plan = Plan {
            purpose: Purpose::Meeting,
            note: Some(Box::new(note)),
            epoch: None,
            led: false,
        };
        self.making = Making::Noting(plan, revision);
    }

    /// Remembers which change of the metadata says that this node lacks something, or nothing any more.
    pub(super) fn note_lacking(&mut self, before: bool, revision: Revision) {
        match (before, self.metadata.get().record.lacks) {
            (false, true) => self.lacked = revision,
            (true, false) => self.unlacked = revision,
            (false, false) | (true, true) => {}
        }
    }

    /// What a meeting with a base peer decided is being stored.
    pub(super) fn store_meeting(&mut self, revision: Revision) {
        let plan = Plan {
            purpose: Purpose::Meeting,
            note: None,
            epoch: None,
            led: false,
        };
        self.making = Making::Noting(plan, revision);
    }

    /// The proposal is on this disk.
    fn noted(&mut self, plan: Plan, actions: &mut Vec<Action>) {
        if plan.purpose == Purpose::Full && self.differs() {
            // Not told yet, so nobody has it: it may be forgotten.
            self.making = Making::Idle;
            return;
        }
        let Some(note) = plan.note.clone() else {
            return self.point_made(&plan, actions);
        };
        let (Link::Meeting(peer) | Link::Together(peer)) = self.link else {
            unreachable!("a point is made with a peer");
        };
        let metadata = self.metadata.get();
        let told = Told {
            note: *note,
            failures: peer.failures,
            localcnt: metadata.localcnt,
            remotecnt: peer.localcnt,
        };
        if let Some(peer) = self.peer_mut() {
            // Until it has answered, nobody knows whether it still counts as relied on.
            peer.leads &= told.note.leads;
        }
        self.making = Making::Telling(plan);
        let seq = self.take_seq(Sent::Point);
        let note = PeerNote::Point(Box::new(told));
        actions.push(Action::Tell { seq, note });
    }

    /// The peer has stored the point, or will not.
    pub(super) fn point_replied(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        let Making::Telling(plan) = self.making.clone() else {
            return self.leave(DisconnectReason::UnknownReply, actions);
        };
        if outcome.is_err() {
            return self.point_refused(&plan, actions);
        }
        let note = plan.note.as_deref().expect("what was told has a note");
        let (leads, full) = (note.leads, note.copy == Copy::Full);
        if let Some(peer) = self.peer_mut() {
            peer.leads = leads;
            peer.lacks &= !full;
        }
        let complete = self.map.stale().is_empty();
        let leant = self.metadata.get().record.lacks;
        let alone = self.alone;
        let revision = self.metadata.change(|metadata| {
            let own = metadata.record.own.filter(|_| alone);
            metadata.record = points::made(&metadata.record, note, own, complete);
        });
        self.note_lacking(leant, revision);
        self.making = Making::Settling(plan, revision);
        self.advance_making(actions);
    }

    fn point_refused(&mut self, plan: &Plan, actions: &mut Vec<Action>) {
        self.making = Making::Idle;
        if let Some(peer) = self.peer_mut() {
            peer.leads = plan.led;
        }
        if plan.purpose == Purpose::Lead {
            self.fail_leaders(Leading::Undone, actions);
        }
        // It failed something meanwhile, whose answer said it, too; or it could not flush.
        let expected = plan.purpose != Purpose::Meeting && !self.map.behind().is_empty();
        if expected {
            self.barrier_retry_at = self.now;
        } else {
            self.leave(DisconnectReason::PeerCannotStore, actions);
        }
        self.stop_flushed();
    }

    /// The point is on both disks.
    fn point_made(&mut self, plan: &Plan, actions: &mut Vec<Action>) {
        self.making = Making::Idle;
        if let Some(epoch) = plan.epoch {
            self.map.cover(epoch);
            self.map.evict(self.is_stopping().then_some(0));
        }
        match plan.purpose {
            Purpose::Meeting => self.come_together(actions),
            Purpose::Full if !self.differs() => self.agree(actions),
            Purpose::Full | Purpose::Progress | Purpose::Lead => {}
        }
        self.settle_leading(actions);
        self.stop_flushed();
        self.advance_making(actions);
    }

    fn agree(&mut self, actions: &mut Vec<Action>) {
        self.agreed = true;
        self.uncovered = false;
        self.peer_lacks = self.together().is_some_and(|peer| peer.lacks);
        if self.copies.end() {
            actions.push(Action::Notice(Notice::SynchronisationDone));
        }
    }

    /// A write of the metadata failed.
    pub(super) fn making_not_stored(&mut self, reached: Revision, actions: &mut Vec<Action>) {
        match self.making.clone() {
            Making::Noting(plan, revision) if revision <= reached => {
                self.making = Making::Idle;
                self.barrier_retry_at = self.now + super::barrier::BARRIER_RETRY;
                match plan.purpose {
                    Purpose::Meeting => self.leave(DisconnectReason::CannotStore, actions),
                    Purpose::Lead => self.fail_leaders(Leading::Undone, actions),
                    Purpose::Full | Purpose::Progress => {}
                }
                self.stop_flushed();
            }
            // The peer has it: it stays wanted here, as a later revision.
            Making::Settling(plan, revision) if revision <= reached => {
                if plan.purpose == Purpose::Meeting {
                    return self.leave(DisconnectReason::CannotStore, actions);
                }
                if plan.purpose == Purpose::Lead {
                    self.fail_leaders(Leading::Known, actions);
                }
                self.making = if self.stop == Stop::No {
                    Making::Settling(plan, self.metadata.revision())
                } else {
                    Making::Idle
                };
                self.stop_flushed();
            }
            Making::Idle
            | Making::Flushing(_)
            | Making::Noting(..)
            | Making::Telling(_)
            | Making::Settling(..) => {}
        }
    }

    /// The connection is gone, and with it the point that was being made.
    pub(super) fn making_lost(&mut self) {
        self.agreed = false;
        self.making = Making::Idle;
        self.stop_flushed();
    }

    /// The last flush and point before the end; true once they are over.
    pub(super) fn stop_point(&mut self, actions: &mut Vec<Action>) -> bool {
        if self.stop == Stop::Asked && self.barrier.is_none() && self.making == Making::Idle {
            self.stop = Stop::Flushing;
            let purpose = if self.differs() {
                Purpose::Progress
            } else {
                Purpose::Full
            };
            self.flush_for_point(purpose, actions);
        }
        self.stop == Stop::Flushed
    }

    fn stop_flushed(&mut self) {
        if self.stop == Stop::Flushing && self.making == Making::Idle {
            self.stop = Stop::Flushed;
        }
    }
}

/// How soon after the last point another is made where more extents are marked than `keepdirty` asks for,
/// in milliseconds.
const CROWDED_INTERVAL: u64 = 1_000;
