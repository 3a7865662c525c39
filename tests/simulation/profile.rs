//! What kind of run a seed makes: sizes, speeds, faults and how likely each calamity is.

use std::sync::OnceLock;

use fastrand::Rng;
use hast::layout::Geometry;
use hast::terms::Replication;

use crate::disk::SECTOR;
use crate::faults::Faults;
use crate::network::Time;
use crate::oracle::Rule;

/// Whether an ordinary test plays every kind of run, and judges strictly. Today's engine does not stand that.
const HARSH: bool = false;

/// What is let loose on a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Crashes, cut lines and a rare error of a disk.
    Gentle,
    /// Disks that fail in every way.
    Disks,
    /// Components put back from an older image, and replaced by new ones.
    Images,
    /// Long histories of promotions, forced ones too, on either node.
    Roles,
    /// One of the above for each seed, or all of it at once.
    All,
}

/// Whether a rule is left out (HAST_OVERLOOK=Served,Changed): a fault that is known hides others behind it.
pub fn is_overlooked(rule: Rule) -> bool {
    static OVERLOOKED: OnceLock<Vec<String>> = OnceLock::new();
    let rules = OVERLOOKED.get_or_init(|| list("HAST_OVERLOOK"));
    !rules.is_empty() && rules.contains(&format!("{rule:?}"))
}

/// Whether runs go without a calamity (HAST_WITHOUT=torn,given-up), for the same reason.
fn is_left_out(calamity: &str) -> bool {
    list("HAST_WITHOUT").iter().any(|one| one == calamity)
}

fn list(variable: &str) -> Vec<String> {
    let names = std::env::var(variable).unwrap_or_default();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Which kind of runs is asked for (HAST_PROFILE), and whether they are judged strictly.
pub fn wanted() -> (Kind, bool) {
    let kind = match std::env::var("HAST_PROFILE").ok().as_deref() {
        None | Some("") => {
            return if HARSH {
                (Kind::All, true)
            } else {
                (Kind::Gentle, false)
            };
        }
        Some("gentle") => Kind::Gentle,
        Some("disks") => Kind::Disks,
        Some("images") => Kind::Images,
        Some("roles") => Kind::Roles,
        Some("all") => Kind::All,
        Some(other) => panic!("HAST_PROFILE={other}: gentle, disks, images, roles or all"),
    };
    (kind, true)
}

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
    /// The longest piece of a synchronisation.
    pub piece: u64,
    /// How long what was written stays uncovered by a point.
    pub point_interval: Time,
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
    /// What the disks do wrong.
    pub faults: [Faults; 2],
    /// A write of the metadata that is interrupted may leave part of it.
    pub torn: bool,
    disk_time: [Time; 2],
    network_time: Time,
    /// How likely each calamity is.
    pub weights: [u32; CALAMITIES],
    /// Primaries may lose their power soon after they met their peer.
    pub ambushes: bool,
    /// Peers understand state messages.
    pub extension: bool,
    /// Peers understand memsync.
    pub memsync: bool,
    /// The device outlives the primary worker: what was under way is asked again.
    pub lasting_device: bool,
    /// Operators force what is refused.
    pub forceful: bool,
    /// Between two changes of a node's permit to go on alone, at most; none where there is no such regime.
    pub permits: Option<Time>,
}

/// How many kinds of calamities there are; the first [`ORDINARY`] of them happen in gentle runs.
pub const CALAMITIES: usize = 13;
const ORDINARY: usize = 9;

impl Profile {
    /// The profile of a seed: the mode by turns, the rest by chance.
    pub fn draw(seed: u64, kind: Kind, rng: &mut Rng) -> Self {
        let mut profile = Self::gentle(seed, rng);
        profile.cut_extents(rng);
        match kind {
            Kind::Gentle => {}
            Kind::Disks => profile.fail_disks(rng),
            Kind::Images => profile.put_images_back(rng),
            Kind::Roles => profile.change_roles(rng),
            Kind::All => {
                let chosen = rng.u8(..8);
                if matches!(chosen, 1..=2 | 7) {
                    profile.fail_disks(rng);
                }
                if matches!(chosen, 3..=4 | 7) {
                    profile.put_images_back(rng);
                }
                if matches!(chosen, 5..=7) {
                    profile.change_roles(rng);
                }
            }
        }
        profile
    }

