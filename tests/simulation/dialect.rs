//! What today's metadata, handshake and state messages mean. Everything else in the simulation asks
//! here, so that other records and another handshake change this file, and little beside it.
//!
//! Nothing here judges: it translates.

use fastrand::Rng;
use hast::engine::primary::{DisconnectReason, Promotion, Start};
use hast::engine::{PeerState, Primary};
use hast::layout::{Bitmap, Geometry, Inconsistent, Metadata};
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
}

/// What a state message says.
pub fn word(state: PeerState) -> Word {
    match state {
        PeerState::Consistent => Word::Complete,
        PeerState::Inconsistent => Word::Lacks,
        PeerState::Ahead => Word::Ahead,
    }
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
        inconsistent: None,
    }
}

/// Whether a component says that it is complete.
pub fn claims(metadata: &Metadata) -> bool {
    metadata.inconsistent.is_none()
}

/// Whether a component says so whatever a power cut did now.
pub fn claims_for_certain(disk: &Disk) -> bool {
    disk.possible_metadata().all(claims)
}

/// Whether a primary with this component knows that its peer has what it lacks.
pub fn leans(metadata: &Metadata) -> bool {
    metadata.inconsistent == Some(Inconsistent::Mapped)
}

/// Whether a primary's data hardly moved on: two new components may still be taken for equal.
pub fn is_nearly_new(metadata: &Metadata) -> bool {
    metadata.localcnt <= 1
}

/// Whether two components say of each other that nobody went on alone.
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
    in_step(ours, theirs) && ours.resuid == theirs.resuid && claims(ours)
}

/// What an interrupted write of the metadata may leave: the inconsistent entry lies in the second
/// sector of the block, and has no checksum.
pub fn torn(old: &Metadata, new: &Metadata, rng: &mut Rng) -> Metadata {
    match rng.u8(..3) {
        0 => old.clone(),
        1 => new.clone(),
        _ => Metadata {
            inconsistent: None,
            ..new.clone()
        },
    }
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
        fresh_resuid: 1,
        promotion: Promotion::Asked,
    };
    Primary::new(start).is_ok()
}

/// Whether the other node will never be of use to this primary: an operator has to decide.
pub fn is_hopeless(reason: DisconnectReason) -> bool {
    reason == DisconnectReason::PeerForgot
}

/// The daemon finds the worker of a secondary dead; `received`: it had confirmed writes that were only in
/// its memory. Today's daemon takes no note of that.
pub fn secondary_died(_disk: &mut Disk, _received: bool) {}
