//! Waiting that ends early where it is no longer wanted, and the clock that supervisors live by.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Time since the agent was started.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts it.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How late it is.
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }

    /// A moment of the machine's clock by this one.
    pub fn at(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.0)
    }
}

/// Tells a step that only waits that its end is not wanted any more: it is sent that step's number.
#[derive(Debug)]
pub struct Hurry {
    told: Receiver<u64>,
    step: u64,
}

impl Hurry {
    /// Listens.
    pub const fn new(told: Receiver<u64>) -> Self {
        Self { told, step: 0 }
    }

    /// From now on for this step.
    pub const fn of_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Waits until `moment`; true where it is not wanted any more. A supervision that is gone wants nothing.
    pub fn wait_until(&self, moment: Instant) -> bool {
        loop {
            match self.told.recv_deadline(moment) {
                Ok(step) if step == self.step => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}
