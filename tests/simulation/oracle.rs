//! What must never happen (architecture.md), made precise enough to be checked at every step.
//! It looks at what applications were told, at what nodes show, and at the disks themselves, never inside an
//! engine. What today's metadata and handshake mean it is told by `dialect`.
//!
//! For each node and sector a `View` lists the values the sector may legitimately hold should this node
//! serve it: the last acknowledged ones, those under way, and (`only_after_cut`, or superseded but not
//! yet flushed) those that a power cut may bring back. An acknowledged write *binds* a node where it
//! rules out what came before: always the primary; the peer too where the mode promises the second copy
//! (fullsync, memsync) and the session lasted from submission to acknowledgement.
//!
//! 1. *Lost*: a component that is, or at the death of its worker would be, promoted as consistent, and both
//!    at the end: each sector holds a value of its view (`check_promise`). A power cut makes everything since
//!    the last covering flush legal there; an acknowledged flush that was answered within one session of
//!    fullsync or memsync covers both nodes, any other the primary alone. What an acknowledged flush covers
//!    lies on the media it binds, unless the node knows that it lacks something (`bonds`). Nobody becomes the
//!    target who alone has something flushed. From the first change of a session on a secondary has what its
//!    primary flushed before, or knows that it lacks it (`follow`).
//! 2. *Unmarked*: when a primary issues a write or delete, to its disk or the peer, and when that
//!    happens on its own disk, every extent touched is marked in its durable map whatever a power cut did then.
//! 3. *Cleared*: when a write of a map clears a mark, the other node's durable map has it, or all
//!    sectors of the extent are equal and durable on both nodes.
//! 4. *Up to date*: while `up_to_date` is shown and the peer lives, all sectors with nothing under way are equal.
//! 5. *Split brain*: refused as split brain (or as foreign) if both nodes acknowledged a write, or a flush
//!    of something that the other has not, in full apart since they were last in step; and only if both at
//!    least attempted one (a primary that meets its peer, with marks on either, may have: its counter says so then).
//! 6. *Read*: a read returns, per sector, a value not superseded when it was submitted or written while it
//!    ran; a value once read with nothing under way stays until the next write.
//! 7. *Stuck*: requests end in bounded time; they fail only if a disk failed while they ran or for want of the
//!    peer's copy; once everything is healed, the copies become equal and the counters agree crosswise,
//!    without a person, unless a disk failed or a component was put back, made anew or forced.
//! 8. *Bound*: no more than the window of synchronisation is in flight.
//! 9. *Alone*: while a node has no permit to go on alone, no write, delete or flush is acknowledged that its peer
//!    has not answered as done (or received).
//! 10. *Refused*: a component is refused as inconsistent only if, since the two were last up to date, it was
//!     the target of a meeting, the other acknowledged something without it, or a disk failed. Never are both marked unless a disk failed since.
//! 11. *Changed*: what is under an open device changes only by that device's own requests (`consumer`).
//! 12. *Served*: with a peer that has everything, no request fails whatever the primary's disk does.
//!
//! 11 and 12, `bonds` and `follow`, and a secondary's memory that is lost with its process, are judged only where
//! runs are judged strictly (`profile::wanted`).
//!
//! While a primary leans on its peer (part of its own component is out of date), a power cut of the peer
//! counts as one of its own: only what was flushed is promised.
//!
//! What is excused, sector by sector: what was not flushed, after a power cut or after a cache gave it up
//! (`World::evict`); the content of a write that was answered with an error; what an async peer had not yet;
//! what differs after an image was put back that is younger than the last agreement (`wild`); what a node lacks and
//! could not note because its metadata could not be written (`unrecorded`).

use std::collections::{BTreeMap, BTreeSet};

use hast::engine::{Command, Outcome};

use crate::consumer::Consumer;
use crate::disk::Value;
use crate::network::Time;
use crate::profile;
use crate::view::{Entry, Moment, View};

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// 1
    Lost,
    /// 2
    Unmarked,
    /// 3
    Cleared,
    /// 4
    UpToDate,
    /// 5
    SplitBrain,
    /// 6
    Read,
    /// 7
    Stuck,
    /// 8
    Bound,
    /// 9
    Alone,
    /// 10
    Refused,
    /// 11
    Changed,
    /// 12
    Served,
    /// The engine used its interface in a way it documents as impossible.
    Interface,
}

