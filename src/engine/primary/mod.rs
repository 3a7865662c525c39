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
//! | `making` | points: what the two nodes store together |
//! | `barrier` | a flush of both copies |
//!
//! Invariants: a request is completed once and released once, in this order; a range is changed by one
//! write or copy at a time on either node; what is written without the peer is part of a generation that was
//! begun, durably, before; nothing is stale here but what the record says is lacking.

mod barrier;
mod copies;
mod flushes;
mod interface;
mod link;
mod making;
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

use self::barrier::Barrier;
use self::copies::Copies;
use self::link::Link;
use self::making::Making;
use self::requests::Pending;
use super::activemap::Activemap;
use super::metadata_log::{MetadataLog, Revision, Written};
use super::range_lock::RangeLock;
use super::{Operation, Outcome};
use crate::layout::record::NUMBER_LIMIT;
use crate::layout::{Generation, Geometry, Metadata, Record};
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
    /// A point.
    Point,
    /// That it lacks something.
    Lacking,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// No more requests come; those there are finish first.
    Asked,
    /// By a last flush and, with a peer, a point.
    Flushing,
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
    making: Making,
    /// The peer has everything, flushed, and both have stored that.
    agreed: bool,
    /// When the last point was made, or begun.
    last_point: u64,
    point_interval: u64,
    /// What was written is to be covered by a point.
    point_due: bool,
    barrier: Option<Barrier>,
    barrier_number: u32,
    barrier_retry_at: u64,
    /// The change of the metadata that says that this node lacks something.
    lacked: Revision,
    /// The change of the metadata that says that it lacks nothing any more.
    unlacked: Revision,
    /// The localcnt of a base peer that was the source when the two last met.
    base_source: Option<u64>,
    /// The peer lacked something when it was last heard of.
    peer_lacks: bool,
    /// Nothing was ever written, and the resuid was invented by this worker.
    virgin: bool,
    /// The generation begun alone is new since the last separation and the last proposal.
    alone: bool,
    /// The change of the metadata that begins it.
    alone_revision: Revision,
    /// Nothing was written or acknowledged under it yet, and there was none before it.
    alone_unused: bool,
    /// `localcnt` counts what was done alone since both last agreed.
    raised: bool,
    generations: fastrand::Rng,
    /// Somebody has the device open.
    open: bool,
    /// The other node went on as primary: everything fails.
    superseded: bool,
    /// What only this node has may be acknowledged.
    permitted: bool,
    /// That requests are held was said.
    held_said: bool,
    /// A flush may make something safe here that no point covers.
    uncovered: bool,

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
    /// A primary with this component. Refused where the component lacks something, unless forced or
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
        let lacks = metadata.record.lacks;
        if metadata.localcnt.max(metadata.remotecnt) >= NUMBER_LIMIT - 1 {
            return Err(PromotionRefused::Counter);
        }
        if lacks && start.promotion == Promotion::Asked {
            return Err(PromotionRefused::Lacking {
                bytes: map.count() * u64::from(geometry.extent_size),
            });
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
            making: Making::Idle,
            agreed: false,
            last_point: 0,
            point_interval: start.point_interval,
            point_due: false,
            barrier: None,
            barrier_number: 0,
            barrier_retry_at: 0,
            lacked: 0,
            unlacked: 0,
            base_source: None,
            peer_lacks: false,
            virgin: false,
            alone: false,
            alone_revision: 0,
            alone_unused: false,
            raised: false,
            generations: fastrand::Rng::with_seed(start.entropy),
            open: false,
            superseded: false,
            // What the other has lost of what is here, or never had, nobody knows.
            uncovered: true,
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
        engine.take_over(start.promotion);
        Ok(engine)
    }

    /// Reads the marks found on the disk in the light of how this component was left.
    fn take_over(&mut self, promotion: Promotion) {
        let lacks = self.metadata.get().record.lacks;
        match promotion {
            Promotion::Asked => self.map.all_marked_behind(),
            // A worker that died fetched what is marked.
            Promotion::Resumed if lacks => self.map.all_marked_stale(),
            Promotion::Resumed => self.map.all_marked_behind(),
            Promotion::Forced if lacks => self.take_as_truth(),
            Promotion::Forced => self.map.all_marked_behind(),
        }
    }

    /// The operator says that what is here is the truth, whatever it lacks: it has no point in common with
    /// any other copy from here on.
    fn take_as_truth(&mut self) {
        self.map.everything_behind();
        let own = Some(self.draw_generation());
        self.alone = true;
        self.raised = true;
        self.alone_revision = self.metadata.change(|metadata| {
            let counted = metadata.record.counted;
            metadata.record = Record {
                own: own.filter(|_| !counted),
                counted,
                forced: true,
                ..Record::default()
            };
            metadata.localcnt += 1;
        });
        self.unlacked = self.alone_revision;
    }

    fn draw_generation(&mut self) -> Generation {
        Generation::new(self.generations.u64(1..)).expect("drawn from 1")
    }

    /// The metadata as it should be on the disk.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.get()
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
            Event::Meet => self.meet(actions),
            Event::Opened(open) => self.open = open,
            Event::Refused(standing) => self.refused(&standing, actions),
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
        self.advance_making(actions);
        self.tell_lacking(actions);
        self.copy_more(actions);
        self.settle_leading(actions);
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
            up_to_date: self.agreed,
            peer_lacks: self.peer_lacks,
            superseded: self.superseded,
            behind: bytes(self.map.behind().count()),
            stale: bytes(self.map.stale().count()),
            synchronising: self.copies.progress(self.together().is_some()),
            map_updates: self.map.writes(),
            requests: self.requests.len() as u64,
            held: self.held(),
        }
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
        self.map.evict(None);
        self.point_due = self.is_point_due();
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
        if !idle || !self.stop_point(actions) || self.barrier.is_some() {
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
        if let Written::Failed(reached) = written {
            // What was to be stored stays wanted, as a later revision.
            let later = self.metadata.revision();
            for revision in [
                &mut self.alone_revision,
                &mut self.lacked,
                &mut self.unlacked,
            ] {
                if *revision > 0 && !self.metadata.is_durable(*revision) && *revision <= reached {
                    *revision = later;
                }
            }
            self.making_not_stored(reached, actions);
            self.link_not_stored(actions);
        }
        self.requests_settled_by(written, actions);
        if leant && !self.leans_on_peer() {
            self.wake_waiting_peer(actions);
        }
    }
}
