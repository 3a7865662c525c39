//! What a primary engine is told, what it asks for, and what it can say about itself.

use crate::engine::meeting::{Party, Refusal, Source};
use crate::engine::{MapSector, Operation, Outcome, PeerNote, Range, Request};

pub use crate::engine::meeting::Hello;
use crate::layout::activemap::Bitmap;
use crate::layout::{Geometry, Metadata, Standing};
use crate::terms::Replication;

/// What a primary starts from.
#[derive(Debug)]
pub struct Start {
    /// The component's layout.
    pub geometry: Geometry,
    /// Its metadata as read.
    pub metadata: Metadata,
    /// Its activemap as read.
    pub map: Bitmap,
    /// When writes are acknowledged.
    pub replication: Replication,
    /// How many bytes of synchronisation may be in flight.
    pub window: u64,
    /// The longest piece of a synchronisation, in bytes; at most [`crate::engine::MAX_REQUEST`].
    pub piece: u64,
    /// How long a request may wait for a peer that holds the only current copy, in milliseconds.
    pub patience: u64,
    /// How long what was written stays uncovered by a point, in milliseconds.
    pub point_interval: u64,
    /// A random number, not 0: the resuid should this node have to invent one.
    pub fresh_resuid: u64,
    /// A random number: what generations are drawn from.
    pub entropy: u64,
    /// Why the component may be promoted although it lacks something.
    pub promotion: Promotion,
}

/// How the role was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// By an operator: refused where the component lacks something.
    Asked,
    /// By an operator who insists: the component's content counts as current, whatever it lacks.
    Forced,
    /// A worker that died is replaced: the role is not new.
    Resumed,
}

/// Why a component may not be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromotionRefused {
    /// It is a mixture of two times, or older than what the other node has.
    #[error(
        "the component lacks data that the other node has: {bytes} bytes or more must still be copied from it; \
         make that node primary and let it finish, or lose them with 'role primary --force'"
    )]
    Lacking {
        /// How many bytes the marked extents hold.
        bytes: u64,
    },
    /// A counter that no node reaches.
    #[error(
        "the component's metadata is damaged: a counter is 2^63 or more; make the component anew with \
         'hastctl create' and let the other node copy everything to it"
    )]
    Counter,
}

/// What the secondary answered, after its data size and extent size were found to agree.
#[derive(Debug)]
pub struct Answer {
    /// Its component; the record means nothing without the extension.
    pub standing: Standing,
    /// It was freshly created.
    pub virgin: bool,
    /// Who is the source, as it says.
    pub source: Source,
    /// Its activemap; `None` when it sent none.
    pub map: Option<Bitmap>,
    /// It understands [`PeerNote`]s and has told its record.
    pub extension: bool,
    /// It understands memsync (protocol version 2); otherwise writes are fullsync.
    pub memsync: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The provider has a request.
    Submit(Request),
    /// An operation on the local disk ended.
    LocalDone(Operation, Outcome),
    /// The peer answered the message of this number. For a read the data is in the buffer already.
    Reply {
        /// The message's number.
        seq: u64,
        /// Only the early acknowledgement of memsync.
        received: bool,
        /// How it went there.
        outcome: Outcome,
    },
    /// A connection is open up to the second message: say what goes into it.
    Meet,
    /// The peer agreed.
    Connected(Box<Answer>),
    /// The peer refused, and said how its component stands. The connection is over, too.
    Refused(Box<Standing>),
    /// Whether somebody has the device open; nobody until told.
    Opened(bool),
    /// The connection is gone (also after [`Action::Disconnect`], and when a handshake failed).
    Disconnected,
    /// A write of map sectors ended.
    MapWritten(u64, Outcome),
    /// A write of the metadata ended.
    MetadataWritten(u64, Outcome),
    /// Time passes; milliseconds of any clock that never goes back. Expected every second or so.
    Tick(u64),
    /// The configuration changed. Requests already begun keep their mode.
    SetReplication(Replication),
    /// Whether a change may be acknowledged that only this node has; it may until told otherwise.
    Permit(bool),
    /// No more requests will come: finish, flush, tidy the marks, and say [`Action::Stopped`].
    Stop,
}

