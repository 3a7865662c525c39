//! A disk with a volatile cache: what was written is read back at once, but survives a power cut
//! only once flushed. At a power cut every sector keeps, independently of all others, any one of
//! the contents it had since it was last flushed: writes are lost, reordered and torn.
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
}

impl<T: Clone> Cached<T> {
    fn new(value: T) -> Self {
        Self {
            durable: value,
            pending: Vec::new(),
        }
    }

    fn get(&self) -> &T {
        self.pending.last().unwrap_or(&self.durable)
    }

    fn flush(&mut self) {
        if let Some(last) = self.pending.pop() {
            self.durable = last;
            self.pending.clear();
        }
    }

    fn cut(&mut self, rng: &mut Rng) {
        let survivor = rng.usize(..=self.pending.len());
        if survivor > 0 {
            self.durable = self.pending.swap_remove(survivor - 1);
        }
        self.pending.clear();
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
            .all(|value| *value == cached.durable)
            .then_some(cached.durable)
    }

    /// Whether a power cut now may leave this value in a sector.
    pub fn may_hold(&self, sector: usize, value: Value) -> bool {
        let cached = &self.data[sector];
        cached.durable == value || cached.pending.contains(&value)
    }

    /// Writes a sector into the cache.
    pub fn write(&mut self, sector: usize, value: Value) {
        self.data[sector].pending.push(value);
    }

    /// Makes the data durable.
    pub fn flush(&mut self) {
        self.data.iter_mut().for_each(Cached::flush);
    }

    /// What opening a component does first: nothing read afterwards can be lost any more.
    pub fn open(&mut self) {
        self.metadata.flush();
        self.map.iter_mut().for_each(Cached::flush);
        self.flush();
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
