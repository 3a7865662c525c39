//! Threads that wait for the local component in place of those that have better things to do.
//!
//! Never runs a task twice and never loses one. Invariant: the queue has a bound; what is over it is
//! given back, to be done by whoever asked (which slows the asker down, and can not deadlock).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::lock;

/// Threads of a worker: enough to keep a disk with a deep queue busy.
pub const THREADS: usize = 16;

/// Tasks waiting for a thread at most.
pub const CAPACITY: usize = 1024;

/// A queue of tasks, and threads that take from it. Clones share it.
#[derive(Debug)]
pub struct Pool<T>(Arc<Shared<T>>);

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// There is a task, or there will be none.
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
}

impl<T: Send + 'static> Default for Pool<T> {
    fn default() -> Self {
        let state = State {
            queue: VecDeque::new(),
            closed: false,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Starts the threads, each of which does `work` with every task it takes.
    pub fn start(
        &self,
        threads: usize,
        work: impl Fn(T) + Clone + Send + 'static,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let start = |number| {
            let (pool, work) = (self.clone(), work.clone());
            thread::Builder::new()
                .name(format!("disk {number}"))
                .spawn(move || {
                    while let Some(task) = pool.take() {
                        work(task);
                    }
                })
        };
        (0..threads).map(start).collect()
    }

    /// Queues a task.
    ///
    /// # Errors
    /// The task, where the queue is full or closed.
    pub fn submit(&self, task: T) -> Result<(), T> {
        let mut state = lock(&self.0.state);
        if state.closed || state.queue.len() >= CAPACITY {
            return Err(task);
        }
        state.queue.push_back(task);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        lock(&self.0.state).queue.len()
    }

    /// Lets the threads end, once what is queued is done.
    pub fn close(&self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_all();
    }

    fn take(&self) -> Option<T> {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(task) = state.queue.pop_front() {
                return Some(task);
            }
            if state.closed {
                return None;
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn every_task_is_done_once_and_closing_waits_for_them() {
        let pool = Pool::default();
        let (done, results) = mpsc::channel();
        for number in 0..100 {
            pool.submit(number).expect("room");
        }
        let threads = pool.start(4, move |number: u32| done.send(number).expect("received"));
        pool.close();
        assert_eq!(pool.submit(100), Err(100));
        threads
            .expect("started")
            .into_iter()
            .for_each(|thread| thread.join().expect("ended"));
        let mut results: Vec<u32> = results.iter().collect();
        results.sort_unstable();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_over_the_bound_is_given_back() {
        let pool = Pool::default();
        for number in 0..CAPACITY {
            pool.submit(number).expect("room");
        }
        assert_eq!(pool.submit(7), Err(7));
        assert_eq!(pool.waiting(), CAPACITY);
    }
}
