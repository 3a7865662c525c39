//! What uses the device of a node, as long as it keeps it open: it remembers, for each sector, what it may
//! read there: what it last read, or wrote and was told is done, and its own writes that are under way or
//! were answered with an error. Nothing else may ever change what it reads, whatever becomes of either node.
//!
//! Only physics is excused (`doubt`): a cache that was lost under it, with what was not flushed.

use crate::disk::Value;
use crate::oracle::{Oracle, Rule};
use crate::view::{Entry, Moment, View};

/// What is known of a sector.
#[derive(Debug, Clone)]
struct Known {
    /// It was neither read nor written yet: anything may be there.
    nothing: bool,
    /// Of what is known something was flushed: nothing older comes back.
    firm: bool,
    view: View,
}

/// A consumer of a node's device.
#[derive(Debug)]
pub struct Consumer {
    pub open: bool,
    sectors: Vec<Known>,
}

impl Consumer {
    pub fn new(sectors: usize) -> Self {
        let known = Known {
            nothing: true,
            firm: false,
            view: View::default(),
        };
        Self {
            open: false,
            sectors: vec![known; sectors],
        }
    }

    /// It lets go of the device, or opens it: it knows nothing of it.
    pub fn turn(&mut self, open: bool) {
        *self = Self::new(self.sectors.len());
        self.open = open;
    }

    /// It begins to write a sector.
    pub fn writes(&mut self, sector: usize, entry: Entry) {
        self.sectors[sector].view.entries.push(entry);
    }

    /// Its write of this number was answered.
    pub fn wrote(&mut self, id: u64, sectors: std::ops::Range<usize>, now: Moment, done: bool) {
        for known in &mut self.sectors[sectors] {
            for entry in known.view.entries.iter_mut().filter(|entry| entry.id == id) {
                entry.ended = Some(now);
                entry.binds = done;
                known.nothing &= !done;
            }
        }
    }

    /// A flush that began at `begun` was answered.
    pub fn flushed(&mut self, begun: Moment) {
        for known in &mut self.sectors {
            known.firm |= known.view.bound_before(begun);
            known.view.flush(begun);
        }
    }

    /// What was not flushed may be gone.
    pub fn doubt(&mut self, sector: usize) {
        let known = &mut self.sectors[sector];
        known.nothing |= !known.firm;
        known.view.power_cut();
    }

    /// What may be read; `None`: anything.
    pub fn may_read(&self, sector: usize) -> Option<Vec<Value>> {
        let known = &self.sectors[sector];
        (self.open && !known.nothing).then(|| known.view.values())
    }

    /// It read this while nothing else was under way there.
    pub fn reads(&mut self, sector: usize, value: Value, now: Moment) {
        let known = &mut self.sectors[sector];
        if known.nothing || known.view.values().len() > 1 {
            known.nothing = false;
            known.view.entries.push(View::found(value, now));
        }
    }
}

impl Oracle {
    /// Caches were lost under a consumer: what it wrote and did not flush may be gone in these sectors.
    pub fn doubt(&mut self, node: usize, sectors: impl Iterator<Item = usize>) {
        for sector in sectors {
            self.consumers[node].doubt(sector);
            for read in self.outstanding.values_mut() {
                if read.node == node && read.sectors.contains(&sector) && !read.known.is_empty() {
                    read.known[sector - read.sectors.start] = None;
                }
            }
        }
    }

    /// A consumer read this.
    pub fn check_known(&mut self, node: usize, sector: usize, value: Value, known: &[Value]) {
        if self.strict && !known.contains(&value) {
            self.broken(Rule::Changed, || {
                format!(
                    "under the open device of node {node} sector {sector} became {value:#x}, which is not \
                     one of {known:x?}"
                )
            });
        }
    }
}
