//! Receiving from the peer: many small messages out of one system call; a large payload's rest goes
//! straight into the buffer that it is meant for.
//!
//! Never allocates for a payload, and takes no message over the limits of
//! [`Limits::PEER`](crate::wire::frame::Limits::PEER).

use std::io::{self, IoSliceMut, Read};
use std::sync::Arc;

use socket2::Socket;

use crate::wire::frame::{FrameError, Head, HeadDecoder, Limits};
use crate::wire::payload::{self, PayloadError, PayloadFields};

/// Bytes read ahead at most: some dozens of 4 KiB writes.
const READ_AHEAD: usize = 256 << 10;

/// Why nothing more comes from this connection.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The peer closed it between two messages.
    #[error("the other node closed it")]
    Closed,
    /// The peer closed it in the middle of a message.
    #[error("the other node closed it in the middle of a message")]
    Truncated,
    /// The socket's receive timeout passed.
    #[error("nothing was heard from the other node for too long")]
    Silent,
    /// The socket failed.
    #[error("receiving failed: {0}")]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error("the other node sent nonsense: {0}")]
    Frame(#[from] FrameError),
    /// What came as a payload is none.
    #[error("the other node sent a bad payload: {0}")]
    Payload(#[from] PayloadError),
}

/// The receiving end of a connection.
#[derive(Debug)]
pub struct Inbox {
    socket: Arc<Socket>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    decoder: HeadDecoder,
    /// Compressed payloads, before they are unpacked.
    packed: Vec<u8>,
}

impl Inbox {
    /// Receives from a socket that blocks, from the beginning of a message.
    pub fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            buffer: vec![0; READ_AHEAD].into_boxed_slice(),
            start: 0,
            end: 0,
            decoder: HeadDecoder::new(Limits::PEER),
            packed: Vec::new(),
        }
    }

    /// Whether more has come already: the next message is, in part at least, here.
    pub fn has_more(&self) -> bool {
        self.start < self.end
    }

    /// The head of the next message; waits for it. Its payload is the next thing to be taken.
    pub fn head(&mut self) -> Result<Head<'_>, InboxError> {
        self.decoder.reset();
        while self.decoder.needed() > 0 {
            if self.start == self.end {
                self.start = 0;
                self.end = 0;
                self.end = match receive(&self.socket, &mut [IoSliceMut::new(&mut self.buffer)])? {
                    0 if self.decoder.is_amid() => return Err(InboxError::Truncated),
                    0 => return Err(InboxError::Closed),
                    received => received,
                };
            }
            self.start += self.decoder.feed(&self.buffer[self.start..self.end])?;
        }
        // Asked for nothing more, so the head is whole.
        self.decoder.head()?.ok_or(InboxError::Truncated)
    }

    /// Takes a payload, checks it and unpacks it into `out`, which it has to fill.
    pub fn payload(&mut self, fields: &PayloadFields, out: &mut [u8]) -> Result<(), InboxError> {
        if fields.compression == crate::terms::Compression::None
            && fields.size as usize == out.len()
        {
            self.fill(out)?;
            return Ok(payload::verify(fields, out)?);
        }
        let mut packed = std::mem::take(&mut self.packed);
        packed.resize(fields.size as usize, 0);
        let filled = self.fill(&mut packed);
        let unpacked = payload::unpack_to(fields, &packed, out);
        self.packed = packed;
        filled?;
        Ok(unpacked?)
    }

    /// Takes a payload that is a hole of `length` bytes, and checks that it is.
    pub fn hole(&mut self, fields: &PayloadFields, length: usize) -> Result<(), InboxError> {
        // As sent a hole is its length, four bytes.
        let mut sent = [0; size_of::<u32>()];
        let expected = sent.len();
        let Some(sent) = sent.get_mut(..fields.size as usize) else {
            let found = fields.size as usize;
            return Err(PayloadError::Size {
                found,
                announced: expected,
            }
            .into());
        };
        self.fill(sent)?;
        match payload::unpack(fields, sent, length)?.len() {
            found if found == length => Ok(()),
            found => Err(PayloadError::WrongLength {
                length: found,
                expected: length,
            }
            .into()),
        }
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), InboxError> {
        let mut filled = out.len().min(self.end - self.start);
        out[..filled].copy_from_slice(&self.buffer[self.start..self.start + filled]);
        self.start += filled;
        while filled < out.len() {
            let missing = out.len() - filled;
            let mut parts = [
                IoSliceMut::new(&mut out[filled..]),
                IoSliceMut::new(&mut self.buffer),
            ];
            let received = receive(&self.socket, &mut parts)?;
            if received == 0 {
                return Err(InboxError::Truncated);
            }
            filled += received.min(missing);
            self.start = 0;
            self.end = received.saturating_sub(missing);
        }
        Ok(())
    }
}

fn receive(socket: &Socket, parts: &mut [IoSliceMut<'_>]) -> Result<usize, InboxError> {
    let mut socket = socket;
    loop {
        match socket.read_vectored(parts) {
            Ok(received) => return Ok(received),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return Err(InboxError::Silent);
                }
                io::ErrorKind::ConnectionReset => return Err(InboxError::Truncated),
                _ => return Err(error.into()),
            },
        }
    }
}
