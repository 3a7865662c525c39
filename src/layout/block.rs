//! The metadata block as a whole: base's part, and behind it two slots with our record.
//!
//! | at | length | what |
//! | --- | --- | --- |
//! | 0 | 512 | base's part: its nv and the end mark (spec, section 4) |
//! | 512 | 2560 | zeros |
//! | 3072 | 512 | the slot of even `seq` |
//! | 3584 | 512 | the slot of odd `seq` |
//!
//! A change goes to the slot that does not count, and then, where it concerns base's part too, to base's
//! part; each write is durable before the next. **Assumed**: after a power cut a sector is old, new or
//! unreadable, and no other sector is harmed. So at every moment the block says the old or the new.
//! (Where whole pages are written behind our back, as Linux does, "sector" means what the disk writes at
//! once.) A larger sector holds both slots, one of 4096 bytes the whole block: one that can not be read leaves
//! no record, or, as with base, nothing.
//!
//! Base writes the whole block, zeros for what is not its own. So a slot that does not fit base's part, or an
//! empty one beside one that had company, says that base (or another program) was there after us: the
//! record is void, and base's counters speak.
//!
//! Never touches a disk: it is given what was read, and says what to write. Invariants: the slot that
//! counts is not written to; base's part is not changed while it is not known to be what that slot
//! says.

use std::fmt;

use super::metadata::{Metadata, MetadataError};
use super::record::Record;
use super::slot::{self, Read, SLOT_SIZE, Slot};
use super::{BASE_SIZE, METADATA_SIZE};

/// Where the slots begin, in bytes; the slot of `seq` is the one of that parity.
const SLOTS_AT: [usize; 2] = [3072, 3584];
/// Pieces of the smallest sector in a block.
const PIECES: usize = METADATA_SIZE / BASE_SIZE;

/// A block as it was read: what could not be read is zero, and known as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    unreadable: [bool; PIECES],
}

impl Image {
    /// A block all of which could be read.
    pub fn whole(block: &[u8]) -> Result<Self, MetadataError> {
        if block.len() != METADATA_SIZE {
            return Err(MetadataError::Size(block.len()));
        }
        Ok(Self {
            bytes: block.to_vec(),
            unreadable: [false; PIECES],
        })
    }

    /// Reads a block in sectors of so many bytes; `read` fills a sector at an offset in bytes, and says whether
    /// it could.
    pub fn by_sectors(sector_size: u32, mut read: impl FnMut(&mut [u8], u64) -> bool) -> Self {
        let sector = sector_of(sector_size);
        let mut image = Self {
            bytes: vec![0; METADATA_SIZE],
            unreadable: [false; PIECES],
        };
        for (index, bytes) in image.bytes.chunks_mut(sector).enumerate() {
            let at = index * sector;
            if !read(bytes, at as u64) {
                bytes.fill(0);
                image.unreadable[at / BASE_SIZE..(at + sector) / BASE_SIZE].fill(true);
            }
        }
        image
    }

    fn slot(&self, index: usize) -> Result<Read, MetadataError> {
        let at = SLOTS_AT[index];
        if self.unreadable[at / BASE_SIZE] {
            return Ok(Read::Damaged);
        }
        let mut bytes = [0; SLOT_SIZE];
        bytes.copy_from_slice(&self.bytes[at..at + SLOT_SIZE]);
        Ok(match Slot::read(&bytes)? {
            Read::Valid(slot) if slot.seq % 2 != index as u64 => Read::Damaged,
            read => read,
        })
    }

    fn base_part(&self) -> &[u8] {
        &self.bytes[..BASE_SIZE]
    }
}

/// What became of our record. Reads on from "component '/path' ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// It is there.
    Record,
    /// There was none: base's component, or one just created.
    None,
    /// There was one, and base or another program has written the metadata since.
    Void,
    /// There was one, and neither slot can be read.
    Damaged,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "has its record of who has what",
            Self::None => "has no record of who has what yet: localcnt and remotecnt decide",
            Self::Void => {
                "was used by another program (base's hastd?) since it was used by this one: localcnt and \
                 remotecnt decide at the next meeting"
            }
            Self::Damaged => {
                "has lost its record of who has what (both slots of its metadata are damaged): it counts as \
                 incomplete, and everything is copied to it when it meets the other node; if the other node's \
                 copy is gone, use this one with 'hastctl role primary --force', and look at the disk"
            }
        })
    }
}

