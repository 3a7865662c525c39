//! Waiting for a while, in capability mode too.
//!
//! Never uses `std::thread::sleep`: on FreeBSD that is clock_nanosleep(2), which capability mode
//! does not allow (`sys/kern/syscalls.master`), and it panics when it is refused.

use std::thread;
use std::time::{Duration, Instant};

/// Lets this thread wait at least this long.
pub fn pause(time: Duration) {
    let begun = Instant::now();
    while let Some(left) = time
        .checked_sub(begun.elapsed())
        .filter(|left| !left.is_zero())
    {
        // May end early, for no reason.
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_as_long_as_it_should_whatever_wakes_the_thread() {
        let time = Duration::from_millis(20);
        let begun = Instant::now();
        thread::current().unpark();
        pause(time);
        assert!(begun.elapsed() >= time);
    }
}
