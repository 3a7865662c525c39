//! What is looked at after every step of a primary, and before its actions are carried out: the
//! rules about marks, copies and bounds, on the disks as they are.

use std::collections::BTreeSet;

use hast::engine::{Owner, Range};
use hast::layout::Metadata;

use crate::dialect;
use crate::disk::{Disk, SECTOR, sectors};
use crate::oracle::Rule;
use crate::world::World;

impl World {
    /// Tells the oracle when the engine's view of the connection changes.
    pub fn observe_link(&mut self, node: usize) {
        let peer_lives = self.peer_lives(node);
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let connected = driver.engine.status().connected;
        if connected == driver.connected {
            return;
        }
        driver.connected = connected;
        driver.peer_needed &= !connected;
        if connected {
            let from_peer = driver.from_peer;
            let session = driver.connection().unwrap_or(0);
            let how = (from_peer, peer_lives);
            // One that leans on its peer fetches what the peer alone has, whatever the meeting said.
            let target = if from_peer { node } else { 1 - node };
            let judged = peer_lives && (from_peer || !self.nodes[node].leans_on_peer());
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            if judged {
                self.oracle.check_alone(target, disks);
            }
            self.oracle.connected(node, session, how);
        } else {
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            self.oracle.disconnected(node, disks);
        }
    }

    /// Compares the copies where the engine says that they are equal.
    pub fn observe_copies(&mut self, node: usize) {
        // The last piece begun may be longer than what was left of the window.
        let window = self.profile.window + self.profile.piece - SECTOR;
        let peer_lives = self.peer_lives(node);
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let held: usize = driver
            .buffers
            .iter()
            .filter(|(owner, _)| matches!(owner, Owner::Engine(_)))
            .map(|(_, buffer)| buffer.borrow().values().len())
            .sum();
        if held as u64 * SECTOR > window {
            self.oracle.broken(Rule::Bound, || {
                format!("{held} sectors of synchronisation in flight")
            });
        }
        let shown = driver.engine.status().up_to_date;
        let began = shown && !driver.up_to_date;
        let from_peer = driver.from_peer;
        driver.up_to_date = shown;
        if began {
            driver.from_peer = false;
        }
        if !shown || !peer_lives {
            return;
        }
        let unsettled = self.unsettled(node);
        if began {
            let mut jobs = self.nodes.iter().flat_map(|node| node.jobs.values());
            let failing = jobs.any(|job| job.fails);
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            self.oracle
                .became_up_to_date(node, from_peer, failing, disks, &unsettled);
        }
        if began || self.rng.u8(..16) == 0 {
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            self.oracle.compare(node, disks, &unsettled);
        }
    }

    /// A primary stores these counters. Without state messages it is by them alone that two nodes
    /// come to be in step.
    pub fn observe_counters(&mut self, node: usize, ours: &Metadata) {
        let theirs = self.nodes[1 - node].disk.metadata();
        let crosswise = dialect::in_step(ours, theirs);
        let falls = dialect::forgets_alone(self.nodes[node].disk.metadata(), ours);
        if self.profile.extension || !crosswise || !falls {
            return;
        }
        if self.peer_lives(node) {
            self.observe_being_in_step(node);
        } else {
            self.oracle.in_step();
        }
    }

    /// A primary stores that it goes on alone, before it does: from here on that is so for all that anybody can
    /// know, though its power may be cut before anything comes of it.
    pub fn observe_going_alone(&mut self, node: usize, ours: &Metadata) {
        let before = self.nodes[node].disk.metadata();
        if dialect::goes_alone(before, ours) && self.oracle.is_asked_to_change(node) {
            self.oracle.peer_lacks(node);
        }
    }

    /// A primary that leant on its peer stores that it does no longer: it has what the peer did alone, even
    /// if the peer never hears of it.
    pub fn observe_mark(&mut self, node: usize, ours: &Metadata) {
        let marked = !dialect::claims(self.nodes[node].disk.metadata());
        let connected = self.oracle.sessions[node].is_some();
        if marked && dialect::claims(ours) && connected {
            self.oracle.has_everything(node);
        }
    }

    /// A primary that is connected says, or stores, that it and its peer will be in step.
    pub fn observe_being_in_step(&mut self, node: usize) {
        let from_peer = self.nodes[node]
            .primary()
            .is_some_and(|driver| driver.from_peer);
        let unsettled = self.unsettled(node);
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        self.oracle.in_step_soon(node, from_peer, disks, &unsettled);
    }

    /// Whether the secondary at the other end of a primary's connection is the one that was met.
    pub fn peer_lives(&mut self, node: usize) -> bool {
        let connection = self.nodes[node]
            .primary()
            .and_then(|driver| driver.connection());
        connection.is_some()
            && self.nodes[1 - node]
                .secondary()
                .is_some_and(|peer| peer.connection == connection)
    }

    /// Sectors with a change under way on either copy.
    pub fn unsettled(&mut self, node: usize) -> BTreeSet<usize> {
        let mut unsettled = self.oracle.changing(node);
        if let Some(driver) = self.nodes[node].primary() {
            let sent = driver
                .sent
                .values()
                .filter(|(command, ..)| command.mutates());
            unsettled.extend(sent.flat_map(|(.., range)| sectors(*range)));
        }
        unsettled
    }

    /// Rule 2.
    pub fn check_marked(&mut self, node: usize, range: Range, what: &str) {
        let this = &self.nodes[node];
        let mut extents = this.geometry.extents_of(range.offset, range.length);
        if let Some(extent) = extents.find(|extent| !this.disk.is_marked(*extent as usize)) {
            self.oracle.broken(Rule::Unmarked, || {
                format!("node {node}: {what} at {range:?}, extent {extent} is not marked durably")
            });
        }
    }

    /// Rule 3.
    pub fn check_cleared(&mut self, node: usize, index: u64, bytes: &[u8]) {
        let old = self.nodes[node].disk.map_bytes();
        let at = (index * SECTOR) as usize;
        for extent in at * 8..(at + bytes.len()) * 8 {
            let mask = 1 << (extent % 8);
            let clears = old[extent / 8] & mask != 0 && bytes[extent / 8 - at] & mask == 0;
            if clears && extent < self.nodes[node].geometry.extents as usize {
                self.check_equal(node, extent);
            }
        }
    }

    /// Rule 3, for the map that a secondary clears as a whole.
    pub fn check_map_cleared(&mut self, node: usize) {
        for index in 0..self.nodes[node].disk.map_sectors() {
            self.check_cleared(node, index as u64, &[0; SECTOR as usize]);
        }
    }

    fn check_equal(&mut self, node: usize, extent: usize) {
        let disks: [&Disk; 2] = [&self.nodes[0].disk, &self.nodes[1].disk];
        let [ours, theirs] = [node, 1 - node].map(|n| disks[n].metadata());
        let silent = ours.resuid != theirs.resuid
            || (self.profile.extension && !dialect::maps_speak(ours, theirs));
        if silent || disks[1 - node].is_marked(extent) {
            return;
        }
        let (offset, length) = self.nodes[node].geometry.range_of(extent as u64);
        for sector in sectors(Range::new(offset, length)) {
            let [ours, theirs] = disks.map(|disk| disk.certain(sector));
            if self.oracle.wild.contains(&sector) {
                // Nobody can know what an older image that was put back is to be.
                continue;
            }
            if ours.is_none() || ours != theirs {
                self.oracle.broken(Rule::Cleared, || {
                    format!(
                        "node {node} clears extent {extent}, but sector {sector} is {ours:x?} and \
                         {theirs:x?} for certain"
                    )
                });
                return;
            }
        }
    }
}
