//! The name-value encoding (spec, section 1): what every message between nodes, every
//! control message and the metadata block are made of.
//!
//! An [`Nv`] *is* its encoded bytes, kept valid: decoding checks every entry and copies it once, with its
//! padding zeroed (base hastd leaves garbage there), look-ups scan, encoding hands the bytes back. An [`NvView`] is the
//! same over borrowed bytes, an [`NvWriter`] appends entries to a buffer that the caller reuses.
//! No input makes this module panic or allocate more than the input's length.

mod entry;
mod writer;

use std::borrow::Cow;
use std::fmt;

pub use entry::{ArrayType, Entries, Entry, NvError, NvFault, Value};
pub use writer::{MAX_NAME, NvWriter};

/// An ordered list of named values, valid by construction. Names may repeat. Two are equal when
/// their entries are.
#[derive(Clone, Copy, Default)]
pub struct Nv<B = Vec<u8>> {
    /// Valid entries only: no end mark, no trailing zeros.
    bytes: B,
}

/// An [`Nv`] over borrowed bytes.
pub type NvView<'a> = Nv<&'a [u8]>;

impl<'a> NvView<'a> {
    /// Checks `bytes` and borrows them; what follows the end mark is left out.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NvError> {
        let mut entries = Entries::new(bytes);
        for entry in entries.by_ref() {
            entry?;
        }
        Ok(Self {
            bytes: &bytes[..entries.position()],
        })
    }

    /// The entries in order, borrowing for as long as the bytes live.
    pub fn into_entries(self) -> impl Iterator<Item = Entry<'a>> {
        Entries::new(self.bytes).map_while(Result::ok)
    }
}

impl Nv {
    /// An empty list.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Checks and copies an encoded list; what follows the end mark is left out.
    pub fn decode(bytes: &[u8]) -> Result<Self, NvError> {
        NvView::parse(bytes).map(Nv::to_owned)
    }

    /// Builds a list with a writer.
    pub fn build(write: impl FnOnce(&mut NvWriter<'_>)) -> Self {
        let mut nv = Self::new();
        write(&mut nv.writer());
        nv
    }

    /// Appends to the list.
    pub fn writer(&mut self) -> NvWriter<'_> {
        NvWriter::new(&mut self.bytes)
    }
}

impl NvView<'_> {
    /// The same list, owning its bytes; their padding is zeroed.
    pub fn to_owned(self) -> Nv {
        let mut nv = Nv {
            bytes: Vec::with_capacity(self.bytes.len()),
        };
        for entry in self.into_entries() {
            nv.writer().copy(entry);
        }
        nv
    }
}

/// Typed appending, as [`NvWriter`] does it.
macro_rules! adders {
    ($($add:ident, $method:ident: $ty:ty;)+) => {
        impl Nv {
            $(
                #[doc = concat!("Appends an entry; see [`NvWriter::", stringify!($method), "`].")]
                pub fn $add(&mut self, name: &str, value: $ty) -> &mut Self {
                    self.writer().$method(name, value);
                    self
                }
            )+
        }
    };
}

adders! {
    add_i8, i8: i8;
    add_u8, u8: u8;
    add_i16, i16: i16;
    add_u16, u16: u16;
    add_i32, i32: i32;
    add_u32, u32: u32;
    add_i64, i64: i64;
    add_u64, u64: u64;
    add_bytes, bytes: &[u8];
    add_str, str: &str;
    add, value: Value<'_>;
}

/// Typed look-ups: the first entry of that name and type.
macro_rules! getters {
    ($($method:ident, $variant:ident: $ty:ty;)+) => {
        impl<B: AsRef<[u8]>> Nv<B> {
            $(
                #[doc = concat!("The first `", stringify!($ty), "` of that name.")]
                pub fn $method(&self, name: &str) -> Option<$ty> {
                    self.find(name, |value| match value {
                        Value::$variant(value) => Some(value),
                        _ => None,
                    })
                }
            )+
        }
    };
}

getters! {
    i8, I8: i8;
    u8, U8: u8;
    i16, I16: i16;
    u16, U16: u16;
    i32, I32: i32;
    u32, U32: u32;
    i64, I64: i64;
    u64, U64: u64;
}

impl<B: AsRef<[u8]>> Nv<B> {
    /// The first string of that name; none where it is not UTF-8.
    pub fn str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.raw_str(name)?).ok()
    }

    /// The first string of that name, for a person to read: what is not UTF-8 is replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw_str(name).map(String::from_utf8_lossy)
    }

    /// The first array of bytes (uint8) of that name; never empty.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.find(name, |value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Whether there is an entry of that name, of whatever type.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name, |_| Some(())).is_some()
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.view().into_entries()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.bytes.as_ref().is_empty()
    }

    /// The list over borrowed bytes.
    pub fn view(&self) -> NvView<'_> {
        Nv {
            bytes: self.bytes.as_ref(),
        }
    }

    /// The encoded bytes, as they go on the wire and on disk (or, for a view, as they came).
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The encoded bytes, owned.
    pub fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn raw_str(&self, name: &str) -> Option<&[u8]> {
        self.find(name, |value| match value {
            Value::Str(text) => Some(text),
            _ => None,
        })
    }

    fn find<'a, T>(&'a self, name: &str, pick: impl Fn(Value<'a>) -> Option<T>) -> Option<T> {
        self.entries()
            .filter(|entry| entry.name == name.as_bytes())
            .find_map(|entry| pick(entry.value))
    }
}

impl<A: AsRef<[u8]>, B: AsRef<[u8]>> PartialEq<Nv<B>> for Nv<A> {
    fn eq(&self, other: &Nv<B>) -> bool {
        self.entries().eq(other.entries())
    }
}

impl<B: AsRef<[u8]>> Eq for Nv<B> {}

/// `name:type=value`, separated by spaces: the form of the transcripts beside the test vectors.
impl<B: AsRef<[u8]>> fmt::Display for Nv<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{entry}")?;
        }
        Ok(())
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Nv<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nv({self})")
    }
}

#[cfg(test)]
mod tests;
