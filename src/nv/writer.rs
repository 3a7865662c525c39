//! Appends entries to a buffer, byte for byte as base hastd encodes them; but for the padding behind
//! names, where base sends whatever lay on its stack and we send zeros.

use super::entry::{ALIGNMENT, ENTRY_HEADER, Entry, Value};

/// The longest name, in bytes: its size with the NUL has one byte.
pub const MAX_NAME: usize = 254;

/// Appends entries to a buffer that the caller owns and may reuse.
///
/// Names come from the program, never from outside: an empty one, one longer than [`MAX_NAME`]
/// or one with a NUL inside is a bug and panics.
#[derive(Debug)]
pub struct NvWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> NvWriter<'a> {
    /// Appends to `out`, leaving what it holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends any value.
    pub fn value(&mut self, name: &str, value: Value<'_>) -> &mut Self {
        self.copy(Entry {
            name: name.as_bytes(),
            value,
        })
    }

    /// Appends an entry of another list.
    pub fn copy(&mut self, entry: Entry<'_>) -> &mut Self {
        let Entry { name, value } = entry;
        let kind = value.type_number();
        match value {
            Value::I8(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::U8(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::I16(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::U16(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::I32(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::U32(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::I64(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::U64(value) => self.entry(kind, name, &value.to_le_bytes()),
            Value::Bytes([]) | Value::Array(_, []) => self,
            Value::Bytes(bytes) | Value::Array(_, bytes) => self.entry(kind, name, bytes),
            Value::Str(text) => self.string(name, text),
        }
    }

    /// Appends an array of bytes (uint8). An empty one has no encoding: nothing is appended.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.value(name, Value::Bytes(bytes))
    }

    /// Appends a string, up to its first NUL.
    pub fn str(&mut self, name: &str, text: &str) -> &mut Self {
        self.value(name, Value::Str(text.as_bytes()))
    }

    fn string(&mut self, name: &[u8], text: &[u8]) -> &mut Self {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        self.head(Value::Str(&[]).type_number(), name, text.len() + 1);
        self.out.extend_from_slice(text);
        self.out.push(0);
        self.pad(text.len() + 1)
    }

    fn entry(&mut self, kind: u8, name: &[u8], data: &[u8]) -> &mut Self {
        self.head(kind, name, data.len());
        self.out.extend_from_slice(data);
        self.pad(data.len())
    }

    fn head(&mut self, kind: u8, name: &[u8], data_size: usize) {
        assert!(
            (1..=MAX_NAME).contains(&name.len()) && !name.contains(&0),
            "malformed entry name {:?}",
            String::from_utf8_lossy(name)
        );
        let name_size = name.len() + 1;
        let size = u32::try_from(data_size).expect("a value of 4 GiB is never built");
        let mut header = [0; ENTRY_HEADER];
        header[0] = kind;
        header[1] = name_size as u8;
        header[2..].copy_from_slice(&size.to_le_bytes());
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(name);
        self.out.push(0);
        self.pad(name_size);
    }

    fn pad(&mut self, size: usize) -> &mut Self {
        let padding = size.next_multiple_of(ALIGNMENT) - size;
        self.out.extend_from_slice(&[0; ALIGNMENT][..padding]);
        self
    }
}

/// Scalars.
macro_rules! scalars {
    ($($method:ident, $variant:ident;)+) => {
        impl NvWriter<'_> {
            $(
                #[doc = concat!("Appends an `", stringify!($method), "`.")]
                pub fn $method(&mut self, name: &str, value: $method) -> &mut Self {
                    self.value(name, Value::$variant(value))
                }
            )+
        }
    };
}

scalars! {
    i8, I8;
    u8, U8;
    i16, I16;
    u16, U16;
    i32, I32;
    u32, U32;
    i64, I64;
    u64, U64;
}
