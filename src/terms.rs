//! The words that hast.conf, the wire, the metadata and hastctl share: roles,
//! replication modes, checksums, compressions. Each has one spelling, here.
//! Never holds behaviour; each type only converts to and from its word and its number.

/// A word that is none of the ones expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{word}'; expected {expected}")]
pub struct UnknownWord {
    /// What kind of word was looked for.
    pub what: &'static str,
    /// The word found.
    pub word: String,
    /// The words that would have done, for the message.
    pub expected: &'static str,
}

/// Makes an enum of words, each value with its one spelling: `ALL`, `word`, `Display` and `FromStr`.
/// For the words that one module speaks alone, too.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal,
     { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as hast.conf, the control socket and hastctl spell it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.word()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::terms::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::terms::UnknownWord { what: $what, word: word.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// What a node does for a resource.
    Role, "role", "init, primary or secondary", {
        /// Nothing: the component is not in use.
        Init = "init",
        /// Offers the device and writes both copies.
        Primary = "primary",
        /// Stores what the primary sends.
        Secondary = "secondary",
    }
}

impl Role {
    /// The number on the control socket (spec, section 5).
    pub const fn number(self) -> u8 {
        match self {
            Self::Init => 1,
            Self::Primary => 2,
            Self::Secondary => 3,
        }
    }

    /// The role of a control socket number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Init),
            2 => Some(Self::Primary),
            3 => Some(Self::Secondary),
            _ => None,
        }
    }
}

words! {
    /// When a write is acknowledged.
    Replication, "replication mode", "fullsync, memsync or async", {
        /// When it is on both disks.
        Fullsync = "fullsync",
        /// When it is on the local disk and in the secondary's memory.
        Memsync = "memsync",
        /// When it is on the local disk.
        Async = "async",
    }
}

words! {
    /// How a payload is checked on the wire.
    Checksum, "checksum", "none, crc32 or sha256", {
        /// Not at all (TCP's own checksum aside).
        None = "none",
        /// zlib's CRC-32.
        Crc32 = "crc32",
        /// SHA-256.
        Sha256 = "sha256",
    }
}

words! {
    /// How a payload is made smaller on the wire.
    Compression, "compression", "none, hole or lzf", {
        /// Not at all.
        None = "none",
        /// A payload of zeros is sent as its length.
        Hole = "hole",
        /// As `hole`, and other payloads through LZF where that saves enough.
        Lzf = "lzf",
    }
}

words! {
    /// A node's own copy.
    LocalState, "local state", "up-to-date, inconsistent or unknown", {
        /// Of one moment.
        UpToDate = "up-to-date",
        /// A mixture of two moments: being copied onto.
        Inconsistent = "inconsistent",
        /// Nobody was there to ask: there is no worker, or it does not answer.
        Unknown = "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_what_they_name() {
        for role in Role::ALL {
            assert_eq!(role.word().parse::<Role>().as_ref(), Ok(role));
            assert_eq!(Role::from_number(role.number()), Some(*role));
        }
        for mode in Replication::ALL {
            assert_eq!(mode.word().parse::<Replication>().as_ref(), Ok(mode));
        }
        assert_eq!(Role::from_number(0), None);
        assert_eq!(
            "prime".parse::<Role>().expect_err("no role").to_string(),
            "unknown role 'prime'; expected init, primary or secondary"
        );
    }
}
