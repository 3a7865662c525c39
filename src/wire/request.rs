//! Requests of the primary and replies of the secondary (spec, section 3).
//!
//! Made for tens of thousands a second: both are written straight into a buffer that the caller
//! reuses and read in one pass over the entries, without allocating.

use nix::errno::Errno;

use super::payload::{FieldScan, PayloadError, PayloadFields};
use super::{MAX_REQUEST, errno, frame};
use crate::layout::RecordError;
use crate::nv::{NvView, NvWriter, Value};

mod record;

use record::RecordScan;
pub use record::{CopyState, PointNote, RecordChange, RecordRequest};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PeerCommand {
    /// Read a range; the reply carries it.
    Read = 1,
    /// Write the payload to a range.
    Write = 2,
    /// Forget what a range holds.
    Delete = 3,
    /// Make everything acknowledged so far durable.
    Flush = 4,
    /// Nothing: says that the primary is alive. Never answered.
    Keepalive = 5,
    /// Ours, see [`RecordRequest`]; only between nodes that both offered extension level 1.
    Record = 6,
}

impl PeerCommand {
    /// The command of a number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            3 => Some(Self::Delete),
            4 => Some(Self::Flush),
            5 => Some(Self::Keepalive),
            6 => Some(Self::Record),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The word for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Flush => "flush",
            Self::Keepalive => "keepalive",
            Self::Record => "record",
        }
    }
}

/// Why a request or reply can not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such command.
    #[error("request with unknown command {0}")]
    UnknownCommand(u8),
    /// An entry that must be there is not.
    #[error("{what} without '{field}'")]
    Missing {
        /// What kind of message.
        what: &'static str,
        /// The entry's name.
        field: &'static str,
    },
    /// No such change of a record.
    #[error("record request of unknown kind {0}")]
    UnknownKind(u8),
    /// No such state of a copy.
    #[error("record request with unknown state {0} of the copy")]
    UnknownCopy(u8),
    /// A counter that no node reaches.
    #[error("record request with the {field} {value}, which is damaged or forged")]
    Counter {
        /// The entry's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A point or a history that cannot be.
    #[error("record request with {0}")]
    Record(#[from] RecordError),
    /// A range of no bytes.
    #[error("{} of no bytes at offset {offset}", command.word())]
    Empty {
        /// The request's command.
        command: PeerCommand,
        /// Its offset.
        offset: u64,
    },
    /// A read or write longer than [`MAX_REQUEST`].
    #[error("{} of {length} bytes, more than the {MAX_REQUEST} a request may have", command.word())]
    TooLong {
        /// The request's command.
        command: PeerCommand,
        /// Its length.
        length: u64,
    },
    /// Not on sector boundaries.
    #[error("{} of {length} bytes at offset {offset} is not on sectors of {sectorsize} bytes",
        command.word())]
    Unaligned {
        /// The request's command.
        command: PeerCommand,
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
        /// The sector size.
        sectorsize: u32,
    },
    /// Beyond the end of the data.
    #[error("{} of {length} bytes at offset {offset} ends beyond the {datasize} bytes of data",
        command.word())]
    BeyondEnd {
        /// The request's command.
        command: PeerCommand,
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
        /// Size of the data.
        datasize: u64,
    },
    /// A write without data, or data where none belongs.
    #[error("{} with a payload of {size} bytes", command.word())]
    UnexpectedPayload {
        /// The request's command.
        command: PeerCommand,
        /// The payload's size as sent.
        size: u32,
    },
    /// What it says about its payload makes no sense.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl RequestError {
    /// What to answer the peer.
    pub const fn errno(&self) -> Errno {
        Errno::EINVAL
    }
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRequest {
    /// What is asked for; not [`PeerCommand::Record`].
    pub command: PeerCommand,
    /// Pairs the replies with the request; not 0 (which base hastd takes for none). Not sent
    /// with a keepalive.
    pub seq: u64,
    /// Where, in bytes from the beginning of the data; 0 for a flush.
    pub offset: u64,
    /// How much, in bytes; 0 for a flush.
    pub length: u64,
    /// A write to be acknowledged twice: in memory, and on disk.
    pub memsync: bool,
}

impl PeerRequest {
    /// A keepalive.
    pub const KEEPALIVE: Self = Self {
        command: PeerCommand::Keepalive,
        seq: 0,
        offset: 0,
        length: 0,
        memsync: false,
    };

    /// Appends the whole message but for the payload, which `payload` describes.
    pub fn encode_into(&self, out: &mut Vec<u8>, version: u8, payload: &PayloadFields) {
        frame::encode_head(out, version, |nv| self.write(nv, payload));
    }

    /// Appends the entries.
    pub fn write(&self, nv: &mut NvWriter<'_>, payload: &PayloadFields) {
        nv.u8("cmd", self.command.number());
        if self.command == PeerCommand::Keepalive {
            return;
        }
        nv.u64("seq", self.seq)
            .u64("offset", self.offset)
            .u64("length", self.length);
        if self.memsync {
            nv.u8("memsync", 1);
        }
        payload.write(nv);
    }

