//! The metadata block (spec, section 4): what a component says about itself.
//!
//! Base hastd's entries, in its order, so that it reads ours; behind them one entry of ours,
//! `inconsistent`, which base ignores, and drops when it next writes.

use super::METADATA_SIZE;
use super::record::Record;
use crate::nv::{Nv, NvError};
use crate::terms::{Role, UnknownWord};

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
    /// What it knows of who has what.
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
            record: Record::of_base(long("resuid")?),
        })
    }
}
