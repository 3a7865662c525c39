//! What becomes of nodes, and what that does to what they may hold: crashes, promotions, meetings,
//! the end of a synchronisation. The other half of the oracle.

use std::collections::BTreeSet;

use hast::engine::Command;
use hast::engine::meeting::{Refusal, Source};

use crate::disk::Disk;
use crate::oracle::{Apart, Oracle, Outstanding, Rule};
use crate::view::{Entry, View};

/// Whether the daemon of a secondary that was killed knows that what it had confirmed in memory is gone.
const DRAINED: bool = false;

impl Oracle {
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

    /// A node's cache is lost. `leant_on`: it had the current copy of what the other, a primary, lacks.
    pub fn power_cut(&mut self, node: usize, leant_on: bool) {
        self.views[node].iter_mut().for_each(View::power_cut);
        self.complete_since[1 - node] = None;
        if leant_on {
            self.views[1 - node].iter_mut().for_each(View::power_cut);
            self.doubt(1 - node, 0..self.views[node].len());
            self.allow_more(1 - node);
        }
        // What it answered before, and the primary acknowledges only now, it no longer has.
        let peers = self
            .outstanding
            .values_mut()
            .filter(|o| o.node != node && o.command.mutates());
        peers.for_each(|request| request.both = false);
    }

    /// Reads under way on a node may return what its view lists now.
    pub fn allow_more(&mut self, node: usize) {
        for read in self.outstanding.values_mut() {
            if read.node != node || read.command != Command::Read {
                continue;
            }
            read.disturbed = true;
            for (sector, allowed) in read.sectors.clone().zip(&mut read.allowed) {
                allowed.extend(self.views[node][sector].values());
            }
        }
    }

    /// A secondary's process died with early acknowledged writes to these sectors in its memory.
    pub fn memory_lost(
        &mut self,
        node: usize,
        leant_on: bool,
        sectors: std::ops::Range<usize>,
        disk: &Disk,
    ) {
        let now = self.step();
        for request in self
            .outstanding
            .values_mut()
            .filter(|o| o.changes(1 - node, &sectors))
        {
            request.both = false;
        }
        if DRAINED && self.strict {
            // What it confirmed, and was acknowledged, its daemon has to know it lost.
            return;
        }
        for sector in sectors {
            let entry = Entry {
                binds: false,
                ..View::found(disk.value(sector), now)
            };
            if leant_on {
                self.views[1 - node][sector].entries.push(entry.clone());
            }
            self.views[node][sector].entries.push(entry);
        }
        if leant_on {
            self.allow_more(1 - node);
        }
    }

    /// A component is promoted. `claims`: its metadata says that it is consistent.
    pub fn promoted(
        &mut self,
        node: usize,
        disk: &Disk,
        claims: bool,
        resumed: bool,
        extension: bool,
        (records, other_claims): (bool, bool),
    ) {
        if resumed && !claims {
            return;
        }
        self.checked.promotions += 1;
        // Whoever was its primary has no second copy any more.
        let peers = self.outstanding.values_mut().filter(|o| o.node != node);
        peers.for_each(|request| request.both = false);
        let half_copied = std::mem::take(&mut self.half_copied[node]);
        if claims && extension && half_copied {
            self.broken(Rule::Lost, || {
                format!("node {node} was promoted as consistent in the middle of being copied to")
            });
        }
        // A base primary says nothing of copies between nodes in step.
        let known = claims && (extension || !half_copied);
        if known {
            self.check_promise(node, disk, records);
        }
        let now = self.step();
        for (sector, view) in self.views[node].iter_mut().enumerate() {
            view.find(disk.value(sector), now);
        }
        self.apart[node].unflushed &= resumed;
        if !claims {
            // Forced: what the other has and this one lacks is given up by an operator who was told so.
            self.apart[node].maybe = true;
            self.alone[node].clear();
            self.odd = true;
            // It says that it is complete from here on, whatever it answered before.
            let peers = self.outstanding.values_mut().filter(|o| o.node != node);
            peers.for_each(|request| request.both = false);
            if !self.strict || !other_claims {
                self.apart[1 - node].surely = false;
                self.alone[1 - node].clear();
            }
        }
    }

