//! What goes wrong, and what operators do about it, some of them wisely. Everything here could
//! happen to two real machines.

use fastrand::Rng;
use hast::engine::primary::{Event, Promotion};
use hast::layout::Geometry;
use hast::terms::{Replication, Role};

use crate::disk::SECTOR;
use crate::network::Time;
use crate::node::Worker;
use crate::oracle::Rule;
use crate::world::{Happening, PATIENCE_BOUND, World};

/// What kind of run a seed makes.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The layout of both components.
    pub geometry: Geometry,
    /// See the metadata's entry.
    pub keepdirty: u32,
    /// The mode in which primaries start.
    pub replication: Replication,
    /// Bytes of synchronisation in flight.
    pub window: u64,
    /// How long requests wait for a peer that has the only copy.
    pub patience: Time,
    /// How long until a primary connects again, at most.
    pub reconnect: Time,
    /// How long until a silent connection is given up, at most.
    pub timeout: Time,
    /// Between two ticks of a primary, twice.
    pub tick: Time,
    /// How long harm is done.
    pub duration: Time,
    /// Mean time between two bad things.
    pub calamity: Time,
    /// Mean time between two things that applications do.
    pub pause: Time,
    /// Requests at once.
    pub depth: usize,
    /// The sectors used most.
    pub hot: usize,
    /// The longest request, in sectors.
    pub longest: usize,
    /// Disk operations that fail, by node, of 10000.
    pub disk_faults: [u32; 2],
    disk_time: Time,
    network_time: Time,
    /// How likely each calamity is.
    weights: [u32; 9],
    /// Operators force what is refused.
    forceful: bool,
}

impl Profile {
    /// The profile of a seed: the mode by turns, the rest by chance.
    pub fn draw(seed: u64, rng: &mut Rng) -> Self {
        let data = rng.u64(64..=256);
        let extent = [2, 4, 8][rng.usize(..3)];
        let geometry = Geometry::new(4096 + 512 + data * SECTOR, SECTOR as u32, extent * 512)
            .expect("a small component is divided");
        let mut weights = [0; 9];
        weights
            .iter_mut()
            .for_each(|weight| *weight = [0, 1, 1, 4][rng.usize(..4)]);
        let faulty = rng.u8(..4) == 0;
        Self {
            geometry,
            keepdirty: rng.u32(1..=6),
            replication: Replication::ALL[(seed % 3) as usize],
            window: hast::engine::MAX_REQUEST,
            patience: rng.u64(200_000..=1_000_000),
            reconnect: rng.u64(10_000..=300_000),
            timeout: rng.u64(50_000..=800_000),
            tick: rng.u64(20_000..=400_000),
            duration: rng.u64(500_000..=3_000_000),
            calamity: rng.u64(30_000..=600_000),
            pause: rng.u64(1_000..=15_000),
            depth: rng.usize(1..=12),
            hot: rng.usize(4..=data as usize),
            longest: rng.usize(1..=12),
            disk_faults: [0, 1].map(|_| {
                if faulty {
                    [0, 20, 150][rng.usize(..3)]
                } else {
                    0
                }
            }),
            disk_time: rng.u64(20..=2_000),
            network_time: rng.u64(20..=10_000),
            weights,
            forceful: rng.bool(),
        }
    }

    /// Sectors of data.
    pub fn sectors(&self) -> usize {
        (self.geometry.data_size / SECTOR) as usize
    }

    /// How long a disk operation takes.
    pub fn disk_delay(&self, rng: &mut Rng) -> Time {
        let slow = if rng.u8(..32) == 0 { 20 } else { 1 };
        rng.u64(1..=self.disk_time) * slow
    }

    /// How long a message takes.
    pub fn network_delay(&self, rng: &mut Rng) -> Time {
        let slow = if rng.u8(..64) == 0 { 10 } else { 1 };
        rng.u64(1..=self.network_time) * slow
    }
}

impl World {
    /// Something bad happens, and will again.
    pub fn adversary(&mut self) {
        if self.calm {
            return;
        }
        self.after_up_to(self.profile.calamity * 2, Happening::Adversary);
        let total: u32 = self.profile.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut chosen = self.rng.u32(..total);
        let index = self.profile.weights.iter().position(|weight| {
            let here = chosen < *weight;
            chosen = chosen.saturating_sub(*weight);
            here
        });
        let node = self.rng.usize(..2);
        match index.unwrap_or(0) {
            0 => self.kill_worker(node),
            1 => self.cut_power(node),
            2 => self.cut_connections(),
            3 => self.fall_silent(),
            4 => self.take_network_down(),
            5 => self.change_mode(node),
            6 => self.switch_over(),
            7 => self.promote_apart(node),
            _ => {
                // Both at once: the power of a room.
                self.cut_power(0);
                self.cut_power(1);
            }
        }
    }

