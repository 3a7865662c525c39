//! The primary: takes requests from the provider, writes both copies, and brings together what
//! came apart.
//!
//! Never does I/O (see the engine's head). What each part keeps:
//!
//! | file | what |
//! | --- | --- |
//! | `interface` | events, actions, status |
//! | `requests` | admission: the way of a request to the disks |
//! | `permit` | whether what only this node has may be acknowledged |
//! | `writes`, `reads`, `flushes` | what their results mean, and when they are acknowledged |
//! | `link` | meeting the peer and losing it |
//! | `copies` | synchronisation, a piece at a time |
//! | `agreement` | the barrier, the counters and the word that ends a synchronisation |
//!
//! Invariants: a request is completed once and released once, in this order; a range is changed by one
//! write or copy at a time on either node; `raised` says that localcnt counts what was acknowledged
//! without the peer since the two last agreed.

mod agreement;
mod copies;
mod flushes;
mod interface;
mod link;
mod permit;
mod reads;
mod requests;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use interface::{
    Action, Answer, Direction, DisconnectReason, Event, Hello, Notice, Progress, Promotion,
    PromotionRefused, Start, Status,
};

use self::agreement::{Agreement, Barrier};
use self::copies::Copies;
use self::link::Link;
use self::requests::Pending;
use super::activemap::Activemap;
use super::metadata_log::{Generation, MetadataLog};
use super::range_lock::RangeLock;
use super::{Operation, Outcome, PeerState};
use crate::layout::{Geometry, Inconsistent};
use crate::terms::{Replication, Role};

/// Who holds a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Request(u64),
    Piece(u64),
}

/// What an answer from the peer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// A part of a request, or its write.
    Operation(Operation),
    /// The flush that makes a write durable which only the peer has.
    FlushAfter(u64),
    /// A piece of a synchronisation.
    Piece(u64),
    /// The flush of a barrier.
    Barrier,
    /// A state message.
    State(PeerState),
}

/// Whether the peer has been told that it holds what this node lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    No,
    /// By a state message under way.
    Telling,
    /// By this node's own metadata, once it is durable: a base peer has no state messages.
    Noting(Generation),
    Told,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// No more requests come; those there are finish first.
    Asked,
    /// By the barrier of this number.
    Flushing(u32),
    Flushed,
    Stopped,
}

/// The engine of a primary.
#[derive(Debug)]
pub struct Primary {
    geometry: Geometry,
    map: Activemap,
    metadata: MetadataLog,
    fresh_resuid: u64,
    replication: Replication,
    patience: u64,
    now: u64,
    /// Requests since the last tick, and in the time between the two before it.
    submitted: u64,
    submitted_before: u64,

    link: Link,
    agreement: Agreement,
    barrier: Option<Barrier>,
    barrier_number: u32,
    barrier_retry_at: u64,
    ahead: Ahead,
    /// The change of the metadata that says what is stale here.
    mapped_generation: Generation,
    /// The change of the metadata that says that nothing is stale any more.
    unmapped_generation: Generation,
    /// The peer's localcnt while it is the source of a synchronisation that this worker saw begin.
    source_localcnt: Option<u64>,
    /// What the peer was last told of its copy in this connection.
    told: Option<PeerState>,
    /// The peer was written to while it lacked something, and was not brought up to date since.
    peer_inconsistent: bool,
    /// Nothing was ever written, and the resuid was invented by this worker.
    virgin: bool,
    /// Counts what was acknowledged without the peer; see the module's invariants.
    raised: bool,
    raise_generation: Generation,
    /// What only this node has may be acknowledged.
    permitted: bool,
    /// That requests are held was said.
    held_said: bool,
    /// Something acknowledged may be lost on the peer's side, though nothing was written without it.
    unconfirmed: bool,