    /// A component that is, or would be, promoted as complete: each sector holds what it has to. `records`: its
    /// metadata can be written.
    pub fn check_promise(&mut self, node: usize, disk: &Disk, records: bool) {
        self.checked.sectors += self.views[node].len() as u64;
        for (sector, view) in self.views[node].iter().enumerate() {
            let value = disk.value(sector);
            // A node that could not note what it lacks, and can write its metadata again, does not know it.
            let excused =
                self.wild.contains(&sector) || (records && self.unrecorded[node].contains(&sector));
            if !excused && !view.allows(value) {
                let allowed = view.values();
                self.broken(Rule::Lost, || {
                    format!(
                        "node {node} counts as consistent with {value:#x} in sector {sector}, not one of \
                         {allowed:x?}"
                    )
                });
                return;
            }
        }
    }

    /// A component was made anew: it promises nothing, and what it had is given up.
    pub fn recreated(&mut self, node: usize, wiped: bool) {
        if wiped {
            for view in &mut self.views[node] {
                view.entries.retain(|entry| entry.ended.is_none());
                view.past.clear();
                view.entries.push(View::found(0, self.moment));
            }
        }
        self.half_copied[node] = false;
        self.apart[node] = Apart::default();
        self.alone[node].clear();
        self.related = false;
        self.odd = true;
    }

    /// What a secondary agreed to is on its disk: the two belong together.
    pub fn agreed(&mut self) {
        self.related = true;
    }

    /// A primary introduces itself: the decision can only be about what it has done so far.
    pub fn hello(&mut self, node: usize) {
        self.introduced[node] = self.apart[node].surely;
    }

