//! What an acknowledged flush binds, seen on the disks themselves: on which medium it lies, which node alone
//! has it, and what becomes of that when a component is put back, made anew, or lost part of its cache.
//!
//! The rule behind all of it: what was acknowledged and flushed is on some medium, and a node that lacks it
//! is either not promoted without force, or could not know.

use std::collections::BTreeSet;

use crate::disk::Disk;
use crate::images::Image;
use crate::oracle::{Oracle, Outstanding, Rule};
use crate::view::{Entry, View};

/// What is known of a node whose flush is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its metadata says, whatever a power cut did, that it is complete.
    pub claims: bool,
    /// The last write of its metadata failed.
    pub record_fails: bool,
}

impl Oracle {
    /// Sectors in which a medium may hold what a node must not.
    fn missing(&self, node: usize, disk: &Disk) -> BTreeSet<usize> {
        let views = &self.views[node];
        let legal = |sector: usize| {
            let mut possible = disk.possible(sector);
            self.wild.contains(&sector) || possible.all(|value| views[sector].may_return(value))
        };
        (0..views.len()).filter(|sector| !legal(*sector)).collect()
    }

    /// An acknowledged flush: what it covers has to lie on the media that it binds. `both`: the peer's, too.
    pub fn check_flushed(
        &mut self,
        request: &Outstanding,
        both: bool,
        disks: [&Disk; 2],
        standing: [Standing; 2],
    ) {
        let node = request.node;
        self.checked.flushes += 1;
        self.checked.sectors += self.views[node].len() as u64;
        let [here, there] = [node, 1 - node].map(|holder| self.missing(node, disks[holder]));
        if let Some(sector) = here.intersection(&there).next() {
            let found = disks.map(|disk| disk.possible(*sector).collect::<Vec<_>>());
            let allowed = self.views[node][*sector].values();
            self.broken(Rule::Lost, || {
                format!(
                    "a flush was acknowledged on node {node}, but sector {sector} is {found:x?} on the media, \
                     not one of {allowed:x?}"
                )
            });
        }
        // The peer by what binds it: in async something else may be ahead there.
        let unkept = self.missing(1 - node, disks[1 - node]);
        let bound = [(node, &here), (1 - node, &unkept)];
        for (holder, missing) in bound.into_iter().take(if both { 2 } else { 1 }) {
            let Standing {
                claims,
                record_fails,
            } = standing[holder];
            let Some(sector) = missing.first().copied().filter(|_| claims) else {
                continue;
            };
            if record_fails {
                self.unrecorded[holder].extend(missing);
                continue;
            }
            let found: Vec<_> = disks[holder].possible(sector).collect();
            let allowed = self.views[holder][sector].values();
            self.broken(Rule::Lost, || {
                format!(
                    "a flush was acknowledged on node {node}; node {holder} counts as complete, and sector \
                     {sector} is {found:x?} on its medium, not one of {allowed:x?}"
                )
            });
        }
        self.alone[1 - node].extend(here);
        // What the peer of an async session has not yet is lost with this node, by nature.
        if both || self.sessions[node].is_none() {
            // Zeros that were only found there are nobody's.
            let views = &self.views[node];
            let is_written = |sector: &usize| {
                let mut entries = views[*sector].entries.iter();
                entries.any(|entry| entry.binds && (entry.id != 0 || entry.value != 0))
            };
            self.alone[node].extend(there.into_iter().filter(is_written));
        }
    }

    /// What the other node's medium has by now, a node no longer has alone.
    pub fn settle_alone(&mut self, disks: [&Disk; 2]) {
        for node in 0..2 {
            let missing = self.missing(node, disks[1 - node]);
            let [ours, theirs] = [node, 1 - node].map(|n| &self.views[n]);
            // It has overwritten it, knowing it: it is newer.
            let is_older = |sector: &usize| {
                let mut binding = ours[*sector].current().filter(|entry| entry.binds);
                binding.all(|entry| theirs[*sector].past.contains(&entry.value))
            };
            self.alone[node].retain(|sector| missing.contains(sector) && !is_older(sector));
        }
    }

