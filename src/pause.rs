//! Waiting for time to pass, in capability mode too. FreeBSD does not allow clock_nanosleep(2) there,
//! which the standard library sleeps with, and the library panics then; waiting as for a lock is allowed.

use std::thread;
use std::time::{Duration, Instant};

/// Lets so much time pass.
pub fn pause(time: Duration) {
    let deadline = Instant::now() + time;
    // May wake early, for no reason or somebody else's.
    while let Some(left) = deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn it_does_not_end_early() {
        let time = Duration::from_millis(20);
        // A wake-up that is due at once.
        thread::current().unpark();
        let begun = Instant::now();
        pause(time);
        assert!(begun.elapsed() >= time);
    }

    /// What a confined worker runs.
    #[test]
    fn nothing_that_runs_in_capability_mode_sleeps_otherwise() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![source.join("worker"), source.join("provider")];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("is there") {
                let path = entry.expect("can be read").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).expect("can be read");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                assert!(!code.contains("thread::sleep"), "{} sleeps", path.display());
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen} files");
    }
}
