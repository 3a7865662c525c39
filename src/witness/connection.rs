//! One connection to the witness: its challenge goes out, one request comes in, its answer goes out.
//! Never blocks, never reads beyond a request, and does not know what is asked.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use socket2::Socket;

use super::message::MessageError;
use super::protocol::{self, Code, ProtocolError};

/// From connecting to the last byte of the answer.
const TIME: Duration = Duration::from_secs(5);

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The socket says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side closed too early.
    #[error("it closed before it had asked")]
    Closed,
    /// What came is no request, or not proven.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The request is none that there is.
    #[error("it asks what cannot be asked: {0}")]
    Message(#[from] MessageError),
}

/// A connection, from accepting it to the last byte of the answer.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub socket: Socket,
    /// From where it comes.
    pub peer: IpAddr,
    /// When its time is over.
    pub deadline: Instant,
    /// What its request has to answer.
    pub challenge: Code,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    asked: bool,
}

/// What became of a connection when it could be read or written.
#[derive(Debug)]
pub enum Progress {
    /// It has to be waited for.
    Waiting,
    /// A whole request has come: its frame.
    Asked(Vec<u8>),
    /// The answer is sent.
    Over,
}

impl Connection {
    /// Begins with a connected socket at `now`.
    pub fn new(socket: Socket, peer: IpAddr, now: Instant) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let challenge = protocol::challenge().map_err(io::Error::other)?;
        Ok(Self {
            socket,
            peer,
            deadline: now + TIME,
            challenge,
            incoming: Vec::new(),
            outgoing: protocol::greeting(&challenge),
            asked: false,
        })
    }

    /// What has to happen before it can go on.
    pub fn interest(&self) -> PollFlags {
        if self.outgoing.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLOUT
        }
    }

    /// Sets the answer; [`Self::proceed`] sends it.
    pub fn answer(&mut self, bytes: Vec<u8>) {
        self.outgoing = bytes;
    }

    /// Goes on as far as it can.
    pub fn proceed(&mut self) -> Result<Progress, Failure> {
        if !self.flush()? {
            return Ok(Progress::Waiting);
        }
        if self.asked {
            return Ok(Progress::Over);
        }
        self.hear()
    }

    /// Sends what there is room for; whether all is gone.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.outgoing.is_empty() {
            match (&self.socket).write(&self.outgoing) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads until there is a request or nothing more to read.
    fn hear(&mut self) -> Result<Progress, Failure> {
        loop {
            let missing = protocol::frame_size(&self.incoming)? - self.incoming.len();
            if missing == 0 {
                self.asked = true;
                return Ok(Progress::Asked(std::mem::take(&mut self.incoming)));
            }
            let mut piece = [0; protocol::BODY_MAX];
            let wanted = missing.min(piece.len());
            match (&self.socket).read(&mut piece[..wanted]) {
                Ok(0) => return Err(Failure::Closed),
                Ok(length) => self.incoming.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
