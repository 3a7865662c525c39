//! What must never happen (architecture.md), made precise enough to be checked at every step.
//! It looks at what applications were told and at the disks themselves, never inside an engine.
//!
//! For each node and sector a `View` lists the values the sector may legitimately hold should this node
//! serve it: the last acknowledged ones, those under way, and (`only_after_cut`, or superseded but not
//! yet flushed) those that a power cut may bring back. An acknowledged write *binds* a node where it
//! rules out what came before: always the primary; the peer too where the mode promises the second copy
//! (fullsync, memsync) and the session lasted from submission to acknowledgement.
//!
//! 1. *Lost*: when a component that claims to be consistent is promoted, and at the end, each of its
//!    sectors holds a value of its view. A power cut makes everything since the last covering flush legal
//!    there; an acknowledged flush that was answered within one session of fullsync or memsync covers
//!    both nodes, any other the primary alone. When a primary becomes up to date, the peer's view becomes
//!    the primary's. Whose data wins at a meeting is whose node acknowledged something apart.
//! 2. *Unmarked*: when a primary issues a write or delete, to its disk or the peer, and when that
//!    happens on its own disk, every extent touched is marked in its durable map whatever a power cut did then.
//! 3. *Cleared*: when a write of a map clears a mark, the other node's durable map has it, or all
//!    sectors of the extent are equal and durable on both nodes.
//! 4. *Up to date*: while `up_to_date` is shown and the peer lives, all sectors with nothing under way are equal.
//! 5. *Split brain*: refused as split brain (or as foreign) if both nodes acknowledged a write, or a flush
//!    of writes the peer may have lost, in full apart since they were last in step; and only if both at
//!    least attempted one.
//! 6. *Read*: a read returns, per sector, a value not superseded when it was submitted or written while it
//!    ran; a value once read with nothing under way stays until the next write.
//! 7. *Stuck*: requests end in bounded time; they fail only after a fault of this disk or for want of the peer's
//!    copy; once everything is healed, the copies become equal and the counters agree crosswise.
//! 8. *Bound*: no more than the window of synchronisation is in flight.

use std::collections::{BTreeMap, BTreeSet};

use hast::engine::handshake::{Refusal, Source};
use hast::engine::{Command, Outcome};

use crate::disk::{Disk, Value};
use crate::network::Time;

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

/// A count of what the oracle saw: orders it.
type Moment = u64;

/// A value a sector may hold.
#[derive(Debug, Clone)]
struct Entry {
    /// The request that wrote it; 0 for what was found.
    id: u64,
    value: Value,
    begun: Moment,
    ended: Option<Moment>,
    /// Rules out what ended before it began.
    binds: bool,
    only_after_cut: bool,
}

/// What one sector of one node may hold.
#[derive(Debug, Clone, Default)]
struct View(Vec<Entry>);

impl View {
    fn found(value: Value, now: Moment) -> Entry {
        Entry {
            id: 0,
            value,
            begun: now,
            ended: Some(now),
            binds: true,
            only_after_cut: false,
        }
    }

    /// Whether something that binds, and ended before `until`, began after the entry had ended.
    fn superseded(&self, entry: &Entry, until: Moment) -> bool {
        self.0.iter().any(|other| {
            other.binds
                && !other.only_after_cut
                && other.ended.is_some_and(|ended| ended < until)
                && entry.ended.is_some_and(|ended| ended < other.begun)
        })
    }

    fn current(&self) -> impl Iterator<Item = &Entry> {
        self.0
            .iter()
            .filter(|e| !e.only_after_cut && !self.superseded(e, Moment::MAX))
    }

    fn allows(&self, value: Value) -> bool {
        self.current().any(|entry| entry.value == value)
    }

    fn values(&self) -> Vec<Value> {
        self.current().map(|entry| entry.value).collect()
    }

    /// What was superseded before `moment` can not come back even after a power cut.
    fn flush(&mut self, moment: Moment) {
        let gone: Vec<bool> = self
            .0
            .iter()
            .map(|e| self.superseded(e, moment) || (e.only_after_cut && self.bound_before(moment)))
            .collect();
        let mut gone = gone.iter();
        self.0.retain(|_| !gone.next().copied().unwrap_or(false));
    }

    fn bound_before(&self, moment: Moment) -> bool {
        self.0
            .iter()
            .any(|e| e.binds && !e.only_after_cut && e.ended.is_some_and(|end| end < moment))
    }

    fn power_cut(&mut self) {
        for entry in &mut self.0 {
            entry.binds = false;
            entry.only_after_cut = false;
        }
    }
}

