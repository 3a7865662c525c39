//! A disk with a volatile cache: what was written is read back at once, but survives a power cut
//! only once flushed. At a power cut every sector keeps, independently of all others, any one of
//! the contents it had since it was last flushed: writes are lost, reordered and torn.
//! A flush that fails may give up what it was to write, as the page cache of some kernels does: it is
//! read back for a while, no later flush writes it, and one day the old content is there again.
//!
//! Never takes time: the world decides when an operation happens.

use fastrand::Rng;
use hast::engine::Range;
use hast::layout::Metadata;

/// Bytes in a sector.
pub const SECTOR: u64 = 512;

/// What a sector holds: 0 when never written or deleted, else a number no other write has.
pub type Value = u64;

/// A place of the disk behind the cache.
#[derive(Debug, Clone)]
struct Cached<T> {
    durable: T,
    /// Written since the last flush, oldest first.
    pending: Vec<T>,
    /// Given up by a flush that failed: read back, but clean in the cache and not on the medium.
    given_up: Option<T>,
}

impl<T: Clone> Cached<T> {
    fn new(value: T) -> Self {
        Self {
            durable: value,
            pending: Vec::new(),
            given_up: None,
        }
    }

    fn get(&self) -> &T {
        let cached = self.pending.last().or(self.given_up.as_ref());
        cached.unwrap_or(&self.durable)
    }

    /// What a power cut now may leave.
    fn possible(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.durable).chain(&self.pending)
    }

    /// What lies on the medium, and nothing else.
    fn on_medium(&self) -> Self {
        Self::new(self.durable.clone())
    }

    fn give_up(&mut self) {
        if let Some(last) = self.pending.pop() {
            self.given_up = Some(last);
            self.pending.clear();
        }
    }

    fn flush(&mut self) {
        if let Some(last) = self.pending.pop() {
            self.durable = last;
            self.pending.clear();
            self.given_up = None;
        }
    }

    fn cut(&mut self, rng: &mut Rng) {
        let survivor = rng.usize(..=self.pending.len());
        if survivor > 0 {
            self.durable = self.pending.swap_remove(survivor - 1);
        }
        self.pending.clear();
        self.given_up = None;
    }
}

/// How far a durable write came before it was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Nothing happened.
    Nothing,
    /// It is in the cache.
    Cache,
    /// It is on the medium.
    Medium,
}

impl Reached {
    /// Any of the three.
    pub fn any(rng: &mut Rng) -> Self {
        [Self::Nothing, Self::Cache, Self::Medium][rng.usize(..3)]
    }
}

/// One node's component.
#[derive(Debug, Clone)]
pub struct Disk {
    metadata: Cached<Metadata>,
    map: Vec<Cached<Box<[u8]>>>,
    data: Vec<Cached<Value>>,
}

/// The sectors of a range.
pub fn sectors(range: Range) -> std::ops::Range<usize> {
    (range.offset / SECTOR) as usize..(range.end() / SECTOR) as usize
}

impl Disk {
    /// A component as `hastctl create` leaves it.
    pub fn new(metadata: Metadata, map_sectors: usize, data_sectors: usize) -> Self {
        let empty = || vec![0; SECTOR as usize].into_boxed_slice();
        Self {
            metadata: Cached::new(metadata),
            map: (0..map_sectors).map(|_| Cached::new(empty())).collect(),
            data: vec![Cached::new(0); data_sectors],
        }
    }