/// What was broken, and how.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

/// A request not completed.
#[derive(Debug, Clone)]
pub struct Outstanding {
    pub node: usize,
    pub command: Command,
    pub sectors: std::ops::Range<usize>,
    pub begun: Moment,
    pub since: Time,
    /// The session it began in; `None` without one.
    pub session: Option<u64>,
    /// How many sessions there had been.
    pub met: u64,
    pub both: bool,
    /// It reached a disk, or was sent.
    pub issued: bool,
    /// For a read, per sector what it may return.
    pub allowed: Vec<Vec<Value>>,
    /// For a read, per sector what its consumer knows; `None`: nothing yet.
    pub known: Vec<Option<Vec<Value>>>,
    pub disturbed: bool,
}

/// Whether a node acknowledged something apart from the other since they were last in step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apart {
    /// It certainly did.
    pub surely: bool,
    /// It may have: something was at least under way.
    pub maybe: bool,
    /// Something it acknowledged may be in the peer's cache only.
    pub unflushed: bool,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    pub reads: u64,
    pub promotions: u64,
    pub meetings: u64,
    /// Acknowledged flushes whose writes were looked for on the disks.
    pub flushes: u64,
    /// Sectors compared between the two, or with what they have to hold.
    pub sectors: u64,
}

impl Checked {
    pub fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.promotions += other.promotions;
        self.meetings += other.meetings;
        self.flushes += other.flushes;
        self.sectors += other.sectors;
    }

    /// Whether a run said nothing about replication.
    pub fn is_nothing(&self) -> bool {
        self.reads == 0 || self.meetings == 0 || self.sectors == 0
    }
}

/// The judge.
#[derive(Debug)]
pub struct Oracle {
    /// Nothing is excused but what physics forces.
    pub strict: bool,
    pub consumers: [Consumer; 2],
    /// Sectors in which a node has what was acknowledged and flushed, and the other's medium has not.
    pub alone: [BTreeSet<usize>; 2],
    /// Sectors that a node lacks, and could not note that it does: its metadata can not be written.
    pub unrecorded: [BTreeSet<usize>; 2],
    /// Sectors of which nobody can know which copy is right: an image was put back that was taken after the two
    /// last agreed.
    pub wild: BTreeSet<usize>,
    /// Since the two were last up to date a component was put back, made anew, or forced.
    pub odd: bool,
    /// By primary: since when its peer has all it has, in one session and without a fault.
    pub complete_since: [Option<Moment>; 2],
    /// When the two last agreed.
    pub last_point: Moment,
    pub checked: Checked,
    pub moment: Moment,
    pub views: [Vec<View>; 2],
    pub outstanding: BTreeMap<u64, Outstanding>,
    /// The session each node is in as a primary.
    pub sessions: [Option<u64>; 2],
    /// How many sessions each had.
    pub met: [u64; 2],
    pub apart: [Apart; 2],
    /// A synchronisation onto the component began, and no end of it was told.
    pub half_copied: [bool; 2],
    /// Whether a component has a reason to be marked inconsistent.
    pub lacking: [bool; 2],
    /// When a disk last failed.
    pub last_fault: Moment,
    /// A disk failed since the two were last up to date.
    pub faulted: bool,
    /// When a peer was last told that it has everything.
    pub told: Moment,
    /// When the last flush of each component that succeeded began.
    pub last_flush: [Moment; 2],
    /// When each sector of a component was last written to for an application.
    pub last_write: [Vec<Moment>; 2],
    /// When the last session of each primary began.
    pub session_begun: [Moment; 2],
    /// Whether a primary surely went on alone before it introduced itself.
    pub introduced: [bool; 2],
    /// The two belong to one data set.
    pub related: bool,
    /// The first violation.
    pub violation: Option<Violation>,
}