    /// What a secondary decided about a primary; one of them has marks, or neither.
    pub fn met(&mut self, primary: usize, marked: bool, decision: Result<Source, Refusal>) {
        let (mut ours, theirs) = (self.apart[primary], self.apart[1 - primary]);
        ours.surely = self.introduced[primary];
        // Two new components may each have been given a number before they ever met.
        let strangers = !self.related;
        self.lacking[1 - primary] |= decision.is_ok();
        // The primary's counter says from now on that the peer may lack something.
        self.apart[primary].maybe |= marked && decision == Ok(Source::Primary);
        // What the primary wrote to its source, the source may have lost since.
        self.lacking[primary] |= decision == Ok(Source::Secondary);
        match decision {
            Err(Refusal::UniqueId { .. }) if strangers => {}
            Err(_) if self.odd => {}
            // What the other did alone is enough.
            Err(Refusal::Superseded) if theirs.maybe => {}
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
    pub fn connected(
        &mut self,
        primary: usize,
        session: u64,
        (from_peer, peer_lives): (bool, bool),
        disks: [&Disk; 2],
    ) {
        self.checked.meetings += 1;
        if self.strict && peer_lives {
            self.check_alone(if from_peer { primary } else { 1 - primary }, disks);
        }
        self.session_begun[primary] = self.step();
        self.sessions[primary] = Some(session);
        self.met[primary] += 1;
        let [ours, theirs] = [primary, 1 - primary].map(|node| self.apart[node]);
        if !peer_lives {
            // It agreed, and is gone or has gone on since: nothing will come of this session.
        } else if ours.surely && theirs.surely {
            self.broken(Rule::SplitBrain, || {
                "connected, though both wrote apart".to_owned()
            });
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
            let old = std::mem::take(&mut ours.entries);
            let have: BTreeSet<u64> = theirs.entries.iter().map(|entry| entry.id).collect();
            ours.entries = theirs.entries;
            ours.past = theirs.past;
            for entry in old {
                if entry.ended.is_none() && !have.contains(&entry.id) {
                    ours.entries.push(entry);
                } else if entry.ended.is_some() {
                    ours.entries.push(Entry {
                        only_after_cut: peer_lives,
                        binds: false,
                        ..entry
                    });
                }
            }
            if !peer_lives {
                ours.entries
                    .iter_mut()
                    .for_each(|entry| entry.binds = false);
            }
        }
    }

    /// A primary learnt that its peer is gone.
    pub fn disconnected(&mut self, node: usize, disks: [&Disk; 2]) {
        self.complete_since[node] = None;
        if self.sessions[node].take().is_none() {
            return;
        }
        let under_way = |o: &Outstanding| o.node == node && o.issued;
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
    pub fn in_step_soon(
        &mut self,
        primary: usize,
        from_peer: bool,
        disks: [&Disk; 2],
        unsettled: &BTreeSet<usize>,
    ) {
        self.told = self.step();
        self.half_copied[1 - primary] = false;
        self.in_step();
        self.share(primary, from_peer, disks, unsettled);
    }

    /// The primary noted that it has all that the peer did alone; the peer may not hear of it.
    pub fn has_everything(&mut self, primary: usize) {
        self.apart[1 - primary].surely = false;
    }

    /// The counters agree crosswise: nobody went on alone.
    pub fn in_step(&mut self) {
        self.apart.iter_mut().for_each(|apart| apart.surely = false);
    }

    /// The primary tells the peer that the peer is ahead: then it has all that the primary has.
    pub fn peer_ahead(&mut self, primary: usize) {
        self.apart[primary].maybe = false;
        self.apart[1 - primary].maybe = true;
    }

    /// The primary began to show `up_to_date`: what it has, the peer has, flushed.
    pub fn became_up_to_date(
        &mut self,
        primary: usize,
        from_peer: bool,
        failing: bool,
        disks: [&Disk; 2],
        unsettled: &BTreeSet<usize>,
    ) {
        self.apart = [Apart::default(); 2];
        self.alone = [const { BTreeSet::new() }; 2];
        // A write that failed just now may yet be heard of.
        let under_way = self.outstanding.values().filter(|o| o.issued);
        let since = under_way.map(|o| o.begun).chain([self.told]).min();
        if !failing && since > Some(self.last_fault) {
            self.lacking = [false; 2];
            self.faulted = false;
            self.odd = false;
            self.unrecorded = [const { BTreeSet::new() }; 2];
            self.complete_since[primary] = Some(self.moment);
        }
        self.last_point = self.step();
        self.share(primary, from_peer, disks, unsettled);
    }

    fn share(
        &mut self,
        primary: usize,
        from_peer: bool,
        disks: [&Disk; 2],
        unsettled: &BTreeSet<usize>,
    ) {
        let (from, to) = if from_peer {
            (1 - primary, primary)
        } else {
            (primary, 1 - primary)
        };
        let flushed = self.last_flush[to].max(self.session_begun[primary]);
        for sector in 0..self.views[primary].len() {
            let new = self.views[from][sector].clone();
            let target = &mut self.views[to][sector];
            if unsettled.contains(&sector) {
                let have: BTreeSet<u64> = new.entries.iter().map(|entry| entry.id).collect();
                let old = std::mem::take(&mut target.entries);
                target.entries = new.entries;
                target
                    .entries
                    .extend(old.into_iter().filter(|entry| !have.contains(&entry.id)));
                target
                    .entries
                    .iter_mut()
                    .for_each(|entry| entry.binds = false);
            } else {
                // A write since that flush may be in the target's cache only, whatever was flushed at
                // the source: what it replaced can come back there.
                let cached = self.last_write[to][sector] > flushed;
                let old = std::mem::replace(target, new);
                let kept = old.entries.into_iter().filter(|entry| {
                    let known = target.entries.iter().any(|e| e.value == entry.value);
                    cached && !known && disks[to].may_hold(sector, entry.value)
                });
                let kept: Vec<Entry> = kept.collect();
                target.entries.extend(kept.into_iter().map(|entry| Entry {
                    only_after_cut: true,
                    binds: false,
                    ..entry
                }));
            }
        }
    }

    /// Compares the disks while `up_to_date` is shown; what is settled binds the peer from now on.
    pub fn compare(&mut self, primary: usize, disks: [&Disk; 2], unsettled: &BTreeSet<usize>) {
        let now = self.step();
        for sector in (0..self.views[primary].len()).filter(|sector| !unsettled.contains(sector)) {
            self.checked.sectors += 1;
            let values = disks.map(|disk| disk.value(sector));
            if self.wild.contains(&sector) {
                if values[0] == values[1] {
                    // Whichever it became, it is that now.
                    self.wild.remove(&sector);
                    for view in &mut self.views {
                        view[sector].entries.push(View::found(values[0], now));
                    }
                }
                continue;
            }
            if values[0] != values[1] {
                self.broken(Rule::UpToDate, || {
                    format!("up to date, but sector {sector} is {values:x?} on the two nodes")
                });
                return;
            }
            let view = &mut self.views[1 - primary][sector];
            if view.values().len() > 1 {
                view.entries.push(View::found(values[0], now));
            }
        }
    }

    /// Whether a sector's content on both disks is what the primary may serve, at the end.
    pub fn check_end(&mut self, primary: usize, disks: [&Disk; 2]) {
        self.compare(primary, disks, &BTreeSet::new());
        for sector in 0..self.views[primary].len() {
            let value = disks[primary].value(sector);
            let view = &self.views[primary][sector];
            if !view.allows(value) && !self.wild.contains(&sector) {
                let allowed = view.values();
                self.broken(Rule::Lost, || {
                    format!("at the end sector {sector} is {value:#x}, not one of {allowed:x?}")
                });
            }
        }
    }
}