    lock: RangeLock<Holder>,
    requests: BTreeMap<u64, Pending>,
    sent: BTreeMap<u64, Sent>,
    next_seq: u64,
    copies: Copies,
    waiting_mark: Vec<u64>,
    /// Writes that only the peer has so far.
    leaders: BTreeSet<u64>,
    waiting_link: VecDeque<u64>,
    waiting_copy: BTreeSet<u64>,
    waiting_peer: BTreeSet<u64>,
    stop: Stop,
    /// The map could not be tidied: it is left as it is.
    stop_failed: bool,
}

impl Primary {
    /// A primary with this component. Refused where the component is inconsistent, unless forced or
    /// resumed.
    pub fn new(start: Start) -> Result<Self, PromotionRefused> {
        let Start {
            geometry,
            metadata,
            map,
            replication,
            window,
            piece,
            patience,
            ..
        } = start;
        let inconsistent = metadata.inconsistent;
        let extent = u64::from(geometry.extent_size);
        match (start.promotion, inconsistent) {
            (_, None)
            | (Promotion::Forced, _)
            | (Promotion::Resumed, Some(Inconsistent::Mapped)) => {}
            (Promotion::Asked, Some(Inconsistent::Mapped)) => {
                return Err(PromotionRefused::Stale {
                    bytes: map.count() * extent,
                });
            }
            (_, Some(Inconsistent::Unmapped)) => return Err(PromotionRefused::Unfinished),
        }
        let mut engine = Self {
            geometry,
            map: Activemap::new(geometry, metadata.keepdirty, map),
            metadata: MetadataLog::new(metadata),
            fresh_resuid: start.fresh_resuid,
            replication,
            patience,
            now: 0,
            submitted: 0,
            submitted_before: 0,
            link: Link::Apart,
            agreement: Agreement::Open,
            barrier: None,
            barrier_number: 0,
            barrier_retry_at: 0,
            source_localcnt: None,
            ahead: Ahead::No,
            mapped_generation: 0,
            unmapped_generation: 0,
            told: None,
            peer_inconsistent: false,
            virgin: false,
            raised: false,
            raise_generation: 0,
            unconfirmed: false,
            permitted: true,
            held_said: false,
            lock: RangeLock::default(),
            requests: BTreeMap::new(),
            sent: BTreeMap::new(),
            next_seq: 1,
            copies: Copies::new(window, piece),
            waiting_mark: Vec::new(),
            leaders: BTreeSet::new(),
            waiting_link: VecDeque::new(),
            waiting_copy: BTreeSet::new(),
            waiting_peer: BTreeSet::new(),
            stop: Stop::No,
            stop_failed: false,
        };
        engine
            .metadata
            .change(|metadata| metadata.prevrole = Role::Primary);
        engine.take_over(start.promotion, inconsistent);
        Ok(engine)
    }

    /// Reads the marks found on the disk in the light of how this component was left.
    fn take_over(&mut self, promotion: Promotion, inconsistent: Option<Inconsistent>) {
        match (promotion, inconsistent) {
            (_, None) => {
                self.map.all_marked_behind();
                // What the peer had of this when it was last seen, nobody knows.
                self.unconfirmed = !self.map.behind().is_empty();
            }
            (Promotion::Forced, Some(left)) => {
                // The operator says that this is the truth: then the peer lacks whatever may differ.
                match left {
                    Inconsistent::Mapped => self.map.all_marked_behind(),
                    Inconsistent::Unmapped => self.map.everything_behind(),
                }
                self.raise();
                self.metadata
                    .change(|metadata| metadata.inconsistent = None);
            }
            (Promotion::Asked | Promotion::Resumed, Some(_)) => self.map.all_marked_stale(None),
        }
    }

