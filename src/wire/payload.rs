//! The payload pipeline (spec, section 2): compression, then checksum; the receiver undoes them in
//! reverse. A receiver takes any compression and checksum whatever its own configuration, and never
//! allocates more than the caller allows.

use std::borrow::Cow;
use std::cell::RefCell;

use sha2::{Digest, Sha256};

use super::lzf::{self, LzfError};
use crate::nv::{Entry, NvView, NvWriter, Value};
use crate::terms::{Checksum, Compression};

/// Compressed payloads begin with their original length, a u32.
const LENGTH_SIZE: usize = 4;
/// LZF is tried for payloads above this, and used where it saves at least this. (Base hastd
/// aborts on a smaller one.)
const LZF_MIN: usize = 1024;

/// Why a payload can not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A compression that we do not know.
    #[error("payload with unknown compression '{0}'")]
    UnknownCompression(String),
    /// A checksum that we do not know.
    #[error("payload with unknown checksum '{0}'")]
    UnknownChecksum(String),
    /// No `hash` entry, or one of another length than its checksum's.
    #[error("payload with a {0} checksum but no hash of its length")]
    BadHash(Checksum),
    /// The data is not what was sent.
    #[error("payload damaged on its way: its {0} checksum does not match")]
    Mismatch(Checksum),
    /// Other than the entry `size` says; a bug of the caller's.
    #[error("payload of {found} bytes where its message says {announced}")]
    Size {
        /// Length of the bytes at hand.
        found: usize,
        /// The message's `size`.
        announced: usize,
    },
    /// The original length is missing, or follows nothing.
    #[error("compressed payload of {0} bytes, which cannot be")]
    Malformed(usize),
    /// The original is longer than allowed here.
    #[error("payload of {length} bytes before compression, more than the {limit} accepted here")]
    TooLarge {
        /// The original length claimed.
        length: usize,
        /// What the caller allows.
        limit: usize,
    },
    /// The original has not the length that the request has.
    #[error("payload of {length} bytes before compression where {expected} are expected")]
    WrongLength {
        /// The original length claimed.
        length: usize,
        /// The length of the request.
        expected: usize,
    },
    /// The compressed block is malformed.
    #[error("cannot decompress a payload: {0}")]
    Lzf(#[from] LzfError),
}

/// A payload's checksum as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// None was made.
    None,
    /// zlib's CRC-32, little-endian.
    Crc32([u8; 4]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Hash {
    fn of(bytes: &[u8], checksum: Checksum) -> Self {
        match checksum {
            Checksum::None => Self::None,
            Checksum::Crc32 => Self::Crc32(crc32fast::hash(bytes).to_le_bytes()),
            Checksum::Sha256 => Self::Sha256(Sha256::digest(bytes).into()),
        }
    }

    /// How it was made.
    pub const fn checksum(&self) -> Checksum {
        match self {
            Self::None => Checksum::None,
            Self::Crc32(_) => Checksum::Crc32,
            Self::Sha256(_) => Checksum::Sha256,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Crc32(hash) => hash,
            Self::Sha256(hash) => hash,
        }
    }
}

/// What a message says about its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadFields {
    /// How it was really compressed.
    pub compression: Compression,
    /// Its checksum, over the bytes as sent.
    pub hash: Hash,
    /// Its length as sent, in bytes; 0: there is no payload.
    pub size: u32,
}

impl PayloadFields {
    /// Of a message without a payload.
    pub const NONE: Self = Self {
        compression: Compression::None,
        hash: Hash::None,
        size: 0,
    };

    /// The fields of a message; [`Self::NONE`] where it has no payload.
    pub fn from_nv(nv: NvView<'_>) -> Result<Self, PayloadError> {
        let mut scan = FieldScan::default();
        nv.into_entries().for_each(|entry| scan.take(entry));
        scan.finish()
    }

