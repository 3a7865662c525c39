//! What one sector of one node may hold, as far as applications were told: the values that are legal
//! now, and those that a power cut may bring back. Knows nothing of requests, nodes or disks.

use crate::disk::Value;

/// A count of what the oracle saw: orders it.
pub type Moment = u64;

/// A value a sector may hold.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The request that wrote it; 0 for what was found.
    pub id: u64,
    pub value: Value,
    pub begun: Moment,
    pub ended: Option<Moment>,
    /// Rules out what ended before it began.
    pub binds: bool,
    pub only_after_cut: bool,
}

/// What one sector of one node may hold.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub entries: Vec<Entry>,
    /// Values that were overwritten for good by a later write: whoever holds them is older.
    pub past: Vec<Value>,
}

impl View {
    pub fn found(value: Value, now: Moment) -> Entry {
        Entry {
            id: 0,
            value,
            begun: now,
            ended: Some(now),
            binds: true,
            only_after_cut: false,
        }
    }

    /// Whether something that binds, and ended before `until`, began after the entry had ended.
    pub fn superseded(&self, entry: &Entry, until: Moment) -> bool {
        self.entries.iter().any(|other| {
            other.binds
                && !other.only_after_cut
                && other.ended.is_some_and(|ended| ended < until)
                && entry.ended.is_some_and(|ended| ended < other.begun)
        })
    }

    pub fn current(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|e| !e.only_after_cut && !self.superseded(e, Moment::MAX))
    }

    pub fn allows(&self, value: Value) -> bool {
        self.current().any(|entry| entry.value == value)
    }

    pub fn values(&self) -> Vec<Value> {
        self.current().map(|entry| entry.value).collect()
    }

    /// What was superseded before `moment` can not come back even after a power cut.
    pub fn flush(&mut self, moment: Moment) {
        let gone: Vec<bool> = self
            .entries
            .iter()
            .map(|e| self.superseded(e, moment) || (e.only_after_cut && self.bound_before(moment)))
            .collect();
        // A write overwrote them, or they were not there any more when somebody looked.
        let written = self.entries.iter().any(|entry| {
            entry.id != 0 && entry.binds && entry.ended.is_some_and(|ended| ended < moment)
        });
        let entries = std::mem::take(&mut self.entries);
        for (entry, gone) in entries.into_iter().zip(gone) {
            if !gone {
                self.entries.push(entry);
            } else if written && !self.past.contains(&entry.value) {
                self.past.push(entry.value);
            }
        }
    }

    /// The content was found to be this, on a medium: what else it could have been is lost.
    pub fn find(&mut self, value: Value, now: Moment) {
        self.entries
            .retain(|entry| entry.ended.is_none() || entry.value == value);
        self.entries.push(Self::found(value, now));
    }

    /// Whether a value may be found here, be it after a power cut.
    pub fn may_return(&self, value: Value) -> bool {
        self.entries.iter().any(|entry| entry.value == value)
    }

    /// Whether something that binds had ended before `moment`.
    pub fn bound_before(&self, moment: Moment) -> bool {
        self.entries
            .iter()
            .any(|e| e.binds && !e.only_after_cut && e.ended.is_some_and(|end| end < moment))
    }

    pub fn power_cut(&mut self) {
        for entry in &mut self.entries {
            entry.binds = false;
            entry.only_after_cut = false;
        }
    }
}
