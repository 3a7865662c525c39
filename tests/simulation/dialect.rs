//! What the metadata, the handshake and the notes of a primary mean. Everything else in the simulation asks
//! here, so that another foundation changes this file, and little beside it.
//!
//! Nothing here judges: it translates.

use fastrand::Rng;
use hast::engine::base::{self, MapSent};
use hast::engine::meeting::{self, Hello, Refusal, Source};
use hast::engine::points::Copy as PeerCopy;
use hast::engine::primary::{DisconnectReason, Promotion, Start};
use hast::engine::{PeerNote, Primary};
use hast::layout::{Bitmap, Geometry, Metadata, Record, Standing};
use hast::terms::{Replication, Role};

use crate::disk::Disk;

/// What a primary tells its peer of the peer's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It has everything.
    Complete,
    /// It lacks something.
    Lacks,
    /// It has what the primary's own component lacks.
    Ahead,
    /// Nothing new.
    Same,
}

/// What a note says.
pub fn word(note: &PeerNote) -> Word {
    match note {
        PeerNote::Lacking => Word::Lacks,
        PeerNote::Point(told) => match (told.note.copy, told.note.leads) {
            (PeerCopy::Full, _) => Word::Complete,
            (PeerCopy::Lacking, _) => Word::Lacks,
            (PeerCopy::Unchanged, true) => Word::Ahead,
            (PeerCopy::Unchanged, false) => Word::Same,
        },
    }
}

/// What a secondary agreed to.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What it works with; with a base primary it lies on the disk before the answer goes out.
    pub metadata: Metadata,
    /// How it stood.
    pub standing: Standing,
    pub source: Source,
    pub map: MapSent,
    pub virgin: bool,
    pub extended: bool,
}

/// What a secondary decides about a primary.
pub fn decide(
    metadata: Metadata,
    hello: &Hello,
    extended: bool,
    marked: bool,
) -> Result<Accepted, Refusal> {
    let standing = standing(&metadata);
    let agreement = meeting::decide(hello, &standing, extended)?;
    if extended {
        let virgin = metadata.resuid == 0;
        return Ok(Accepted {
            metadata: Metadata {
                resuid: hello.standing.resuid,
                record: metadata.record.resolved(&hello.standing.record),
                prevrole: Role::Secondary,
                ..metadata
            },
            standing,
            source: agreement.source,
            map: MapSent::OnDisk,
            virgin,
            extended,
        });
    }
    let answer = base::answer(metadata, hello, agreement, marked);
    Ok(Accepted {
        standing: self::standing(&answer.metadata),
        metadata: answer.metadata,
        source: agreement.source,
        map: answer.map,
        virgin: answer.virgin,
        extended,
    })
}

/// How a component stands.
pub fn standing(metadata: &Metadata) -> Standing {
    Standing::from(metadata)
}

/// The metadata of a component made anew.
pub fn blank(geometry: &Geometry, keepdirty: u32) -> Metadata {
    Metadata {
        resource: "disk1".to_owned(),
        datasize: geometry.data_size,
        extentsize: geometry.extent_size,
        keepdirty,
        offset: geometry.data_offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        record: Record::default(),
    }
}

/// Whether a component says that it is complete.
pub fn claims(metadata: &Metadata) -> bool {
    !metadata.record.lacks
}

/// Whether a component says so whatever a power cut did now.
pub fn claims_for_certain(disk: &Disk) -> bool {
    disk.possible_metadata().all(claims)
}

/// Whether a primary with this component knows that its peer has what it lacks.
pub fn leans(metadata: &Metadata) -> bool {
    metadata.record.lacks
}

/// Whether a primary's data hardly moved on: two new components may still be taken for equal.
pub fn is_nearly_new(metadata: &Metadata) -> bool {
    metadata.localcnt <= 1
}

/// Whether two components say of each other that nobody went on alone, by base's counters.
pub fn in_step(ours: &Metadata, theirs: &Metadata) -> bool {
    ours.localcnt == theirs.remotecnt && ours.remotecnt == theirs.localcnt
}

/// Whether a change of a primary's metadata says that what it did alone no longer counts: where there
/// are no state messages, two nodes come to be in step by this.
pub fn forgets_alone(before: &Metadata, after: &Metadata) -> bool {
    after.localcnt < before.localcnt
}

/// Whether two components are recorded as equal copies of one data set.
pub fn is_settled(ours: &Metadata, theirs: &Metadata) -> bool {
    let same_point = ours.record.at == theirs.record.at
        && ours.record.own.is_none()
        && theirs.record.own.is_none();
    in_step(ours, theirs) && same_point && ours.resuid == theirs.resuid && claims(ours)
}

/// Whether a change of a primary's metadata says that it goes on alone from here on.
pub fn goes_alone(before: &Metadata, after: &Metadata) -> bool {
    after.localcnt > before.localcnt
        || (after.record.own.is_some() && after.record.own != before.record.own)
}

/// Whether the maps of two components say in which extents they may differ: only at the same point do they.
pub fn maps_speak(ours: &Metadata, theirs: &Metadata) -> bool {
    let here = ours.record.resolved(&theirs.record);
    let there = theirs.record.resolved(&ours.record);
    here.at.is_some() && here.at == there.at
}

/// What an interrupted write of the metadata leaves: its record lies in a slot with a checksum, so it is the old
/// or the new one.
pub fn torn(old: &Metadata, new: &Metadata, rng: &mut Rng) -> Metadata {
    if rng.bool() { old.clone() } else { new.clone() }
}

/// Whether a component would be promoted without force, as it lies on the disk.
pub fn would_promote(disk: &Disk, geometry: Geometry) -> bool {
    let start = Start {
        geometry,
        metadata: disk.metadata().clone(),
        map: Bitmap::from_bytes(geometry.extents, &disk.map_bytes()),
        replication: Replication::Fullsync,
        window: 1,
        piece: 1,
        patience: 1,
        point_interval: 1,
        fresh_resuid: 1,
        entropy: 1,
        promotion: Promotion::Asked,
    };
    Primary::new(start).is_ok()
}

/// Whether the other node will never be of use to this primary: an operator has to decide.
pub fn is_hopeless(reason: DisconnectReason) -> bool {
    use Refusal::{BothLack, CompleteCopyGone, PrimaryOlder};
    matches!(
        reason,
        DisconnectReason::Unfit(BothLack | CompleteCopyGone | PrimaryOlder)
    )
}

/// The daemon finds the worker of a secondary dead; `received`: it had confirmed writes that were only in
/// its memory. Today's daemon takes no note of that.
pub fn secondary_died(_disk: &mut Disk, _received: bool) {}
