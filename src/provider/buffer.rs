//! Buffers for request data: a pool with a budget in bytes, so that what clients have in
//! flight is bounded, and buffers are reused instead of allocated for each request.
//!
//! Invariants: handed-out and kept buffers together never exceed the budget; who waits is
//! served in the order of asking, so that a large request is not starved by small ones; a
//! buffer goes back to its pool when dropped. Content is never cleared between uses.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{MAX_REQUEST, lock};

/// The smallest buffer allocated, in bytes: a page, what most small requests are.
const SMALLEST: usize = 4096;
/// The largest buffer handed out, in bytes.
const LARGEST: usize = MAX_REQUEST as usize;
/// Sizes are powers of two from [`SMALLEST`] to [`LARGEST`].
const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

/// Why there is no buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// The pool was closed: whoever asks is to stop.
    #[error("the buffer pool is closed")]
    Closed,
    /// It would never be granted.
    #[error("a buffer of {length} bytes was asked for, but the largest possible is {largest}")]
    TooLarge {
        /// Bytes asked for.
        length: usize,
        /// Bytes that could be had.
        largest: usize,
    },
}

/// A pool of buffers. Clones share it.
#[derive(Clone)]
pub struct BufferPool(Arc<Shared>);

struct Shared {
    budget: usize,
    state: Mutex<State>,
    /// Something a waiting caller looks at has changed.
    changed: Condvar,
}

struct State {
    /// Bytes handed out, by size class.
    in_use: usize,
    /// Bytes kept in `free`.
    kept: usize,
    free: [Vec<Box<[u8]>>; CLASSES],
    /// The number that the next caller draws, and the one whose turn it is.
    next_ticket: u64,
    serving: u64,
    closed: bool,
}

/// The size class of a length, and the bytes of its buffers.
fn class_of(length: usize) -> (usize, usize) {
    let size = length.next_power_of_two().max(SMALLEST);
    ((size / SMALLEST).ilog2() as usize, size)
}

impl State {
    fn take(&mut self, length: usize, budget: usize) -> Option<Box<[u8]>> {
        let (class, size) = class_of(length);
        let storage = if let Some(storage) = self.free[class].pop() {
            self.kept -= size;
            storage
        } else {
            if self.in_use + size > budget {
                return None;
            }
            self.make_room(budget - self.in_use - size);
            vec![0; size].into_boxed_slice()
        };
        self.in_use += size;
        Some(storage)
    }

    /// Frees kept buffers, largest first, until at most `limit` bytes are kept.
    fn make_room(&mut self, limit: usize) {
        for class in (0..CLASSES).rev() {
            while self.kept > limit {
                let Some(storage) = self.free[class].pop() else {
                    break;
                };
                self.kept -= storage.len();
            }
        }
    }

    fn has_waiters(&self) -> bool {
        self.serving != self.next_ticket
    }
}

