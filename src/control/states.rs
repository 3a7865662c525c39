//! The words that status and list use for the state of a resource, one spelling each.

use crate::terms::words;

pub use crate::terms::LocalState;

words! {
    /// The one word of the status table. Base hastd knows `complete` and `degraded`, and means
    /// by the former only that there is a connection.
    Condition, "status", "complete, syncing, degraded or superseded", {
        /// The peer is connected and nothing is left to copy.
        Complete = "complete",
        /// The peer is connected and the copies are being made equal.
        Syncing = "syncing",
        /// There is one copy only that can be relied on.
        Degraded = "degraded",
        /// The other node went on as primary: nothing is served here, and nothing that was not acknowledged is kept.
        Superseded = "superseded",
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
    /// Which way a synchronisation copies.
    Direction, "direction", "to-peer or from-peer", {
        /// The peer was behind.
        ToPeer = "to-peer",
        /// We were.
        FromPeer = "from-peer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::UnknownWord;
    use std::str::FromStr;

    fn assert_read_back<T: FromStr<Err = UnknownWord> + ToString>(all: &[T]) {
        for value in all {
            let read = value.to_string().parse::<T>().expect("a word of its own");
            assert_eq!(read.to_string(), value.to_string());
        }
        let error = "splendid".parse::<T>().err().expect("no such word");
        for value in all {
            assert!(error.expected.contains(&value.to_string()), "{error}");
        }
    }

    #[test]
    fn words_read_back_and_are_named_where_another_is_found() {
        assert_read_back(Condition::ALL);
        assert_read_back(Connection::ALL);
        assert_read_back(PeerState::ALL);
        assert_read_back(LocalState::ALL);
        assert_read_back(Direction::ALL);
    }
}
