//! What the peer has not answered yet, so that its silence is noticed: also when there is nothing to do.
//!
//! A keepalive has no answer. So an idle peer is asked for something now and then: a probe, which is an
//! ordinary read of the first sector, and which base hastd answers as well. Invariants: at most one probe
//! is under way, and its answer reaches nobody but this.

use crate::wire::request::{PeerCommand, PeerRequest};

/// The number of a probe. Never the engine's, which counts from 1; and not 0, which base hastd takes for
/// none.
const PROBE: u64 = u64::MAX;

/// The messages that wait for an answer.
#[derive(Debug)]
pub struct Unanswered {
    count: usize,
    /// One of them is a probe.
    probing: bool,
    /// An answer came since somebody looked.
    heard: bool,
    /// In bytes.
    sector_size: u32,
}

impl Unanswered {
    /// None. The size of a sector is in bytes.
    pub const fn new(sector_size: u32) -> Self {
        Self {
            count: 0,
            probing: false,
            heard: false,
            sector_size,
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// One more was sent.
    pub const fn sent(&mut self) {
        self.count += 1;
    }

    /// An answer came, the last to its message or (`early`) the first of two.
    pub const fn answered(&mut self, early: bool) {
        self.heard = true;
        if !early {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// No more answers will come.
    pub const fn lost(&mut self) {
        self.count = 0;
        self.probing = false;
    }

    /// Whether an answer came since this was asked last.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// What to send a peer that nothing else is sent to. No probe before the two are `together`: a
    /// request before that would have the peer clear its map too early.
    pub const fn break_silence(&mut self, together: bool) -> PeerRequest {
        if self.probing || !together {
            return PeerRequest::KEEPALIVE;
        }
        self.probing = true;
        self.sent();
        PeerRequest {
            command: PeerCommand::Read,
            seq: PROBE,
            offset: 0,
            length: self.sector_size as u64,
            memsync: false,
        }
    }

    /// How many bytes the answer to the probe holds, if `seq` is that of the probe under way; it counts
    /// as answered from here on.
    pub fn answered_probe(&mut self, seq: u64) -> Option<usize> {
        if seq != PROBE || !std::mem::take(&mut self.probing) {
            return None;
        }
        self.answered(false);
        Some(self.sector_size as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_at_a_time_and_none_before_the_two_are_together() {
        let mut it = Unanswered::new(4096);
        assert_eq!(it.break_silence(false), PeerRequest::KEEPALIVE);
        assert_eq!(it.count(), 0);
        let probe = it.break_silence(true);
        assert_eq!((probe.command, probe.length), (PeerCommand::Read, 4096));
        assert_eq!(it.break_silence(true), PeerRequest::KEEPALIVE);
        assert_eq!((it.count(), it.take_heard()), (1, false));
        assert_eq!(it.answered_probe(1), None, "another's answer");
        assert_eq!(it.answered_probe(probe.seq), Some(4096));
        assert_eq!((it.count(), it.take_heard()), (0, true));
        assert_eq!(it.answered_probe(probe.seq), None, "nobody asked");
    }

    #[test]
    fn what_was_lost_is_asked_anew() {
        let mut it = Unanswered::new(512);
        let probe = it.break_silence(true);
        it.lost();
        assert_eq!(it.answered_probe(probe.seq), None);
        assert_eq!(it.break_silence(true), probe);
    }
}
