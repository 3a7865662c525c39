//! What lies where on a local component (spec, section 4): metadata block, activemap, data.
//! Turns values into blocks and blocks into values; never opens or reads a file.

pub mod activemap;
pub mod block;
pub mod geometry;
pub mod metadata;
pub mod record;
mod slot;
mod standing;

pub use activemap::Bitmap;
pub use block::{Block, Found, Image};
pub use geometry::{Geometry, LayoutError};
pub use metadata::{Metadata, MetadataError};
pub use record::{Generation, Point, Proposal, Record, RecordError};
pub use standing::Standing;

/// Size of the metadata block at the beginning of a component, in bytes.
pub const METADATA_SIZE: usize = 4096;

/// Size of the part of the block in which base's entries are, in bytes: the smallest sector.
pub const BASE_SIZE: usize = 512;

/// Size of an extent where `hastctl create` is not told otherwise, in bytes.
pub const DEFAULT_EXTENT_SIZE: u32 = 2 << 20;

/// How many recently used extents stay dirty where `hastctl create` is not told otherwise.
pub const DEFAULT_KEEP_DIRTY: u32 = 64;
