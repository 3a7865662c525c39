//! The metadata and the activemap in their places on a component (spec, section 4): made,
//! checked before use, read and stored. What they mean, and when the map has to be on
//! stable storage, is the engine's.
//!
//! Nothing is written to a component that is not this resource's, or whose size is not what
//! it was made for. What is known of the metadata block ([`Block`]) is kept beside the component: the
//! first read of the metadata finds it out, each write needs it.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use log::{error, info};

use super::component::{Access, Component};
use super::error::{DiskError, DiskErrorKind, Operation};
use crate::layout::activemap::Bitmap;
use crate::layout::block::{Block, Found, Image, Opened, Wanted};
use crate::layout::geometry::Geometry;
use crate::layout::metadata::{Metadata, MetadataError};
use crate::layout::{DEFAULT_EXTENT_SIZE, DEFAULT_KEEP_DIRTY, METADATA_SIZE, Record};
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
    /// What became of the record in it.
    pub found: Found,
    /// How the component is divided; its `media_size` is the part in use.
    pub geometry: Geometry,
}

/// Opens a component for a worker of `resource`: alone, and only if it is this resource's and
/// has the size that it was made for. Where a power cut kept base's part of the metadata from being
/// written, that is made good.
///
/// # Errors
/// Those of [`Component::open`] and [`Component::read_metadata`],
/// [`DiskErrorKind::OtherResource`], [`DiskErrorKind::OtherSize`], [`DiskErrorKind::OtherLayout`]:
/// nothing was written then. A write that failed.
pub fn open_for_use(path: &Path, resource: &str) -> Result<Prepared, DiskError> {
    let component = Component::open(path, Access::Exclusive)?;
    // Whoever had it before may have been killed between a write and its flush: what is read now, a
    // mark of the activemap above all, must be on the medium.
    component.flush()?;
    let (metadata, found) = component.load(Some(resource))?;
    if metadata.resource != resource {
        return Err(component.refused(DiskErrorKind::OtherResource {
            found: metadata.resource,
            expected: resource.to_owned(),
        }));
    }
    let geometry = check_geometry(&component, &metadata)?;
    component.repair_metadata()?;
    match found {
        Found::Record | Found::None => {}
        Found::Void => info!("component '{}' {found}", path.display()),
        Found::Damaged => error!("component '{}' {found}", path.display()),
    }
    Ok(Prepared {
        component,
        metadata,
        found,
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
        record: Record::default(),
    };
    // Before anything is overwritten: a name too long must cost nothing.
    let block = metadata
        .encode()
        .map_err(|error| component.refused(DiskErrorKind::Metadata(error)))?;
    component.write_at(&[0; METADATA_SIZE], 0)?;
    component.flush()?;
    component.write_map(&geometry, &Bitmap::new(geometry.extents))?;
    component.flush()?;
    component.write_at(&block, 0)?;
    component.flush()?;
    Ok(Prepared {
        component,
        metadata,
        found: Found::None,
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
    /// Reads the metadata as they are on the disk now.
    ///
    /// # Errors
    /// [`DiskErrorKind::Metadata`] where there is none.
    pub fn read_metadata(&self) -> Result<Metadata, DiskError> {
        Ok(self.examine_metadata()?.0)
    }

    /// As [`Component::read_metadata`], and says also what became of the record.
    pub fn examine_metadata(&self) -> Result<(Metadata, Found), DiskError> {
        self.load(None)
    }

    /// Stores the metadata; on success it survives a power cut, and so does everything
    /// written before.
    pub fn write_metadata(&self, metadata: &Metadata) -> Result<(), DiskError> {
        self.write_metadata_durably(metadata)?;
        self.flush()
    }

    /// As [`Component::write_metadata`], but for this: what was written before is not flushed.
    ///
    /// Something is written, even if nothing changes: success says that the metadata can be written.
    /// After a failure the old or the new is found at the next opening.
    pub fn write_metadata_durably(&self, metadata: &Metadata) -> Result<(), DiskError> {
        let wanted = Wanted::new(metadata).map_err(|error| self.not_metadata(error))?;
        let mut known = self.known_block();
        let mut block = match known.take() {
            Some(block) => block,
            None => self.open_block(Some(&metadata.resource))?.block,
        };
        let sector_size = self.sector_size();
        let result = block.store(&wanted, sector_size, &mut |bytes, at| {
            self.write_durably(bytes, at)
        });
        *known = Some(block);
        result
    }

    /// Checks that the metadata can be read back as they were last stored. Goes no deeper than the
    /// operating system reads: what it has in memory it may not read from the disk.
    ///
    /// # Errors
    /// Those of reading, [`DiskErrorKind::NotKept`].
    pub fn confirm_metadata(&self, metadata: &Metadata) -> Result<(), DiskError> {
        let _no_write_meanwhile = self.known_block();
        let opened = self.open_block(None)?;
        if opened.metadata == *metadata && !opened.block.lags() {
            Ok(())
        } else {
            Err(self.refused(DiskErrorKind::NotKept))
        }
    }

    /// Reads the metadata of the resource that the component is believed to be of, if that is known, and
    /// keeps what is needed for writing.
    fn load(&self, resource: Option<&str>) -> Result<(Metadata, Found), DiskError> {
        let mut known = self.known_block();
        let Opened {
            block,
            metadata,
            found,
        } = self.open_block(resource)?;
        *known = Some(block);
        Ok((metadata, found))
    }

    fn open_block(&self, resource: Option<&str>) -> Result<Opened, DiskError> {
        if self.media_size() < METADATA_SIZE as u64 {
            return Err(self.not_metadata(MetadataError::Size(self.media_size() as usize)));
        }
        let mut whole = [0; METADATA_SIZE];
        let Err(failure) = self.read_at(&mut whole, 0) else {
            return Image::whole(&whole)
                .and_then(|image| Block::open(&image, resource))
                .map_err(|error| self.not_metadata(error));
        };
        // A power cut may have left a sector that can not be read: the others say what was in it.
        let image = Image::by_sectors(self.sector_size(), |sector, offset| {
            self.read_at(sector, offset).is_ok()
        });
        Block::open(&image, resource).map_err(|error| match error {
            MetadataError::Unreadable => failure,
            error => self.not_metadata(error),
        })
    }

    fn repair_metadata(&self) -> Result<(), DiskError> {
        let sector_size = self.sector_size();
        match &mut *self.known_block() {
            Some(block) => {
                block.repair(sector_size, &mut |bytes, at| self.write_durably(bytes, at))
            }
            None => Ok(()),
        }
    }

    fn known_block(&self) -> MutexGuard<'_, Option<Block>> {
        // A panic in between has left it None, or as it was.
        self.block.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_metadata(&self, error: MetadataError) -> DiskError {
        self.refused(DiskErrorKind::Metadata(error))
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

    fn refused(&self, kind: DiskErrorKind) -> DiskError {
        DiskError::new(kind, self.path(), Operation::Open)
    }
}

#[cfg(test)]
mod tests;
