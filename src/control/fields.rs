//! Quick look-up in a long message: a reply on a thousand resources has tens of thousands of
//! entries, and searching it from the front for each would take quadratic time.

use crate::nv::{Entry, Nv, Value};
use std::collections::HashMap;

/// The entries of a message by name and type number; the first of equals counts.
pub struct Fields<'a> {
    by_name: HashMap<(&'a [u8], u8), Value<'a>>,
}

macro_rules! getters {
    ($($method:ident, $variant:ident: $ty:ty;)+) => {
        impl Fields<'_> {
            $(
                #[doc = concat!("The `", stringify!($ty), "` called `name`.")]
                pub fn $method(&self, name: &str) -> Option<$ty> {
                    match self.find(name, Value::$variant(0).type_number()) {
                        Some(Value::$variant(value)) => Some(value),
                        _ => None,
                    }
                }
            )+
        }
    };
}

getters! {
    u8, U8: u8;
    i16, I16: i16;
    i32, I32: i32;
    u32, U32: u32;
    u64, U64: u64;
}

impl<'a> Fields<'a> {
    /// Looks a whole message through, once.
    pub fn of(nv: &'a Nv) -> Self {
        let mut by_name = HashMap::new();
        for Entry { name, value } in nv.entries() {
            by_name.entry((name, value.type_number())).or_insert(value);
        }
        Self { by_name }
    }

    /// The string called `name`; none where it is not UTF-8.
    pub fn str(&self, name: &str) -> Option<&'a str> {
        match self.find(name, Value::Str(&[]).type_number()) {
            Some(Value::Str(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    fn find(&self, name: &str, type_number: u8) -> Option<Value<'a>> {
        self.by_name.get(&(name.as_bytes(), type_number)).copied()
    }
}
