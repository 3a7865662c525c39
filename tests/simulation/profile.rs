//! What kind of run a seed makes: sizes, speeds, faults and how likely each calamity is.

use fastrand::Rng;
use hast::layout::Geometry;
use hast::terms::Replication;

use crate::disk::SECTOR;
use crate::network::Time;

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
    disk_time: [Time; 2],
    network_time: Time,
    /// How likely each calamity is.
    pub weights: [u32; 9],
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

impl Profile {
    /// The profile of a seed: the mode by turns, the rest by chance.
    pub fn draw(seed: u64, rng: &mut Rng) -> Self {
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
        let mut weights = [0; 9];
        for weight in &mut weights {
            *weight = [0, 1, 1, 4][rng.usize(..4)];
        }
        let speeds = [0, 1].map(|_| [500, 2_000, 10_000][rng.usize(..3)]);
        let faulty = rng.u8(..5) < 2;
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
                    [0, 30, 200][rng.usize(..3)]
                } else {
                    0
                }
            }),
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
