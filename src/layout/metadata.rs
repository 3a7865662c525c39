//! The metadata block (spec, section 4): what a component says about itself.
//!
//! Base hastd's entries and nothing else, in its order, so that each reads what the other wrote. Our record
//! lies behind them in the same block, in two slots; see [`super::block`].
//!
//! Invariant: what we write of base's part fits the first [`BASE_SIZE`] bytes, with the end mark. So it
//! lies in one sector, and a power cut leaves the old one, the new one or an unreadable one, never a mixture.

use super::block::{Block, Image};
use super::record::{Record, RecordError};
use super::{BASE_SIZE, METADATA_SIZE};
use crate::nv::{Nv, NvError};
use crate::terms::{Role, UnknownWord};

/// The longest name that base's part has room for, in bytes, whatever the role beside it.
pub(super) const MAX_NAME: usize = 255;

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The resource it belongs to.
    pub resource: String,
    /// Size of the data, in bytes.
    pub datasize: u64,
    /// Size of an extent, in bytes.
    pub extentsize: u32,
    /// How many recently used extents stay dirty.
    pub keepdirty: u32,
    /// Where the data begins, in bytes.
    pub offset: u64,
    /// Names the data set; 0 until a primary invents it.
    pub resuid: u64,
    /// How often this node's data moved on without the other.
    pub localcnt: u64,
    /// The last localcnt known of the other.
    pub remotecnt: u64,
    /// The role in which the component was last used.
    pub prevrole: Role,
    /// What it knows of who has what; ours alone.
    pub record: Record,
}

/// Why a block is no metadata, or no block can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A block of another size.
    #[error("not a HAST component: metadata of {0} bytes where there must be {METADATA_SIZE}")]
    Size(usize),
    /// Not an nv list.
    #[error("not a HAST component: {0}; was it made with 'hastctl create'?")]
    Nv(#[from] NvError),
    /// An entry that must be there is not, or is not of its type.
    #[error(
        "not a HAST component: no valid '{0}' in its metadata; was it made with 'hastctl create'?"
    )]
    Missing(&'static str),
    /// A role that we do not know.
    #[error("not a HAST component that this version understands: {0}")]
    Role(#[from] UnknownWord),
    /// A slot that a newer version of ours wrote.
    #[error(
        "not a HAST component that this version understands: its record is of version {0}; was it used by a newer hastd?"
    )]
    SlotVersion(u32),
    /// The first sector could not be read, and nothing else says what was in it.
    #[error("its metadata can not be read")]
    Unreadable,
    /// A record that could not be read again.
    #[error("this can not be stored in its metadata: {0}")]
    Record(#[from] RecordError),
    /// The resource's name leaves no room for the rest.
    #[error("resource name of {0} bytes does not fit the metadata; choose a shorter one")]
    NameTooLong(usize),
}

impl Metadata {
    /// The block as base has it, [`METADATA_SIZE`] bytes: no slots, and so no record.
    pub fn encode(&self) -> Result<Vec<u8>, MetadataError> {
        let mut block = self.base_part()?.to_vec();
        block.resize(METADATA_SIZE, 0);
        Ok(block)
    }

    /// Reads a block, all of which could be read. Entries that are not ours to know are ignored.
    pub fn decode(block: &[u8]) -> Result<Self, MetadataError> {
        let opened = Block::open(&Image::whole(block)?, None)?;
        Ok(opened.metadata)
    }

    /// Base's part of the block.
    pub(super) fn base_part(&self) -> Result<[u8; BASE_SIZE], MetadataError> {
        if self.resource.len() > MAX_NAME {
            return Err(MetadataError::NameTooLong(self.resource.len()));
        }
        let mut nv = Nv::new();
        nv.add_str("resource", &self.resource)
            .add_u64("datasize", self.datasize);
        nv.add_u32("extentsize", self.extentsize)
            .add_u32("keepdirty", self.keepdirty);
        nv.add_u64("offset", self.offset)
            .add_u64("resuid", self.resuid);
        nv.add_u64("localcnt", self.localcnt)
            .add_u64("remotecnt", self.remotecnt);
        nv.add_str("prevrole", self.prevrole.word());
        let entries = nv.as_bytes();
        let mut part = [0; BASE_SIZE];
        part[..entries.len()].copy_from_slice(entries);
        Ok(part)
    }

