//! Where requests come from. A provider turns what a client asks (NBD, or GEOM gate
//! has the same seam) into [`ProviderRequest`]s, hands them to a [`Backend`] and answers
//! the client when they complete. It never decides what is written where.
//!
//! Invariants:
//! - a request handed over is at most [`MAX_REQUEST`] bytes, aligned to the sector size
//!   and inside the device;
//! - every request is completed exactly once: a [`Completion`] that is dropped answers EIO;
//! - what a client may have in flight is bounded, and what is over waits in the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

pub mod buffer;
mod follower;
pub mod gate;
pub mod nbd;

pub use buffer::{Buffer, BufferError, BufferPool};

/// The largest request handed to a backend, in bytes: what a message between nodes may
/// carry (spec, section 3). Clients may ask for more; it is split.
pub const MAX_REQUEST: u32 = 1 << 20;

/// What is asked of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Fill the request's buffer.
    Read,
    /// Store the request's buffer.
    Write,
    /// Make the range read as zeros.
    Zeroes,
    /// The range's content is no longer needed.
    Delete,
    /// What was acknowledged before this survives a power cut. Offset and length are 0.
    Flush,
}

/// One request. Force-unit-access needs no word here: a provider whose client asks for it
/// submits a [`Command::Flush`] when the write is done and answers after that.
#[derive(Debug)]
pub struct ProviderRequest {
    /// What to do.
    pub command: Command,
    /// Where, in bytes from the start of the device.
    pub offset: u64,
    /// How many bytes; at most [`MAX_REQUEST`].
    pub length: u32,
    /// `length` bytes for a read (to be filled, and given back through the completion)
    /// or a write (the payload); none for the others.
    pub data: Option<Buffer>,
    /// Whom to tell.
    pub completion: Completion,
}

impl ProviderRequest {
    /// A request whose completion reaches `requester` with `id`.
    pub fn new(
        requester: Arc<dyn Requester>,
        id: u64,
        command: Command,
        offset: u64,
        length: u32,
        data: Option<Buffer>,
    ) -> Self {
        let completion = Completion {
            requester: Some(requester),
            id,
            command,
            offset,
            length,
        };
        Self {
            command,
            offset,
            length,
            data,
            completion,
        }
    }
}

/// What carries requests out: the worker.
pub trait Backend: Send + Sync {
    /// Takes a request and returns; the request is completed later, from any thread, or
    /// from this call itself. Never waits for other requests of this provider.
    fn submit(&self, request: ProviderRequest);

    /// As [`Backend::submit`] for each of them in order, but with less ado. Leaves `requests` empty.
    fn submit_all(&self, requests: &mut Vec<ProviderRequest>) {
        for request in requests.drain(..) {
            self.submit(request);
        }
    }

    /// As [`Backend::buffer`], but `None` where that would wait.
    ///
    /// # Errors
    /// As [`Backend::buffer`].
    fn buffer_now(&self, length: usize) -> Result<Option<Buffer>, BufferError> {
        self.buffer(length).map(Some)
    }

    /// A buffer of `length` bytes (at most [`MAX_REQUEST`]) with arbitrary content. Waits
    /// while the budget is used up: this is how a client is slowed down.
    ///
    /// # Errors
    /// The pool was closed, or `length` can never be had.
    fn buffer(&self, length: usize) -> Result<Buffer, BufferError>;

    /// The bytes that [`Backend::buffer`] hands out at most at one time.
    fn budget(&self) -> usize;
}

/// What a completed request tells whoever asked.
#[derive(Debug)]
pub struct Done {
    /// The requester's own number.
    pub id: u64,
    /// As in the request.
    pub command: Command,
    /// As in the request.
    pub offset: u64,
    /// As in the request.
    pub length: u32,
    /// For a successful read the buffer read into; otherwise no data.
    pub result: Result<Option<Buffer>, Errno>,
}