/// What is to be done. Actions of one event are in order; `Send*` must reach the peer in the order given.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read this range of the device into the owner's buffer.
    ReadLocal(Operation, Range),
    /// Write the owner's buffer.
    WriteLocal(Operation, Range),
    /// Discard the range.
    DeleteLocal(Operation, Range),
    /// Flush the component.
    FlushLocal(Operation),
    /// Send a request to the peer. A read's data goes into the owner's buffer.
    Send {
        /// The message's number, never 0, never used twice by one engine.
        seq: u64,
        /// Whose buffer.
        operation: Operation,
        /// What to ask.
        command: crate::engine::Command,
        /// Where; zero for a flush.
        range: Range,
        /// Ask for the early acknowledgement.
        memsync: bool,
    },
    /// Tell the peer something of the two copies; answered like a request.
    Tell {
        /// The message's number.
        seq: u64,
        /// What to say.
        note: PeerNote,
    },
    /// Write these sectors of the map, durably, and say [`Event::MapWritten`].
    WriteMap(u64, Vec<MapSector>),
    /// Write the metadata, durably, and say [`Event::MetadataWritten`].
    WriteMetadata(u64, Box<Metadata>),
    /// Answer the request.
    Complete(u64, Outcome),
    /// The owner's buffer is no longer needed, and its number is free again. Comes after [`Action::Complete`]
    /// for a request (possibly much later, as in async), and by itself for the engine's own.
    Release(crate::engine::Owner),
    /// The second message of the handshake may go out.
    Hello(Box<Hello>),
    /// Close the connection and open a new one.
    Disconnect(DisconnectReason),
    /// Something the administrator may want to know, or a hook wants to hear.
    Notice(Notice),
    /// Everything is finished: nothing is in flight and nothing more will come.
    Stopped,
}

/// Why the engine wants the connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// Both moved on while they were deciding.
    #[error("this node's data moved on during the handshake; meeting again")]
    MovedOn,
    /// What the handshake demands could not be stored.
    #[error("this node could not store its activemap or its metadata; look at its disk")]
    CannotStore,
    /// The peer is not one to go on with.
    #[error("this node cannot go on with the other: {0}")]
    Unfit(#[from] Refusal),
    /// This node is superseded, and meets nobody any more.
    #[error("this node is superseded: the other went on as primary")]
    Superseded,
    /// The peer could not set its state.
    #[error("the other node could not store its metadata; look at its disk")]
    PeerCannotStore,
    /// An answer nobody asked for.
    #[error("the other node answered a request that was never sent")]
    UnknownReply,
}

/// What is worth a line in the log, and which hook hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Synchronisation begins (hook `syncstart`).
    SynchronisationStarted {
        /// Which way.
        direction: Direction,
        /// How much, in bytes.
        bytes: u64,
    },
    /// It is complete (hook `syncdone`).
    SynchronisationDone,
    /// The connection broke meanwhile (hook `syncintr`).
    SynchronisationInterrupted,
    /// The local disk failed a write that the peer has: reads there go to the peer.
    LocalStale,
    /// Requests that need the peer fail: it holds the only current copy and is away.
    PeerNeeded,
    /// An older image of a component was put back: everything is copied.
    OlderImage(Party),
    /// Changes wait: the peer does not have them, and this node has no permit to go on alone.
    Held,
    /// The peer went on as primary without this node while the device was open or requests were held (hook
    /// `superseded`): so many requests that were not acknowledged failed, and every one from here on fails with ENXIO.
    Superseded {
        /// Requests that had not been acknowledged.
        requests: u64,
    },
}

/// Which copy is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer lacks something.
    ToPeer,
    /// This node lacks something.
    FromPeer,
}

/// What is known of the two copies, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The handshake is complete.
    pub connected: bool,
    /// The peer has everything acknowledged: connected, nothing behind, nothing stale, state confirmed.
    pub up_to_date: bool,
    /// The peer, connected or not, lacks something: it was left, or is, in the middle of a copy.
    pub peer_lacks: bool,
    /// The other node went on as primary: this one only waits for its device to be closed.
    pub superseded: bool,
    /// Bytes of extents that the peer lacks.
    pub behind: u64,
    /// Bytes of extents that this node lacks.
    pub stale: u64,
    /// Bytes copied since this synchronisation began, and how many it began with.
    pub synchronising: Option<Progress>,
    /// How often the map was written.
    pub map_updates: u64,
    /// Requests not completed yet.
    pub requests: u64,
    /// How many of them wait for the peer for want of a permit to go on without it.
    pub held: u64,
}

/// How far a synchronisation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which way.
    pub direction: Direction,
    /// Bytes copied.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}
