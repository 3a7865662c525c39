//! One client in the transmission phase, as completions see it: replies go out from the
//! thread that completes. Where one thread is sending already, others leave their replies to
//! it; where the client is behind, a writer thread of the connection takes over, so that a
//! client that does not read holds up nobody but itself.
//!
//! Invariants: at most one thread sends at a time, so replies never mix; nobody but the
//! writer thread waits for the client; what is in flight (asked and not yet answered, or
//! answered and not yet sent) is bounded by [`MAX_REQUESTS`] and [`MAX_BYTES`].

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::protocol::{ReplyHeader, error_number};
use super::reply::{Batch, Data, Reply, Sent};
use super::socket::Socket;
use crate::provider::{Command, Done, Requester, lock};

/// Requests in flight for one client: as many as the Linux client's default queue.
const MAX_REQUESTS: usize = 128;
/// Bytes in flight for one client, beyond which it waits (the request that reaches it
/// included): enough for 64 requests of 128 KiB, and no client can hold a whole pool.
const MAX_BYTES: usize = 8 << 20;
/// Batches in a row that a completing thread sends for others before it leaves them to the
/// writer thread: it has work of its own.
const MAX_ROUNDS: usize = 8;

/// The client is gone or dropped: nothing more is read from it or sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// Who sends.
enum Sender {
    Nobody,
    /// A thread that completed a request; it looks into the queue again before it ends.
    Completer,
    /// The writer thread is to take this over.
    Handed(Batch),
    /// The writer thread, until the queue is empty.
    Writer,
}

struct State {
    queue: VecDeque<Reply>,
    sender: Sender,
    has_writer: bool,
    closed: bool,
    requests: usize,
    bytes: usize,
}

/// A client.
pub(super) struct Connection {
    /// For log lines.
    pub label: String,
    /// Whether reads are answered in chunks.
    pub structured: bool,
    socket: Arc<Socket>,
    /// How long the client may take none of its replies.
    stall: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

impl Connection {
    pub(super) fn new(
        label: String,
        socket: Arc<Socket>,
        structured: bool,
        stall: Duration,
    ) -> io::Result<Arc<Self>> {
        socket.set_send_timeout(Some(stall))?;
        let state = State {
            queue: VecDeque::new(),
            sender: Sender::Nobody,
            has_writer: false,
            closed: false,
            requests: 0,
            bytes: 0,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Ok(Arc::new(Self {
            label,
            structured,
            socket,
            stall,
            state,
            changed,
        }))
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Counts a request of `bytes` in, waiting while too much is in flight.
    pub(super) fn admit_request(&self, bytes: usize) -> Result<(), Closed> {
        self.admit(1, bytes)
    }

    /// Counts a piece of an admitted request in.
    pub(super) fn admit_piece(&self, bytes: usize) -> Result<(), Closed> {
        self.admit(0, bytes)
    }

    /// Whether a request with so many bytes would be admitted without waiting. Only the reader admits,
    /// so that it stays true until it does.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let state = lock(&self.state);
        !state.closed && state.requests < MAX_REQUESTS && (bytes == 0 || state.bytes < MAX_BYTES)
    }

    fn admit(&self, requests: usize, bytes: usize) -> Result<(), Closed> {
        let mut state = lock(&self.state);
        while !state.closed
            && ((requests > 0 && state.requests >= MAX_REQUESTS)
                || (bytes > 0 && state.bytes >= MAX_BYTES))
        {
            state = self.wait(state);
        }
        if state.closed {
            return Err(Closed);
        }
        state.requests += requests;
        state.bytes += bytes;
        Ok(())
    }

    /// Counts out what needs no reply of its own.
    pub(super) fn release(&self, bytes: usize) {
        self.count_out(&mut lock(&self.state), 0, bytes);
    }

    fn count_out(&self, state: &mut State, requests: usize, bytes: usize) {
        let was_full = state.requests >= MAX_REQUESTS || state.bytes >= MAX_BYTES;
        state.requests -= requests;
        state.bytes -= bytes;
        if was_full || state.requests == 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until nothing is in flight, the client is gone, or `deadline`.
    pub(super) fn drain(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        while !state.closed && state.requests > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the connection at once; replies not yet sent are dropped.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let dropped = std::mem::take(&mut state.queue);
        drop(state);
        drop(dropped);
        self.socket.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Puts a reply in line. Where the answer is true, the caller is to [`Connection::pump`].
    #[must_use]
    pub(super) fn queue(&self, reply: Reply) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.queue.push_back(reply);
        if matches!(state.sender, Sender::Nobody) {
            state.sender = Sender::Completer;
            return true;
        }
        false
    }

    /// Sends what is in line, without waiting for the client.
    pub(super) fn pump(self: &Arc<Self>) {
        let mut batch = Batch::default();
        for _ in 0..MAX_ROUNDS {
            if !self.next_batch(&mut batch) {
                return;
            }
            match self.send(&mut batch, false) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.hand_over(batch);
                }
                Err(_) => return self.close(),
            }
        }
        self.hand_over(batch);
    }