/// A block that was opened.
#[derive(Debug)]
pub struct Opened {
    /// To be written to.
    pub block: Block,
    /// What it says.
    pub metadata: Metadata,
    /// What became of the record.
    pub found: Found,
}

/// What is to be stored, found to fit.
#[derive(Debug)]
pub struct Wanted {
    metadata: Metadata,
    base_part: [u8; BASE_SIZE],
}

impl Wanted {
    /// # Errors
    /// A name too long, a record that could not be read again. Nothing was written then.
    pub fn new(metadata: &Metadata) -> Result<Self, MetadataError> {
        metadata.record.check()?;
        Ok(Self {
            metadata: metadata.clone(),
            base_part: metadata.base_part()?,
        })
    }
}

/// What is known of the block on the disk, and which slot is written next.
#[derive(Debug, Clone)]
pub struct Block {
    /// As it is on the disk, but for base's part where that lags, and for slots that are not sound.
    image: Vec<u8>,
    /// Base's part on the disk is not known to be that of the image.
    lags: bool,
    /// Which slots hold something that counts, or counted before the other.
    sound: [bool; 2],
    /// The slot to be written next.
    target: usize,
    /// The greatest used.
    seq: u64,
}

impl Block {
    /// Reads a block. `resource` is whose it is believed to be: needed where base's part can not be read.
    ///
    /// # Errors
    /// No metadata, or a newer version's; [`MetadataError::Unreadable`] where base's part can not be read and
    /// no slot stands for it.
    pub fn open(image: &Image, resource: Option<&str>) -> Result<Opened, MetadataError> {
        let slots = [image.slot(0)?, image.slot(1)?];
        let newest = newest(&slots);
        let mut block = Self {
            image: image.bytes.clone(),
            lags: false,
            sound: [false; 2],
            // A first slot that was cut short is written again: two damaged ones mean something else.
            target: usize::from(slots != [Read::Damaged, Read::Empty]),
            seq: newest.map_or(0, |slot| slot.seq),
        };
        let Some(slot) = newest else {
            let found = if slots == [Read::Damaged, Read::Damaged] {
                Found::Damaged
            } else {
                // One damaged slot beside an empty one: the first write of a slot was cut short.
                Found::None
            };
            return block.without_record(image, found);
        };
        let (this, other) = (index_of(slot.seq), 1 - index_of(slot.seq));
        if slots[other] == Read::Empty && !slot.alone {
            // The empty slot is what shows it, and stays until the other one is overwritten.
            block.target = this;
            return block.without_record(image, Found::Void);
        }
        block.target = other;
        block.sound[this] = true;
        block.sound[other] = matches!(slots[other], Read::Valid(_));
        block.with_record(image, slot, resource)
    }

    fn without_record(self, image: &Image, found: Found) -> Result<Opened, MetadataError> {
        if image.unreadable[0] {
            return Err(MetadataError::Unreadable);
        }
        let (mut metadata, _) = Metadata::of_base_part(&image.bytes)?;
        if found == Found::Damaged {
            metadata.record = Record {
                lacks: true,
                ..Record::default()
            };
        }
        Ok(Opened {
            block: self,
            metadata,
            found,
        })
    }

    /// Base's part is what the slot says, or what it was before the slot was written, or something that was
    /// written since.
    fn with_record(
        mut self,
        image: &Image,
        slot: &Slot,
        resource: Option<&str>,
    ) -> Result<Opened, MetadataError> {
        let found = Found::Record;
        let part = slot::checksum(image.base_part());
        let name = if image.unreadable[0] {
            resource.ok_or(MetadataError::Unreadable)?.to_owned()
        } else {
            let (mut metadata, length) = Metadata::of_base_part(&image.bytes)?;
            if part == slot.after && length < BASE_SIZE {
                metadata.record = slot.record().clone();
                return Ok(Opened {
                    block: self,
                    metadata,
                    found,
                });
            }
            if part != slot.before || length >= BASE_SIZE {
                self.sound = [false; 2];
                return self.without_record(image, Found::Void);
            }
            metadata.resource
        };
        let Some((metadata, base_part)) = slot.complete(&name) else {
            return if image.unreadable[0] {
                Err(MetadataError::Unreadable)
            } else {
                self.sound = [false; 2];
                self.without_record(image, Found::Void)
            };
        };
        self.image[..BASE_SIZE].copy_from_slice(&base_part);
        self.lags = true;
        Ok(Opened {
            block: self,
            metadata,
            found,
        })
    }

