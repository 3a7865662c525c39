//! The one request of our extension: what the secondary's record is to say. Never sent to base hastd.
//!
//! Answered like any request, once it is durable there. Carried out alone.

use super::{PeerCommand, RequestError, required};
use crate::layout::record::{NUMBER_LIMIT, check_past, past_from_bytes, past_to_bytes};
use crate::layout::{Generation, Point};
use crate::nv::NvWriter;
use crate::wire::frame;

/// The word for messages.
const WHAT: &str = "record";
const KIND_POINT: u8 = 1;
const KIND_LACKING: u8 = 2;

/// What a point says of the secondary's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CopyState {
    /// It lacks something from here on: it is about to be copied onto.
    Lacking = 1,
    /// As complete as it was.
    Unchanged = 2,
    /// Both are complete, flushed, and the same.
    Full = 3,
}

impl CopyState {
    /// The state of a number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Lacking),
            2 => Some(Self::Unchanged),
            3 => Some(Self::Full),
            _ => None,
        }
    }
}

/// A point that the secondary is to store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointNote {
    /// The point.
    pub at: Point,
    /// What becomes of the secondary's copy.
    pub copy: CopyState,
    /// The primary lacks what the secondary has, and relies on it.
    pub leads: bool,
    /// The older generations of the node whose data counts, the newest first; each once, and not that of
    /// `at`.
    pub past: Vec<Point>,
}

/// What the secondary's record is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordChange {
    /// The two make a point.
    Point {
        /// The point, and what it says of the copy.
        note: PointNote,
        /// How many changes the secondary has answered with an error in this connection.
        failures: u64,
        /// The secondary's new localcnt, below 2^63.
        localcnt: u64,
        /// The secondary's new remotecnt, below 2^63.
        remotecnt: u64,
    },
    /// The secondary's copy lacks something from here on.
    Lacking,
}

/// Our extension's request: the primary tells the secondary what its record is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRequest {
    /// As in [`PeerRequest::seq`](super::PeerRequest::seq).
    pub seq: u64,
    /// The change.
    pub change: RecordChange,
}

impl RecordRequest {
    /// Appends the whole message.
    pub fn encode_into(&self, out: &mut Vec<u8>, version: u8) {
        frame::encode_head(out, version, |nv| self.write(nv));
    }

    /// Appends the entries.
    pub fn write(&self, nv: &mut NvWriter<'_>) {
        nv.u8("cmd", PeerCommand::Record.number())
            .u64("seq", self.seq);
        match &self.change {
            RecordChange::Point {
                note,
                failures,
                localcnt,
                remotecnt,
            } => {
                nv.u8("kind", KIND_POINT)
                    .u64("generation", note.at.generation.number())
                    .u64("number", note.at.number);
                nv.u8("copy", note.copy as u8)
                    .u8("leads", u8::from(note.leads))
                    .bytes("past", &past_to_bytes(&note.past));
                nv.u64("failures", *failures)
                    .u64("localcnt", *localcnt)
                    .u64("remotecnt", *remotecnt);
            }
            RecordChange::Lacking => {
                nv.u8("kind", KIND_LACKING);
            }
        }
    }
}

/// The entries of a record request, as far as they were there.
#[derive(Debug, Default)]
pub(super) struct RecordScan<'a> {
    pub(super) kind: Option<u8>,
    pub(super) generation: Option<u64>,
    pub(super) number: Option<u64>,
    pub(super) copy: Option<u8>,
    pub(super) leads: Option<u8>,
    pub(super) past: Option<&'a [u8]>,
    pub(super) failures: Option<u64>,
    pub(super) localcnt: Option<u64>,
    pub(super) remotecnt: Option<u64>,
}

impl RecordScan<'_> {
    pub(super) fn finish(&self, seq: u64) -> Result<RecordRequest, RequestError> {
        let change = match required(self.kind, WHAT, "kind")? {
            KIND_POINT => self.point()?,
            KIND_LACKING => RecordChange::Lacking,
            unknown => return Err(RequestError::UnknownKind(unknown)),
        };
        Ok(RecordRequest { seq, change })
    }

    fn point(&self) -> Result<RecordChange, RequestError> {
        let generation = Generation::new(required(self.generation, WHAT, "generation")?);
        let at = Point {
            generation: required(generation, WHAT, "generation")?,
            number: required(self.number, WHAT, "number")?,
        };
        let copy = required(self.copy, WHAT, "copy")?;
        let copy = CopyState::from_number(copy).ok_or(RequestError::UnknownCopy(copy))?;
        // An empty one has no encoding.
        let past = past_from_bytes(self.past.unwrap_or_default())?;
        check_past(Some(at), &past)?;
        Ok(RecordChange::Point {
            note: PointNote {
                at,
                copy,
                leads: required(self.leads, WHAT, "leads")? != 0,
                past,
            },
            failures: required(self.failures, WHAT, "failures")?,
            localcnt: counter(self.localcnt, "localcnt")?,
            remotecnt: counter(self.remotecnt, "remotecnt")?,
        })
    }
}

fn counter(value: Option<u64>, field: &'static str) -> Result<u64, RequestError> {
    let value = required(value, WHAT, field)?;
    if value < NUMBER_LIMIT {
        Ok(value)
    } else {
        Err(RequestError::Counter { field, value })
    }
}