impl Oracle {
    /// Two new components of so many sectors.
    pub fn new(sectors: usize, strict: bool) -> Self {
        let found = View {
            entries: vec![View::found(0, 0)],
            past: Vec::new(),
        };
        let blank = vec![found; sectors];
        Self {
            strict,
            consumers: [(); 2].map(|()| Consumer::new(sectors)),
            alone: [const { BTreeSet::new() }; 2],
            unrecorded: [const { BTreeSet::new() }; 2],
            wild: BTreeSet::new(),
            odd: false,
            complete_since: [None; 2],
            last_point: 0,
            checked: Checked::default(),
            moment: 1,
            views: [blank.clone(), blank],
            outstanding: BTreeMap::new(),
            sessions: [None; 2],
            met: [0; 2],
            apart: [Apart::default(); 2],
            half_copied: [false; 2],
            lacking: [false; 2],
            last_fault: 0,
            faulted: false,
            told: 0,
            last_flush: [0; 2],
            last_write: [vec![0; sectors], vec![0; sectors]],
            session_begun: [0; 2],
            introduced: [false; 2],
            related: false,
            violation: None,
        }
    }

    /// Remembers the first thing that was broken.
    pub fn broken(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        if self.violation.is_none() && !profile::is_overlooked(rule) {
            self.violation = Some(Violation { rule, what: what() });
        }
    }

    pub fn step(&mut self) -> Moment {
        self.moment += 1;
        self.moment
    }

    /// An application handed a request to a primary; `both` where the mode promises both copies.
    pub fn submitted(
        &mut self,
        now: Time,
        node: usize,
        id: u64,
        (command, sectors): (Command, std::ops::Range<usize>),
        value: impl Fn(usize) -> Value,
        both: bool,
    ) {
        let begun = self.step();
        let session = self.sessions[node];
        let (mut allowed, mut known) = (Vec::new(), Vec::new());
        match command {
            Command::Read => {
                let consumer = &self.consumers[node];
                known = sectors.clone().map(|s| consumer.may_read(s)).collect();
                allowed = sectors
                    .clone()
                    .map(|s| self.views[node][s].values())
                    .collect();
            }
            Command::Write | Command::Delete => {
                self.add_write((node, id), begun, &sectors, &value);
                self.disturb(node, &sectors, &value);
            }
            Command::Flush => {}
        }
        let disturbed = command == Command::Read
            && self.outstanding.values().any(|o| o.changes(node, &sectors));
        let outstanding = Outstanding {
            node,
            command,
            sectors,
            begun,
            since: now,
            session,
            met: self.met[node],
            both,
            issued: false,
            allowed,
            known,
            disturbed,
        };
        self.outstanding.insert(id, outstanding);
    }

    fn add_write(
        &mut self,
        (node, id): (usize, u64),
        begun: Moment,
        sectors: &std::ops::Range<usize>,
        value: &impl Fn(usize) -> Value,
    ) {
        for sector in sectors.clone() {
            for view in &mut self.views {
                // The other node may hold it or not as long as nothing promises it.
                let entry = Entry {
                    id,
                    value: value(sector),
                    begun,
                    ended: None,
                    binds: false,
                    only_after_cut: false,
                };
                view[sector].entries.push(entry);
            }
            let entry = Entry {
                id,
                value: value(sector),
                begun,
                ended: None,
                binds: false,
                only_after_cut: false,
            };
            self.consumers[node].writes(sector, entry);
        }
    }

    /// Reads under way may return the new value.
    fn disturb(
        &mut self,
        node: usize,
        sectors: &std::ops::Range<usize>,
        value: &impl Fn(usize) -> Value,
    ) {
        for read in self.outstanding.values_mut() {
            if read.node != node || read.command != Command::Read {
                continue;
            }
            for sector in sectors
                .clone()
                .filter(|sector| read.sectors.contains(sector))
            {
                read.disturbed = true;
                read.allowed[sector - read.sectors.start].push(value(sector));
                if let Some(known) = &mut read.known[sector - read.sectors.start] {
                    known.push(value(sector));
                }
            }
        }
    }

