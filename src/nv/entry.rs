//! One entry of an nv list: its validity rules, in one place, and the scan over encoded bytes.
//! Allocates nothing; every look-up and every decoder goes through [`Entries`].

use std::fmt;

/// Bytes before an entry's name: type, name size, data size. Not padded.
pub(super) const ENTRY_HEADER: usize = 6;
/// Name and data are padded with zeros to a multiple of this.
pub(super) const ALIGNMENT: usize = 8;
/// The bit of the type byte that says "integers in host order": never on the wire or on disk.
const HOST_ORDER: u8 = 0x80;

/// Why bytes are not a valid nv list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed name-value data: the entry at byte {at} {fault}")]
pub struct NvError {
    /// Where the entry begins.
    pub at: usize,
    /// What is wrong with it.
    pub fault: NvFault,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NvFault {
    /// Fewer bytes are left than the header, the name or the data needs.
    #[error("is cut short")]
    Truncated,
    /// The type is outside 1..=17.
    #[error("is of unknown type {0}")]
    Type(u8),
    /// Integers in host order, which is never valid between programs.
    #[error("is in host byte order")]
    HostOrder,
    /// Empty, not NUL-terminated where the name size says, or with a NUL before that.
    #[error("has a malformed name")]
    Name,
    /// Zero, not the scalar's width, or no multiple of the array's.
    #[error("has data of {size} bytes, which does not suit type {kind}")]
    Size {
        /// The type's number.
        kind: u8,
        /// The data size found.
        size: u32,
    },
    /// A string without its NUL, or with one in the middle.
    #[error("holds a malformed string")]
    String,
}

/// Arrays that no message of HAST uses (uint8 apart, see [`Value::Bytes`]); kept as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ArrayType {
    /// int8
    I8 = 9,
    /// int16
    I16 = 11,
    /// uint16
    U16 = 12,
    /// int32
    I32 = 13,
    /// uint32
    U32 = 14,
    /// int64
    I64 = 15,
    /// uint64
    U64 = 16,
}

/// An entry's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Type 1.
    I8(i8),
    /// Type 2.
    U8(u8),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U16(u16),
    /// Type 5.
    I32(i32),
    /// Type 6.
    U32(u32),
    /// Type 7.
    I64(i64),
    /// Type 8.
    U64(u64),
    /// Type 10, an array of uint8.
    Bytes(&'a [u8]),
    /// Another array: its little-endian bytes.
    Array(ArrayType, &'a [u8]),
    /// Type 17, without its NUL; in whatever character set the sender uses.
    Str(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number of the value's type on the wire.
    pub const fn type_number(&self) -> u8 {
        match self {
            Self::I8(_) => 1,
            Self::U8(_) => 2,
            Self::I16(_) => 3,
            Self::U16(_) => 4,
            Self::I32(_) => 5,
            Self::U32(_) => 6,
            Self::I64(_) => 7,
            Self::U64(_) => 8,
            Self::Bytes(_) => 10,
            Self::Array(kind, _) => *kind as u8,
            Self::Str(_) => 17,
        }
    }

    fn decode(kind: u8, data: &'a [u8]) -> Result<Self, NvFault> {
        let wrong_size = NvFault::Size {
            kind,
            size: data.len() as u32,
        };
        let array = |array: ArrayType, width: usize| {
            if data.len().is_multiple_of(width) {
                Ok(Self::Array(array, data))
            } else {
                Err(wrong_size)
            }
        };
        macro_rules! scalar {
            ($variant:ident, $ty:ty) => {
                match data.try_into() {
                    Ok(bytes) => Ok(Self::$variant(<$ty>::from_le_bytes(bytes))),
                    Err(_) => Err(wrong_size),
                }
            };
        }
        match kind {
            1 => scalar!(I8, i8),
            2 => scalar!(U8, u8),
            3 => scalar!(I16, i16),
            4 => scalar!(U16, u16),
            5 => scalar!(I32, i32),
            6 => scalar!(U32, u32),
            7 => scalar!(I64, i64),
            8 => scalar!(U64, u64),
            9 => array(ArrayType::I8, 1),
            10 => Ok(Self::Bytes(data)),
            11 => array(ArrayType::I16, 2),
            12 => array(ArrayType::U16, 2),
            13 => array(ArrayType::I32, 4),
            14 => array(ArrayType::U32, 4),
            15 => array(ArrayType::I64, 8),
            16 => array(ArrayType::U64, 8),
            17 => terminated(data).map(Self::Str).ok_or(NvFault::String),
            _ => Err(NvFault::Type(kind)),
        }
    }
}

/// What is before the NUL, where the only NUL is the last byte.
fn terminated(bytes: &[u8]) -> Option<&[u8]> {
    let (last, text) = bytes.split_last()?;
    (*last == 0 && !text.contains(&0)).then_some(text)
}

/// A named value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Without its NUL; never empty.
    pub name: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(self.name);
        write!(f, "{name}:{}=", self.value.type_number())?;
        match self.value {
            Value::I8(value) => write!(f, "{value}"),
            Value::U8(value) => write!(f, "{value}"),
            Value::I16(value) => write!(f, "{value}"),
            Value::U16(value) => write!(f, "{value}"),
            Value::I32(value) => write!(f, "{value}"),
            Value::U32(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::U64(value) => write!(f, "{value}"),
            Value::Str(text) => f.write_str(&String::from_utf8_lossy(text)),
            Value::Bytes(bytes) | Value::Array(_, bytes) => {
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// The entries of an encoded list, each checked as it is met; ends at the end mark, at the end
/// of the bytes, or after the first error.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// Scans `bytes`, which need not be valid.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Where the next entry begins; after the last one, the length of the list.
    pub const fn position(&self) -> usize {
        self.at
    }

    fn parse(&self) -> Result<(Entry<'a>, usize), NvFault> {
        let (header, rest) = self
            .rest
            .split_first_chunk::<ENTRY_HEADER>()
            .ok_or(NvFault::Truncated)?;
        let [kind, name_size, size @ ..] = *header;
        let size = u32::from_le_bytes(size);
        if kind & HOST_ORDER != 0 {
            return Err(NvFault::HostOrder);
        }
        if name_size < 2 {
            return Err(NvFault::Name);
        }
        let (name, rest) = padded(rest, name_size as u32).ok_or(NvFault::Truncated)?;
        let name = terminated(name).ok_or(NvFault::Name)?;
        if size == 0 {
            return Err(NvFault::Size { kind, size });
        }
        let (data, rest) = padded(rest, size).ok_or(NvFault::Truncated)?;
        let value = Value::decode(kind, data)?;
        Ok((Entry { name, value }, self.rest.len() - rest.len()))
    }
}

/// The first `size` bytes, and what follows them and their padding.
fn padded(bytes: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let padded = usize::try_from((size as u64).next_multiple_of(ALIGNMENT as u64)).ok()?;
    let (field, rest) = bytes.split_at_checked(padded)?;
    Some((&field[..size as usize], rest))
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, NvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if *self.rest.first()? == 0 {
            return None;
        }
        match self.parse() {
            Ok((entry, length)) => {
                self.rest = &self.rest[length..];
                self.at += length;
                Some(Ok(entry))
            }
            Err(fault) => {
                self.rest = &[];
                Some(Err(NvError { at: self.at, fault }))
            }
        }
    }
}
