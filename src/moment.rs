//! Moments that processes of one machine tell each other: points of its monotonic clock, which runs
//! for all of them alike, is never set, and begins anew when the machine does.
//!
//! For promises with an end. Who is told of the end itself, not of a time that is left, is not misled by
//! how long the message was on its way.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A point of this machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every kernel has this clock");
        Self::from_nanoseconds(Duration::from(now).as_nanos() as u64)
    }

    /// As it is sent: nanoseconds, 584 years of them at most.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// As it was sent.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// So much later.
    pub fn after(self, time: Duration) -> Self {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(time))
    }

    /// How long after `earlier` it is; zero where it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_forward_and_is_read_back() {
        let begin = Moment::now();
        let later = begin.after(Duration::from_secs(5));
        assert!(Moment::now() >= begin && Moment::now() < later);
        assert_eq!(later.since(begin), Duration::from_secs(5));
        assert_eq!(begin.since(later), Duration::ZERO);
        assert_eq!(Moment::from_nanoseconds(later.nanoseconds()), later);
        assert_eq!(begin.after(Duration::MAX).nanoseconds(), u64::MAX);
    }
}