    /// Whether base's part has to be written again before base may read it.
    pub fn lags(&self) -> bool {
        self.lags
    }

    /// Writes base's part again where it lags behind the slot that counts. `write` puts bytes at an offset in
    /// bytes, durably.
    pub fn repair<E>(
        &mut self,
        sector_size: u32,
        write: &mut impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.lags {
            let (begin, end) = sectors(0, BASE_SIZE, sector_size);
            write(&self.image[begin..end], begin as u64)?;
            self.lags = false;
        }
        Ok(())
    }

    /// Stores metadata; `write` puts bytes at an offset in bytes, durably. Writes a slot in any case, so that
    /// success says that the block can be written.
    ///
    /// # Errors
    /// The first of `write`. The old or the new is stored then, or, after a power cut, will be; the next store
    /// does not count on either.
    pub fn store<E>(
        &mut self,
        wanted: &Wanted,
        sector_size: u32,
        write: &mut impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.repair(sector_size, write)?;
        self.write_slot(wanted, sector_size, write)?;
        self.repair(sector_size, write)?;
        if !self.sound[self.target] {
            // With two that say the same, an empty one can only be base's doing.
            self.write_slot(wanted, sector_size, write)?;
        }
        Ok(())
    }

    fn write_slot<E>(
        &mut self,
        wanted: &Wanted,
        sector_size: u32,
        write: &mut impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let target = self.target;
        // Used up even if the write fails: what lies there then is not known, and not taken for what comes next.
        self.seq = next_seq(self.seq, target);
        let slot = Slot::new(
            &wanted.metadata,
            self.seq,
            self.holds_zeros(1 - target),
            slot::checksum(&self.image[..BASE_SIZE]),
            slot::checksum(&wanted.base_part),
        );
        let mut next = self.image.clone();
        let at = SLOTS_AT[target];
        next[at..at + SLOT_SIZE].copy_from_slice(&slot.encode());
        let changes_base = next[..BASE_SIZE] != wanted.base_part;
        next[..BASE_SIZE].copy_from_slice(&wanted.base_part);
        let (begin, end) = sectors(at, SLOT_SIZE, sector_size);
        write(&next[begin..end], begin as u64)?;
        self.image = next;
        // In one sector with the slot, base's part has changed at once.
        self.lags = changes_base && begin > 0;
        self.sound[target] = true;
        self.target = 1 - target;
        Ok(())
    }

    fn holds_zeros(&self, index: usize) -> bool {
        let at = SLOTS_AT[index];
        self.image[at..at + SLOT_SIZE].iter().all(|byte| *byte == 0)
    }
}

/// The valid slot that counts.
fn newest(slots: &[Read; 2]) -> Option<&Slot> {
    let valid = slots.iter().filter_map(|read| match read {
        Read::Valid(slot) => Some(&**slot),
        Read::Empty | Read::Damaged => None,
    });
    valid.max_by_key(|slot| slot.seq)
}

fn index_of(seq: u64) -> usize {
    (seq % 2) as usize
}

/// The next number for the slot of this index. It can not run out: what was read is below 2^63
/// ([`super::record::NUMBER_LIMIT`]), and at a million writes a second it takes 146,000 years to use up the other half.
fn next_seq(seq: u64, index: usize) -> u64 {
    let step = if index_of(seq) == index { 2 } else { 1 };
    seq.checked_add(step).expect("nobody writes 2^63 times")
}

/// The sector that a block is written and read by: the smallest is a slot's, the largest the block.
fn sector_of(sector_size: u32) -> usize {
    (sector_size as usize).clamp(BASE_SIZE, METADATA_SIZE)
}

/// The whole sectors around a range of the block: where they begin and end, in bytes.
fn sectors(at: usize, length: usize, sector_size: u32) -> (usize, usize) {
    let sector = sector_of(sector_size);
    let begin = at / sector * sector;
    (begin, (at + length).next_multiple_of(sector))
}

#[cfg(test)]
mod tests;
