//! The metadata block (spec, section 4): what a component says about itself.
//!
//! Base hastd's entries, in its order, so that it reads ours; behind them one entry of ours,
//! `inconsistent`, which base ignores, and drops when it next writes.

use super::METADATA_SIZE;
use crate::nv::{Nv, NvError};
use crate::terms::{Role, UnknownWord};

/// How far a component that is being synchronised onto may be from any one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Inconsistent {
    /// The extents set in the activemap may be stale here.
    Mapped = 1,
    /// Anything may be stale.
    Unmapped = 2,
}

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
    /// Set while the component is being synchronised onto.
    pub inconsistent: Option<Inconsistent>,
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
    /// A kind of inconsistency that we do not know.
    #[error(
        "not a HAST component that this version understands: unknown mark inconsistent={0}; was it used by a newer one?"
    )]
    Inconsistent(u8),
    /// The resource's name leaves no room for the rest.
    #[error("resource name of {0} bytes does not fit the metadata; choose a shorter one")]
    NameTooLong(usize),
}

impl Metadata {
    /// The block, [`METADATA_SIZE`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, MetadataError> {
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
        if let Some(mark) = self.inconsistent {
            nv.add_u8("inconsistent", mark as u8);
        }
        let mut block = nv.encode();
        if block.len() > METADATA_SIZE {
            return Err(MetadataError::NameTooLong(self.resource.len()));
        }
        block.resize(METADATA_SIZE, 0);
        Ok(block)
    }

    /// Reads the block. Entries that are not ours to know are ignored.
    pub fn decode(block: &[u8]) -> Result<Self, MetadataError> {
        if block.len() != METADATA_SIZE {
            return Err(MetadataError::Size(block.len()));
        }
        let nv = Nv::decode(block)?;
        let text = |name| nv.str(name).ok_or(MetadataError::Missing(name));
        let long = |name| nv.u64(name).ok_or(MetadataError::Missing(name));
        let short = |name| nv.u32(name).ok_or(MetadataError::Missing(name));
        Ok(Self {
            resource: text("resource")?.to_owned(),
            datasize: long("datasize")?,
            extentsize: short("extentsize")?,
            keepdirty: short("keepdirty")?,
            offset: long("offset")?,
            resuid: long("resuid")?,
            localcnt: long("localcnt")?,
            remotecnt: long("remotecnt")?,
            prevrole: text("prevrole")?.parse()?,
            inconsistent: match nv.u8("inconsistent") {
                None => None,
                Some(1) => Some(Inconsistent::Mapped),
                Some(2) => Some(Inconsistent::Unmapped),
                Some(unknown) => return Err(MetadataError::Inconsistent(unknown)),
            },
        })
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
            inconsistent: None,
        }
    }

    #[test]
    fn our_own_entry_is_the_last_and_comes_back() {
        let plain = metadata().encode().expect("fits");
        let length = Nv::decode(&plain).expect("valid").as_bytes().len();
        for mark in [
            None,
            Some(Inconsistent::Mapped),
            Some(Inconsistent::Unmapped),
        ] {
            let marked = Metadata {
                inconsistent: mark,
                ..metadata()
            };
            let block = marked.encode().expect("fits");
            assert_eq!(block.len(), METADATA_SIZE);
            assert_eq!(
                block[..length],
                plain[..length],
                "base's part is as without the mark"
            );
            assert_eq!(Metadata::decode(&block), Ok(marked));
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
        nv.add_u8("inconsistent", 9);
        assert_eq!(
            Metadata::decode(&padded(&nv)),
            Err(MetadataError::Inconsistent(9))
        );
    }

    #[test]
    fn what_is_no_component_is_said_to_be_none() {
        let error = |block: &[u8]| Metadata::decode(block).expect_err("none").to_string();
        assert!(error(&[0; METADATA_SIZE]).contains("was it made with 'hastctl create'?"));
        assert!(error(&[0xff; METADATA_SIZE]).contains("was it made with 'hastctl create'?"));
        assert!(error(&[0; 512]).contains("metadata of 512 bytes"));
        let long = Metadata {
            resource: "n".repeat(4000),
            ..metadata()
        };
        assert_eq!(long.encode(), Err(MetadataError::NameTooLong(4000)));
    }
}