    fn kill_worker(&mut self, node: usize) {
        let was_primary = self.nodes[node].primary().is_some();
        self.kill(node);
        if was_primary {
            let worker = self.nodes[node].incarnation;
            self.after_up_to(200_000, Happening::Resume { node, worker });
        }
    }

    /// The daemon replaces a primary worker that died.
    pub fn resume(&mut self, node: usize, worker: u64) {
        let this = &self.nodes[node];
        let wanted = this.powered && this.role == Role::Primary && this.incarnation == worker;
        let free = matches!(this.worker, Worker::None);
        if wanted && free && self.promote(node, Promotion::Resumed).is_err() {
            self.nodes[node].role = Role::Init;
        }
    }

    fn cut_power(&mut self, node: usize) {
        if !self.nodes[node].powered {
            return;
        }
        self.note(|| format!("node {node}: power cut"));
        let timeout = self.profile.timeout;
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            // Nobody says that it is gone.
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(1 - node, &mut self.rng);
            if std::mem::replace(&mut link.open[node], false) {
                self.after_up_to(
                    timeout,
                    Happening::Closed {
                        connection,
                        node: 1 - node,
                    },
                );
            }
        }
        self.kill(node);
        self.nodes[node].disk.power_cut(&mut self.rng);
        self.oracle.power_cut(node);
        self.nodes[node].powered = false;
        self.nodes[node].role = Role::Init;
        self.after_up_to(800_000, Happening::PowerOn { node });
    }

    /// The power is back.
    pub fn power_on(&mut self, node: usize) {
        self.nodes[node].powered = true;
    }

    fn cut_connections(&mut self) {
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            self.note(|| format!("connection {connection} is cut"));
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(0, &mut self.rng);
            link.lose(1, &mut self.rng);
            let most = self.profile.timeout / 4;
            for node in 0..2 {
                self.after_up_to(most, Happening::Closed { connection, node });
            }
        }
    }

    fn fall_silent(&mut self) {
        let deaf = self.rng.usize(..2);
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            self.note(|| format!("connection {connection} is silent towards node {deaf}"));
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(deaf, &mut self.rng);
            let timeout = self.profile.timeout;
            self.after(
                timeout,
                Happening::Closed {
                    connection,
                    node: deaf,
                },
            );
            let later = timeout / 2 + self.rng.u64(..=timeout);
            self.after(
                later,
                Happening::Closed {
                    connection,
                    node: 1 - deaf,
                },
            );
        }
    }

    fn take_network_down(&mut self) {
        if self.network_up {
            self.network_up = false;
            self.cut_connections();
            self.after_up_to(1_500_000, Happening::NetworkUp);
        }
    }

    fn change_mode(&mut self, node: usize) {
        let mode = Replication::ALL[self.rng.usize(..3)];
        if let Some(driver) = self.nodes[node].primary() {
            driver.replication = mode;
            self.feed_primary(node, Event::SetReplication(mode));
        }
    }

    fn switch_over(&mut self) {
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
        self.nodes[node].role = Role::Secondary;
    }

    fn promote_apart(&mut self, node: usize) {
        self.favourite = node;
        self.take_over(node, Promotion::Asked);
    }

    /// An operator makes a node the primary; done again later where it can not be yet.
    fn take_over(&mut self, node: usize, promotion: Promotion) -> bool {
        let this = &self.nodes[node];
        if !this.powered || this.fresh || matches!(this.worker, Worker::Primary(_)) {
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
        self.promote(node, promotion).is_ok()
    }

    /// Operators look after things, and will again.
    pub fn review(&mut self) {
        self.after_up_to(self.profile.calamity.min(200_000), Happening::Review);
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
            if can {
                self.note(|| format!("node {node} is made anew"));
                // Two new components count as equal: then they had better be.
                let wipe = self.nodes[1 - node].disk.metadata().localcnt == 0;
                self.nodes[node].recreate(wipe);
                self.oracle.recreated(node);
                self.split = false;
            }
        }
    }

    /// Everything is healed; the copies must become equal.
    pub fn conclude(&mut self) {
        self.calm = true;
        self.network_up = true;
        self.note(|| "all is calm".to_owned());
        let settled = self.pass(120_000_000, |world| world.is_settled());
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
        let crosswise = ours.localcnt == theirs.remotecnt
            && ours.remotecnt == theirs.localcnt
            && ours.resuid == theirs.resuid;
        if !crosswise || ours.inconsistent.is_some() || theirs.inconsistent.is_some() {
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
