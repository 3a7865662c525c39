//! Sending to the peer: a queue that whoever comes first empties for everyone.
//!
//! Messages are put in under the engine's lock, so that they leave in the engine's order; the
//! thread that put one in then calls [`Outbox::drain`]. If another thread is sending already, that one
//! takes the new message along: no hand-over, no waiting. What the socket does not take at once is
//! left to one thread that waits for it ([`Outbox::attend`]).
//!
//! Never blocks but in `attend`. Invariants: messages leave in the order of their coming; a
//! payload is sent from the buffer that it is in; what is queued is bounded by the buffers and windows of
//! those who queue.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::lock;
use super::peer::Connection;
use crate::provider::Buffer;
use crate::terms::{Checksum, Compression};
use crate::wire::payload::{self, PayloadFields};
use crate::wire::request::{PeerReply, PeerRequest, RecordRequest};

/// Bytes made ready at a time: enough that one system call is little beside copying them.
const BATCH: usize = 512 << 10;
/// Pieces of one system call at most.
const PIECES: usize = 64;
/// How long, in milliseconds, the waiting thread waits before it looks whether it is still wanted.
const LOOK: u8 = 250;
/// A peer that is gone is an error of the call, not a signal.
const FLAGS: i32 = nix::libc::MSG_DONTWAIT | nix::libc::MSG_NOSIGNAL;

/// What goes with a message.
#[derive(Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// So many zeros.
    Zeroes(u32),
    /// Part of a buffer that others use, too.
    Shared(Arc<Buffer>, Range<usize>),
    /// A buffer.
    Own(Buffer),
}

/// A message to the peer.
#[derive(Debug)]
pub enum Message {
    /// From a primary; with a payload for a write.
    Request(PeerRequest, Payload),
    /// From a primary, to one that knows our extension.
    Note(RecordRequest),
    /// From a secondary; with a payload for a read.
    Reply(PeerReply, Payload),
}

/// How messages are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The protocol version negotiated.
    pub version: u8,
    /// As configured.
    pub compression: Compression,
    /// As configured.
    pub checksum: Checksum,
}

/// The sending side of a connection, or of none.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<VecDeque<Message>>,
    sending: Mutex<Sending>,
    /// The socket is full: the waiting thread sends next.
    full: AtomicBool,
    /// Counts successful system calls, so that a watcher sees progress.
    progress: AtomicU64,
    attendant: Mutex<Attendant>,
    wanted: Condvar,
}

#[derive(Debug, PartialEq, Eq)]
enum Attendant {
    Resting,
    Wanted,
    Ended,
}

#[derive(Debug)]
struct Sending {
    connection: Option<Arc<Connection>>,
    style: Style,
    /// Taken from the queue, not made ready yet.
    taken: VecDeque<Message>,
    /// Message heads that `pieces` speaks of.
    heads: Vec<u8>,
    pieces: VecDeque<Piece>,
}

/// Bytes ready to be sent.
#[derive(Debug)]
enum Piece {
    Head(Range<usize>),
    Packed(Vec<u8>, usize),
    Shared(Arc<Buffer>, Range<usize>),
    Own(Buffer, usize),
}

impl Outbox {
    /// One without a connection: what is put in is dropped when it is drained.
    pub fn new(style: Style) -> Self {
        Self {
            queue: Mutex::default(),
            sending: Mutex::new(Sending {
                connection: None,
                style,
                taken: VecDeque::new(),
                heads: Vec::new(),
                pieces: VecDeque::new(),
            }),
            full: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            attendant: Mutex::new(Attendant::Resting),
            wanted: Condvar::new(),
        }
    }

    /// Sends along this connection from here on.
    pub fn open(&self, connection: Arc<Connection>, version: u8) {
        let mut sending = lock(&self.sending);
        sending.connection = Some(connection);
        sending.style.version = version;
    }

    /// Forgets the connection and everything not sent.
    pub fn close(&self) {
        let mut sending = lock(&self.sending);
        sending.forget();
        lock(&self.queue).clear();
        self.full.store(false, Ordering::Release);
    }

    /// Changes how payloads are made from here on.
    pub fn set_style(&self, compression: Compression, checksum: Checksum) {
        let mut sending = lock(&self.sending);
        sending.style = Style {
            compression,
            checksum,
            ..sending.style
        };
    }

    /// Queues a message. To be followed by [`Outbox::drain`], without the engine's lock.
    pub fn put(&self, message: Message) {
        lock(&self.queue).push_back(message);
    }

