//! A thread that goes on with a request of many pieces when one of them is done: a completion must not
//! call the backend. One serves all requests of a provider.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use super::lock;

/// Pieces of one long request in flight, where they are issued by the follower.
pub(super) const WINDOW: usize = 8;

/// The thread, and what waits for it.
pub(super) struct Follower<T> {
    name: &'static str,
    jobs: Jobs<T>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where requests are put that have something to follow.
pub(super) struct Jobs<T>(Sender<Option<Arc<T>>>);

impl<T: Send + Sync + 'static> Follower<T> {
    /// Starts a thread of this name that does `advance` with what comes.
    pub(super) fn start(
        name: &'static str,
        advance: impl Fn(&Arc<T>) + Send + 'static,
    ) -> io::Result<Self> {
        // Bounded by the requests in flight: each has at most WINDOW jobs here.
        let (jobs, queue): (_, Receiver<Option<Arc<T>>>) = mpsc::channel();
        let run = move || {
            while let Ok(Some(request)) = queue.recv() {
                advance(&request);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self {
            name,
            jobs: Jobs(jobs),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// For a request that keeps it.
    pub(super) fn jobs(&self) -> &Jobs<T> {
        &self.jobs
    }

    /// Ends the thread; what would have followed is dropped.
    pub(super) fn stop(&self) {
        let _ = self.jobs.0.send(None);
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            log::error!("the thread {} panicked", self.name);
        }
    }
}

impl<T> Jobs<T> {
    /// Something may follow in this request.
    pub(super) fn follow(&self, request: &Arc<T>) {
        // After the end nobody is left to be answered.
        let _ = self.0.send(Some(request.clone()));
    }
}

impl<T> Clone for Jobs<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