impl BufferPool {
    /// A pool that hands out at most `budget` bytes at a time, counted in whole powers of
    /// two from 4 KiB.
    pub fn new(budget: usize) -> Self {
        let state = State {
            in_use: 0,
            kept: 0,
            free: std::array::from_fn(|_| Vec::new()),
            next_ticket: 0,
            serving: 0,
            closed: false,
        };
        Self(Arc::new(Shared {
            budget,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    /// The budget in bytes.
    pub fn budget(&self) -> usize {
        self.0.budget
    }

    /// Bytes handed out now.
    pub fn in_use(&self) -> usize {
        lock(&self.0.state).in_use
    }

    /// A buffer of `length` bytes; waits, in the order of asking, until the budget has room.
    ///
    /// # Errors
    /// The pool is closed, now or while waiting; or `length` is over 1 MiB or the budget.
    pub fn acquire(&self, length: usize) -> Result<Buffer, BufferError> {
        let shared = &*self.0;
        self.check(length)?;
        let mut state = lock(&shared.state);
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let storage = loop {
            if state.closed {
                return Err(BufferError::Closed);
            }
            if state.serving == ticket
                && let Some(storage) = state.take(length, shared.budget)
            {
                break storage;
            }
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.serving += 1;
        if state.has_waiters() {
            shared.changed.notify_all();
        }
        drop(state);
        Ok(Buffer {
            storage,
            length,
            pool: self.0.clone(),
        })
    }

    /// A buffer of `length` bytes if it can be had without waiting or overtaking.
    ///
    /// # Errors
    /// As [`BufferPool::acquire`].
    pub fn try_acquire(&self, length: usize) -> Result<Option<Buffer>, BufferError> {
        self.check(length)?;
        let mut state = lock(&self.0.state);
        if state.closed {
            return Err(BufferError::Closed);
        }
        if state.has_waiters() {
            return Ok(None);
        }
        let storage = state.take(length, self.0.budget);
        drop(state);
        Ok(storage.map(|storage| Buffer {
            storage,
            length,
            pool: self.0.clone(),
        }))
    }

    /// Refuses whoever waits and whoever asks from now on. Buffers handed out stay valid.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        state.make_room(0);
        drop(state);
        self.0.changed.notify_all();
    }

    fn check(&self, length: usize) -> Result<(), BufferError> {
        let largest = LARGEST.min(self.0.budget);
        if length > largest || class_of(length).1 > largest {
            return Err(BufferError::TooLarge { length, largest });
        }
        Ok(())
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("budget", &self.0.budget)
            .finish_non_exhaustive()
    }
}

/// Bytes of a pool; goes back there when dropped.
pub struct Buffer {
    storage: Box<[u8]>,
    length: usize,
    pool: Arc<Shared>,
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.storage[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        let mut state = lock(&self.pool.state);
        state.in_use -= storage.len();
        if !state.closed {
            state.kept += storage.len();
            state.free[class_of(storage.len()).0].push(storage);
        }
        let wake = state.has_waiters();
        drop(state);
        if wake {
            self.pool.changed.notify_all();
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_buffer_has_the_length_asked_for_and_is_reused() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.acquire(5000).unwrap();
        assert_eq!(buffer.len(), 5000);
        buffer.fill(7);
        let address = buffer.as_ptr();
        assert_eq!(pool.in_use(), 8192);
        drop(buffer);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.acquire(8000).unwrap().as_ptr(), address);
    }

    #[test]
    fn what_can_never_be_had_is_an_error() {
        let pool = BufferPool::new(10_000);
        let error = pool.acquire(9000).expect_err("rounds up to 16 KiB");
        assert_eq!(
            error,
            BufferError::TooLarge {
                length: 9000,
                largest: 10_000
            }
        );
        let pool = BufferPool::new(64 << 20);
        assert!(pool.acquire(LARGEST).is_ok());
        assert!(pool.try_acquire(LARGEST + 1).is_err());
    }

    #[test]
    fn kept_buffers_of_other_sizes_make_room() {
        let pool = BufferPool::new(LARGEST);
        let small: Vec<_> = (0..CLASSES).map(|_| pool.acquire(1).unwrap()).collect();
        assert!(pool.try_acquire(LARGEST).unwrap().is_none());
        drop(small);
        assert_eq!(pool.acquire(LARGEST).unwrap().len(), LARGEST);
        let state = lock(&pool.0.state);
        assert!(state.in_use + state.kept <= LARGEST);
    }

    #[test]
    fn waiting_is_in_order_and_ends_when_a_buffer_returns() {
        let pool = BufferPool::new(16384);
        let first = pool.acquire(8192).unwrap();
        let second = pool.acquire(8192).unwrap();
        let (granted, order) = mpsc::channel();
        let ask = |length: usize| {
            let waiting = lock(&pool.0.state).next_ticket;
            let (pool_of_thread, granted) = (pool.clone(), granted.clone());
            let thread = thread::spawn(move || {
                let buffer = pool_of_thread.acquire(length).unwrap();
                granted.send(buffer.len()).unwrap();
            });
            while lock(&pool.0.state).next_ticket == waiting {
                thread::yield_now();
            }
            thread
        };
        let threads = [ask(16384), ask(4096)];
        drop(first);
        // The small one would fit now, but the large one was first.
        assert!(pool.try_acquire(4096).unwrap().is_none());
        assert!(order.recv_timeout(Duration::from_millis(50)).is_err());
        drop(second);
        assert_eq!(
            [order.recv().unwrap(), order.recv().unwrap()],
            [16384, 4096]
        );
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn closing_ends_the_wait() {
        let pool = BufferPool::new(4096);
        let held = pool.acquire(1).unwrap();
        let waiting = {
            let pool = pool.clone();
            thread::spawn(move || pool.acquire(1).map(|_| ()))
        };
        while !lock(&pool.0.state).has_waiters() {
            thread::yield_now();
        }
        pool.close();
        assert_eq!(waiting.join().unwrap(), Err(BufferError::Closed));
        drop(held);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.try_acquire(1).map(|_| ()), Err(BufferError::Closed));
    }
}
