//! A message on a socket, peer and control alike (spec, section 2): `u8 version`, `u32 size`,
//! `size` bytes of nv, then a payload where the nv's `size` entry says so.
//!
//! Decoders are fed whatever bytes came and never take any beyond the message, so that a
//! connection can be handed on between two messages. They hold at most what they were fed, and
//! refuse a message by its announced sizes before its bytes come.

use std::io::{self, Read};

use super::{MAX_REQUEST, PROTOCOL_VERSION};
use crate::nv::{Nv, NvError, NvView, NvWriter};

/// Bytes before the nv: version and size.
pub const HEADER_SIZE: usize = 5;

/// What a receiver is willing to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest nv, in bytes.
    pub nv: usize,
    /// Largest payload as sent, in bytes.
    pub payload: usize,
}

impl Limits {
    /// Between nodes: no message there has more than a dozen short entries, and no payload is
    /// longer than the longest request. (The handshake's map may be: see [`Self::with_payload`].)
    pub const PEER: Self = Self {
        nv: 64 << 10,
        payload: MAX_REQUEST,
    };
    /// The first message of a connection, before it is known who speaks: a resource's name and a few
    /// numbers. What a stranger can make us hold.
    pub const OPENING: Self = Self {
        nv: 4 << 10,
        payload: 0,
    };
    /// On the control socket: status is about 1 KiB a resource, so this serves thousands of
    /// them; nothing there has a payload.
    pub const CONTROL: Self = Self {
        nv: 4 << 20,
        payload: 0,
    };

    /// The same with another largest payload.
    #[must_use]
    pub const fn with_payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }
}

/// Why bytes are not a message that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A version newer than ours in the header.
    #[error("message of protocol version {found}; this program speaks {PROTOCOL_VERSION} at most")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The nv is longer than the limit.
    #[error("message of {size} bytes, more than the {limit} accepted here")]
    NvTooLarge {
        /// The size announced.
        size: usize,
        /// [`Limits::nv`].
        limit: usize,
    },
    /// The payload is longer than the limit.
    #[error("payload of {size} bytes, more than the {limit} accepted here")]
    PayloadTooLarge {
        /// The size announced.
        size: usize,
        /// [`Limits::payload`].
        limit: usize,
    },
    /// The nv is malformed.
    #[error(transparent)]
    Nv(#[from] NvError),
}

/// Why [`Message::read_from`] returned none.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection failed, or ended within a message.
    #[error("cannot receive: {0}")]
    Io(#[from] io::Error),
    /// What came is no message that we take.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Appends a message's header and nv to `out`. A payload, where the nv announces one, is sent
/// after it by the caller.
pub fn encode_head(out: &mut Vec<u8>, version: u8, write: impl FnOnce(&mut NvWriter<'_>)) {
    out.push(version);
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(&mut NvWriter::new(out));
    let size = u32::try_from(out.len() - size_at - 4).expect("an nv of 4 GiB is never built");
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

/// A whole message of an nv and the payload it announces; an empty one where it announces none.
pub fn encode(version: u8, nv: &Nv, payload: &[u8]) -> Vec<u8> {
    debug_assert_eq!(payload_size(nv.view()), payload.len(), "{nv}");
    let size = u32::try_from(nv.as_bytes().len()).expect("an nv of 4 GiB is never built");
    let mut out = Vec::with_capacity(HEADER_SIZE + nv.as_bytes().len() + payload.len());
    out.push(version);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(nv.as_bytes());
    out.extend_from_slice(payload);
    out
}

/// How long a payload the nv announces; zero for none.
pub fn payload_size(nv: NvView<'_>) -> usize {
    nv.u32("size").unwrap_or(0) as usize
}

/// A message without its payload, borrowed from its decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The version in the header; at most [`PROTOCOL_VERSION`].
    pub version: u8,
    /// The entries.
    pub nv: NvView<'a>,
    /// How many bytes of payload follow on the connection.
    pub payload_size: usize,
}

/// Takes heads off a stream, reusing one buffer; payloads are the caller's to read, straight to
/// where they belong. For the hot path: no allocation once the buffer has grown.
#[derive(Debug)]
pub struct HeadDecoder {
    limits: Limits,
    buffer: Vec<u8>,
}

impl HeadDecoder {
    /// A decoder at the beginning of a message.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
        }
    }

    /// How many bytes the decoder can take now for certain; zero once the head is complete.
    /// (Known in two steps: first the header, then the nv that it announces.)
    pub fn needed(&self) -> usize {
        match self.buffer.first_chunk::<HEADER_SIZE>() {
            None => HEADER_SIZE - self.buffer.len(),
            Some(header) => HEADER_SIZE + nv_size(*header) - self.buffer.len(),
        }
    }

    /// Whether some bytes of a message were taken: the connection must not end here.
    pub fn is_amid(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes what belongs to this head from the front of `input`; returns how many bytes.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, FrameError> {
        let mut taken = 0;
        if self.buffer.len() < HEADER_SIZE {
            taken += self.take(input);
            if let Some(header) = self.buffer.first_chunk() {
                self.check_header(*header)?;
            }
        }
        taken += self.take(&input[taken..]);
        Ok(taken)
    }

    /// The head, once [`Self::needed`] is zero. Call [`Self::reset`] before the next message.
    pub fn head(&self) -> Result<Option<Head<'_>>, FrameError> {
        if self.needed() > 0 {
            return Ok(None);
        }
        let nv = NvView::parse(&self.buffer[HEADER_SIZE..])?;
        let payload_size = payload_size(nv);
        if payload_size > self.limits.payload {
            let limit = self.limits.payload;
            return Err(FrameError::PayloadTooLarge {
                size: payload_size,
                limit,
            });
        }
        Ok(Some(Head {
            version: self.buffer[0],
            nv,
            payload_size,
        }))
    }

    /// Forgets the message, for the next one; keeps the buffer.
    pub fn reset(&mut self) {
        self.buffer.clear();
    }

    fn take(&mut self, input: &[u8]) -> usize {
        let taken = self.needed().min(input.len());
        self.buffer.extend_from_slice(&input[..taken]);
        taken
    }

    fn check_header(&self, header: [u8; HEADER_SIZE]) -> Result<(), FrameError> {
        let found = header[0];
        if found > PROTOCOL_VERSION {
            return Err(FrameError::Version { found });
        }
        let (size, limit) = (nv_size(header), self.limits.nv);
        if size > limit {
            return Err(FrameError::NvTooLarge { size, limit });
        }
        Ok(())
    }
}

