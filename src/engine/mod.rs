//! The engine decides: what is written where, in which order, what is marked first, what is
//! copied again, and when a request is acknowledged.
//!
//! It never does I/O, never blocks, never reads a clock and holds no data: everything it learns
//! arrives as an event, everything it wants leaves as an action, and only request numbers and
//! ranges pass through it. The same code runs under the real worker and under the simulator.
//!
//! | file | what |
//! | --- | --- |
//! | `meeting` | what two nodes decide when they meet |
//! | `points` | what each stores when the two make a point together |
//! | `base` | what a secondary stores before it answers a base primary |
//! | `primary/` | the primary: requests, marks, counters, synchronisation |
//! | `secondary` | the secondary: order, flushes, state |
//! | `activemap` | which extents are marked, which marks are on the disk |
//! | `range_lock` | who may touch a range now |
//! | `metadata_log` | which change of the metadata is on the disk |
//!
//! Invariants, whatever the events and their order (architecture.md numbers the rules):
//!
//! - an extent's mark is durable before either disk is written to there (rule 2);
//! - a mark goes only across a point that both nodes stored, after both copies were flushed (rule 3);
//! - what is written without the peer begins a generation of its own, durably, first (rule 5);
//! - no acknowledged write ever leaves both nodes needing something of each other: extents are
//!   either *behind* on the peer or *stale* here, and while some are stale here nothing is
//!   acknowledged that the peer does not have.

pub mod activemap;
pub mod base;
pub mod meeting;
mod metadata_log;
pub mod points;
pub mod primary;
pub mod range_lock;
pub mod secondary;

use nix::errno::Errno;

pub use primary::Primary;
pub use secondary::Secondary;

/// The longest request the engine takes: the longest the wire carries (spec, section 3).
pub const MAX_REQUEST: u64 = 1 << 20;

/// A span of the device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// Where it begins.
    pub offset: u64,
    /// How long it is; 0 only for a flush.
    pub length: u64,
}

impl Range {
    /// The span of `length` bytes from `offset`.
    pub const fn new(offset: u64, length: u64) -> Self {
        Self { offset, length }
    }

    /// The first byte behind it.
    pub const fn end(self) -> u64 {
        self.offset + self.length
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }
}

/// What a request asks. Writing zeros is a write: what its data is does not concern the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Fill the buffer from the device.
    Read,
    /// Store the buffer.
    Write,
    /// The content is no longer needed.
    Delete,
    /// Make what was acknowledged durable.
    Flush,
}

impl Command {
    /// Whether it changes content, and so needs a mark and both copies.
    pub const fn mutates(self) -> bool {
        matches!(self, Self::Write | Self::Delete)
    }
}

/// A request from the provider (primary) or from the peer (secondary).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Chosen by whoever submits it; unique among those not completed.
    pub id: u64,
    /// What it asks.
    pub command: Command,
    /// Where; within the device, a multiple of the sector size, at most [`MAX_REQUEST`] long.
    pub range: Range,
}

/// Whose buffer an operation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The request of this number.
    Request(u64),
    /// The engine's own: a piece of a synchronisation, or a barrier.
    Engine(u64),
}

/// One operation on a disk or at the peer. `part` tells apart the operations of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    /// Whose buffer it uses.
    pub owner: Owner,
    /// Which operation of that owner.
    pub part: u32,
}

/// How an operation ended.
pub type Outcome = Result<(), Errno>;

/// A sector of the activemap to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSector {
    /// Its number in the map, from 0.
    pub index: u64,
    /// Its content, one sector long.
    pub bytes: Box<[u8]>,
}

/// What a primary tells a secondary of ours beside base's protocol (wire command `Record`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerNote {
    /// Store this point.
    Point(Box<Told>),
    /// Your copy lacks something: store that before anything is copied to it.
    Lacking,
}

/// A point as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Told {
    /// What to store.
    pub note: points::PointNote,
    /// How many changes the secondary has answered with an error in this connection. It refuses a full
    /// point where it has failed more: the primary does not know of those yet.
    pub failures: u64,
    /// The primary's counter: the secondary's remotecnt once both are equal.
    pub localcnt: u64,
    /// The secondary's own counter as the primary knows it.
    pub remotecnt: u64,
}
