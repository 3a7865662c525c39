//! Which change of the metadata is on the disk. One write at a time; changes made meanwhile go
//! together into the next. Never writes by itself: it says what is to be written.

use super::Outcome;
use crate::layout::Metadata;

/// A change of the metadata: it is durable once [`MetadataLog::durable`] has reached it.
pub type Generation = u64;

/// The metadata as wanted, and how far the disk has followed.
#[derive(Debug)]
pub struct MetadataLog {
    wanted: Metadata,
    generation: Generation,
    durable: Generation,
    writing: Option<Generation>,
    /// A write failed: wait for a reason to try again.
    held: bool,
}

/// What a finished write brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Everything up to this generation is durable.
    Durable(Generation),
    /// Everything up to this generation could not be stored.
    Failed(Generation),
}

impl MetadataLog {
    /// The metadata as read from the disk.
    pub fn new(metadata: Metadata) -> Self {
        Self {
            wanted: metadata,
            generation: 0,
            durable: 0,
            writing: None,
            held: false,
        }
    }

    /// The metadata as it should be.
    pub fn get(&self) -> &Metadata {
        &self.wanted
    }

    /// Changes it, and says which generation has to be durable for the change to count. No change, no
    /// new generation; a change already wanted is waited for.
    pub fn change(&mut self, change: impl FnOnce(&mut Metadata)) -> Generation {
        self.held = false;
        let mut next = self.wanted.clone();
        change(&mut next);
        if next != self.wanted {
            self.wanted = next;
            self.generation += 1;
        }
        self.generation
    }

    /// Whether a generation is on the disk.
    pub fn is_durable(&self, generation: Generation) -> bool {
        generation <= self.durable
    }

    /// The latest change's generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether nothing is left to write, or what is left failed.
    pub fn is_settled(&self) -> bool {
        self.writing.is_none() && (self.held || self.durable >= self.generation)
    }

    /// Whether the last write failed and none has been tried since.
    pub fn is_failing(&self) -> bool {
        self.held
    }

    /// Lets a failed write be tried again.
    pub fn retry(&mut self) {
        self.held = false;
    }

    /// What to write now, if anything: its ticket and the metadata.
    pub fn next_write(&mut self) -> Option<(Generation, Metadata)> {
        if self.held || self.writing.is_some() || self.durable >= self.generation {
            return None;
        }
        self.writing = Some(self.generation);
        Some((self.generation, self.wanted.clone()))
    }

    /// The write of `ticket` ended. After a failure the change stays wanted, as a new
    /// generation, and is tried again at the next change or [`Self::retry`].
    pub fn written(&mut self, ticket: Generation, outcome: Outcome) -> Written {
        debug_assert_eq!(self.writing, Some(ticket));
        self.writing = None;
        if outcome.is_ok() {
            self.durable = ticket;
            Written::Durable(ticket)
        } else {
            // What lies on the disk now is unknown: the next write takes a new generation, so that
            // nobody mistakes it for the one that failed.
            self.generation += 1;
            self.held = true;
            Written::Failed(ticket)
        }
    }
}
