//! The threads that wait for requests.
//!
//! Each has memory of its own into which the kernel copies a write's data, because it does not say how
//! long the next one is; what is handed on is copied to a buffer of the backend's that is no longer than
//! the write. Invariant: a thread that waits for the kernel holds none of the backend's buffers.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::desk::Desk;
use super::kernel::{Kernel, Started, Unit};
use crate::pause::pause;
use crate::provider::lock;

/// How long a thread that found no memory for a write waits for some.
const SHORTAGE: Duration = Duration::from_millis(100);
/// How often a thread is interrupted until it ends: a signal that comes just before it begins to wait
/// has no effect.
const AGAIN: Duration = Duration::from_millis(10);

/// The threads of a device.
pub(super) struct Receivers {
    threads: Mutex<Vec<JoinHandle<()>>>,
    units: crossbeam_channel::Sender<Unit>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Receivers {
    /// Starts threads, which wait to be told the unit: once the device is there its requests have to be
    /// answered, whatever the system says to more threads.
    pub(super) fn start(desk: &Arc<Desk>, count: usize) -> std::io::Result<Self> {
        let (units, given) = crossbeam_channel::bounded(count);
        let running = Arc::new(Running::default());
        let receivers = Self {
            threads: Mutex::default(),
            units,
            running: running.clone(),
        };
        for _ in 0..count {
            let (desk, given) = (desk.clone(), given.clone());
            *lock(&running.count) += 1;
            let leaving = Leaving(running.clone());
            let run = move || {
                let _leaving = leaving;
                if let Ok(unit) = given.recv() {
                    receive(&desk, unit);
                }
            };
            let thread = thread::Builder::new().name("gate".into()).spawn(run)?;
            lock(&receivers.threads).push(thread);
        }
        Ok(receivers)
    }

    /// Lets the threads begin.
    pub(super) fn begin(&self, unit: Unit) {
        for _ in 0..lock(&self.threads).len() {
            // There is room for all, and a thread that panicked ends the process.
            let _ = self.units.try_send(unit);
        }
    }

    /// Waits for the threads to end, as they do when the desk receives no more. Whether they did.
    pub(super) fn end(&self, kernel: &dyn Kernel, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut threads = lock(&self.threads);
        let mut count = lock(&self.running.count);
        while *count > 0 && Instant::now() < deadline {
            drop(count);
            threads
                .iter()
                .filter(|thread| !thread.is_finished())
                .for_each(|thread| kernel.interrupt(thread));
            count = lock(&self.running.count);
            let waited = self
                .running
                .fewer
                .wait_timeout_while(count, AGAIN, |count| *count > 0);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let ended = *count == 0;
        drop(count);
        for thread in threads.drain(..) {
            // Who waits for the backend ends when that is closed.
            if ended && thread.join().is_err() {
                log::error!("gate: a receiving thread panicked");
            }
        }
        ended
    }
}

/// Counts a thread out, however it ends.
struct Leaving(Arc<Running>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.fewer.notify_all();
    }
}

fn receive(desk: &Arc<Desk>, unit: Unit) {
    let usual = desk.kernel.max_transfer();
    let mut landing = vec![0; usual];
    while desk.standing().receives() {
        match desk.kernel.start(unit, &mut landing) {
            // Whoever ends this puts it back.
            Ok(Started::Request(_)) if !desk.standing().receives() => return,
            Ok(Started::Request(request)) => {
                desk.take(request, &landing);
                landing.truncate(usual);
                landing.shrink_to_fit();
            }
            Ok(Started::NeedsMore(length)) => grow(&mut landing, length),
            Ok(Started::Interrupted) => {}
            Ok(Started::Cancelled | Started::Gone) => return desk.vanished(),
            Err(error) => {
                log::error!("gate: cannot receive requests: {error}");
                // To be replaced, as if somebody had destroyed the device.
                return desk.vanished();
            }
        }
    }
}

/// Makes room for a write that is longer than usual. It stays first in line until there is.
fn grow(landing: &mut Vec<u8>, length: usize) {
    let more = length.saturating_sub(landing.len());
    if landing.try_reserve_exact(more).is_err() {
        log::error!(
            "gate: {}: a write of {length} bytes waits for memory",
            Errno::ENOMEM
        );
        pause(SHORTAGE);
        return;
    }
    landing.resize(length.max(landing.len()), 0);
}