    /// Appends the fields, after the message's own; nothing where there is no payload.
    pub fn write(&self, nv: &mut NvWriter<'_>) {
        if self.size == 0 {
            return;
        }
        if self.compression != Compression::None {
            nv.str("compression", self.compression.word());
        }
        if self.hash != Hash::None {
            nv.str("checksum", self.hash.checksum().word());
            nv.bytes("hash", self.hash.bytes());
        }
        nv.u32("size", self.size);
    }
}

/// Collects a payload's fields while a message's entries are gone through once.
#[derive(Debug, Default)]
pub(super) struct FieldScan<'a> {
    compression: Option<&'a [u8]>,
    checksum: Option<&'a [u8]>,
    hash: Option<&'a [u8]>,
    size: Option<u32>,
}

impl<'a> FieldScan<'a> {
    /// Takes an entry, if it is one of a payload's: the first of each name and type.
    pub(super) fn take(&mut self, entry: Entry<'a>) {
        match (entry.name, entry.value) {
            (b"size", Value::U32(size)) => {
                self.size.get_or_insert(size);
            }
            (b"compression", Value::Str(word)) => {
                self.compression.get_or_insert(word);
            }
            (b"checksum", Value::Str(word)) => {
                self.checksum.get_or_insert(word);
            }
            (b"hash", Value::Bytes(hash)) => {
                self.hash.get_or_insert(hash);
            }
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Result<PayloadFields, PayloadError> {
        let size = self.size.unwrap_or(0);
        if size == 0 {
            return Ok(PayloadFields::NONE);
        }
        let lossy = |word| String::from_utf8_lossy(word).into_owned();
        let compression = match self.compression {
            None => Compression::None,
            Some(b"hole") => Compression::Hole,
            Some(b"lzf") => Compression::Lzf,
            Some(word) => return Err(PayloadError::UnknownCompression(lossy(word))),
        };
        let found = self.hash.unwrap_or_default();
        let hash = match self.checksum {
            None => Hash::None,
            Some(b"crc32") => Hash::Crc32(exact(found, Checksum::Crc32)?),
            Some(b"sha256") => Hash::Sha256(exact(found, Checksum::Sha256)?),
            Some(word) => return Err(PayloadError::UnknownChecksum(lossy(word))),
        };
        Ok(PayloadFields {
            compression,
            hash,
            size,
        })
    }
}

fn exact<const N: usize>(hash: &[u8], checksum: Checksum) -> Result<[u8; N], PayloadError> {
    hash.try_into().map_err(|_| PayloadError::BadHash(checksum))
}

/// A payload ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed<'a> {
    /// What its message says about it.
    pub fields: PayloadFields,
    /// The bytes as sent: the data itself where it was not compressed.
    pub bytes: Cow<'a, [u8]>,
}

/// Compresses data as far as `compression` allows and pays, and makes the checksum.
pub fn pack(data: &[u8], compression: Compression, checksum: Checksum) -> Packed<'_> {
    if compression != Compression::None && is_zero(data) {
        return pack_zeroes(length_of(data), checksum);
    }
    let compressed = match compression {
        Compression::Lzf => lzf_compress(data),
        Compression::None | Compression::Hole => None,
    };
    match compressed {
        Some(bytes) => seal(Cow::Owned(bytes), Compression::Lzf, checksum),
        None => seal(Cow::Borrowed(data), Compression::None, checksum),
    }
}

/// A payload of `length` zeros, as a hole whatever the configuration says: every receiver takes one.
pub fn pack_zeroes(length: u32, checksum: Checksum) -> Packed<'static> {
    if length == 0 {
        return seal(Cow::Borrowed(&[]), Compression::None, checksum);
    }
    seal(
        Cow::Owned(length.to_le_bytes().to_vec()),
        Compression::Hole,
        checksum,
    )
}

fn seal(bytes: Cow<'_, [u8]>, compression: Compression, checksum: Checksum) -> Packed<'_> {
    let size = length_of(&bytes);
    if size == 0 {
        return Packed {
            fields: PayloadFields::NONE,
            bytes,
        };
    }
    let hash = Hash::of(&bytes, checksum);
    Packed {
        fields: PayloadFields {
            compression,
            hash,
            size,
        },
        bytes,
    }
}

fn length_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).expect("payloads are bounded far below 4 GiB")
}