    /// Sends a reply.
    pub(super) fn reply(self: &Arc<Self>, reply: Reply) {
        if self.queue(reply) {
            self.pump();
        }
    }

    /// Sends the reply to a request without data.
    pub(super) fn answer(self: &Arc<Self>, cookie: u64, bytes: usize, error: Option<Errno>) {
        let header = ReplyHeader::simple(cookie, error.map_or(0, error_number));
        self.reply(Reply {
            header,
            data: Data::None,
            bytes,
            last: true,
        });
    }

    /// The header of a failed read's answer.
    pub(super) fn read_error(&self, cookie: u64, error: Errno) -> ReplyHeader {
        if self.structured {
            ReplyHeader::error_chunk(cookie, error_number(error))
        } else {
            ReplyHeader::simple(cookie, error_number(error))
        }
    }

    /// Moves the queue into the (empty) batch, or gives up sending because there is none.
    fn next_batch(&self, batch: &mut Batch) -> bool {
        let mut state = lock(&self.state);
        if state.queue.is_empty() || state.closed {
            state.sender = Sender::Nobody;
            // Its allocation serves the next reply.
            if state.queue.capacity() < batch.replies.capacity() {
                state.queue = std::mem::take(&mut batch.replies);
            }
            return false;
        }
        std::mem::swap(&mut state.queue, &mut batch.replies);
        true
    }

    /// Sends a batch. On an error the batch holds what is left.
    fn send(&self, batch: &mut Batch, wait: bool) -> io::Result<()> {
        let mut sent = Sent::default();
        let result = batch.send(&self.socket, wait, &mut sent);
        self.count_out(&mut lock(&self.state), sent.requests, sent.bytes);
        result
    }

    /// Leaves the rest to the writer thread, which is started when first needed.
    fn hand_over(self: &Arc<Self>, batch: Batch) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.sender = Sender::Handed(batch);
        if !state.has_writer {
            let connection = self.clone();
            let spawned = std::thread::Builder::new()
                .name("nbd writer".into())
                .spawn(move || connection.write_until_closed());
            if let Err(error) = spawned {
                drop(state);
                log::error!(
                    "nbd: {}: dropped: cannot start a thread: {error}",
                    self.label
                );
                return self.close();
            }
            state.has_writer = true;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The writer thread.
    fn write_until_closed(self: Arc<Self>) {
        while let Some(mut batch) = self.take_over() {
            loop {
                if let Err(error) = self.send(&mut batch, true) {
                    if error.kind() == io::ErrorKind::WouldBlock {
                        let limit = self.stall;
                        log::warn!(
                            "nbd: {}: dropped: it read no reply for {limit:?}",
                            self.label
                        );
                    }
                    return self.close();
                }
                if !self.next_batch(&mut batch) {
                    break;
                }
            }
        }
    }

    /// Waits until there is something to take over; none when the connection is closed.
    fn take_over(&self) -> Option<Batch> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Sender::Handed(batch) = &mut state.sender {
                let batch = std::mem::take(batch);
                state.sender = Sender::Writer;
                return Some(batch);
            }
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests that went to the backend in one piece: `id` is the cookie.
impl Requester for Connection {
    fn completed(self: Arc<Self>, done: Done) {
        let reply = self.reply_to(done);
        self.reply(reply);
    }

    fn collect(self: Arc<Self>, done: Done) -> bool {
        let reply = self.reply_to(done);
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.queue.push_back(reply);
        // Whoever is sending takes it along.
        matches!(state.sender, Sender::Nobody)
    }

    fn flush(self: Arc<Self>) {
        let mut state = lock(&self.state);
        if state.closed || state.queue.is_empty() || !matches!(state.sender, Sender::Nobody) {
            return;
        }
        state.sender = Sender::Completer;
        drop(state);
        self.pump();
    }
}

impl Connection {
    /// The answer to a request that went to the backend in one piece.
    fn reply_to(&self, done: Done) -> Reply {
        let (id, command) = (done.id, done.command);
        let (offset, length) = (done.offset, done.length);
        let (header, data) = match (command, done.data()) {
            (Command::Read, Ok(Some(data))) if self.structured => {
                let header = ReplyHeader::data_chunk(id, offset, length, true);
                (header, Data::One(data))
            }
            (Command::Read, Ok(Some(data))) => (ReplyHeader::simple(id, 0), Data::One(data)),
            (Command::Read, result) => {
                let error = result.err().unwrap_or(Errno::EIO);
                (self.read_error(id, error), Data::None)
            }
            (_, result) => {
                let number = result.err().map_or(0, error_number);
                (ReplyHeader::simple(id, number), Data::None)
            }
        };
        let bytes = match command {
            Command::Read | Command::Write => length as usize,
            Command::Zeroes | Command::Delete | Command::Flush => 0,
        };
        Reply {
            header,
            data,
            bytes,
            last: true,
        }
    }
}
