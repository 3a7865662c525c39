//! Which extents are marked, and which marks are on the disk.
//!
//! An extent is marked while the copies may differ there: while a write to it is under way, while
//! the peer lacks it (*behind*) or this node does (*stale*), until a point covers its last write (both
//! copies were flushed after it, and both nodes have stored that), and beyond that while it is one of the
//! `keepdirty` most recently used.
//!
//! Never does I/O: it says which sectors of the map to write. Invariants: behind, stale and active
//! extents are marked; `stable` holds only marks that are on the disk whatever happens now; one write
//! of the map is under way at a time; an extent is never both behind and stale.

use std::collections::{BTreeMap, BTreeSet};

use super::{MapSector, Outcome, Range};
use crate::layout::Geometry;
use crate::layout::activemap::Bitmap;

/// Counts flushes of both copies: one that ends an epoch was begun after that epoch's writes had ended.
pub type Epoch = u64;

/// Changed sectors of the map within so many bytes are written together, with those between them: the
/// whole map of 2 TiB with extents of 2 MiB.
const ONE_WRITE: u64 = 128 << 10;

/// An extent in use.
#[derive(Debug, Default)]
struct Active {
    /// Writes under way.
    writes: u32,
    /// The epoch in which its last write ended on both copies; 0 if none did.
    written: Epoch,
    /// When it was last used, by the count of uses.
    used: u64,
}

/// The activemap of a primary.
#[derive(Debug)]
pub struct Activemap {
    geometry: Geometry,
    keepdirty: usize,
    marked: Bitmap,
    stable: Bitmap,
    behind: Bitmap,
    stale: Bitmap,
    active: BTreeMap<u64, Active>,
    /// Sectors of the map whose content on the disk is not what `marked` says.
    changed: BTreeSet<u64>,
    /// Somebody waits for a mark.
    urgent: bool,
    writing: Option<Vec<MapSector>>,
    /// The last write failed: what it was to mark is not on the disk.
    failed: bool,
    writes: u64,
    epoch: Epoch,
    /// The last epoch that a point covers.
    covered: Epoch,
    uses: u64,
}

impl Activemap {
    /// The map as it lies on the disk; nothing is known yet of what its marks mean.
    pub fn new(geometry: Geometry, keepdirty: u32, on_disk: Bitmap) -> Self {
        let none = Bitmap::new(geometry.extents);
        Self {
            geometry,
            keepdirty: keepdirty as usize,
            marked: on_disk.clone(),
            stable: on_disk,
            behind: none.clone(),
            stale: none,
            active: BTreeMap::new(),
            changed: BTreeSet::new(),
            urgent: false,
            writing: None,
            failed: false,
            writes: 0,
            epoch: 1,
            covered: 0,
            uses: 0,
        }
    }

    /// Extents the peer lacks.
    pub fn behind(&self) -> &Bitmap {
        &self.behind
    }

    /// Extents this node lacks.
    pub fn stale(&self) -> &Bitmap {
        &self.stale
    }

    /// How often the map was written.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Every extent marked now is one the peer lacks.
    pub fn all_marked_behind(&mut self) {
        self.behind = self.marked.clone();
        self.stale.clear_all();
    }

    /// Every extent marked now is one this node lacks.
    pub fn all_marked_stale(&mut self) {
        self.stale = self.marked.clone();
        self.behind.clear_all();
        self.active.retain(|_, active| active.writes > 0);
    }

    /// This node lacks every extent there is.
    pub fn everything_stale(&mut self) {
        for extent in 0..self.geometry.extents {
            self.mark(extent);
        }
        self.all_marked_stale();
    }

    /// The peer lacks every extent there is.
    pub fn everything_behind(&mut self) {
        for extent in 0..self.geometry.extents {
            self.mark(extent);
        }
        self.behind.set_all();
        self.stale.clear_all();
    }

