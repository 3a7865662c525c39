//! One message in and some bytes out over a socket that never blocks: how hastctl and a
//! peer's handshake are talked to. Never reads a byte beyond a message, because the
//! connection may be handed on after it.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;

use socket2::Socket;

use crate::wire::frame::{Decoder, FrameError, Limits, Message};

/// Most bytes taken from a connection at once.
const PIECE: usize = 4096;

/// Why a conversation is over.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// The socket says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side closed within a message.
    #[error("the connection ended within a message")]
    CutShort,
    /// What came is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What there was to read.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not yet a whole message.
    Waiting,
    /// A message.
    Message(Message),
    /// The other side has closed, and nothing of a message had come.
    Closed,
}

/// A socket with a message half read and bytes half written.
#[derive(Debug)]
pub struct Conversation {
    socket: Socket,
    decoder: Decoder,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Conversation {
    /// Begins with a connected socket that does not block.
    pub const fn new(socket: Socket, limits: Limits) -> Self {
        Self {
            socket,
            decoder: Decoder::new(limits),
            outgoing: Vec::new(),
            sent: 0,
        }
    }

    /// The socket.
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Ends the conversation, keeping the connection.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Reads until there is a message or nothing more to read.
    pub fn hear(&mut self) -> Result<Heard, ConversationError> {
        let mut piece = [0; PIECE];
        loop {
            let wanted = self.decoder.needed().min(PIECE);
            match (&self.socket).read(&mut piece[..wanted]) {
                Ok(0) if self.decoder.is_amid() => return Err(ConversationError::CutShort),
                Ok(0) => return Ok(Heard::Closed),
                Ok(length) => {
                    if let (_, Some(message)) = self.decoder.feed(&piece[..length])? {
                        return Ok(Heard::Message(message));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the other side has closed, leaving what it may have sent in place.
    pub fn is_closed(&self) -> io::Result<bool> {
        match self.socket.peek(&mut [MaybeUninit::uninit(); 1]) {
            Ok(length) => Ok(length == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds bytes to be sent; [`Self::flush`] sends them.
    pub fn say(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Sends what there is room for; says whether all is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.outgoing.len() {
            match (&self.socket).write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(true)
    }
}
