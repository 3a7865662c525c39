//! The process that runs an engine for one resource in one role, on threads.
//!
//! Any thread that has an event takes the engine's lock, tells the engine, lets go, and carries out
//! what the engine wants: no hand-over between threads where none is needed, and what is sent is queued
//! under the lock, so that it leaves in the engine's order. Never decides what is written where:
//! that is the engine's. Every queue has a bound: buffers come from pools with a budget, and
//! who wants one waits.
//!
//! | file | what |
//! | --- | --- |
//! | `entry`, `refusal`, [`exit`] | the process: what it is told to be, why it can not, its exit code |
//! | [`channel`], [`link`] | what hastd's main process and its workers say to each other, and over what |
//! | `station` | ticks, status, reload and stop, for either role |
//! | [`primary`] | its threads; `core`: what its lock guards; `meeting`, `talk`, `receiver`: its connection |
//! | [`secondary`] | its threads; `core`: what its lock guards; `serve`, `arrivals`: its connection |
//! | `outbox`, `inbox`, `peer` | sending, receiving, the sockets |
//! | `watch`, `unanswered`, `counts` | noticing a peer that is gone; what status counts |
//! | `local`, `pool` | the component: what is done on it, and by whom |

pub mod channel;
mod confinement;
mod counts;
mod entry;
pub mod exit;
mod inbox;
pub mod link;
mod local;
mod notes;
mod outbox;
mod pace;
mod peer;
mod pool;
pub mod primary;
mod refusal;
pub mod secondary;
mod slot;
mod station;
mod unanswered;
mod watch;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use entry::{Surroundings, run, run_with};

/// Locks. A thread that panics ends the process (see `entry`), so what it leaves behind is
/// never looked at.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