    /// Begins a write: marks its extents. True if every mark is on the disk already.
    pub fn begin(&mut self, range: Range) -> bool {
        self.uses += 1;
        for extent in self.geometry.extents_of(range.offset, range.length) {
            self.mark(extent);
            let active = self.active.entry(extent).or_default();
            active.writes += 1;
            active.used = self.uses;
        }
        self.is_stable(range)
    }

    /// Whether the marks of a range are on the disk.
    pub fn is_stable(&self, range: Range) -> bool {
        let mut extents = self.geometry.extents_of(range.offset, range.length);
        extents.all(|extent| self.stable.test(extent))
    }

    /// Ends a write. `both` says that both copies have it; otherwise it was given up before it reached
    /// either, or its extents have been set behind or stale.
    pub fn end(&mut self, range: Range, both: bool) {
        for extent in self.geometry.extents_of(range.offset, range.length) {
            if let Some(active) = self.active.get_mut(&extent) {
                active.writes = active.writes.saturating_sub(1);
                if both {
                    active.written = self.epoch;
                }
                // Behind or stale, its mark stays without being remembered as used.
                if active.writes == 0 && (self.behind.test(extent) || self.stale.test(extent)) {
                    self.active.remove(&extent);
                }
            }
        }
    }

    /// Whether a write to an extent of `range` ended on both copies after `epoch`.
    pub fn is_written_since(&self, range: Range, epoch: Epoch) -> bool {
        let mut extents = self.geometry.extents_of(range.offset, range.length);
        extents.any(|extent| {
            self.active
                .get(&extent)
                .is_some_and(|active| active.written > epoch)
        })
    }

    /// The peer lacks the extent.
    pub fn set_behind(&mut self, extent: u64) {
        if !self.stale.test(extent) {
            self.mark(extent);
            self.behind.set(extent);
        }
    }

    /// This node lacks the extent.
    pub fn set_stale(&mut self, extent: u64) {
        self.mark(extent);
        self.behind.clear(extent);
        self.stale.set(extent);
    }

    /// What this node lacks of the extent counts no more: the peer lacks it, the content being undecided.
    pub fn give_up_stale(&mut self, extent: u64) {
        self.stale.clear(extent);
        self.set_behind(extent);
    }

    /// This node lacks nothing: what was taken for that the peer may lack.
    pub fn give_up_all_stale(&mut self) {
        for extent in self.stale.iter().collect::<Vec<u64>>() {
            self.give_up_stale(extent);
        }
    }

    /// The extent was copied, either way; the copies are equal, though not yet flushed.
    pub fn copied(&mut self, extent: u64) {
        self.behind.clear(extent);
        self.stale.clear(extent);
        self.uses += 1;
        let active = self.active.entry(extent).or_default();
        active.written = self.epoch;
        active.used = self.uses;
    }

    /// The peer is gone, and what no point covers may be gone with it. Returns the extents that are
    /// behind because of this and were not before.
    pub fn lose_peer(&mut self) -> Vec<u64> {
        let uncovered: Vec<u64> = self
            .active
            .iter()
            .filter(|(_, active)| active.written > self.covered)
            .map(|(extent, _)| *extent)
            .filter(|extent| !self.stale.test(*extent) && !self.behind.test(*extent))
            .collect();
        for extent in &uncovered {
            self.behind.set(*extent);
        }
        self.evict(Some(0));
        self.active.retain(|_, active| active.writes > 0);
        uncovered
    }

    /// A flush of both copies begins: it covers the epoch returned.
    pub fn begin_barrier(&mut self) -> Epoch {
        self.epoch += 1;
        self.epoch - 1
    }

    /// That flush succeeded on both copies, and both nodes have stored a point since.
    pub fn cover(&mut self, epoch: Epoch) {
        self.covered = self.covered.max(epoch);
    }

    /// Whether something was written or copied that no point covers.
    pub fn is_uncovered(&self) -> bool {
        self.active
            .values()
            .any(|active| active.written > self.covered)
    }