    /// A request was answered. `excused`: a fault of the local disk or the want of a current copy explains a failure.
    pub fn completed(&mut self, id: u64, outcome: Outcome, data: &[Value], excused: bool) {
        let now = self.step();
        let Some(request) = self.outstanding.remove(&id) else {
            self.broken(Rule::Interface, || {
                format!("request {id} was answered twice")
            });
            return;
        };
        if let Err(errno) = outcome {
            if !excused {
                self.broken(Rule::Stuck, || {
                    format!(
                        "{:?} {id} failed with {errno} and nobody's fault",
                        request.command
                    )
                });
            }
            self.end_write(&request, id, now, [false; 2]);
            return;
        }
        let node = request.node;
        let same = request.session.is_some() && request.session == self.sessions[node];
        // A session in between may have brought it to the peer.
        let alone = request.session.is_none()
            && self.sessions[node].is_none()
            && request.met == self.met[node];
        match request.command {
            Command::Read => self.read_returned(&request, id, data, now),
            Command::Write | Command::Delete => {
                let mut binds = [false; 2];
                binds[node] = true;
                binds[1 - node] = same && request.both;
                self.end_write(&request, id, now, binds);
                self.apart[node].surely |= alone;
                self.lacking[1 - node] |= !same;
            }
            Command::Flush => {
                self.apart[node].surely |= alone && request.both && self.apart[node].unflushed;
                self.views[node]
                    .iter_mut()
                    .for_each(|view| view.flush(request.begun));
                self.consumers[node].flushed(request.begun);
                if same && request.both {
                    self.views[1 - node]
                        .iter_mut()
                        .for_each(|view| view.flush(request.begun));
                }
            }
        }
    }

    pub fn end_write(&mut self, request: &Outstanding, id: u64, now: Moment, binds: [bool; 2]) {
        if !request.command.mutates() {
            return;
        }
        let (node, done) = (request.node, binds[request.node]);
        self.consumers[node].wrote(id, request.sectors.clone(), now, done);
        for sector in request.sectors.clone() {
            for (view, binds) in self.views.iter_mut().zip(binds) {
                for entry in view[sector]
                    .entries
                    .iter_mut()
                    .filter(|entry| entry.id == id)
                {
                    entry.ended = Some(now);
                    entry.binds = binds;
                }
            }
        }
    }

    fn read_returned(&mut self, request: &Outstanding, id: u64, data: &[Value], now: Moment) {
        self.checked.reads += 1;
        for (index, sector) in request.sectors.clone().enumerate() {
            if let Some(known) = &request.known[index] {
                self.check_known(request.node, sector, data[index], known);
            }
            if !request.disturbed {
                self.consumers[request.node].reads(sector, data[index], now);
            }
            if !request.allowed[index].contains(&data[index]) {
                self.broken(Rule::Read, || {
                    format!(
                        "read {id} on node {} returned {:#x} for sector {sector}, not one of {:x?}",
                        request.node, data[index], request.allowed[index]
                    )
                });
                return;
            }
            let view = &mut self.views[request.node][sector];
            if !request.disturbed && view.values().len() > 1 {
                view.entries.push(View::found(data[index], now));
            }
        }
    }

    /// Sectors that a request under way changes.
    pub fn changing(&self, node: usize) -> BTreeSet<usize> {
        let writes = self
            .outstanding
            .values()
            .filter(|o| o.node == node && o.command.mutates());
        writes.flat_map(|o| o.sectors.clone()).collect()
    }

    /// How many requests a node has not answered.
    pub fn waiting(&self, node: usize) -> usize {
        self.outstanding
            .values()
            .filter(|outstanding| outstanding.node == node)
            .count()
    }

    /// Whether a request waits for too long.
    pub fn check_patience(&mut self, now: Time, bound: Time) {
        let late = self
            .outstanding
            .iter()
            .find(|(_, o)| now.saturating_sub(o.since) > bound);
        if let Some((id, request)) = late {
            let what = format!("request {id} waits since {}: {request:?}", request.since);
            self.broken(Rule::Stuck, || what);
        }
    }
}

impl Outstanding {
    pub fn changes(&self, node: usize, sectors: &std::ops::Range<usize>) -> bool {
        self.node == node
            && self.command.mutates()
            && self.sectors.start < sectors.end
            && sectors.start < self.sectors.end
    }
}
