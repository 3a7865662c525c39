//! The metadata and the activemap in their places on a component (spec, section 4): made,
//! checked before use, read and stored. What they mean, and when the map has to be on
//! stable storage, is the engine's.
//!
//! Nothing is written to a component that is not this resource's, or whose size is not what
//! it was made for.

use std::path::Path;

use super::component::{Access, Component};
use super::error::{DiskError, DiskErrorKind, Operation};
use crate::layout::activemap::Bitmap;
use crate::layout::geometry::Geometry;
use crate::layout::metadata::{Metadata, MetadataError};
use crate::layout::{DEFAULT_EXTENT_SIZE, DEFAULT_KEEP_DIRTY, METADATA_SIZE};
use crate::terms::Role;

/// What `hastctl create` may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateOptions {
    /// How much of the component to use, in bytes; all of it, where not said.
    pub media_size: Option<u64>,
    /// In bytes.
    pub extent_size: u32,
    /// How many recently used extents stay dirty.
    pub keep_dirty: u32,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            media_size: None,
            extent_size: DEFAULT_EXTENT_SIZE,
            keep_dirty: DEFAULT_KEEP_DIRTY,
        }
    }
}

/// A component whose metadata was found to fit its resource and its size.
#[derive(Debug)]
pub struct Prepared {
    /// Open, and locked if for use.
    pub component: Component,
    /// As read.
    pub metadata: Metadata,
    /// How the component is divided; its `media_size` is the part in use.
    pub geometry: Geometry,
}

/// Opens a component for a worker of `resource`: alone, and only if it is this resource's and
/// has the size that it was made for.
///
/// # Errors
/// Those of [`Component::open`] and [`Component::read_metadata`],
/// [`DiskErrorKind::OtherResource`], [`DiskErrorKind::OtherSize`], [`DiskErrorKind::OtherLayout`].
/// Nothing was written then.
pub fn open_for_use(path: &Path, resource: &str) -> Result<Prepared, DiskError> {
    let component = Component::open(path, Access::Exclusive)?;
    // Whoever had it before may have been killed between a write and its flush: what is read now, a
    // mark of the activemap above all, must be on the medium.
    component.flush()?;
    let metadata = component.read_metadata()?;
    if metadata.resource != resource {
        return Err(component.refused(DiskErrorKind::OtherResource {
            found: metadata.resource,
            expected: resource.to_owned(),
        }));
    }
    let geometry = check_geometry(&component, &metadata)?;
    Ok(Prepared {
        component,
        metadata,
        geometry,
    })
}

/// Makes a component of `resource`: metadata of a component that was never used and an empty map.
/// What it held before is lost. Cut short at any moment it leaves no component, rather
/// than one with another's map.
///
/// # Errors
/// Those of [`Component::open`], a size that can not be had or divided, and failed writes.
pub fn create(path: &Path, resource: &str, options: CreateOptions) -> Result<Prepared, DiskError> {
    let component = Component::open(path, Access::Exclusive)?;
    let has = component.media_size();
    let media_size = options.media_size.unwrap_or(has);
    if media_size > has {
        return Err(component.refused(DiskErrorKind::TooSmall {
            wanted: media_size,
            has,
        }));
    }
    let geometry = Geometry::new(media_size, component.sector_size(), options.extent_size)
        .map_err(|error| component.refused(DiskErrorKind::Layout(error)))?;
    let metadata = Metadata {
        resource: resource.to_owned(),
        datasize: geometry.data_size,
        extentsize: geometry.extent_size,
        keepdirty: options.keep_dirty,
        offset: geometry.data_offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        inconsistent: None,
    };
    // Before anything is overwritten: a name too long must cost nothing.
    let block = component.encoded(&metadata)?;
    component.write_at(&[0; METADATA_SIZE], 0)?;
    component.flush()?;
    component.write_map(&geometry, &Bitmap::new(geometry.extents))?;
    component.flush()?;
    component.write_at(&block, 0)?;
    component.flush()?;
    Ok(Prepared {
        component,
        metadata,
        geometry,
    })
}

/// The division that the metadata speaks of, if that is what the component allows. It may
/// be larger than what it was made for (`hastctl create -m`), never smaller.
fn check_geometry(component: &Component, metadata: &Metadata) -> Result<Geometry, DiskError> {
    let has = component.media_size();
    let made_for = metadata.offset.saturating_add(metadata.datasize);
    if made_for > has {
        return Err(component.refused(DiskErrorKind::OtherSize { made_for, has }));
    }
    let geometry = Geometry::new(made_for, component.sector_size(), metadata.extentsize)
        .map_err(|error| component.refused(DiskErrorKind::Layout(error)))?;
    if geometry.data_offset != metadata.offset {
        return Err(component.refused(DiskErrorKind::OtherLayout {
            offset: metadata.offset,
            expected: geometry.data_offset,
        }));
    }
    Ok(geometry)
}

impl Component {
    /// Reads the metadata.
    ///
    /// # Errors
    /// [`DiskErrorKind::Metadata`] where there is none.
    pub fn read_metadata(&self) -> Result<Metadata, DiskError> {
        if self.media_size() < METADATA_SIZE as u64 {
            let error = MetadataError::Size(self.media_size() as usize);
            return Err(self.refused(DiskErrorKind::Metadata(error)));
        }
        let mut block = [0; METADATA_SIZE];
        self.read_at(&mut block, 0)?;
        Metadata::decode(&block).map_err(|error| self.refused(DiskErrorKind::Metadata(error)))
    }

    /// Stores the metadata; on success it survives a power cut, and so does everything
    /// written before.
    pub fn write_metadata(&self, metadata: &Metadata) -> Result<(), DiskError> {
        self.write_at(&self.encoded(metadata)?, 0)?;
        self.flush()
    }

    /// Reads the activemap.
    pub fn read_map(&self, geometry: &Geometry) -> Result<Bitmap, DiskError> {
        let mut bytes = vec![0; geometry.map_size as usize];
        self.read_at(&mut bytes, METADATA_SIZE as u64)?;
        Ok(Bitmap::from_bytes(geometry.extents, &bytes))
    }

    /// Writes the whole activemap. It survives a power cut after the next flush.
    pub fn write_map(&self, geometry: &Geometry, map: &Bitmap) -> Result<(), DiskError> {
        let bytes = map.to_bytes(geometry.map_size as usize);
        self.write_at(&bytes, METADATA_SIZE as u64)
    }

    pub(super) fn encoded(&self, metadata: &Metadata) -> Result<Vec<u8>, DiskError> {
        metadata
            .encode()
            .map_err(|error| self.refused(DiskErrorKind::Metadata(error)))
    }

    fn refused(&self, kind: DiskErrorKind) -> DiskError {
        DiskError::new(kind, self.path(), Operation::Open)
    }
}

#[cfg(test)]
mod tests;