/// A request not completed.
#[derive(Debug, Clone)]
pub struct Outstanding {
    node: usize,
    command: Command,
    sectors: std::ops::Range<usize>,
    begun: Moment,
    since: Time,
    /// The session it began in; `None` without one.
    session: Option<u64>,
    both: bool,
    /// For a read, per sector what it may return.
    allowed: Vec<Vec<Value>>,
    disturbed: bool,
}

/// Whether a node acknowledged something apart from the other since they were last in step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apart {
    /// It certainly did.
    pub surely: bool,
    /// It may have: something was at least under way.
    pub maybe: bool,
    /// Something it acknowledged may be in the peer's cache only.
    unflushed: bool,
}

/// The judge.
#[derive(Debug)]
pub struct Oracle {
    moment: Moment,
    views: [Vec<View>; 2],
    outstanding: BTreeMap<u64, Outstanding>,
    /// The session each node is in as a primary.
    sessions: [Option<u64>; 2],
    apart: [Apart; 2],
    /// Whether a primary surely went on alone before it introduced itself.
    introduced: [bool; 2],
    /// The two belong to one data set.
    related: bool,
    /// The first violation.
    pub violation: Option<Violation>,
}

impl Oracle {
    /// Two new components of so many sectors.
    pub fn new(sectors: usize) -> Self {
        let blank = vec![View(vec![View::found(0, 0)]); sectors];
        Self {
            moment: 1,
            views: [blank.clone(), blank],
            outstanding: BTreeMap::new(),
            sessions: [None; 2],
            apart: [Apart::default(); 2],
            introduced: [false; 2],
            related: false,
            violation: None,
        }
    }

    /// Remembers the first thing that was broken.
    pub fn broken(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }

    fn step(&mut self) -> Moment {
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
        let mut allowed = Vec::new();
        match command {
            Command::Read => {
                allowed = sectors
                    .clone()
                    .map(|s| self.views[node][s].values())
                    .collect();
            }
            Command::Write | Command::Delete => {
                self.add_write(id, begun, &sectors, &value);
                self.disturb(node, &sectors, &value);
                self.apart[node].maybe |= session.is_none();
            }
            Command::Flush => self.apart[node].maybe |= session.is_none(),
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
            both,
            allowed,
            disturbed,
        };
        self.outstanding.insert(id, outstanding);
    }

