//! The NBD protocol's numbers and fixed layouts (doc/proto.md of the NetworkBlockDevice/nbd
//! project). All integers are big-endian. No sockets.

use nix::errno::Errno;

/// The port IANA gave to NBD.
pub const PORT: u16 = 10809;

/// The server's first eight bytes.
pub const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943; // "NBDMAGIC"
/// Before the server's handshake flags and before each option.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054; // "IHAVEOPT"
/// Before each option reply.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before each request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before each simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Before each chunk of a structured reply.
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags, the same bits from either side.
pub const FLAG_FIXED_NEWSTYLE: u16 = 1;
/// No 124 zero bytes after the answer to `EXPORT_NAME`.
pub const FLAG_NO_ZEROES: u16 = 2;

/// Options of the handshake.
pub mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
}

/// Types of option replies.
pub mod option_reply {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const ERR_UNSUP: u32 = (1 << 31) + 1;
    pub const ERR_POLICY: u32 = (1 << 31) + 2;
    pub const ERR_INVALID: u32 = (1 << 31) + 3;
    pub const ERR_UNKNOWN: u32 = (1 << 31) + 6;
}

/// Types of information in `INFO` replies.
pub mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags: what the export can do.
pub mod export_flag {
    pub const HAS_FLAGS: u16 = 1;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// What our server offers. Several connections are safe because one engine orders the
    /// requests of all, and a flush on one covers what was acknowledged on another.
    pub const OFFERED: u16 =
        HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | CAN_MULTI_CONN;
}

/// Commands of the transmission phase.
pub mod command {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const WRITE_ZEROES: u16 = 6;
    /// Flag: answer when it is on stable storage.
    pub const FLAG_FUA: u16 = 1;
    /// Flag of `WRITE_ZEROES`: keep the space allocated. A wish; zeros are zeros.
    pub const FLAG_NO_HOLE: u16 = 2;
}

const CHUNK_FLAG_DONE: u16 = 1;
const CHUNK_OFFSET_DATA: u16 = 1;
const CHUNK_ERROR: u16 = (1 << 15) + 1;

/// The largest request accepted, in bytes: what every client may assume (proto.md, "Block
/// size constraints").
pub const MAX_CLIENT_REQUEST: u32 = 32 << 20;
/// The longest export name, in bytes (proto.md, "Values").
pub const MAX_NAME: usize = 4096;
/// The longest option accepted, in bytes: a name and some list of numbers or queries.
pub const MAX_OPTION: usize = 2 * MAX_NAME;

/// The bytes of a request on the wire, without its payload.
pub const REQUEST_LENGTH: usize = 28;
/// The bytes of a simple reply, without its payload.
pub const SIMPLE_REPLY_LENGTH: usize = 16;

/// `N` bytes of `bytes` at `at`; the callers' layouts are fixed.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// A request's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// [`command`] flags.
    pub flags: u16,
    /// One of [`command`].
    pub command: u16,
    /// The client's number for it.
    pub cookie: u64,
    /// In bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u32,
}

