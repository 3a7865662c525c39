//! One of the two slots of the metadata block: the record, and what base's part of the block says beside it.
//!
//! 512 bytes, so that it never needs more than one sector. All integers are little-endian.
//!
//! | at | length | what |
//! | --- | --- | --- |
//! | 0 | 16 | magic (8), version (4), length (4) |
//! | 16 | 8 | `seq`: the slot with the greater one counts |
//! | 24 | 8 | resuid |
//! | 32 | 16 | localcnt, remotecnt after this write |
//! | 48 | 4 | role after this write (1 init, 2 primary, 3 secondary); flags: 1 alone; 2 bytes of zeros |
//! | 52 | 8 | CRC-32 of base's part before this write, and after it |
//! | 60 | 428 | the record, see [`super::record`], with zeros behind its past |
//! | 488 | 20 | datasize (8), extentsize (4), keepdirty (4), offset (4, in units of 512 bytes) |
//! | 508 | 4 | CRC-32 of all before it |
//!
//! The last but one group is there so that base's part can be made again, all but the name, where its sector
//! can not be read. Invariant: a slot that was read comes out as the same bytes.

use super::BASE_SIZE;
use super::metadata::{Metadata, MetadataError};
use super::record::{NUMBER_LIMIT, POINT_SIZE, RECORD_SIZE, Record};
use crate::terms::Role;

/// Size of a slot, in bytes.
pub const SLOT_SIZE: usize = 512;

const MAGIC: [u8; 8] = *b"hastslot";
const VERSION: u32 = 1;
const RECORD_AT: usize = 60;
const SIZES_AT: usize = RECORD_AT + RECORD_SIZE;
const CHECKSUM_AT: usize = SLOT_SIZE - 4;
/// The flag of [`Slot::alone`].
const ALONE: u8 = 1;
/// The unit of the offset.
const UNIT: u64 = 512;

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The slot with the greater one counts. Below [`NUMBER_LIMIT`].
    pub seq: u64,
    /// The other slot was empty when this one was written.
    pub alone: bool,
    /// [`checksum`] of base's part before this write.
    pub before: u32,
    /// [`checksum`] of base's part after it.
    pub after: u32,
    /// All of the metadata but the resource's name, which is left empty.
    said: Metadata,
}

/// What is found where a slot may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Zeros.
    Empty,
    /// Anything else that is no slot.
    Damaged,
    /// A slot.
    Valid(Box<Slot>),
}

/// The checksum of base's part of the block.
pub fn checksum(base_part: &[u8]) -> u32 {
    crc32fast::hash(base_part)
}

impl Slot {
    /// The slot that goes with `metadata`.
    pub fn new(metadata: &Metadata, seq: u64, alone: bool, before: u32, after: u32) -> Self {
        let said = Metadata {
            resource: String::new(),
            ..metadata.clone()
        };
        Self {
            seq,
            alone,
            before,
            after,
            said,
        }
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.said.record
    }

    /// The metadata of a component of this name, and base's part as this slot's write left it; none where
    /// the slot is another resource's.
    pub fn complete(&self, resource: &str) -> Option<(Metadata, [u8; BASE_SIZE])> {
        let metadata = Metadata {
            resource: resource.to_owned(),
            ..self.said.clone()
        };
        let part = metadata.base_part().ok()?;
        (checksum(&part) == self.after).then_some((metadata, part))
    }

    /// The bytes. The record passes [`Record::check`].
    pub fn encode(&self) -> [u8; SLOT_SIZE] {
        let said = &self.said;
        let mut bytes = Vec::with_capacity(SLOT_SIZE);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(SLOT_SIZE as u32).to_le_bytes());
        for number in [self.seq, said.resuid, said.localcnt, said.remotecnt] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let flags = if self.alone { ALONE } else { 0 };
        bytes.extend_from_slice(&[said.prevrole.number(), flags, 0, 0]);
        bytes.extend_from_slice(&self.before.to_le_bytes());
        bytes.extend_from_slice(&self.after.to_le_bytes());
        bytes.extend_from_slice(&said.record.to_bytes());
        bytes.resize(SIZES_AT, 0);
        bytes.extend_from_slice(&said.datasize.to_le_bytes());
        bytes.extend_from_slice(&said.extentsize.to_le_bytes());
        bytes.extend_from_slice(&said.keepdirty.to_le_bytes());
        // Where it does not fit, base's part can not be made again from this, and `complete` notices.
        let offset = u32::try_from(said.offset / UNIT).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&offset.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let mut slot = [0; SLOT_SIZE];
        slot.copy_from_slice(&bytes);
        slot
    }

    /// Reads the bytes of a slot.
    ///
    /// # Errors
    /// [`MetadataError::SlotVersion`] where a newer version of ours wrote it.
    pub fn read(bytes: &[u8; SLOT_SIZE]) -> Result<Read, MetadataError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Read::Empty);
        }
        let stored = u32::from_le_bytes(piece(bytes, CHECKSUM_AT));
        if crc32fast::hash(&bytes[..CHECKSUM_AT]) != stored || bytes[..8] != MAGIC {
            return Ok(Read::Damaged);
        }
        let version = u32::from_le_bytes(piece(bytes, 8));
        if version != VERSION {
            return Err(MetadataError::SlotVersion(version));
        }
        Ok(Self::decode(bytes).map_or(Read::Damaged, |slot| Read::Valid(Box::new(slot))))
    }

    /// The slot in bytes of our version whose checksum is right; none where they contradict
    /// themselves.
    fn decode(bytes: &[u8; SLOT_SIZE]) -> Option<Self> {
        let long = |at| u64::from_le_bytes(piece(bytes, at));
        let short = |at| u32::from_le_bytes(piece(bytes, at));
        let seq = long(16);
        let prevrole = Role::from_number(bytes[48])?;
        if short(12) as usize != SLOT_SIZE || seq >= NUMBER_LIMIT {
            return None;
        }
        if bytes[49] & !ALONE != 0 || bytes[50..52] != [0, 0] {
            return None;
        }
        let said = Metadata {
            resource: String::new(),
            datasize: long(SIZES_AT),
            extentsize: short(SIZES_AT + 8),
            keepdirty: short(SIZES_AT + 12),
            offset: u64::from(short(SIZES_AT + 16)) * UNIT,
            resuid: long(24),
            localcnt: long(32),
            remotecnt: long(40),
            prevrole,
            record: Record::from_bytes(without_zeros(&bytes[RECORD_AT..SIZES_AT])).ok()?,
        };
        Some(Self {
            seq,
            alone: bytes[49] & ALONE != 0,
            before: short(52),
            after: short(56),
            said,
        })
    }
}

