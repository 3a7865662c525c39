//! A worker's end of the socket to hastd's main process.
//!
//! Never interprets what is said. Invariant: messages leave whole and in one piece each, from
//! whichever thread they come.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::channel::{ChannelError, FromWorker, LIMITS, ToWorker};
use super::lock;
use crate::passing;
use crate::wire::frame::{Decoder, FrameError};

/// Why the link can not be used any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The main process is gone, or closed the link.
    #[error("hastd's main process is gone")]
    Closed,
    /// The socket failed.
    #[error("cannot talk to hastd's main process: {0}")]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error("hastd's main process: {0}")]
    Frame(#[from] FrameError),
    /// What came is a message of another version.
    #[error("{0}; restart hastd, so that it and its workers are of one version")]
    Message(#[from] ChannelError),
}

/// A message and the descriptors that came with it.
pub type Received = (ToWorker, Vec<OwnedFd>);

/// The worker's end.
#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
    /// Held while a message is written.
    writing: Mutex<()>,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    decoder: Decoder,
    /// Received, not decoded yet.
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Link {
    /// The link over a connected socket.
    pub fn new(socket: UnixStream) -> Self {
        let reading = Reading {
            decoder: Decoder::new(LIMITS),
            bytes: Vec::new(),
            descriptors: VecDeque::new(),
        };
        Self {
            socket,
            writing: Mutex::new(()),
            reading: Mutex::new(reading),
        }
    }

    /// Says something. A main process that is gone is noticed by whoever receives.
    pub fn send(&self, message: &FromWorker) {
        let _writing = lock(&self.writing);
        if let Err(error) = (&self.socket).write_all(&message.encode()) {
            log::debug!("cannot talk to hastd's main process: {error}");
        }
    }

    /// The next message; `None` if there is none by `deadline`.
    pub fn receive(&self, deadline: Option<Instant>) -> Result<Option<Received>, LinkError> {
        let mut reading = lock(&self.reading);
        loop {
            if let Some(message) = reading.next()? {
                return Ok(Some(message));
            }
            let wait = match deadline {
                None => None,
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    None => return Ok(None),
                    // A timeout of zero would be none at all.
                    Some(wait) => Some(wait.max(Duration::from_millis(1))),
                },
            };
            self.socket.set_read_timeout(wait)?;
            let mut chunk = [0; 4096];
            match passing::receive(&self.socket, &mut chunk) {
                Ok(received) if received.length == 0 => return Err(LinkError::Closed),
                Ok(received) => {
                    reading.bytes.extend_from_slice(&chunk[..received.length]);
                    reading.descriptors.extend(received.descriptors);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Wakes whoever receives: from here on it finds the link closed.
    pub fn hang_up(&self) {
        // Fails only where the other end is gone, and then nobody waits.
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

impl Reading {
    fn next(&mut self) -> Result<Option<Received>, LinkError> {
        let (taken, message) = self.decoder.feed(&self.bytes)?;
        self.bytes.drain(..taken);
        let Some(message) = message else {
            return Ok(None);
        };
        let message = ToWorker::decode(message.nv.view())?;
        let count = message.descriptors();
        if self.descriptors.len() < count {
            return Err(LinkError::Message(ChannelError::Field {
                kind: format!("{message:?}"),
                field: "descriptor",
            }));
        }
        let descriptors = self.descriptors.drain(..count).collect();
        Ok(Some((message, descriptors)))
    }
}
