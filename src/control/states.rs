//! The words that status and list use for the state of a resource, one spelling each.

use crate::terms::UnknownWord;
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal,
     { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The word on the control socket, which hastctl prints.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.word()) }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: word.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words! {
    /// The one word of the status table. Base hastd knows `complete` and `degraded`, and means
    /// by the former only that there is a connection.
    Condition, "status", "complete, syncing or degraded", {
        /// The peer is connected and nothing is left to copy.
        Complete = "complete",
        /// The peer is connected and the copies are being made equal.
        Syncing = "syncing",
        /// There is one copy only that can be relied on.
        Degraded = "degraded",
    }
}

words! {
    /// The connection to the peer.
    Connection, "connection", "disconnected, connecting or connected", {
        /// None, and none is being tried: no peer is configured, or we wait for it.
        Disconnected = "disconnected",
        /// Being tried.
        Connecting = "connecting",
        /// Through with the handshake.
        Connected = "connected",
    }
}

words! {
    /// What is known of the peer's copy.
    PeerState, "peer state", "up-to-date, outdated, inconsistent, unknown or split-brain", {
        /// It holds everything ours does.
        UpToDate = "up-to-date",
        /// It lacks writes, but is of one moment.
        Outdated = "outdated",
        /// It is a mixture of two moments: being copied onto.
        Inconsistent = "inconsistent",
        /// It was not met since we started.
        Unknown = "unknown",
        /// Both were written to apart.
        SplitBrain = "split-brain",
    }
}

words! {
    /// The local copy.
    LocalState, "local state", "up-to-date or inconsistent", {
        /// Of one moment.
        UpToDate = "up-to-date",
        /// A mixture of two moments: being copied onto.
        Inconsistent = "inconsistent",
    }
}

words! {
    /// Which way a synchronisation copies.
    Direction, "direction", "to-peer or from-peer", {
        /// The peer was behind.
        ToPeer = "to-peer",
        /// We were.
        FromPeer = "from-peer",
    }
}
