//! Which ranges are being changed, so that changes to one byte never overtake each other.
//!
//! First come, first served: a range waits for every earlier one that it overlaps, held or
//! waiting. Never blocks a thread: a waiter's key comes back from [`RangeLock::release`] when its
//! turn has come. Invariant: no two held ranges overlap.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::Range;

/// Ranges held and waited for; `K` names the holder.
#[derive(Debug)]
pub struct RangeLock<K> {
    /// By offset; ranges held never overlap, so one look to the left is enough.
    held: BTreeMap<u64, (u64, K)>,
    waiting: VecDeque<(Range, K)>,
}

impl<K: Copy + PartialEq> Default for RangeLock<K> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<K: Copy + PartialEq> RangeLock<K> {
    /// Takes `range` for `key`: true when it is held now, false when it waits.
    pub fn acquire(&mut self, range: Range, key: K) -> bool {
        let free =
            !self.is_held(range) && !self.waiting.iter().any(|(other, _)| other.overlaps(range));
        if free {
            self.held.insert(range.offset, (range.end(), key));
        } else {
            self.waiting.push_back((range, key));
        }
        free
    }

    /// Gives `range` back and returns, in order, the keys that hold theirs from now on.
    pub fn release(&mut self, range: Range) -> Vec<K> {
        let removed = self.held.remove(&range.offset);
        debug_assert!(removed.is_some(), "a range is released once, by its holder");
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.grant()
    }

    fn is_held(&self, range: Range) -> bool {
        self.held
            .range(..range.end())
            .next_back()
            .is_some_and(|(_, (end, _))| *end > range.offset)
    }

    fn grant(&mut self) -> Vec<K> {
        let mut granted = Vec::new();
        let mut still: VecDeque<(Range, K)> = VecDeque::with_capacity(self.waiting.len());
        for (range, key) in std::mem::take(&mut self.waiting) {
            if self.is_held(range) || still.iter().any(|(other, _)| other.overlaps(range)) {
                still.push_back((range, key));
            } else {
                self.held.insert(range.offset, (range.end(), key));
                granted.push(key);
            }
        }
        self.waiting = still;
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_take_turns_in_order() {
        let mut lock = RangeLock::default();
        assert!(lock.acquire(Range::new(0, 8), 1));
        assert!(!lock.acquire(Range::new(4, 8), 2));
        assert!(
            !lock.acquire(Range::new(8, 8), 3),
            "behind 2, though 1 does not touch it"
        );
        assert!(lock.acquire(Range::new(16, 8), 4));
        assert_eq!(lock.release(Range::new(0, 8)), [2]);
        assert!(lock.release(Range::new(16, 8)).is_empty());
        assert_eq!(lock.release(Range::new(4, 8)), [3]);
        assert!(lock.waiting.is_empty());
    }

    #[test]
    fn a_long_range_held_is_found_from_its_middle() {
        let mut lock = RangeLock::default();
        assert!(lock.acquire(Range::new(0, 1000), 1));
        assert!(!lock.acquire(Range::new(500, 1), 2));
        assert_eq!(lock.release(Range::new(0, 1000)), [2]);
    }
}