    /// Extents of one to eight pieces, and a window of few.
    fn cut_extents(&mut self, rng: &mut Rng) {
        let extent = u64::from(self.geometry.extent_size);
        if self.sectors() > 1000 {
            // With little in flight so much is not copied in the time that operators have.
            return;
        }
        self.piece = (extent >> rng.u8(..4)).max(SECTOR);
        // Few pieces at once, unless that lasts too long.
        if rng.bool() && self.sectors() < 1000 {
            self.window = self.piece * rng.u64(1..=16);
        }
    }

    fn fail_disks(&mut self, rng: &mut Rng) {
        let sectors = self.sectors();
        // One disk more often than both: else nothing is left to be right about.
        let struck = [
            [true, false],
            [false, true],
            [true, false],
            [false, true],
            [true, true],
        ];
        let struck = struck[rng.usize(..5)];
        for (faults, struck) in self.faults.iter_mut().zip(struck) {
            *faults = if struck {
                Faults::draw(self.duration, sectors, rng)
            } else {
                Faults::default()
            };
        }
        self.torn = rng.bool() && !is_left_out("torn");
        if is_left_out("given-up") {
            self.faults
                .iter_mut()
                .for_each(|faults| faults.gives_up = false);
        }
    }

    fn put_images_back(&mut self, rng: &mut Rng) {
        // Images taken and put back, a new component. Base's counters can not tell an older image.
        self.extension = true;
        self.weights[10] = rng.u32(1..=4);
        self.weights[11] = rng.u32(1..=3);
        self.weights[12] = rng.u32(0..=1);
        self.duration = rng.u64(1_000_000..=5_000_000);
        self.forceful = rng.u8(..4) == 0;
    }

    fn change_roles(&mut self, rng: &mut Rng) {
        self.duration = rng.u64(2_000_000..=6_000_000);
        self.calamity = rng.u64(20_000..=250_000);
        for weight in &mut self.weights[6..8] {
            *weight = rng.u32(1..=6);
        }
        self.weights[9] = rng.u32(0..=3);
        self.weights[12] = u32::from(rng.u8(..4) == 0);
        self.forceful = true;
    }

    fn gentle(seed: u64, rng: &mut Rng) -> Self {
        // Few runs have a map of several sectors, and more data than the window holds.
        let large = rng.u8(..100) == 0;
        let (data, extent) = if large {
            (rng.u64(4200..=5000), 1)
        } else {
            (rng.u64(64..=256), [2, 4, 8][rng.usize(..3)])
        };
        let map = if large { 2 } else { 1 };
        let geometry = Geometry::new(4096 + (map + data) * SECTOR, SECTOR as u32, extent * 512)
            .expect("a small component is divided");
        let mut weights = [0; CALAMITIES];
        for weight in &mut weights[..ORDINARY] {
            *weight = [0, 1, 1, 4][rng.usize(..4)];
        }
        let speeds = [0, 1].map(|_| [500, 2_000, 10_000][rng.usize(..3)]);
        let faulty = rng.u8(..5) < 2;
        Self {
            geometry,
            keepdirty: rng.u32(1..=6),
            replication: Replication::ALL[(seed % 3) as usize],
            window: hast::engine::MAX_REQUEST,
            piece: hast::engine::MAX_REQUEST,
            point_interval: rng.u64(20_000..=2_000_000),
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
            faults: [0, 1].map(|_| Faults {
                any: if faulty {
                    [0, 30, 200][rng.usize(..3)]
                } else {
                    0
                },
                ..Faults::default()
            }),
            torn: false,
            disk_time: speeds.map(|slowest| rng.u64(20..=slowest)),
            network_time: rng.u64(20..=10_000),
            weights,
            ambushes: rng.u8(..3) == 0,
            extension: rng.u8(..6) > 0,
            memsync: rng.u8(..8) > 0,
            lasting_device: rng.bool(),
            forceful: rng.bool(),
            permits: (rng.u8(..3) == 0).then(|| rng.u64(20_000..=1_000_000)),
        }
    }

    /// Sectors of data.
    pub fn sectors(&self) -> usize {
        (self.geometry.data_size / SECTOR) as usize
    }

    /// How long a disk operation takes.
    pub fn disk_delay(&self, node: usize, rng: &mut Rng) -> Time {
        let slow = if rng.u8(..32) == 0 { 20 } else { 1 };
        rng.u64(1..=self.disk_time[node]) * slow
    }

    /// How long a message takes.
    pub fn network_delay(&self, rng: &mut Rng) -> Time {
        let slow = if rng.u8(..64) == 0 { 10 } else { 1 };
        rng.u64(1..=self.network_time) * slow
    }
}