    /// The metadata as a reader sees it.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.get()
    }

    /// What the metadata may be after a power cut now.
    pub fn possible_metadata(&self) -> impl Iterator<Item = &Metadata> {
        self.metadata.possible()
    }

    /// Stores the metadata as far as `reached`.
    pub fn write_metadata(&mut self, metadata: Metadata, reached: Reached) {
        if reached != Reached::Nothing {
            self.metadata.pending.push(metadata);
        }
        if reached == Reached::Medium {
            self.metadata.flush();
        }
    }

    /// The whole activemap as a reader sees it.
    pub fn map_bytes(&self) -> Vec<u8> {
        self.map
            .iter()
            .flat_map(|sector| sector.get().iter().copied())
            .collect()
    }

    /// How many sectors the map has.
    pub fn map_sectors(&self) -> usize {
        self.map.len()
    }

    /// Stores a sector of the map as far as `reached`.
    pub fn write_map(&mut self, index: usize, bytes: Box<[u8]>, reached: Reached) {
        let sector = &mut self.map[index];
        if reached != Reached::Nothing {
            sector.pending.push(bytes);
        }
        if reached == Reached::Medium {
            sector.flush();
        }
    }

    /// Whether an extent is marked whatever a power cut did now.
    pub fn is_marked(&self, extent: usize) -> bool {
        let (index, bit) = (extent / 8 / SECTOR as usize, extent % (8 * SECTOR as usize));
        let marked = |bytes: &[u8]| bytes[bit / 8] & (1 << (bit % 8)) != 0;
        let sector = &self.map[index];
        marked(&sector.durable) && sector.pending.iter().all(|bytes| marked(bytes))
    }

    /// What a sector holds as a reader sees it.
    pub fn value(&self, sector: usize) -> Value {
        *self.data[sector].get()
    }

    /// What a sector holds whatever a power cut did now, if that is certain.
    pub fn certain(&self, sector: usize) -> Option<Value> {
        let cached = &self.data[sector];
        cached
            .pending
            .iter()
            .chain(&cached.given_up)
            .all(|value| *value == cached.durable)
            .then_some(cached.durable)
    }

    /// What a power cut now may leave in a sector.
    pub fn possible(&self, sector: usize) -> impl Iterator<Item = Value> {
        self.data[sector].possible().copied()
    }

    /// Whether a power cut now may leave this value in a sector.
    pub fn may_hold(&self, sector: usize, value: Value) -> bool {
        self.possible(sector).any(|possible| possible == value)
    }

    /// Writes a sector into the cache.
    pub fn write(&mut self, sector: usize, value: Value) {
        self.data[sector].pending.push(value);
    }

    /// Makes the data durable.
    pub fn flush(&mut self) {
        self.data.iter_mut().for_each(Cached::flush);
    }

    /// A flush failed, and gave up the sectors that `lost` says.
    pub fn give_up(&mut self, mut lost: impl FnMut() -> bool) {
        let cached = self.data.iter_mut().filter(|it| !it.pending.is_empty());
        cached.filter(|_| lost()).for_each(Cached::give_up);
    }

    /// Sectors whose last write was given up.
    pub fn given_up(&self) -> Vec<usize> {
        let sectors = self.data.iter().enumerate();
        let given_up = sectors.filter(|(_, it)| it.given_up.is_some() && it.pending.is_empty());
        given_up.map(|(sector, _)| sector).collect()
    }

    /// The cache lets go of what is clean: what was given up is gone.
    pub fn evict(&mut self) {
        self.data
            .iter_mut()
            .for_each(|sector| sector.given_up = None);
    }

    /// An image of the component as it lies on the medium.
    pub fn image(&self) -> Self {
        Self {
            metadata: self.metadata.on_medium(),
            map: self.map.iter().map(Cached::on_medium).collect(),
            data: self.data.iter().map(Cached::on_medium).collect(),
        }
    }

    /// What opening a component does first: nothing read afterwards can be lost any more.
    pub fn open(&mut self) {
        self.metadata.flush();
        self.map.iter_mut().for_each(Cached::flush);
        self.flush();
    }

    /// Whether nothing was ever written to it.
    pub fn is_empty(&self) -> bool {
        self.data
            .iter()
            .all(|it| it.possible().all(|value| *value == 0))
    }

    /// Makes the data as new.
    pub fn wipe(&mut self) {
        self.data
            .iter_mut()
            .for_each(|sector| *sector = Cached::new(0));
    }

    /// The power goes.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.metadata.cut(rng);
        self.map.iter_mut().for_each(|sector| sector.cut(rng));
        self.data.iter_mut().for_each(|sector| sector.cut(rng));
    }
}
