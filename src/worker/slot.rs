//! A place for one thing that one thread waits for and another brings.
//!
//! What is brought before the last thing was taken replaces it. Closing ends every wait.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::lock;

/// The place.
#[derive(Debug)]
pub struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    thing: Option<T>,
    closed: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let state = State {
            thing: None,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T> Slot<T> {
    /// Brings a thing.
    pub fn put(&self, thing: T) {
        lock(&self.state).thing = Some(thing);
        self.changed.notify_all();
    }

    /// Empties the place.
    pub fn clear(&self) {
        lock(&self.state).thing = None;
    }

    /// Waits for a thing; `None` if there is none by the deadline, or the slot was closed.
    pub fn take(&self, deadline: Option<Instant>) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(thing) = state.thing.take() {
                return Some(thing);
            }
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let wait = deadline.checked_duration_since(Instant::now())?;
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Ends every wait, for good.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}
