//! What is to happen when: points in time with a value each, in order. Never looks at the clock.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names a timer that was set, so that it can be cancelled. Never names another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    at: Instant,
    number: u64,
}

/// Timers that have not yet fired.
#[derive(Debug)]
pub struct Timers<T> {
    pending: BTreeMap<TimerId, T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Sets a timer.
    pub fn set(&mut self, at: Instant, value: T) -> TimerId {
        let id = TimerId {
            at,
            number: self.next,
        };
        self.next += 1;
        self.pending.insert(id, value);
        id
    }

    /// Cancels a timer; one that has fired is none any more, and that is no error.
    pub fn cancel(&mut self, id: TimerId) {
        self.pending.remove(&id);
    }

    /// When the next timer fires.
    pub fn next_at(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(id, _)| id.at)
    }

    /// Takes a timer that is due at `now`, earliest first; of equal ones the first set.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.pending.pop_first().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_fire_in_order_once_and_not_when_cancelled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(at(3), "third");
        timers.set(at(1), "first");
        let cancelled = timers.set(at(2), "cancelled");
        timers.set(at(1), "second");
        timers.cancel(cancelled);
        timers.cancel(cancelled);
        assert_eq!(timers.next_at(), Some(at(1)));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(at(2)), Some("first"));
        assert_eq!(timers.pop_due(at(2)), Some("second"));
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(9)), Some("third"));
        assert_eq!(timers.next_at(), None);
    }
}