/// Whether every byte is zero. Reads no further than the first block that has another.
pub fn is_zero(data: &[u8]) -> bool {
    data.chunks(256)
        .all(|block| block.iter().fold(0, |bits, byte| bits | byte) == 0)
}

fn lzf_compress(data: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        /// A quarter of a MiB, worth keeping from one payload to the next.
        static COMPRESSOR: RefCell<lzf::Compressor> = RefCell::default();
    }
    if data.len() <= LZF_MIN {
        return None;
    }
    let limit = data.len() - LZF_MIN;
    let mut out = Vec::with_capacity(LENGTH_SIZE + limit);
    out.extend_from_slice(&length_of(data).to_le_bytes());
    let fits = COMPRESSOR.with_borrow_mut(|lzf| lzf.compress(data, limit, &mut out));
    fits.then_some(out)
}

/// A payload as it was before it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacked<'a> {
    /// The data; borrowed where it was not compressed.
    Data(Cow<'a, [u8]>),
    /// So many zeros.
    Zeroes(usize),
}

impl Unpacked<'_> {
    /// Length of the original, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Zeroes(length) => *length,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks and decompresses a payload whose original is at most `max` bytes long.
pub fn unpack<'a>(
    fields: &PayloadFields,
    sent: &'a [u8],
    max: usize,
) -> Result<Unpacked<'a>, PayloadError> {
    verify(fields, sent)?;
    let (length, block) = original(fields, sent)?;
    if length > max {
        return Err(PayloadError::TooLarge { length, limit: max });
    }
    match fields.compression {
        Compression::None => Ok(Unpacked::Data(Cow::Borrowed(sent))),
        Compression::Hole => Ok(Unpacked::Zeroes(length)),
        Compression::Lzf => {
            let mut data = vec![0; length];
            lzf::decompress(block, &mut data)?;
            Ok(Unpacked::Data(Cow::Owned(data)))
        }
    }
}

/// Checks and decompresses a payload into a caller's buffer, which it must fill exactly.
/// Allocates nothing.
pub fn unpack_to(fields: &PayloadFields, sent: &[u8], out: &mut [u8]) -> Result<(), PayloadError> {
    verify(fields, sent)?;
    let (length, block) = original(fields, sent)?;
    if length != out.len() {
        return Err(PayloadError::WrongLength {
            length,
            expected: out.len(),
        });
    }
    match fields.compression {
        Compression::None => out.copy_from_slice(block),
        Compression::Hole => out.fill(0),
        Compression::Lzf => lzf::decompress(block, out)?,
    }
    Ok(())
}

/// Checks a payload's length and checksum: all there is to do where it is not compressed.
pub fn verify(fields: &PayloadFields, sent: &[u8]) -> Result<(), PayloadError> {
    if fields.size as usize != sent.len() {
        return Err(PayloadError::Size {
            found: sent.len(),
            announced: fields.size as usize,
        });
    }
    let checksum = fields.hash.checksum();
    if Hash::of(sent, checksum) == fields.hash {
        Ok(())
    } else {
        Err(PayloadError::Mismatch(checksum))
    }
}

/// The original's length as claimed, and what follows the claim.
fn original<'a>(fields: &PayloadFields, sent: &'a [u8]) -> Result<(usize, &'a [u8]), PayloadError> {
    if fields.compression == Compression::None {
        return Ok((sent.len(), sent));
    }
    let malformed = PayloadError::Malformed(sent.len());
    let (length, block) = sent
        .split_first_chunk::<LENGTH_SIZE>()
        .ok_or(malformed.clone())?;
    if block.is_empty() != (fields.compression == Compression::Hole) {
        return Err(malformed);
    }
    Ok((u32::from_le_bytes(*length) as usize, block))
}

#[cfg(test)]
mod tests;