fn nv_size(header: [u8; HEADER_SIZE]) -> usize {
    let [_, size @ ..] = header;
    u32::from_le_bytes(size) as usize
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The version in the header.
    pub version: u8,
    /// The entries.
    pub nv: Nv,
    /// The payload as sent: still compressed.
    pub payload: Vec<u8>,
}

impl Message {
    /// The message as it goes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.version, &self.nv, &self.payload)
    }

    /// Reads one message and not a byte more, blocking. For handshakes and control.
    pub fn read_from(reader: &mut impl Read, limits: Limits) -> Result<Self, ReadError> {
        let mut decoder = Decoder::new(limits);
        loop {
            let mut chunk = [0; 4096];
            let wanted = decoder.needed().min(chunk.len());
            reader
                .read_exact(&mut chunk[..wanted])
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        io::Error::new(error.kind(), "the other side closed the connection")
                    }
                    _ => error,
                })?;
            let (_, message) = decoder.feed(&chunk[..wanted])?;
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }
}

/// Takes whole messages off a stream: for handshakes and control, blocking or not.
#[derive(Debug)]
pub struct Decoder {
    head: HeadDecoder,
    /// Set once the head is complete; its `payload` is still growing to `payload_size`.
    message: Option<Message>,
    payload_size: usize,
}

impl Decoder {
    /// A decoder at the beginning of a message.
    pub const fn new(limits: Limits) -> Self {
        Self {
            head: HeadDecoder::new(limits),
            message: None,
            payload_size: 0,
        }
    }

    /// How many bytes the decoder can take now for certain; never zero.
    pub fn needed(&self) -> usize {
        match &self.message {
            None => self.head.needed(),
            Some(message) => self.payload_size - message.payload.len(),
        }
    }

    /// Whether some bytes of a message were taken: the connection must not end here.
    pub fn is_amid(&self) -> bool {
        self.head.is_amid() || self.message.is_some()
    }

    /// Takes what belongs to this message from the front of `input`; returns how many bytes, and
    /// the message if they completed it (feed the rest again then).
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), FrameError> {
        let mut taken = 0;
        if self.message.is_none() {
            taken = self.head.feed(input)?;
            let Some(head) = self.head.head()? else {
                return Ok((taken, None));
            };
            self.payload_size = head.payload_size;
            let (version, nv) = (head.version, head.nv.to_owned());
            self.message = Some(Message {
                version,
                nv,
                payload: Vec::new(),
            });
            self.head.reset();
        }
        if let Some(message) = &mut self.message {
            let rest = &input[taken..];
            let more = rest.len().min(self.payload_size - message.payload.len());
            message.payload.extend_from_slice(&rest[..more]);
            taken += more;
        }
        let complete = self
            .message
            .take_if(|message| message.payload.len() == self.payload_size);
        Ok((taken, complete))
    }
}

#[cfg(test)]
mod tests;