/// A record's bytes without the zeros behind its past.
fn without_zeros(record: &[u8]) -> &[u8] {
    const HEAD: usize = RECORD_SIZE - super::record::PAST * POINT_SIZE;
    let (head, past) = record.split_at(HEAD);
    let points = past.chunks(POINT_SIZE);
    let used = points
        .rev()
        .skip_while(|point| point.iter().all(|byte| *byte == 0))
        .count();
    &record[..head.len() + used * POINT_SIZE]
}

fn piece<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut piece = [0; N];
    piece.copy_from_slice(&bytes[at..at + N]);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Generation, Point, Proposal};

    fn point(of: u64, number: u64) -> Point {
        Point {
            generation: Generation::new(of).expect("not 0"),
            number,
        }
    }

    fn metadata(past: u64) -> Metadata {
        Metadata {
            resource: "disk1".to_owned(),
            datasize: 16_772_608,
            extentsize: 2 << 20,
            keepdirty: 64,
            offset: 4608,
            resuid: u64::MAX,
            localcnt: 3,
            remotecnt: 2,
            prevrole: Role::Secondary,
            record: Record {
                at: Some(point(100, 6)),
                next: Some(Proposal {
                    point: point(101, 1),
                    full: true,
                }),
                own: Generation::new(7000),
                lacks: true,
                counted: true,
                forced: true,
                past: (1..=past).map(|of| point(of, of)).collect(),
            },
        }
    }

    fn slot(past: u64) -> Slot {
        let metadata = metadata(past);
        let after = checksum(&metadata.base_part().expect("fits"));
        Slot::new(&metadata, 5, past == 0, 0xdead, after)
    }

    #[test]
    fn slots_come_back_and_complete_the_metadata() {
        for past in [0, 1, 24] {
            let Ok(Read::Valid(read)) = Slot::read(&slot(past).encode()) else {
                panic!("no slot");
            };
            assert_eq!(*read, slot(past));
            assert_eq!(read.record(), &metadata(past).record);
            let part = metadata(past).base_part().expect("fits");
            assert_eq!(read.complete("disk1"), Some((metadata(past), part)));
            assert_eq!(read.complete("disk2"), None);
        }
        assert_eq!(Slot::read(&[0; SLOT_SIZE]), Ok(Read::Empty));
    }

    #[test]
    fn every_bit_that_is_flipped_is_noticed() {
        let bytes = slot(24).encode();
        for bit in 0..SLOT_SIZE * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::read(&flipped), Ok(Read::Damaged), "bit {bit}");
        }
    }

    /// Changes bytes and makes the checksum right again.
    fn forged(at: usize, value: &[u8]) -> Result<Read, MetadataError> {
        let mut bytes = slot(2).encode();
        bytes[at..at + value.len()].copy_from_slice(value);
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        Slot::read(&bytes)
    }

    #[test]
    fn what_no_version_of_ours_writes_is_damage_and_what_a_newer_one_writes_is_said() {
        for (at, value) in [
            (0, &b"H"[..]),
            (12, &[0, 1, 0, 0]),
            (23, &[0x80]),
            (48, &[0]),
            (48, &[4]),
            (49, &[2]),
            (51, &[1]),
            (60, &[16]),
            (64, &[0; 8]),
            (104, &[100, 0, 0, 0, 0, 0, 0, 0]),
            (104, &[0; 16]),
        ] {
            assert_eq!(forged(at, value), Ok(Read::Damaged), "{at} {value:?}");
        }
        let newer = forged(8, &[2]).expect_err("newer");
        assert_eq!(newer, MetadataError::SlotVersion(2));
        assert!(newer.to_string().contains("newer hastd"), "{newer}");
    }
}
