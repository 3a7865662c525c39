//! A set of extents as one bit each: the activemap in memory, and as it lies on disk and goes
//! over the wire (spec, section 4: bit i of byte i/8, least significant bit first, 1 = dirty).
//!
//! Bits beyond the last extent are never set, whatever the bytes read say.

/// Extents in a word.
const BITS: u64 = u64::BITS as u64;
/// Bytes of a word.
const BYTES: usize = size_of::<u64>();

/// A set of extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    extents: u64,
    /// How many are set: kept, so that asking is free.
    count: u64,
    words: Vec<u64>,
}

impl Bitmap {
    /// The empty set out of so many extents.
    pub fn new(extents: u64) -> Self {
        let words = usize::try_from(extents.div_ceil(BITS)).expect("a map fits the memory");
        Self {
            extents,
            count: 0,
            words: vec![0; words],
        }
    }

    /// The set of a map as it lies on disk. Bytes that are missing hold nothing; bits beyond the
    /// last extent are left out.
    pub fn from_bytes(extents: u64, bytes: &[u8]) -> Self {
        let mut map = Self::new(extents);
        for (word, chunk) in map.words.iter_mut().zip(bytes.chunks(BYTES)) {
            let mut full = [0; BYTES];
            full[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(full);
        }
        map.trim();
        map
    }

    /// The map as it lies on disk, of `size` bytes.
    pub fn to_bytes(&self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.copy_bytes(0, &mut bytes);
        bytes
    }

    /// The part of the map on disk that begins at byte `at`, as long as `out`: to write changed
    /// sectors only. What lies beyond the last extent is zero.
    pub fn copy_bytes(&self, at: usize, out: &mut [u8]) {
        let mut position = at;
        let mut rest = out;
        while !rest.is_empty() {
            let word = self
                .words
                .get(position / BYTES)
                .map_or([0; BYTES], |word| word.to_le_bytes());
            let part = &word[position % BYTES..];
            let length = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&part[..length]);
            rest = later;
            position += length;
        }
    }

    /// The byte of the map on disk that holds an extent's bit.
    pub const fn byte_of(extent: u64) -> u64 {
        extent / 8
    }

    /// Out of how many extents.
    pub const fn extents(&self) -> u64 {
        self.extents
    }

    /// How many are set. Free.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether none is set. Free.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an extent is set; one beyond the last is not.
    pub fn test(&self, extent: u64) -> bool {
        let word = self.words.get((extent / BITS) as usize);
        word.is_some_and(|word| word & mask(extent) != 0)
    }

    /// Sets an extent; true if it was not. Panics beyond the last one.
    pub fn set(&mut self, extent: u64) -> bool {
        self.check(extent);
        let word = &mut self.words[(extent / BITS) as usize];
        let changed = *word & mask(extent) == 0;
        *word |= mask(extent);
        self.count += u64::from(changed);
        changed
    }

    /// Clears an extent; true if it was set. Panics beyond the last one.
    pub fn clear(&mut self, extent: u64) -> bool {
        self.check(extent);
        let word = &mut self.words[(extent / BITS) as usize];
        let changed = *word & mask(extent) != 0;
        *word &= !mask(extent);
        self.count -= u64::from(changed);
        changed
    }

    /// Sets every extent.
    pub fn set_all(&mut self) {
        self.words.fill(u64::MAX);
        self.trim();
    }

    /// Clears every extent.
    pub fn clear_all(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }

    /// Sets what the other, out of as many extents, has set. Panics where it has more or fewer.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.extents, other.extents, "maps of different components");
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.trim();
    }

    /// Sets what the bytes of the map on disk from byte `at` on have set; `at` is a multiple of 8.
    pub fn merge_bytes(&mut self, at: usize, bytes: &[u8]) {
        self.combine(at, bytes, |word, other| word | other);
    }

    /// Clears what the bytes of the map on disk from byte `at` on have clear; `at` is a multiple of 8.
    pub fn retain_bytes(&mut self, at: usize, bytes: &[u8]) {
        self.combine(at, bytes, |word, other| word & other);
    }

    fn combine(&mut self, at: usize, bytes: &[u8], with: impl Fn(u64, u64) -> u64) {
        debug_assert!(
            at.is_multiple_of(BYTES) && bytes.len().is_multiple_of(BYTES),
            "whole words"
        );
        let last = self.words.len().saturating_sub(1);
        let beyond = if self.extents.is_multiple_of(BITS) {
            u64::MAX
        } else {
            mask(self.extents) - 1
        };
        let words = self.words.iter_mut().enumerate().skip(at / BYTES);
        for ((index, word), chunk) in words.zip(bytes.chunks_exact(BYTES)) {
            let other = u64::from_le_bytes(chunk.try_into().expect("a chunk is a word"));
            let new = with(*word, other) & if index == last { beyond } else { u64::MAX };
            self.count = self.count - u64::from(word.count_ones()) + u64::from(new.count_ones());
            *word = new;
        }
    }

    /// The first extent set at or after `extent`.
    pub fn first_set_from(&self, extent: u64) -> Option<u64> {
        let start = usize::try_from(extent / BITS).ok()?;
        let first = self.words.get(start)? & (u64::MAX << (extent % BITS));
        if first != 0 {
            return Some(lowest(start, first));
        }
        let after = self.words[start + 1..].iter().position(|word| *word != 0)?;
        let index = start + 1 + after;
        Some(lowest(index, self.words[index]))
    }

    /// The extents set, in order. Skips what is clear a word at a time.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let full = self
            .words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != 0);
        full.flat_map(|(index, word)| {
            let without_lowest = |bits: &u64| Some(bits & (bits - 1)).filter(|bits| *bits != 0);
            std::iter::successors(Some(*word), without_lowest).map(move |bits| lowest(index, bits))
        })
    }

    fn check(&self, extent: u64) {
        assert!(extent < self.extents, "extent {extent} of {}", self.extents);
    }

    /// Restores the invariants after whole words were written.
    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.extents.is_multiple_of(BITS)
        {
            *last &= mask(self.extents) - 1;
        }
        self.count = self
            .words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
    }
}

const fn mask(extent: u64) -> u64 {
    1 << (extent % BITS)
}

fn lowest(index: usize, word: u64) -> u64 {
    index as u64 * BITS + u64::from(word.trailing_zeros())
}

#[cfg(test)]
mod tests;