    /// Messages that wait to be sent, about.
    pub fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Grows while the socket takes something.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether something waits for the socket to take more.
    pub fn is_stuck(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Sends what is queued, unless somebody else is at it or the socket is full.
    pub fn drain(&self) {
        while !self.is_stuck() && !lock(&self.queue).is_empty() {
            let Some(mut sending) = self.try_sending() else {
                // Whoever sends looks at the queue again after letting go.
                return;
            };
            self.send_all(&mut sending);
        }
    }

    fn try_sending(&self) -> Option<MutexGuard<'_, Sending>> {
        match self.sending.try_lock() {
            Ok(sending) => Some(sending),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn send_all(&self, sending: &mut Sending) {
        loop {
            if sending.taken.is_empty() {
                std::mem::swap(&mut *lock(&self.queue), &mut sending.taken);
            }
            let Some(connection) = sending.connection.clone() else {
                sending.forget();
                return;
            };
            sending.make_ready();
            if sending.pieces.is_empty() {
                return;
            }
            match sending.send(&connection.outgoing) {
                Ok(()) => {
                    self.progress.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full.store(true, Ordering::Release);
                    self.want_attendant();
                    return;
                }
                Err(error) => {
                    log::debug!("sending to the peer failed: {error}");
                    // Whoever receives from the peer finds out, and tells the engine.
                    connection.shut();
                    sending.forget();
                    return;
                }
            }
        }
    }

    fn want_attendant(&self) {
        let mut attendant = lock(&self.attendant);
        if *attendant == Attendant::Resting {
            *attendant = Attendant::Wanted;
            self.wanted.notify_one();
        }
    }

    /// Waits for full sockets and sends on, until [`Outbox::end`]. For a thread of its own.
    pub fn attend(&self) {
        loop {
            let mut attendant = lock(&self.attendant);
            while *attendant == Attendant::Resting {
                attendant = self
                    .wanted
                    .wait(attendant)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if *attendant == Attendant::Ended {
                return;
            }
            *attendant = Attendant::Resting;
            drop(attendant);
            self.wait_until_sent();
        }
    }

    fn wait_until_sent(&self) {
        while self.is_stuck() {
            let Some(connection) = lock(&self.sending).connection.clone() else {
                return;
            };
            let mut interest = [PollFd::new(connection.outgoing.as_fd(), PollFlags::POLLOUT)];
            // An error is one of the socket, too: sending finds out.
            if poll(&mut interest, PollTimeout::from(LOOK)) == Ok(0) {
                if *lock(&self.attendant) == Attendant::Ended {
                    return;
                }
                continue;
            }
            let mut sending = lock(&self.sending);
            self.full.store(false, Ordering::Release);
            self.send_all(&mut sending);
            drop(sending);
            self.drain();
        }
    }

    /// Lets [`Outbox::attend`] return.
    pub fn end(&self) {
        *lock(&self.attendant) = Attendant::Ended;
        self.wanted.notify_all();
    }
}

impl Sending {
    fn forget(&mut self) {
        self.connection = None;
        self.taken.clear();
        self.heads.clear();
        self.pieces.clear();
    }

    /// Makes bytes of messages, as many as one or a few system calls take.
    fn make_ready(&mut self) {
        if !self.pieces.is_empty() {
            return;
        }
        self.heads.clear();
        let mut ready = 0;
        while ready < BATCH
            && let Some(message) = self.taken.pop_front()
        {
            ready += self.make(message);
        }
    }

    fn make(&mut self, message: Message) -> usize {
        let start = self.heads.len();
        let version = self.style.version;
        let (fields, piece) = match message {
            Message::Note(report) => {
                report.encode_into(&mut self.heads, version);
                (PayloadFields::NONE, None)
            }
            Message::Request(request, payload) => {
                let (fields, piece) = self.style.pack(payload);
                request.encode_into(&mut self.heads, version, &fields);
                (fields, piece)
            }
            Message::Reply(reply, payload) => {
                let (fields, piece) = self.style.pack(payload);
                reply.encode_into(&mut self.heads, version, &fields);
                (fields, piece)
            }
        };
        match self.pieces.back_mut() {
            // Heads that follow each other are one piece.
            Some(Piece::Head(head)) => head.end = self.heads.len(),
            _ => self.pieces.push_back(Piece::Head(start..self.heads.len())),
        }
        self.pieces.extend(piece);
        self.heads.len() - start + fields.size as usize
    }

    fn send(&mut self, socket: &Socket) -> io::Result<()> {
        let mut parts = [IoSlice::new(&[]); PIECES];
        let count = self.pieces.len().min(PIECES);
        for (part, piece) in parts.iter_mut().zip(&self.pieces) {
            *part = IoSlice::new(piece.bytes(&self.heads));
        }
        let mut sent = socket.send_vectored_with_flags(&parts[..count], FLAGS)?;
        while let Some(piece) = self.pieces.front_mut() {
            let length = piece.bytes(&self.heads).len();
            if sent < length {
                piece.advance(sent);
                return Ok(());
            }
            sent -= length;
            self.pieces.pop_front();
        }
        Ok(())
    }
}

impl Style {
    fn pack(self, payload: Payload) -> (PayloadFields, Option<Piece>) {
        let data: &[u8] = match &payload {
            Payload::None => return (PayloadFields::NONE, None),
            Payload::Zeroes(length) => {
                let packed = payload::pack_zeroes(*length, self.checksum);
                return (
                    packed.fields,
                    Some(Piece::Packed(packed.bytes.into_owned(), 0)),
                );
            }
            Payload::Shared(buffer, range) => &buffer[range.clone()],
            Payload::Own(buffer) => buffer,
        };
        let packed = payload::pack(data, self.compression, self.checksum);
        let fields = packed.fields;
        let made = match packed.bytes {
            Cow::Owned(bytes) => Some(bytes),
            Cow::Borrowed(_) => None,
        };
        let piece = match (made, payload) {
            (Some(bytes), _) => Piece::Packed(bytes, 0),
            (None, Payload::Shared(buffer, range)) => Piece::Shared(buffer, range),
            (None, Payload::Own(buffer)) => Piece::Own(buffer, 0),
            (None, Payload::None | Payload::Zeroes(_)) => return (fields, None),
        };
        (fields, Some(piece))
    }
}

impl Piece {
    fn bytes<'a>(&'a self, heads: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Head(range) => &heads[range.clone()],
            Self::Packed(bytes, done) => &bytes[*done..],
            Self::Shared(buffer, range) => &buffer[range.clone()],
            Self::Own(buffer, done) => &buffer[*done..],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Head(range) | Self::Shared(_, range) => range.start += count,
            Self::Packed(_, done) | Self::Own(_, done) => *done += count,
        }
    }
}