    fn add_write(
        &mut self,
        id: u64,
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
                view[sector].0.push(entry);
            }
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
        let alone = request.session.is_none() && self.sessions[node].is_none();
        match request.command {
            Command::Read => self.read_returned(&request, id, data, now),
            Command::Write | Command::Delete => {
                let mut binds = [false; 2];
                binds[node] = true;
                binds[1 - node] = same && request.both;
                self.end_write(&request, id, now, binds);
                self.apart[node].surely |= alone;
            }
            Command::Flush => {
                self.apart[node].surely |= alone && request.both && self.apart[node].unflushed;
                self.views[node]
                    .iter_mut()
                    .for_each(|view| view.flush(request.begun));
                if same && request.both {
                    self.views[1 - node]
                        .iter_mut()
                        .for_each(|view| view.flush(request.begun));
                }
            }
        }
    }

    fn end_write(&mut self, request: &Outstanding, id: u64, now: Moment, binds: [bool; 2]) {
        if !request.command.mutates() {
            return;
        }
        for sector in request.sectors.clone() {
            for (view, binds) in self.views.iter_mut().zip(binds) {
                for entry in view[sector].0.iter_mut().filter(|entry| entry.id == id) {
                    entry.ended = Some(now);
                    entry.binds = binds;
                }
            }
        }
    }

    fn read_returned(&mut self, request: &Outstanding, id: u64, data: &[Value], now: Moment) {
        for (index, sector) in request.sectors.clone().enumerate() {
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
                view.0.push(View::found(data[index], now));
            }
        }
    }

    /// A primary's process is gone, and with it what was under way.
    pub fn crashed(&mut self, node: usize, disks: [&Disk; 2]) {
        self.disconnected(node, disks);
        let now = self.step();
        let lost: Vec<u64> = self
            .outstanding
            .iter()
            .filter(|(_, o)| o.node == node)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(request) = self.outstanding.remove(&id) {
                self.end_write(&request, id, now, [false; 2]);
            }
        }
    }

    /// A node's cache is lost.
    pub fn power_cut(&mut self, node: usize) {
        self.views[node].iter_mut().for_each(View::power_cut);
        // What it answered before, and the primary acknowledges only now, it no longer has.
        let peers = self.outstanding.values_mut().filter(|o| o.node != node && o.command.mutates());
        peers.for_each(|request| request.both = false);
    }

    /// A secondary's process died with early acknowledged writes to these sectors in its memory.
    pub fn memory_lost(&mut self, node: usize, sectors: std::ops::Range<usize>, disk: &Disk) {
        let now = self.step();
        for request in self.outstanding.values_mut().filter(|o| o.changes(1 - node, &sectors)) {
            request.both = false;
        }
        for sector in sectors {
            let entry = View::found(disk.value(sector), now);
            self.views[node][sector].0.push(Entry {
                binds: false,
                ..entry
            });
        }
    }

    /// A component is promoted. `claims`: its metadata says that it is consistent.
    pub fn promoted(&mut self, node: usize, disk: &Disk, claims: bool, resumed: bool) {
        if resumed && !claims {
            return;
        }
        let now = self.step();
        for sector in 0..self.views[node].len() {
            let value = disk.value(sector);
            let view = &mut self.views[node][sector];
            if claims && !view.allows(value) {
                let allowed = view.values();
                self.broken(Rule::Lost, || {
                    format!(
                        "node {node} was promoted as consistent with {value:#x} in sector {sector}, \
                         not one of {allowed:x?}"
                    )
                });
                return;
            }
            view.0.push(View::found(value, now));
        }
        if !claims {
            // Forced: what the other has and this one lacks is given up by an operator who was told so.
            self.apart[node].maybe = true;
            self.apart[1 - node].surely = false;
        }
    }

    /// A component was made anew: it promises nothing, and what it had is given up.
    pub fn recreated(&mut self, node: usize) {
        self.apart[node] = Apart::default();
        self.related = false;
    }

    /// A primary introduces itself: the decision can only be about what it has done so far.
    pub fn hello(&mut self, node: usize) {
        self.introduced[node] = self.apart[node].surely;
    }

    /// What a secondary decided about a primary.
    pub fn met(&mut self, primary: usize, decision: Result<Source, Refusal>) {
        let (mut ours, theirs) = (self.apart[primary], self.apart[1 - primary]);
        ours.surely = self.introduced[primary];
        // Two new components may each have been given a number before they ever met.
        let strangers = !self.related;
        self.related |= decision.is_ok();
        match decision {
            Err(Refusal::UniqueId { .. }) if strangers => {}
            Err(refusal) if !(ours.maybe && theirs.maybe) => self.broken(Rule::SplitBrain, || {
                format!("refused with '{refusal}' though not both wrote apart: {ours:?} {theirs:?}")
            }),
            Ok(_) if ours.surely && theirs.surely => self.broken(Rule::SplitBrain, || {
                format!("no split brain though both wrote apart: {ours:?} {theirs:?}")
            }),
            Ok(Source::Primary) if theirs.surely => self.broken(Rule::Lost, || {
                format!("source is the primary {primary}, but the secondary alone went on")
            }),
            Ok(Source::Secondary) if ours.surely => self.broken(Rule::Lost, || {
                format!("source is the secondary, but the primary {primary} alone went on")
            }),
            _ => {}
        }
    }

    /// A primary took the answer of its peer.
    pub fn connected(&mut self, primary: usize, session: u64, from_peer: bool) {
        self.step();
        self.sessions[primary] = Some(session);
        let [ours, theirs] = [primary, 1 - primary].map(|node| self.apart[node]);
        if ours.surely && theirs.surely {
            self.broken(Rule::SplitBrain, || "connected, though both wrote apart".to_owned());
        } else if (from_peer && ours.surely) || (!from_peer && theirs.surely) {
            self.broken(Rule::Lost, || {
                format!("node {primary} connected, source the peer: {from_peer}, other one went on")
            });
        }
        if !from_peer {
            return;
        }
        // The peer's data is the data from now on.
        for sector in 0..self.views[primary].len() {
            let theirs = self.views[1 - primary][sector].clone();
            for read in self.outstanding.values_mut() {
                if read.node == primary
                    && read.command == Command::Read
                    && read.sectors.contains(&sector)
                {
                    read.disturbed = true;
                    read.allowed[sector - read.sectors.start].extend(theirs.values());
                }
            }
            let ours = &mut self.views[primary][sector];
            let old = std::mem::take(&mut ours.0);
            let have: BTreeSet<u64> = theirs.0.iter().map(|entry| entry.id).collect();
            ours.0 = theirs.0;
            for entry in old {
                if entry.ended.is_none() && !have.contains(&entry.id) {
                    ours.0.push(entry);
                } else if entry.ended.is_some() {
                    ours.0.push(Entry {
                        only_after_cut: true,
                        binds: false,
                        ..entry
                    });
                }
            }
        }
    }

    /// A primary learnt that its peer is gone.
    pub fn disconnected(&mut self, node: usize, disks: [&Disk; 2]) {
        if self.sessions[node].take().is_none() {
            return;
        }
        let under_way = |o: &Outstanding| o.node == node && o.command != Command::Read;
        self.apart[node].maybe |= self.outstanding.values().any(under_way);
        let changing = self.changing(node);
        let at_risk = |(sector, view): (usize, &View)| {
            let mut current = view.current();
            let (Some(entry), None) = (current.next(), current.next()) else {
                return false;
            };
            let acknowledged = entry.id != 0 && entry.binds && !changing.contains(&sector);
            acknowledged && disks[1 - node].certain(sector) != Some(entry.value)
        };
        self.apart[node].unflushed = self.views[node].iter().enumerate().any(at_risk);
    }

    /// The peer failed to store something, or may never have received it.
    pub fn peer_lacks(&mut self, node: usize) {
        self.apart[node].maybe = true;
    }

    /// The primary tells the peer that it has everything: from here on the peer may know that.
    pub fn in_step_soon(&mut self, primary: usize, from_peer: bool, unsettled: &BTreeSet<usize>) {
        self.apart[primary].surely = false;
        self.apart[1 - primary].surely = false;
        self.share(primary, from_peer, unsettled);
    }

    /// The primary tells the peer that the peer is ahead.
    pub fn peer_ahead(&mut self, primary: usize) {
        self.apart[1 - primary].maybe = true;
    }

    /// The primary began to show `up_to_date`: what it has, the peer has, flushed.
    pub fn became_up_to_date(
        &mut self,
        primary: usize,
        from_peer: bool,
        unsettled: &BTreeSet<usize>,
    ) {
        self.apart = [Apart::default(); 2];
        self.share(primary, from_peer, unsettled);
    }

    fn share(&mut self, primary: usize, from_peer: bool, unsettled: &BTreeSet<usize>) {
        let (from, to) = if from_peer {
            (1 - primary, primary)
        } else {
            (primary, 1 - primary)
        };
        for sector in 0..self.views[primary].len() {
            let new = self.views[from][sector].clone();
            let target = &mut self.views[to][sector];
            if unsettled.contains(&sector) {
                let have: BTreeSet<u64> = new.0.iter().map(|entry| entry.id).collect();
                let old = std::mem::take(&mut target.0);
                target.0 = new.0;
                target
                    .0
                    .extend(old.into_iter().filter(|entry| !have.contains(&entry.id)));
                target.0.iter_mut().for_each(|entry| entry.binds = false);
            } else {
                *target = new;
            }
        }
    }

    /// Compares the disks while `up_to_date` is shown; what is settled binds the peer from now on.
    pub fn compare(&mut self, primary: usize, disks: [&Disk; 2], unsettled: &BTreeSet<usize>) {
        let now = self.step();
        for sector in (0..self.views[primary].len()).filter(|sector| !unsettled.contains(sector)) {
            let values = disks.map(|disk| disk.value(sector));
            if values[0] != values[1] {
                self.broken(Rule::UpToDate, || {
                    format!("up to date, but sector {sector} is {values:x?} on the two nodes")
                });
                return;
            }
            let view = &mut self.views[1 - primary][sector];
            if view.values().len() > 1 {
                view.0.push(View::found(values[0], now));
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

    /// Whether a sector's content on both disks is what the primary may serve, at the end.
    pub fn check_end(&mut self, primary: usize, disks: [&Disk; 2]) {
        self.compare(primary, disks, &BTreeSet::new());
        for sector in 0..self.views[primary].len() {
            let value = disks[primary].value(sector);
            let view = &self.views[primary][sector];
            if !view.allows(value) {
                let allowed = view.values();
                self.broken(Rule::Lost, || {
                    format!("at the end sector {sector} is {value:#x}, not one of {allowed:x?}")
                });
            }
        }
    }
}

impl Outstanding {
    fn changes(&self, node: usize, sectors: &std::ops::Range<usize>) -> bool {
        self.node == node
            && self.command.mutates()
            && self.sectors.start < sectors.end
            && sectors.start < self.sectors.end
    }
}
