//! Memory for reads longer than a backend's request: the kernel takes a read's data from one place, so
//! what the backend reads in pieces is put together here.
//!
//! Invariant: together never more than a limit, or one area. Such reads are rare (ZFS with records
//! of more than 1 MiB), so nothing is kept for them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::provider::lock;

/// Bytes handed out at most, if it is more than one area.
const LIMIT: usize = 64 << 20;

/// Where areas come from.
#[derive(Default)]
pub(super) struct Areas {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    in_use: usize,
    closed: bool,
}

impl Areas {
    /// An area; waits while too much is in use. None if there is no memory, or they are closed.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Option<Area> {
        let state = lock(&self.state);
        let full =
            |state: &mut State| !state.closed && state.in_use > 0 && state.in_use + length > LIMIT;
        let waited = self.changed.wait_while(state, full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        if state.closed || bytes.try_reserve_exact(length).is_err() {
            return None;
        }
        state.in_use += length;
        drop(state);
        bytes.resize(length, 0);
        Some(Area {
            bytes,
            areas: self.clone(),
        })
    }

    /// Ends the wait of whoever waits.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

/// Bytes, given back when dropped.
pub(super) struct Area {
    bytes: Vec<u8>,
    areas: Arc<Areas>,
}

impl Deref for Area {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Area {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        lock(&self.areas.state).in_use -= self.bytes.len();
        self.areas.changed.notify_all();
    }
}
