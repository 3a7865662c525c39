//! What operators do: switch over in order, promote, force, settle a split brain, and in the end heal
//! everything and see that the copies become equal.

use hast::engine::primary::{Event, Promotion};
use hast::terms::Role;

use crate::dialect;
use crate::network::Time;
use crate::node::Worker;
use crate::oracle::Rule;
use crate::world::{Happening, PATIENCE_BOUND, World};

/// How long a pair is left to itself when all is well, before somebody decides.
const DECISION_AFTER: Time = 25_000_000;

impl World {
    pub fn switch_over(&mut self) {
        let node = self.favourite;
        self.favourite = 1 - node;
        self.stop(node);
    }

    /// Asks a primary to end in order.
    fn stop(&mut self, node: usize) {
        let worker = self.nodes[node].incarnation;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        if !std::mem::replace(&mut driver.stopping, true) {
            self.after(PATIENCE_BOUND, Happening::Impatience { node, worker });
            self.feed_primary(node, Event::Stop);
        }
    }

    /// A primary ended in order.
    pub fn stopped(&mut self, node: usize) {
        self.note(|| format!("node {node} stopped"));
        if self.oracle.waiting(node) > 0 || !self.nodes[node].jobs.is_empty() {
            self.oracle.broken(Rule::Interface, || {
                format!("node {node} stopped with work under way")
            });
        }
        self.kill(node);
        self.oracle.consumers[node].turn(false);
        self.nodes[node].role = Role::Secondary;
    }

    /// A primary hears that the other node went on: its consumer lets go of the device, and the daemon makes it a
    /// secondary.
    pub fn superseded(&mut self, node: usize) {
        self.set_open(node, false);
        self.favourite = 1 - node;
        self.stop(node);
    }

    pub fn promote_apart(&mut self, node: usize) {
        let left = if self.oracle.strict { 8 } else { 0 };
        self.insist(node, Promotion::Asked, left);
    }

    /// An operator wants a node to be the primary, whatever the other is, and tries so many times more: what
    /// a secondary received is finished first.
    pub fn insist(&mut self, node: usize, promotion: Promotion, left: u8) {
        self.favourite = node;
        if !self.take_over(node, promotion) && left > 0 && !self.calm {
            let left = left - 1;
            self.after_up_to(
                20_000,
                Happening::TakeOver {
                    node,
                    promotion,
                    left,
                },
            );
        }
    }

    /// An operator makes a node the primary; done again later where it can not be yet.
    fn take_over(&mut self, node: usize, promotion: Promotion) -> bool {
        let this = &self.nodes[node];
        // A new component counts as empty; one that is not is nobody's to use.
        let forced = promotion == Promotion::Forced && !self.calm && this.disk.is_empty();
        let unknown = this.fresh && !forced;
        if !this.powered || unknown || matches!(this.worker, Worker::Primary(_)) {
            return false;
        }
        let connection = self.nodes[node]
            .secondary()
            .and_then(|driver| driver.connection.take());
        if let Some(connection) = connection {
            self.close_end(connection, node);
        }
        if !self.is_idle(node) {
            return false;
        }
        self.nodes[node].worker = Worker::None;
        self.nodes[node].role = Role::Init;
        self.nodes[node].fresh = false;
        self.promote(node, promotion).is_ok()
    }

    /// Operators look after things, and will again.
    pub fn review(&mut self) {
        self.after_up_to(self.profile.calamity.min(200_000), Happening::Review);
        if self.oracle.strict {
            self.follow_advice();
        }
        let primaries = [0, 1].map(|node| self.nodes[node].primary().is_some());
        let waiting = [0, 1].map(|node| {
            let this = &self.nodes[node];
            this.powered && this.role == Role::Primary && matches!(this.worker, Worker::None)
        });
        if primaries == [false; 2] && waiting == [false; 2] {
            self.find_primary();
        }
        let favourite = self.favourite;
        if primaries == [true; 2] && (self.calm || self.rng.u8(..4) == 0) {
            self.stop(1 - favourite);
        }
        for node in 0..2 {
            let is_idle = self.nodes[node].powered && self.nodes[node].role == Role::Init;
            if is_idle && self.nodes[1 - node].role == Role::Primary {
                self.nodes[node].role = Role::Secondary;
            }
        }
        if self.split && (self.calm || self.rng.u8(..4) == 0) {
            self.settle_split();
        }
        if self.oracle.strict {
            self.decide_at_last();
        }
    }

    /// A primary said that the other node will never be of use to it: its operator forces it to go on.
    fn follow_advice(&mut self) {
        for node in 0..2 {
            let idle = matches!(self.nodes[node].worker, Worker::None);
            let willing = self.calm || (self.profile.forceful && self.rng.u8(..4) == 0);
            if !self.nodes[node].hopeless || !willing {
                continue;
            }
            if !idle {
                self.stop(node);
            } else if self.nodes[node].powered {
                // Whether it can be or not: it has been tried.
                self.take_over(node, Promotion::Forced);
                self.nodes[node].hopeless = false;
            }
        }
    }

