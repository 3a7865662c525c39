//! A component that is open: its size and sector, reads and writes.

use std::fs::{File, FileType, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hast_ffi::device;
use log::warn;
use nix::errno::Errno;
use nix::libc;

use super::error::{DiskError, DiskErrorKind, Operation};
use super::space::Abilities;
use crate::layout::Block;

/// The sector of a regular file, in bytes (spec, section 4).
pub const FILE_SECTOR: u32 = 512;

/// What a component is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only, whoever else uses it: what it holds may change meanwhile.
    ReadOnly,
    /// Reading and writing, alone.
    Exclusive,
}

/// What a component is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// A disk device: a GEOM provider on FreeBSD, a block device on Linux.
    Device,
    /// A regular file.
    File,
}

/// Which component a path leads to; a removed and created one is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Device { number: u64 },
    File { device: u64, inode: u64 },
}

/// A local component. All methods may be called from many threads at once; those that
/// overlap on the same bytes leave either's result.
#[derive(Debug)]
pub struct Component {
    pub(super) file: File,
    pub(super) medium: Medium,
    pub(super) abilities: Abilities,
    /// The metadata block, once it was read; held while it is written.
    pub(super) block: Mutex<Option<Block>>,
    /// The path leads nowhere for this process.
    confined: AtomicBool,
    path: PathBuf,
    identity: Identity,
    media_size: u64,
    sector_size: u32,
}

impl Component {
    /// Opens the component at `path` and, for [`Access::Exclusive`], locks it against every
    /// other worker and hastctl: with flock(2), as base hastd does, so that they exclude
    /// each other too. The lock ends with the `Component`.
    ///
    /// # Errors
    /// Nothing there, not permitted, neither disk nor file, in use by another process.
    pub fn open(path: &Path, access: Access) -> Result<Self, DiskError> {
        let failed =
            |error: &io::Error| DiskError::from_errno(errno_of(error), path, Operation::Open);

        // Looked at before it is opened: opening a FIFO or a tape would wait or wind.
        let found = std::fs::metadata(path).map_err(|error| failed(&error))?;
        medium_of(path, found.file_type())?;
        let file = open_options(access, found.file_type())
            .open(path)
            .map_err(|e| failed(&e))?;
        let found = file.metadata().map_err(|error| failed(&error))?;
        let medium = medium_of(path, found.file_type())?;
        if access == Access::Exclusive {
            lock(&file, path)?;
        }
        let (media_size, sector_size) = match dimensions(&file, medium) {
            // A character device that knows neither is no disk.
            Err(Errno::ENOTTY | Errno::ENODEV) => return Err(unsuitable(path)),
            dimensions => {
                dimensions.map_err(|errno| DiskError::from_errno(errno, path, Operation::Open))?
            }
        };
        Ok(Self {
            file,
            medium,
            abilities: Abilities::default(),
            block: Mutex::default(),
            confined: AtomicBool::new(false),
            path: path.to_owned(),
            identity: identity_of(medium, &found),
            media_size,
            sector_size,
        })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size when it was opened, in bytes.
    pub fn media_size(&self) -> u64 {
        self.media_size
    }

    /// Its sector, in bytes: the unit of offsets and lengths.
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// Whether it is a disk device and not a file.
    pub fn is_provider(&self) -> bool {
        self.medium == Medium::Device
    }

    /// Its size now, in bytes.
    pub fn current_media_size(&self) -> Result<u64, DiskError> {
        media_size_of(&self.file, self.medium)
            .map_err(|errno| self.error(errno, Operation::Examine))
    }

    /// This process is about to lose sight of the path.
    pub fn confine(&self) {
        self.confined.store(true, Ordering::Relaxed);
    }

    /// Checks that the path still leads to this component. An open file works on after it was
    /// removed, and everything written to it is then lost with its last user: a worker
    /// looks now and then.
    ///
    /// # Errors
    /// [`DiskErrorKind::Vanished`] where it was removed or replaced.
    pub fn still_there(&self) -> Result<(), DiskError> {
        let gone = || DiskError::new(DiskErrorKind::Vanished, &self.path, Operation::Examine);
        if self.confined.load(Ordering::Relaxed) {
            return if self.has_a_name() {
                Ok(())
            } else {
                Err(gone())
            };
        }
        match std::fs::metadata(&self.path) {
            Ok(found) => match medium_of(&self.path, found.file_type()) {
                Ok(medium) if identity_of(medium, &found) == self.identity => Ok(()),
                _ => Err(gone()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone()),
            Err(error) => Err(self.error(errno_of(&error), Operation::Examine)),
        }
    }

    /// Whether the open component is one that something still leads to: all that can be seen of it without
    /// its path.
    fn has_a_name(&self) -> bool {
        match self.medium {
            Medium::File => self.file.metadata().is_ok_and(|found| found.nlink() > 0),
            Medium::Device => media_size_of(&self.file, self.medium).is_ok(),
        }
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`DiskErrorKind::Ended`] where the component was cut short since it was opened.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let operation = Operation::Read {
            offset,
            length: buffer.len() as u64,
        };
        self.check_bounds(offset, buffer.len() as u64, operation)?;
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => return Err(self.ended(offset + done as u64, operation)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(errno_of(&error), operation)),
            }
        }
        Ok(())
    }

    /// Writes `data` at `offset`. It survives a power cut once [`Component::flush`] has
    /// succeeded after it.
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        let operation = Operation::Write {
            offset,
            length: data.len() as u64,
        };
        self.check_bounds(offset, data.len() as u64, operation)?;
        self.write_whole(data, offset, operation)
    }

    /// Writes within bounds already checked, on behalf of `operation`.
    pub(super) fn write_whole(
        &self,
        data: &[u8],
        offset: u64,
        operation: Operation,
    ) -> Result<(), DiskError> {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            match self.file.write_at(&data[done..], at) {
                Ok(0) => return Err(self.ended(at, operation)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match errno_of(&error) {
                    // A device has no space to run out of: that is its end.
                    Errno::ENOSPC if self.is_provider() => return Err(self.ended(at, operation)),
                    errno => return Err(self.error(errno, operation)),
                },
            }
        }
        Ok(())
    }

    /// Refuses a range that was not part of the component when it was opened: a write there
    /// would make a file longer.
    pub(super) fn check_bounds(
        &self,
        offset: u64,
        length: u64,
        operation: Operation,
    ) -> Result<(), DiskError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.media_size => Ok(()),
            _ => {
                let kind = DiskErrorKind::OutOfBounds {
                    operation,
                    media_size: self.media_size,
                };
                Err(DiskError::new(kind, &self.path, operation))
            }
        }
    }

    pub(super) fn error(&self, errno: Errno, operation: Operation) -> DiskError {
        DiskError::from_errno(errno, &self.path, operation)
    }

    pub(super) fn ended(&self, at: u64, operation: Operation) -> DiskError {
        DiskError::new(
            DiskErrorKind::Ended { operation, at },
            &self.path,
            operation,
        )
    }
}

