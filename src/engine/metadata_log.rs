//! Which change of the metadata is on the disk. One write at a time; changes made meanwhile go
//! together into the next. Never writes by itself: it says what is to be written.

use super::Outcome;
use crate::layout::Metadata;

/// A change of the metadata: it is durable once [`MetadataLog::durable`] has reached it.
pub type Revision = u64;

/// The metadata as wanted, and how far the disk has followed.
#[derive(Debug)]
pub struct MetadataLog {
    wanted: Metadata,
    revision: Revision,
    durable: Revision,
    writing: Option<Revision>,
    /// A write failed: wait for a reason to try again.
    held: bool,
}

/// What a finished write brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Everything up to this revision is durable.
    Durable(Revision),
    /// Everything up to this revision could not be stored.
    Failed(Revision),
}

impl MetadataLog {
    /// The metadata as read from the disk.
    pub fn new(metadata: Metadata) -> Self {
        Self {
            wanted: metadata,
            revision: 0,
            durable: 0,
            writing: None,
            held: false,
        }
    }

    /// The metadata as it should be.
    pub fn get(&self) -> &Metadata {
        &self.wanted
    }

    /// Changes it, and says which revision has to be durable for the change to count. No change, no
    /// new revision; a change already wanted is waited for.
    pub fn change(&mut self, change: impl FnOnce(&mut Metadata)) -> Revision {
        self.held = false;
        let mut next = self.wanted.clone();
        change(&mut next);
        if next != self.wanted {
            self.wanted = next;
            self.revision += 1;
        }
        self.revision
    }

    /// Whether a revision is on the disk.
    pub fn is_durable(&self, revision: Revision) -> bool {
        revision <= self.durable
    }

    /// The latest change's revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether nothing is left to write, or what is left failed.
    pub fn is_settled(&self) -> bool {
        self.writing.is_none() && (self.held || self.durable >= self.revision)
    }

    /// Lets a failed write be tried again.
    pub fn retry(&mut self) {
        self.held = false;
    }

    /// What to write now, if anything: its ticket and the metadata.
    pub fn next_write(&mut self) -> Option<(Revision, Metadata)> {
        if self.held || self.writing.is_some() || self.durable >= self.revision {
            return None;
        }
        self.writing = Some(self.revision);
        Some((self.revision, self.wanted.clone()))
    }

    /// The write of `ticket` ended. After a failure the change stays wanted, as a new
    /// revision, and is tried again at the next change or [`Self::retry`].
    pub fn written(&mut self, ticket: Revision, outcome: Outcome) -> Written {
        debug_assert_eq!(self.writing, Some(ticket));
        self.writing = None;
        if outcome.is_ok() {
            self.durable = ticket;
            Written::Durable(ticket)
        } else {
            // What lies on the disk now is unknown: the next write takes a new revision, so that
            // nobody mistakes it for the one that failed.
            self.revision += 1;
            self.held = true;
            Written::Failed(ticket)
        }
    }
}