impl Done {
    /// What the backend brought: as many bytes as were asked for by a read, and nothing otherwise. One that
    /// calls a read successful and brings less has failed it.
    fn data(self) -> Result<Option<Buffer>, Errno> {
        match (self.command, self.result?) {
            (Command::Read, Some(data)) if data.len() == self.length as usize => Ok(Some(data)),
            (Command::Read, _) => Err(Errno::EIO),
            _ => Ok(None),
        }
    }
}

/// The provider's side of a [`Completion`]. Shared and numbered, so that a completion
/// costs no allocation of its own.
pub trait Requester: Send + Sync {
    /// A request is done. Called once for each, from whatever thread finished it. Cheap,
    /// does not wait for a client and never calls the backend.
    fn completed(self: Arc<Self>, done: Done);

    /// As [`Requester::completed`], but the answer may be held back until [`Requester::flush`], so that
    /// several leave at once. True if that is to be called.
    fn collect(self: Arc<Self>, done: Done) -> bool {
        self.completed(done);
        false
    }

    /// Sends what was held back.
    fn flush(self: Arc<Self>) {}
}

/// Answers several requests together. What was held back leaves when it is dropped.
#[derive(Default)]
pub struct Answers(Vec<Arc<dyn Requester>>);

impl Answers {
    /// Answers one, as [`Completion::complete`] does, or with the others.
    pub fn add(&mut self, mut completion: Completion, result: Result<Option<Buffer>, Errno>) {
        let Some((requester, done)) = completion.take(result) else {
            return;
        };
        if requester.clone().collect(done) && !self.0.iter().any(|one| Arc::ptr_eq(one, &requester))
        {
            self.0.push(requester);
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for requester in self.0.drain(..) {
            requester.flush();
        }
    }
}

/// The duty to answer one request.
#[must_use = "a dropped completion answers EIO"]
pub struct Completion {
    requester: Option<Arc<dyn Requester>>,
    id: u64,
    command: Command,
    offset: u64,
    length: u32,
}

impl Completion {
    /// Answers the request, in this thread: a read with the buffer that holds what was
    /// read (the one that came with the request, or another of the same length).
    /// Never waits for a client and never calls the backend, whose locks may be held.
    pub fn complete(mut self, result: Result<Option<Buffer>, Errno>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Option<Buffer>, Errno>) {
        if let Some((requester, done)) = self.take(result) {
            requester.completed(done);
        }
    }

    /// Whom to tell what, unless that has been done.
    fn take(
        &mut self,
        result: Result<Option<Buffer>, Errno>,
    ) -> Option<(Arc<dyn Requester>, Done)> {
        let requester = self.requester.take()?;
        let done = Done {
            id: self.id,
            command: self.command,
            offset: self.offset,
            length: self.length,
            result,
        };
        Some((requester, done))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.finish(Err(Errno::EIO));
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion")
            .field("id", &self.id)
            .field("command", &self.command)
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Locks; a panic elsewhere while it was held is that thread's affair (every critical
/// section in this room leaves its data whole).
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Done>>);

    impl Requester for Recorder {
        fn completed(self: Arc<Self>, done: Done) {
            lock(&self.0).push(done);
        }
    }

    #[test]
    fn a_completion_answers_once_and_a_dropped_one_with_eio() {
        let recorder = Arc::new(Recorder::default());
        let request =
            |id| ProviderRequest::new(recorder.clone(), id, Command::Delete, 512, 1024, None);
        request(1).completion.complete(Ok(None));
        drop(request(2));
        let done = std::mem::take(&mut *lock(&recorder.0));
        assert_eq!(done.iter().map(|d| d.id).collect::<Vec<_>>(), [1, 2]);
        assert!(done[0].result.is_ok());
        assert_eq!((done[0].offset, done[0].length), (512, 1024));
        assert_eq!(done[1].result.as_ref().err(), Some(&Errno::EIO));
    }
}