/// The errno of an error that came from the system; all of File's and FileExt's do.
pub(super) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(target_os = "freebsd")]
fn is_disk(found: FileType) -> bool {
    found.is_char_device()
}

#[cfg(not(target_os = "freebsd"))]
fn is_disk(found: FileType) -> bool {
    found.is_block_device()
}

fn medium_of(path: &Path, found: FileType) -> Result<Medium, DiskError> {
    if found.is_file() {
        Ok(Medium::File)
    } else if is_disk(found) {
        Ok(Medium::Device)
    } else {
        Err(unsuitable(path))
    }
}

fn unsuitable(path: &Path) -> DiskError {
    DiskError::new(DiskErrorKind::Unsuitable, path, Operation::Open)
}

fn identity_of(medium: Medium, found: &Metadata) -> Identity {
    match medium {
        Medium::Device => Identity::Device {
            number: found.rdev(),
        },
        Medium::File => Identity::File {
            device: found.dev(),
            inode: found.ino(),
        },
    }
}

fn open_options(access: Access, found: FileType) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Exclusive);
    // On a Linux block device this refuses one that is mounted or part of another
    // device; GEOM refuses that on FreeBSD by itself.
    if access == Access::Exclusive && found.is_block_device() {
        options.custom_flags(libc::O_EXCL);
    }
    options
}

/// Takes the lock, which is flock(2) on both systems.
fn lock(file: &File, path: &Path) -> Result<(), DiskError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(DiskError::new(DiskErrorKind::Locked, path, Operation::Open))
        }
        Err(TryLockError::Error(error)) if errno_of(&error) == Errno::EOPNOTSUPP => {
            warn!(
                "component '{}' can not be locked on its file system: make sure that nothing \
                 else uses it",
                path.display()
            );
            Ok(())
        }
        Err(TryLockError::Error(error)) => Err(DiskError::from_errno(
            errno_of(&error),
            path,
            Operation::Open,
        )),
    }
}

/// Its size and its sector, in bytes.
fn dimensions(file: &File, medium: Medium) -> Result<(u64, u32), Errno> {
    let sector_size = match medium {
        Medium::File => FILE_SECTOR,
        Medium::Device => device::sector_size(file.as_fd())?,
    };
    Ok((media_size_of(file, medium)?, sector_size))
}

fn media_size_of(file: &File, medium: Medium) -> Result<u64, Errno> {
    match medium {
        Medium::File => Ok(file.metadata().map_err(|error| errno_of(&error))?.len()),
        Medium::Device => device::media_size(file.as_fd()),
    }
}

impl AsFd for Component {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