    /// Reads base's entries; the record is that of a component which has none. Says also how long the
    /// entries are, in bytes.
    pub(super) fn of_base_part(block: &[u8]) -> Result<(Self, usize), MetadataError> {
        let nv = Nv::decode(block)?;
        let text = |name| nv.str(name).ok_or(MetadataError::Missing(name));
        let long = |name| nv.u64(name).ok_or(MetadataError::Missing(name));
        let short = |name| nv.u32(name).ok_or(MetadataError::Missing(name));
        let resuid = long("resuid")?;
        let metadata = Self {
            resource: text("resource")?.to_owned(),
            datasize: long("datasize")?,
            extentsize: short("extentsize")?,
            keepdirty: short("keepdirty")?,
            offset: long("offset")?,
            resuid,
            localcnt: long("localcnt")?,
            remotecnt: long("remotecnt")?,
            prevrole: text("prevrole")?.parse()?,
            record: Record::of_base(resuid),
        };
        Ok((metadata, nv.as_bytes().len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
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
            record: Record::of_base(u64::MAX),
        }
    }

    #[test]
    fn what_base_would_write_comes_back_with_the_record_of_base() {
        let block = metadata().encode().expect("fits");
        assert_eq!(block.len(), METADATA_SIZE);
        assert!(block[BASE_SIZE..].iter().all(|byte| *byte == 0));
        assert_eq!(Metadata::decode(&block), Ok(metadata()));
        let ours = Metadata {
            record: Record {
                lacks: true,
                ..Record::default()
            },
            ..metadata()
        };
        assert_eq!(ours.encode(), Ok(block), "no entry of ours");
    }

    #[test]
    fn the_longest_name_leaves_base_s_part_in_one_sector() {
        let named = |length| Metadata {
            resource: "n".repeat(length),
            ..metadata()
        };
        let longest = named(MAX_NAME);
        let block = longest.encode().expect("fits");
        assert_eq!(block[BASE_SIZE - 2], 0, "the end mark");
        assert_eq!(Metadata::decode(&block), Ok(longest));
        for length in [MAX_NAME + 1, 4000] {
            let refused = named(length).encode();
            assert_eq!(refused, Err(MetadataError::NameTooLong(length)));
        }
    }

    #[test]
    fn unknown_entries_are_ignored_and_missing_ones_named() {
        let mut nv = Nv::decode(&metadata().encode().expect("fits")).expect("valid");
        let padded = |nv: &Nv| {
            let mut block = nv.encode();
            block.resize(METADATA_SIZE, 0);
            block
        };
        nv.add_str("colour", "green");
        assert_eq!(Metadata::decode(&padded(&nv)), Ok(metadata()));
        for missing in nv.entries().filter(|entry| entry.name != b"colour") {
            let mut without = Nv::new();
            for entry in nv.entries().filter(|entry| entry.name != missing.name) {
                without.writer().copy(entry);
            }
            let error = Metadata::decode(&padded(&without))
                .expect_err("incomplete")
                .to_string();
            let name = String::from_utf8_lossy(missing.name);
            assert!(error.contains(&format!("no valid '{name}'")), "{error}");
        }
    }

    #[test]
    fn what_is_no_component_is_said_to_be_none() {
        let error = |block: &[u8]| Metadata::decode(block).expect_err("none").to_string();
        assert!(error(&[0; METADATA_SIZE]).contains("was it made with 'hastctl create'?"));
        assert!(error(&[0xff; METADATA_SIZE]).contains("was it made with 'hastctl create'?"));
        assert!(error(&[0; 512]).contains("metadata of 512 bytes"));
    }
}