    /// Checks a received request against the component that it is for; `payload` as received
    /// with it. Sizes in bytes.
    pub fn check(
        &self,
        payload: &PayloadFields,
        datasize: u64,
        sectorsize: u32,
    ) -> Result<(), RequestError> {
        let Self {
            command,
            offset,
            length,
            ..
        } = *self;
        if (command == PeerCommand::Write) != (payload.size > 0) {
            return Err(RequestError::UnexpectedPayload {
                command,
                size: payload.size,
            });
        }
        match command {
            PeerCommand::Flush | PeerCommand::Keepalive | PeerCommand::Record => return Ok(()),
            PeerCommand::Read | PeerCommand::Write if length > MAX_REQUEST as u64 => {
                return Err(RequestError::TooLong { command, length });
            }
            PeerCommand::Read | PeerCommand::Write | PeerCommand::Delete => {}
        }
        if length == 0 {
            return Err(RequestError::Empty { command, offset });
        }
        let sector = u64::from(sectorsize);
        if !offset.is_multiple_of(sector) || !length.is_multiple_of(sector) {
            return Err(RequestError::Unaligned {
                command,
                offset,
                length,
                sectorsize,
            });
        }
        if offset.checked_add(length).is_none_or(|end| end > datasize) {
            return Err(RequestError::BeyondEnd {
                command,
                offset,
                length,
                datasize,
            });
        }
        Ok(())
    }
}

/// What a secondary receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A request of version 2, with its payload's fields.
    Request(PeerRequest, PayloadFields),
    /// A request of our extension.
    Record(RecordRequest),
}

impl Incoming {
    /// Reads a request's entries, in one pass, and without allocating but for our own. Ranges are not checked: see
    /// [`PeerRequest::check`]. After an error the payload, if any, is still on the connection.
    pub fn decode(nv: NvView<'_>) -> Result<Self, RequestError> {
        let mut scan = RequestScan::default();
        for entry in nv.into_entries() {
            match (entry.name, entry.value) {
                (b"cmd", Value::U8(value)) => put(&mut scan.command, value),
                (b"seq", Value::U64(value)) => put(&mut scan.seq, value),
                (b"offset", Value::U64(value)) => put(&mut scan.offset, value),
                (b"length", Value::U64(value)) => put(&mut scan.length, value),
                (b"memsync", _) => scan.memsync = true,
                (b"kind", Value::U8(value)) => put(&mut scan.record.kind, value),
                (b"generation", Value::U64(value)) => put(&mut scan.record.generation, value),
                (b"number", Value::U64(value)) => put(&mut scan.record.number, value),
                (b"copy", Value::U8(value)) => put(&mut scan.record.copy, value),
                (b"leads", Value::U8(value)) => put(&mut scan.record.leads, value),
                (b"past", Value::Bytes(value)) => put(&mut scan.record.past, value),
                (b"failures", Value::U64(value)) => put(&mut scan.record.failures, value),
                (b"localcnt", Value::U64(value)) => put(&mut scan.record.localcnt, value),
                (b"remotecnt", Value::U64(value)) => put(&mut scan.record.remotecnt, value),
                _ => scan.payload.take(entry),
            }
        }
        scan.finish()
    }
}

/// Keeps the first of several entries of one name and type.
fn put<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

#[derive(Default)]
struct RequestScan<'a> {
    command: Option<u8>,
    seq: Option<u64>,
    offset: Option<u64>,
    length: Option<u64>,
    memsync: bool,
    record: RecordScan<'a>,
    payload: FieldScan<'a>,
}

impl RequestScan<'_> {
    fn finish(self) -> Result<Incoming, RequestError> {
        let number = required(self.command, "request", "cmd")?;
        let command =
            PeerCommand::from_number(number).ok_or(RequestError::UnknownCommand(number))?;
        let what = command.word();
        let mut request = PeerRequest {
            command,
            ..PeerRequest::KEEPALIVE
        };
        if command != PeerCommand::Keepalive {
            request.seq = required(self.seq, what, "seq")?;
        }
        match command {
            PeerCommand::Keepalive | PeerCommand::Flush => {}
            PeerCommand::Read | PeerCommand::Write | PeerCommand::Delete => {
                request.offset = required(self.offset, what, "offset")?;
                request.length = required(self.length, what, "length")?;
                request.memsync = command == PeerCommand::Write && self.memsync;
            }
            PeerCommand::Record => return self.record.finish(request.seq).map(Incoming::Record),
        }
        Ok(Incoming::Request(request, self.payload.finish()?))
    }
}

fn required<T>(
    value: Option<T>,
    what: &'static str,
    field: &'static str,
) -> Result<T, RequestError> {
    value.ok_or(RequestError::Missing { what, field })
}

/// A reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerReply {
    /// The request's.
    pub seq: u64,
    /// The early acknowledgement of a memsync write: its data is in the secondary's memory.
    /// The ordinary reply follows.
    pub received: bool,
    /// Why the request failed.
    pub error: Option<Errno>,
}

impl PeerReply {
    /// Appends the whole message but for the payload, which `payload` describes.
    pub fn encode_into(&self, out: &mut Vec<u8>, version: u8, payload: &PayloadFields) {
        frame::encode_head(out, version, |nv| self.write(nv, payload));
    }

    /// Appends the entries.
    pub fn write(&self, nv: &mut NvWriter<'_>, payload: &PayloadFields) {
        nv.u64("seq", self.seq);
        if self.received {
            nv.i8("received", 1);
        }
        if let Some(error) = self.error {
            nv.i16("error", errno::to_wire(error));
        }
        payload.write(nv);
    }

    /// Reads a reply's entries, in one pass and without allocating.
    pub fn decode(nv: NvView<'_>) -> Result<(Self, PayloadFields), RequestError> {
        let (mut seq, mut error, mut received) = (None, None, false);
        let mut payload = FieldScan::default();
        for entry in nv.into_entries() {
            match (entry.name, entry.value) {
                (b"seq", Value::U64(value)) => put(&mut seq, value),
                (b"error", Value::I16(value)) => put(&mut error, value),
                (b"received", _) => received = true,
                _ => payload.take(entry),
            }
        }
        let seq = required(seq, "reply", "seq")?;
        let error = error.filter(|number| *number != 0).map(errno::from_wire);
        Ok((
            Self {
                seq,
                received,
                error,
            },
            payload.finish()?,
        ))
    }
}

#[cfg(test)]
mod tests;