    /// How many extents are marked for want of a point, or more than `keepdirty` asks for.
    pub fn evictable(&self) -> usize {
        let idle = self
            .active
            .values()
            .filter(|active| active.writes == 0)
            .count();
        idle.saturating_sub(self.keepdirty)
    }

    /// Clears the marks of extents that a point covers, but for the `keep`
    /// most recently used. The disk follows with a later write of the map.
    pub fn evict(&mut self, keep: Option<usize>) {
        let keep = keep.unwrap_or(self.keepdirty);
        let mut clean: Vec<(u64, u64)> = self
            .active
            .iter()
            .filter(|(extent, active)| {
                active.writes == 0
                    && active.written <= self.covered
                    && !self.behind.test(**extent)
                    && !self.stale.test(**extent)
            })
            .map(|(extent, active)| (active.used, *extent))
            .collect();
        if clean.len() <= keep {
            return;
        }
        clean.sort_unstable();
        let gone = clean.len() - keep;
        for (_, extent) in &clean[..gone] {
            self.active.remove(extent);
            self.marked.clear(*extent);
            self.changed.insert(self.sector_of(*extent));
        }
    }

    /// Whether the disk knows every mark.
    pub fn is_stored(&self) -> bool {
        self.writing.is_none() && !self.failed && (!self.urgent || self.changed.is_empty())
    }

    /// Whether a write of the map is under way.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether the disk has the map as it is.
    pub fn is_tidy(&self) -> bool {
        self.writing.is_none() && self.changed.is_empty()
    }

    /// The sectors to write now: the marks somebody waits for, with all changes made so far, or with
    /// `tidy` also changes nobody waits for. `None` while a write is under way.
    pub fn next_write(&mut self, tidy: bool) -> Option<(u64, Vec<MapSector>)> {
        if self.writing.is_some() || self.changed.is_empty() || !(self.urgent || tidy) {
            return None;
        }
        self.urgent = false;
        let changed = std::mem::take(&mut self.changed);
        let (Some(&first), Some(&last)) = (changed.first(), changed.last()) else {
            return None;
        };
        // Close together they are one write with what lies between: a write that has to be durable
        // costs by its number, not by its length.
        let span = (last - first + 1) * u64::from(self.geometry.sector_size);
        let indexes: Vec<u64> = if span <= ONE_WRITE {
            (first..=last).collect()
        } else {
            changed.into_iter().collect()
        };
        let sectors: Vec<MapSector> = indexes.iter().map(|index| self.snapshot(*index)).collect();
        self.writing = Some(sectors.clone());
        self.writes += 1;
        Some((self.writes, sectors))
    }

    /// The write under way ended: if it succeeded, what it marked is on the disk.
    pub fn written(&mut self, outcome: Outcome) {
        let size = self.geometry.sector_size as usize;
        for sector in self.writing.take().unwrap_or_default() {
            if outcome.is_ok() {
                self.stable
                    .merge_bytes(sector.index as usize * size, &sector.bytes);
            } else {
                self.changed.insert(sector.index);
            }
        }
        self.failed = outcome.is_err();
        self.urgent &= !self.changed.is_empty();
    }

    /// A failed write of the map is worth another try.
    pub fn retry(&mut self) {
        self.urgent = true;
    }

    fn mark(&mut self, extent: u64) {
        if self.marked.set(extent) {
            self.changed.insert(self.sector_of(extent));
        }
        // Marked but not stable: a write that is under way or due brings it.
        self.urgent |= !self.stable.test(extent);
    }

    fn sector_of(&self, extent: u64) -> u64 {
        Bitmap::byte_of(extent) / u64::from(self.geometry.sector_size)
    }

    /// Copies a sector for writing. Marks it clears may be gone from the disk from this moment on.
    fn snapshot(&mut self, index: u64) -> MapSector {
        let size = self.geometry.sector_size as usize;
        let mut bytes = vec![0; size].into_boxed_slice();
        self.marked.copy_bytes(index as usize * size, &mut bytes);
        self.stable.retain_bytes(index as usize * size, &bytes);
        MapSector { index, bytes }
    }
}
