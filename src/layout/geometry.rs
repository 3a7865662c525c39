//! Sizes and places: how a component of a given size is divided (spec, section 4).

use std::ops::RangeInclusive;

use super::{METADATA_SIZE, Metadata};

/// The largest extent: the handshake carries its size as an int32.
const MAX_EXTENT_SIZE: u32 = 1 << 30;

/// Why a component can not be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A sector size that no disk has.
    #[error(
        "sector size {0} is not a power of two from 1 to {METADATA_SIZE}; give the component sectors of 512 or 4096 bytes"
    )]
    SectorSize(u32),
    /// An extent size that can not be used.
    #[error(
        "extent size {extent_size} is not a power of two from the sector size {sector_size} to {MAX_EXTENT_SIZE}; choose another with 'hastctl create -e'"
    )]
    ExtentSize {
        /// In bytes.
        extent_size: u32,
        /// In bytes.
        sector_size: u32,
    },
    /// Sizes are of whole sectors.
    #[error(
        "size {media_size} is not a multiple of the sector size {sector_size}; choose one that is with 'hastctl create -m'"
    )]
    Unaligned {
        /// In bytes.
        media_size: u64,
        /// In bytes.
        sector_size: u32,
    },
    /// Nothing would be left for data.
    #[error(
        "component of {media_size} bytes is too small: metadata and activemap alone take {needed}"
    )]
    TooSmall {
        /// In bytes.
        media_size: u64,
        /// Bytes before the data.
        needed: u64,
    },
    /// More than the formats can express.
    #[error(
        "component of {media_size} bytes is too large for extents of {extent_size}; choose larger ones with 'hastctl create -e'"
    )]
    TooLarge {
        /// In bytes.
        media_size: u64,
        /// In bytes.
        extent_size: u32,
    },
    /// The metadata say that there is more than there is.
    #[error(
        "component of {media_size} bytes is shorter than the {needed} that its metadata say; was it shrunk, or copied only in part?"
    )]
    Shrunk {
        /// In bytes.
        media_size: u64,
        /// Where the data end according to the metadata.
        needed: u64,
    },
    /// The metadata contradict themselves.
    #[error(
        "metadata that cannot be: {data_size} bytes of data at {data_offset} with extents of {extent_size}; is it damaged?"
    )]
    Contradiction {
        /// In bytes.
        data_size: u64,
        /// In bytes.
        data_offset: u64,
        /// In bytes.
        extent_size: u32,
    },
}

/// How a component is divided. All sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The whole component.
    pub media_size: u64,
    /// A power of two; every size and offset here is a multiple of it.
    pub sector_size: u32,
    /// A power of two.
    pub extent_size: u32,
    /// How many extents the data has, the last one maybe short.
    pub extents: u64,
    /// The activemap on disk, from [`METADATA_SIZE`] on: whole sectors, maybe more than `extents`
    /// bits need.
    pub map_size: u64,
    /// Where the data begins.
    pub data_offset: u64,
    /// The data: what the device offers.
    pub data_size: u64,
}

impl Geometry {
    /// Divides a component of `media_size` bytes.
    pub fn new(media_size: u64, sector_size: u32, extent_size: u32) -> Result<Self, LayoutError> {
        if !sector_size.is_power_of_two() || sector_size as usize > METADATA_SIZE {
            return Err(LayoutError::SectorSize(sector_size));
        }
        let extent_sizes = sector_size..=MAX_EXTENT_SIZE;
        if !extent_size.is_power_of_two() || !extent_sizes.contains(&extent_size) {
            return Err(LayoutError::ExtentSize {
                extent_size,
                sector_size,
            });
        }
        let (sector, extent) = (u64::from(sector_size), u64::from(extent_size));
        if !media_size.is_multiple_of(sector) {
            return Err(LayoutError::Unaligned {
                media_size,
                sector_size,
            });
        }
        let metadata_size = METADATA_SIZE as u64;
        // Counted as base counts: over everything behind the metadata, its own map included.
        let mapped = media_size.saturating_sub(metadata_size).div_ceil(extent);
        let map_size = mapped.div_ceil(8).next_multiple_of(sector);
        let data_offset = metadata_size + map_size;
        if media_size <= data_offset {
            return Err(LayoutError::TooSmall {
                media_size,
                needed: data_offset,
            });
        }
        if i64::try_from(media_size).is_err() || u32::try_from(map_size).is_err() {
            return Err(LayoutError::TooLarge {
                media_size,
                extent_size,
            });
        }
        let data_size = media_size - data_offset;
        Ok(Self {
            media_size,
            sector_size,
            extent_size,
            extents: data_size.div_ceil(extent),
            map_size,
            data_offset,
            data_size,
        })
    }

    /// How an existing component is divided, by what its metadata say: maybe for other sectors than
    /// it has now, maybe only a part of it (`hastctl create -m`).
    pub fn of_component(
        metadata: &Metadata,
        media_size: u64,
        sector_size: u32,
    ) -> Result<Self, LayoutError> {
        let Metadata {
            datasize,
            extentsize,
            offset,
            ..
        } = *metadata;
        let contradiction = LayoutError::Contradiction {
            data_size: datasize,
            data_offset: offset,
            extent_size: extentsize,
        };
        let end = offset.checked_add(datasize).ok_or(contradiction)?;
        if end > media_size {
            return Err(LayoutError::Shrunk {
                media_size,
                needed: end,
            });
        }
        if !sector_size.is_power_of_two() || sector_size as usize > METADATA_SIZE {
            return Err(LayoutError::SectorSize(sector_size));
        }
        let sector = u64::from(sector_size);
        let aligned = offset.is_multiple_of(sector) && datasize.is_multiple_of(sector);
        let extent_fits =
            extentsize.is_power_of_two() && (sector_size..=MAX_EXTENT_SIZE).contains(&extentsize);
        if !aligned || !extent_fits || datasize == 0 {
            return Err(contradiction);
        }
        let extents = datasize.div_ceil(u64::from(extentsize));
        let map_size = offset
            .checked_sub(METADATA_SIZE as u64)
            .ok_or(contradiction)?;
        if map_size < extents.div_ceil(8) {
            return Err(contradiction);
        }
        Ok(Self {
            media_size,
            sector_size,
            extent_size: extentsize,
            extents,
            map_size,
            data_offset: offset,
            data_size: datasize,
        })
    }

    /// The extents that a range of the data touches; `length` must not be 0.
    pub fn extents_of(&self, offset: u64, length: u64) -> RangeInclusive<u64> {
        debug_assert!(
            length > 0 && offset + length <= self.data_size,
            "{offset}+{length}"
        );
        let extent = u64::from(self.extent_size);
        offset / extent..=(offset + length.saturating_sub(1)) / extent
    }

    /// Where an extent begins in the data, and how long it is: the last one may be short.
    pub fn range_of(&self, extent: u64) -> (u64, u64) {
        let offset = extent * u64::from(self.extent_size);
        (
            offset,
            u64::from(self.extent_size).min(self.data_size.saturating_sub(offset)),
        )
    }
}

#[cfg(test)]
mod tests;