impl RequestHeader {
    /// The header, or the bytes found in place of its magic.
    pub fn decode(bytes: &[u8; REQUEST_LENGTH]) -> Result<Self, u32> {
        let magic = u32::from_be_bytes(array(bytes, 0));
        if magic != REQUEST_MAGIC {
            return Err(magic);
        }
        Ok(Self {
            flags: u16::from_be_bytes(array(bytes, 4)),
            command: u16::from_be_bytes(array(bytes, 6)),
            cookie: u64::from_be_bytes(array(bytes, 8)),
            offset: u64::from_be_bytes(array(bytes, 16)),
            length: u32::from_be_bytes(array(bytes, 24)),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; REQUEST_LENGTH] {
        let mut bytes = [0; REQUEST_LENGTH];
        bytes[0..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.command.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}

/// The bytes before a reply's data, of one of the three kinds we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl ReplyHeader {
    const LONGEST: usize = 28;

    /// A simple reply: the error (0 for none), then a successful read's data.
    pub fn simple(cookie: u64, error: u32) -> Self {
        let mut bytes = [0; Self::LONGEST];
        bytes[0..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
        bytes[4..8].copy_from_slice(&error.to_be_bytes());
        bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
        Self { bytes, length: 16 }
    }

    /// A chunk with `length` bytes read at `offset`, which follow.
    pub fn data_chunk(cookie: u64, offset: u64, length: u32, done: bool) -> Self {
        let flags = if done { CHUNK_FLAG_DONE } else { 0 };
        let mut header = Self::chunk(cookie, flags, CHUNK_OFFSET_DATA, length + 8);
        header.bytes[20..28].copy_from_slice(&offset.to_be_bytes());
        header.length = 28;
        header
    }

    /// The last chunk of a failed read, without a text.
    pub fn error_chunk(cookie: u64, error: u32) -> Self {
        let mut header = Self::chunk(cookie, CHUNK_FLAG_DONE, CHUNK_ERROR, 6);
        header.bytes[20..24].copy_from_slice(&error.to_be_bytes());
        header.length = 26;
        header
    }

    fn chunk(cookie: u64, flags: u16, kind: u16, length: u32) -> Self {
        let mut bytes = [0; Self::LONGEST];
        bytes[0..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&kind.to_be_bytes());
        bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
        bytes[16..20].copy_from_slice(&length.to_be_bytes());
        Self { bytes, length: 20 }
    }

    /// The bytes to send.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Our errors beside the protocol's numbers, which are Linux's whatever the system.
const ERRORS: [(Errno, u32); 8] = [
    (Errno::EPERM, 1),
    (Errno::EIO, 5),
    (Errno::ENOMEM, 12),
    (Errno::EINVAL, 22),
    (Errno::ENOSPC, 28),
    (Errno::EOVERFLOW, 75),
    (Errno::EOPNOTSUPP, 95),
    (Errno::ESHUTDOWN, 108),
];

/// The protocol's number of an error; what it has no number for is an EIO.
pub fn error_number(errno: Errno) -> u32 {
    ERRORS
        .iter()
        .find(|(ours, _)| *ours == errno)
        .map_or(5, |(_, number)| *number)
}

/// The error of a protocol number (0 is none); an unknown one is an EINVAL, as proto.md asks.
pub fn error_of_number(number: u32) -> Result<(), Errno> {
    if number == 0 {
        return Ok(());
    }
    Err(ERRORS
        .iter()
        .find(|(_, n)| *n == number)
        .map_or(Errno::EINVAL, |(ours, _)| *ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_header_reads_back() {
        let header = RequestHeader {
            flags: 1,
            command: 6,
            cookie: 7 << 40,
            offset: 9 << 33,
            length: 512,
        };
        let mut bytes = header.encode();
        assert_eq!(RequestHeader::decode(&bytes), Ok(header));
        bytes[0] = 0;
        assert_eq!(RequestHeader::decode(&bytes), Err(0x0060_9513));
    }

    #[test]
    fn errors_have_the_protocols_numbers() {
        for (errno, number) in ERRORS {
            assert_eq!(error_number(errno), number);
            assert_eq!(error_of_number(number), Err(errno));
        }
        assert_eq!(error_number(Errno::ENXIO), 5);
        assert_eq!(error_of_number(0), Ok(()));
        assert_eq!(error_of_number(9999), Err(Errno::EINVAL));
    }

    #[test]
    fn chunks_say_how_long_they_are() {
        let chunk = ReplyHeader::data_chunk(3, 4096, 512, true);
        assert_eq!(chunk.as_slice().len(), 28);
        assert_eq!(chunk.as_slice()[4..8], [0, 1, 0, 1]);
        assert_eq!(chunk.as_slice()[16..20], 520u32.to_be_bytes());
        let chunk = ReplyHeader::error_chunk(3, 28);
        assert_eq!(chunk.as_slice().len(), 26);
        assert_eq!(chunk.as_slice()[16..20], 6u32.to_be_bytes());
        assert_eq!(chunk.as_slice()[24..26], [0, 0]);
    }
}
