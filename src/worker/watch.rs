//! Noticing that the other node is gone, though its machine may not be.

use std::time::Duration;

/// Seconds without a message after which a keepalive is sent (spec, section 3).
const KEEPALIVE: u64 = 10;

/// What the connection did in the last seconds.
#[derive(Debug, Default)]
pub struct Watch {
    progress: u64,
    /// Seconds in which nothing was sent.
    unsent: u64,
    /// Of those, seconds in which there was something to be sent.
    stuck: u64,
    /// Seconds in which nothing was heard while an answer was due.
    silent: u64,
}

impl Watch {
    /// A second passed. `progress` grows with what is sent.
    pub fn second(&mut self, progress: u64, stuck: bool, due: bool, heard: bool) {
        let sent = self.progress != progress;
        self.progress = progress;
        self.unsent = if sent { 0 } else { self.unsent + 1 };
        self.stuck = if sent || !stuck { 0 } else { self.stuck + 1 };
        self.silent = if heard || !due { 0 } else { self.silent + 1 };
    }

    /// Why the peer is to be given up.
    pub fn complaint(&self, timeout: Duration) -> Option<String> {
        let seconds = timeout.as_secs();
        if self.stuck >= seconds {
            Some(format!(
                "the other node has taken nothing for {} seconds",
                self.stuck
            ))
        } else if self.silent >= seconds {
            Some(format!(
                "the other node has not answered for {} seconds",
                self.silent
            ))
        } else {
            None
        }
    }

    /// Begins anew.
    pub fn forgive(&mut self) {
        *self = Self {
            progress: self.progress,
            ..Self::default()
        };
    }

    /// Whether it is time to let the peer know that we are alive; counts as sent.
    pub fn wants_keepalive(&mut self) -> bool {
        let due = self.unsent >= KEEPALIVE;
        if due {
            self.unsent = 0;
        }
        due
    }
}
