//! Messages between nodes (spec, sections 2 and 3): framing, handshake, requests and replies,
//! compression and checksum, errno numbers. Everything here turns values into bytes and bytes
//! into values; it never touches a socket, a clock or a thread, and nothing that a peer sends makes
//! it panic or allocate beyond the limits given.

pub mod errno;
pub mod frame;
pub mod handshake;
pub mod lzf;
pub mod payload;
pub mod request;

/// The newest protocol version that we and base hastd speak.
pub const PROTOCOL_VERSION: u8 = 2;

/// The level of our own additions to version 2, offered in the handshake's `extension` entry,
/// which base hastd ignores. Level 1 adds records to the
/// handshake and the request [`request::RecordRequest`].
pub const EXTENSION_LEVEL: u8 = 1;

/// The longest read or write between nodes, in bytes: what base hastd accepts on 64-bit machines.
pub const MAX_REQUEST: usize = 1 << 20;
