//! One worker: the process, the channel to it, and its log. Writes what there is room for and keeps the
//! rest; never waits for the worker.
//!
//! Invariants: messages, and the descriptors that belong to them, arrive in order; what waits to be
//! sent is bounded by [`QUEUE_BYTES`] (a worker that reads nothing is stuck, and is ended);
//! the process is reaped by its own number only.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use mio::Token;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::reactor::{Reactor, Source};
use crate::logging::relay;
use crate::passing;
use crate::terms::Role;
use crate::wire::frame::{Decoder, FrameError};
use crate::worker::channel::{self, ChannelError, FromWorker, ToWorker};

/// Most bytes that wait for a worker to read them.
const QUEUE_BYTES: usize = 4 << 20;
/// Bytes of a worker's log that are taken before others have their turn.
const LOG_TURN: usize = 64 << 10;
/// Most bytes that are taken of what one has left behind: no pipe holds more.
const LAST_WORDS: usize = 1 << 20;
/// EX_TEMPFAIL of sysexits(3): the worker asks to be started again.
const EX_TEMPFAIL: i32 = 75;

/// Why a worker can not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The socket says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is a message, but none that this hastd knows.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It reads nothing.
    #[error("{QUEUE_BYTES} bytes wait to be read by it")]
    Deaf,
}

/// What came from a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing more for now.
    Nothing,
    /// A message; there may be more.
    Message(FromWorker),
    /// It has closed its end.
    Closed,
}

/// A message, as far as it has not yet been sent.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// A worker and the channel to it.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    role: Role,
    started: Instant,
    token: Token,
    socket: UnixStream,
    decoder: Decoder,
    log: relay::Receiver,
    outgoing: VecDeque<Outgoing>,
    outgoing_bytes: usize,
}

impl WorkerProcess {
    /// Executes `program` as the worker of a resource in a role. It waits for its first message.
    pub fn spawn(
        reactor: &mut Reactor,
        program: &Path,
        resource: &str,
        role: Role,
    ) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let (log, their_log) = relay::Receiver::new()?;
        let token = reactor.add(&socket, Source::Worker)?;
        let mut command = Command::new(program);
        command
            .arg0(format!("hastd: {resource} ({role})"))
            .arg(channel::ARGUMENT)
            .stdin(Stdio::null());
        let descriptors = vec![
            (OwnedFd::from(theirs), channel::DESCRIPTOR),
            (their_log, channel::LOG_DESCRIPTOR),
        ];
        let child = reactor
            .add_beside(&log, token)
            .and_then(|()| hast_ffi::spawn::with_descriptors(command, descriptors))
            .inspect_err(|_| {
                reactor.remove(&log, token);
                reactor.remove(&socket, token);
            })?;
        Ok(Self {
            child,
            role,
            started: Instant::now(),
            token,
            socket,
            decoder: Decoder::new(channel::LIMITS),
            log,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
        })
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The role it was started for.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// When it was started.
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// What the event loop calls its channel.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// Sends a message and the descriptors that belong to it, now or as soon as there is room.
    pub fn send(
        &mut self,
        message: &ToWorker,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), WorkerError> {
        debug_assert_eq!(descriptors.len(), message.descriptors());
        let bytes = message.encode();
        self.outgoing_bytes += bytes.len();
        self.outgoing.push_back(Outgoing {
            bytes,
            sent: 0,
            descriptors,
        });
        if self.outgoing_bytes > QUEUE_BYTES {
            return Err(WorkerError::Deaf);
        }
        self.flush()
    }

    /// Sends what there is room for.
    pub fn flush(&mut self) -> Result<(), WorkerError> {
        while let Some(message) = self.outgoing.front_mut() {
            let descriptors: Vec<BorrowedFd<'_>> =
                message.descriptors.iter().map(AsFd::as_fd).collect();
            match passing::send(&self.socket, &message.bytes[message.sent..], &descriptors) {
                Ok(length) => {
                    message.descriptors.clear();
                    message.sent += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if message.sent == message.bytes.len() {
                self.outgoing_bytes -= message.bytes.len();
                self.outgoing.pop_front();
            }
        }
        Ok(())
    }

    /// Reads up to the next message.
    pub fn hear(&mut self) -> Result<Heard, WorkerError> {
        let mut piece = [0; 4096];
        loop {
            let wanted = self.decoder.needed().min(piece.len());
            match (&self.socket).read(&mut piece[..wanted]) {
                Ok(0) => return Ok(Heard::Closed),
                Ok(length) => {
                    if let (_, Some(message)) = self.decoder.feed(&piece[..length])? {
                        return Ok(Heard::Message(FromWorker::decode(message.nv.view())?));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Logs what it has logged; the rest when others have had their turn.
    pub fn pass_on_log(&mut self, reactor: &Reactor) -> io::Result<()> {
        match self.log.receive(LOG_TURN, say) {
            relay::Received::All => Ok(()),
            relay::Received::Some => reactor.again(&self.log, self.token),
        }
    }

    /// Logs what it had logged when it ended.
    pub fn pass_on_last_words(&mut self) {
        self.log.receive(LAST_WORDS, say);
    }

    /// How it ended; none while it runs. The channel may still hold its last words.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends it now.
    pub fn kill(&self) {
        // Fails only where it has ended, which is what is wanted; its number can not be
        // another's before it is reaped.
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
    }

    /// Stops watching its channel and its log.
    pub fn forget(&self, reactor: &mut Reactor) {
        reactor.remove(&self.log, self.token);
        reactor.remove(&self.socket, self.token);
    }
}

fn say(level: log::Level, text: &str) {
    log::log!(level, "{text}");
}

/// Whether a worker that ended so is to be started again: by a signal, or asking for it.
pub fn may_return(status: ExitStatus) -> bool {
    status.signal().is_some() || status.code() == Some(EX_TEMPFAIL)
}

/// Logs how a worker ended.
pub fn log_end(pid: u32, status: ExitStatus) {
    match (status.code(), status.signal()) {
        (Some(0), _) => log::debug!("Worker process exited gracefully (pid={pid})."),
        (_, Some(signal)) => log::error!("Worker process killed (pid={pid}, signal={signal})."),
        (code, None) => log::error!(
            "Worker process exited ungracefully (pid={pid}, exitcode={}).",
            code.unwrap_or(-1)
        ),
    }
}
