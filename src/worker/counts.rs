//! Requests that a worker has seen, for status.

use std::sync::atomic::{AtomicU64, Ordering};

use super::local::Local;
use crate::control::Statistics;
use crate::engine::Command;

/// Requests since the worker started.
#[derive(Debug, Default)]
pub struct Counts {
    read: AtomicU64,
    write: AtomicU64,
    delete: AtomicU64,
    flush: AtomicU64,
}

impl Counts {
    /// One more.
    pub fn count(&self, command: Command) {
        let counter = match command {
            Command::Read => &self.read,
            Command::Write => &self.write,
            Command::Delete => &self.delete,
            Command::Flush => &self.flush,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// As they stand, with the component's failures.
    pub fn statistics(&self, local: &Local) -> Statistics {
        let mut statistics = Statistics {
            read: self.read.load(Ordering::Relaxed),
            write: self.write.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            flush: self.flush.load(Ordering::Relaxed),
            ..Statistics::default()
        };
        local.add_errors(&mut statistics);
        statistics
    }
}