    /// Two nodes came together, and the data of `target` gives way.
    pub fn check_alone(&mut self, target: usize, disks: [&Disk; 2]) {
        self.settle_alone(disks);
        let Some(sector) = self.alone[target].first().copied() else {
            return;
        };
        let rule = if self.alone[1 - target].is_empty() {
            Rule::Lost
        } else {
            Rule::SplitBrain
        };
        let value = disks[target].value(sector);
        self.broken(rule, || {
            format!(
                "node {target} is the target, but alone has the flushed {value:#x} in sector {sector}; \
                 the other has something alone: {}",
                rule == Rule::SplitBrain
            )
        });
    }

    /// A secondary is about to be written to for the first time in a session: from here on it has to
    /// have all that its primary has flushed, or know that it lacks it.
    pub fn follow(&mut self, node: usize) {
        if !self.strict {
            return;
        }
        for sector in 0..self.views[node].len() {
            let bound: BTreeSet<u64> = self.views[node][sector]
                .entries
                .iter()
                .filter(|entry| entry.binds && entry.id != 0)
                .map(|entry| entry.id)
                .collect();
            let mut view = self.views[1 - node][sector].clone();
            for entry in &mut view.entries {
                entry.binds &= bound.contains(&entry.id);
                entry.only_after_cut = false;
            }
            self.views[node][sector] = view;
        }
    }

    /// A node's component was put back from an older image.
    pub fn put_back(&mut self, node: usize, image: &Image, disks: [&Disk; 2]) {
        let now = self.step();
        self.strange(node);
        self.views[node].clone_from(&image.views);
        for entry in self.views[node]
            .iter_mut()
            .flat_map(|view| &mut view.entries)
        {
            entry.ended.get_or_insert(now);
        }
        self.views[node].iter_mut().for_each(View::power_cut);
        self.apart[node] = image.apart;
        self.alone[node].clone_from(&image.alone);
        if self.last_point > image.taken {
            // The two agreed since: the other knows all that was alone here, and more, and that can be told.
            self.apart[node].surely = false;
            self.alone[1 - node] = self.missing(1 - node, disks[node]);
            return;
        }
        // Nobody can know: what differs, or was written since, may become either.
        for sector in 0..self.views[node].len() {
            let [ours, theirs] =
                [node, 1 - node].map(|n| disks[n].possible(sector).collect::<Vec<_>>());
            if ours != theirs {
                self.wild.insert(sector);
                self.forget(sector, disks);
            }
        }
        self.alone = [const { BTreeSet::new() }; 2];
        self.apart.iter_mut().for_each(|apart| {
            apart.maybe = true;
            apart.surely = false;
        });
    }

    /// Both nodes may hold anything in a sector that either holds now.
    fn forget(&mut self, sector: usize, disks: [&Disk; 2]) {
        let now = self.moment;
        let values = disks.map(|disk| disk.possible(sector).collect::<Vec<_>>());
        for view in &mut self.views {
            view[sector].power_cut();
            view[sector]
                .entries
                .extend(values.iter().flatten().map(|value| Entry {
                    binds: false,
                    ..View::found(*value, now)
                }));
        }
    }

    /// A node's component is a new one: the other alone has all there is.
    pub fn replaced(&mut self, node: usize, disks: [&Disk; 2]) {
        self.strange(node);
        self.alone[node].clear();
        self.unrecorded[node].clear();
        self.alone[1 - node] = self.missing(1 - node, disks[node]);
    }

    /// A component became what it was not: nobody is bound to what it had answered before.
    fn strange(&mut self, node: usize) {
        self.odd = true;
        self.lacking = [true; 2];
        self.complete_since = [None; 2];
        self.half_copied[node] = false;
        let peers = self.outstanding.values_mut().filter(|o| o.node != node);
        peers.for_each(|request| request.both = false);
    }

    /// A node acknowledged a change while its metadata could not be written: it may lack it, and not know.
    pub fn check_recorded(&mut self, node: usize, disk: &Disk, standing: Standing) {
        if standing.claims && standing.record_fails {
            let views = &self.views[node];
            let lacks = |sector: &usize| !views[*sector].allows(disk.value(*sector));
            self.unrecorded[node].extend((0..views.len()).filter(lacks));
        }
    }

    /// The cache of a node let go of what a failed flush had given up. `excused`: it could not but be seen.
    pub fn evicted(&mut self, sectors: &[usize], excused: [bool; 2]) {
        for (of, excused) in excused.into_iter().enumerate() {
            if !excused {
                continue;
            }
            for sector in sectors {
                self.views[of][*sector].power_cut();
            }
            self.doubt(of, sectors.iter().copied());
            self.allow_more(of);
        }
    }
}