    /// All is well, and the two do not become equal: somebody has to decide. There must be a reason for it.
    fn decide_at_last(&mut self) {
        let due = self.decide_at.is_some_and(|time| self.now >= time);
        if !due || self.is_settled() {
            return;
        }
        self.decide_at = Some(self.now + DECISION_AFTER);
        if !self.oracle.odd && !self.oracle.faulted {
            self.oracle.broken(Rule::Stuck, || {
                "the copies do not become equal, and nothing explains it".to_owned()
            });
        }
        let node = self.rng.usize(..2);
        self.note(|| format!("an operator decides for node {node}"));
        self.favourite = node;
        self.stop(0);
        self.stop(1);
    }

    fn find_primary(&mut self) {
        let favourite = self.favourite;
        for node in [favourite, 1 - favourite] {
            if self.take_over(node, Promotion::Asked) {
                self.favourite = node;
                return;
            }
        }
        let both = self.nodes.iter().all(|node| node.powered);
        let forced = (self.profile.forceful && self.rng.u8(..4) == 0) || (self.calm && both);
        if forced && self.take_over(favourite, Promotion::Forced) {
            return;
        }
        self.favourite = 1 - favourite;
    }

    /// After a split brain one side is given up.
    fn settle_split(&mut self) {
        for node in 0..2 {
            let can = self.nodes[node].powered
                && self.nodes[node].role == Role::Secondary
                && matches!(self.nodes[node].worker, Worker::None)
                && self.nodes[1 - node].primary().is_some();
            if can && self.nodes[1 - node].leans_on_peer() {
                // What this one has, the primary lacks: give the primary's copy up.
                self.favourite = node;
                self.stop(1 - node);
            } else if can {
                self.note(|| format!("node {node} is made anew"));
                // Two new components count as equal: then they had better be.
                // (The first change may have come after the primary introduced itself.)
                let wipe = dialect::is_nearly_new(self.nodes[1 - node].disk.metadata());
                self.nodes[node].recreate(wipe);
                self.oracle.recreated(node, wipe);
                self.nodes[1 - node].hopeless = false;
                self.split = false;
            }
        }
    }

    /// Everything is healed; the copies must become equal.
    pub fn conclude(&mut self) {
        self.calm = true;
        self.decide_at = Some(self.now + 2 * self.profile.timeout + DECISION_AFTER);
        (0..2).for_each(|node| self.evict(node));
        self.network_up = true;
        (0..2).for_each(|node| self.set_permit(node, true));
        self.note(|| "all is calm".to_owned());
        // What was cut, or went silent, is noticed by everybody first.
        self.pass(2 * self.profile.timeout, |_| false);
        let settled = self.pass(120_000_000, World::is_settled);
        if self.oracle.violation.is_some() {
            return;
        }
        if !settled {
            self.oracle
                .broken(Rule::Stuck, || "the copies do not become equal".to_owned());
            return;
        }
        let primary = usize::from(self.nodes[1].primary().is_some());
        self.read_everything(primary);
        self.pass(PATIENCE_BOUND, |world| world.oracle.waiting(primary) == 0);
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        self.oracle.check_end(primary, disks);
        self.stop(primary);
        self.pass(PATIENCE_BOUND, |world| {
            world.nodes[primary].primary().is_none()
        });
        self.pass(1_000_000, |world| world.is_idle(0) && world.is_idle(1));
        self.check_metadata(primary);
    }

    fn is_settled(&mut self) -> bool {
        (0..2).any(|node| {
            self.oracle.waiting(node) == 0
                && self.unsettled(node).is_empty()
                && self.is_idle(0)
                && self.is_idle(1)
                && self.nodes[1 - node].secondary().is_some()
                && self.nodes[node]
                    .primary()
                    .is_some_and(|driver| driver.is_up_to_date())
        })
    }

    fn check_metadata(&mut self, primary: usize) {
        let [ours, theirs] = [primary, 1 - primary].map(|n| self.nodes[n].disk.metadata().clone());
        // Without state messages the mark goes only at the next meeting.
        let marked = self.profile.extension && !dialect::claims(&theirs);
        if !dialect::is_settled(&ours, &theirs) || marked {
            self.oracle.broken(Rule::Stuck, || {
                format!("at the end the metadata does not agree: {ours:?} {theirs:?}")
            });
        }
        let map = self.nodes[primary].disk.map_bytes();
        let marked: u32 = map.iter().map(|byte| byte.count_ones()).sum();
        if marked > self.profile.keepdirty {
            self.oracle.broken(Rule::Stuck, || {
                format!("{marked} marks after an orderly end")
            });
        }
    }
}
