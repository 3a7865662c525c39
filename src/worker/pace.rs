//! Whether the component makes those wait who use it.
//!
//! A read or write that the system's memory answers is done sooner than another thread would be woken
//! for it; one that waits for a medium is better handed over, so that many wait at once. Which it is
//! is sampled: did the thread give up its processor during the operation? Time would not tell: on a
//! busy machine everything takes long.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{UsageWho, getrusage};

/// One in this many operations is looked at: looking costs two system calls.
const SAMPLE: u32 = 16;
/// The share "every operation waits" in the average.
const ALWAYS: u32 = 1024;
/// Up to this share of operations that wait, the others are worth doing at once.
const SELDOM: u32 = ALWAYS / 10;

/// What is known of a component's pace.
#[derive(Debug, Default)]
pub struct Pace {
    operations: AtomicU32,
    /// The share of operations that waited, averaged over the last samples.
    waited: AtomicU32,
}

impl Pace {
    /// Whether operations seldom wait.
    pub fn is_quick(&self) -> bool {
        self.waited.load(Ordering::Relaxed) <= SELDOM
    }

    /// Does an operation, and looks now and then whether it waited.
    pub fn observe<T>(&self, operation: impl FnOnce() -> T) -> T {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        if !number.is_multiple_of(SAMPLE) {
            return operation();
        }
        let before = switches();
        let result = operation();
        let sample = if switches() > before { ALWAYS } else { 0 };
        let waited = self.waited.load(Ordering::Relaxed);
        let average = waited - waited / 8 + sample / 8;
        self.waited.store(average, Ordering::Relaxed);
        result
    }
}

/// How often this thread gave up its processor by itself.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_wait_are_told_from_those_that_work() {
        let pace = Pace::default();
        assert!(pace.is_quick(), "until the contrary is seen");
        for _ in 0..4 * SAMPLE {
            pace.observe(|| std::thread::sleep(std::time::Duration::from_micros(1)));
        }
        assert!(!pace.is_quick());
        for _ in 0..64 * SAMPLE {
            pace.observe(|| std::hint::black_box(1 + 1));
        }
        assert!(pace.is_quick(), "and it is forgotten again");
    }
}