    /// Takes note of what happened and appends what is to be done.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Submit(request) => self.submit(request, actions),
            Event::LocalDone(operation, outcome) => self.local_done(operation, outcome, actions),
            Event::Reply {
                seq,
                received,
                outcome,
            } => self.reply(seq, received, outcome, actions),
            Event::Meet => self.meet(),
            Event::Connected(answer) => self.connected(&answer, actions),
            Event::Disconnected => self.disconnected(actions),
            Event::MapWritten(_, outcome) => self.map_written(outcome, actions),
            Event::MetadataWritten(ticket, outcome) => {
                self.metadata_written(ticket, outcome, actions);
            }
            Event::Tick(now) => self.tick(now, actions),
            Event::SetReplication(replication) => self.replication = replication,
            Event::Permit(permitted) => self.permit(permitted, actions),
            Event::Stop => {
                if self.stop == Stop::No {
                    self.stop = Stop::Asked;
                }
            }
        }
        self.advance(actions);
    }

    /// What may be done next, whatever the event was.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        self.advance_link(actions);
        self.tell_inconsistent(actions);
        self.copy_more(actions);
        self.advance_agreement(actions);
        self.advance_stop(actions);
        self.say_held(actions);
        if let Some((ticket, sectors)) =
            self.map.next_write(self.is_stopping() && !self.stop_failed)
        {
            actions.push(Action::WriteMap(ticket, sectors));
        }
        if let Some((ticket, metadata)) = self.metadata.next_write() {
            actions.push(Action::WriteMetadata(ticket, Box::new(metadata)));
        }
    }

    /// What is known of the two copies.
    pub fn status(&self) -> Status {
        let extent = u64::from(self.geometry.extent_size);
        let bytes = |extents: u64| (extents * extent).min(self.geometry.data_size);
        Status {
            connected: self.together().is_some(),
            up_to_date: self.agreement == Agreement::Reached,
            peer_inconsistent: self.peer_inconsistent,
            behind: bytes(self.map.behind().count()),
            stale: bytes(self.map.stale().count()),
            synchronising: self.copies.progress(self.together().is_some()),
            map_updates: self.map.writes(),
            requests: self.requests.len() as u64,
            held: self.held(),
        }
    }

    /// Counts, durably before anything waits no longer for it, that this node moves on alone.
    fn raise(&mut self) -> Generation {
        self.unconfirmed = false;
        if self.raised {
            self.metadata.retry();
            return self.raise_generation;
        }
        self.raised = true;
        self.virgin = false;
        let fresh = self.fresh_resuid;
        self.raise_generation = self.metadata.change(|metadata| {
            if metadata.resuid == 0 {
                metadata.resuid = fresh;
            }
            metadata.localcnt += 1;
        });
        self.raise_generation
    }

    fn is_stopping(&self) -> bool {
        self.stop != Stop::No
    }

    fn take_seq(&mut self, sent: Sent) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.sent.insert(seq, sent);
        seq
    }

    fn tick(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.now = now;
        self.submitted_before = std::mem::take(&mut self.submitted);
        self.metadata.retry();
        if !self.map.is_stored() || !self.waiting_mark.is_empty() {
            self.map.retry();
        }
        self.give_up_waiting(actions);
        if self.map.evictable() > 0 && self.agreement == Agreement::Reached {
            self.map.evict(None);
            if self.map.evictable() > 0 {
                self.begin_barrier(actions);
            }
        }
        if let Some((ticket, sectors)) = self.map.next_write(true) {
            actions.push(Action::WriteMap(ticket, sectors));
        }
    }

    fn advance_stop(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.stop, Stop::No | Stop::Stopped) {
            return;
        }
        self.give_up_waiting(actions);
        let idle = self.requests.is_empty() && self.copies.is_idle();
        if !idle || !self.stop_barrier(actions) {
            return;
        }
        let written = self.map.is_tidy() || (self.stop_failed && !self.map.is_writing());
        if written && self.metadata.is_settled() {
            self.stop = Stop::Stopped;
            actions.push(Action::Stopped);
        }
    }

    fn metadata_written(&mut self, ticket: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        let leant = self.leans_on_peer();
        let written = self.metadata.written(ticket, outcome);
        if outcome.is_err() && self.raised && ticket >= self.raise_generation {
            self.raise_generation = self.metadata.generation();
        }
        self.requests_settled_by(written, actions);
        self.link_settled_by(written, actions);
        if leant && !self.leans_on_peer() {
            self.wake_waiting_peer(actions);
        }
    }
}
