//! Carrying out what an engine wants of the local component.
//!
//! Says of each task how it ended, counts failures, and logs them with restraint. Knows how fast the
//! component is, so that what takes no longer than handing it over is done at once.
//! Never decides what is done, nor in which order.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::confinement;
use super::lock;
use super::pace::Pace;
use crate::control::Statistics;
use crate::disk::{Component, DiskError};
use crate::engine::{MapSector, Operation, Outcome, Range};
use crate::layout::{Bitmap, Geometry, METADATA_SIZE, Metadata};
use crate::provider::Buffer;

/// From this length on a read is handed over, however quick the component is, in bytes.
const LONG_READ: u64 = 64 << 10;
/// How long the log says nothing more of a component's failures.
const RESTRAINT: Duration = Duration::from_secs(10);

/// Where a read puts its data.
#[derive(Debug)]
pub enum Space {
    /// The buffer of its owner.
    Pooled(Buffer),
    /// Memory of its own: for part of a request, other parts of which come from elsewhere.
    Scratch(Vec<u8>),
}

impl Deref for Space {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Pooled(buffer) => buffer,
            Self::Scratch(bytes) => bytes,
        }
    }
}

impl DerefMut for Space {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pooled(buffer) => buffer,
            Self::Scratch(bytes) => bytes,
        }
    }
}

/// What a write stores.
#[derive(Debug, Clone)]
pub enum Content {
    /// Zeros.
    Zeroes,
    /// A buffer's bytes from here on.
    Bytes(Arc<Buffer>, usize),
}

/// Something to be done on the component.
#[derive(Debug)]
pub enum Task {
    /// Fill the space from the range.
    Read(Operation, Range, Space),
    /// Store the content.
    Write(Operation, Range, Content),
    /// Give the range up.
    Delete(Operation, Range),
    /// Make what was written durable.
    Flush(Operation),
    /// Store sectors of the activemap, durably.
    Map(u64, Vec<MapSector>),
    /// Zero the activemap.
    ClearMap,
    /// Store the metadata, durably.
    Metadata(u64, Box<Metadata>),
}

/// How a task ended.
#[derive(Debug)]
pub enum Ended {
    /// A read; the space comes back, filled where the outcome is good.
    Read(Operation, Range, Space, Outcome),
    /// A write, delete or flush.
    Operation(Operation, Outcome),
    /// A write of the map.
    Map(u64, Outcome),
    /// A write of the metadata.
    Metadata(u64, Outcome),
    /// Something nobody waits for.
    Nothing,
}

/// The local component and what is known of it.
#[derive(Debug)]
pub struct Local {
    component: Component,
    geometry: Geometry,
    metaflush: AtomicBool,
    pace: Pace,
    errors: Errors,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Errors {
    read: AtomicU64,
    write: AtomicU64,
    delete: AtomicU64,
    flush: AtomicU64,
}

#[derive(Debug, Default)]
struct Log {
    said: Option<Instant>,
    unsaid: u64,
    /// What the last failure was, for status.
    last: Option<String>,
}

impl Local {
    /// The component, opened and found to be laid out like this.
    pub fn new(component: Component, geometry: Geometry, metaflush: bool) -> Self {
        Self {
            component,
            geometry,
            metaflush: AtomicBool::new(metaflush),
            pace: Pace::default(),
            errors: Errors::default(),
            log: Mutex::default(),
        }
    }

    /// How the component is divided.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether writes of the map are flushed.
    pub fn set_metaflush(&self, on: bool) {
        self.metaflush.store(on, Ordering::Relaxed);
    }

    /// Whether a task is best done at once, in whatever thread is there.
    pub fn is_quick(&self, task: &Task) -> bool {
        match task {
            // One file takes one write at a time whoever does it, and mostly into memory.
            Task::Write(..) => !self.component.is_provider() || self.pace.is_quick(),
            // A long one is worth another processor: its bytes take longer than waking one.
            Task::Read(_, range, _) => range.length < LONG_READ && self.pace.is_quick(),
            Task::Delete(..)
            | Task::Flush(_)
            | Task::Map(..)
            | Task::ClearMap
            | Task::Metadata(..) => false,
        }
    }

    /// Adds the component's failures.
    pub fn add_errors(&self, statistics: &mut Statistics) {
        statistics.read_error += self.errors.read.load(Ordering::Relaxed);
        statistics.write_error += self.errors.write.load(Ordering::Relaxed);
        statistics.delete_error += self.errors.delete.load(Ordering::Relaxed);
        statistics.flush_error += self.errors.flush.load(Ordering::Relaxed);
    }

    /// What failed last, if anything has, for status.
    pub fn last_failure(&self) -> Option<String> {
        let last = lock(&self.log).last.clone();
        last.map(|failure| format!("last failure: {failure}"))
    }

    /// Looks whether the component is still at its path.
    pub fn look(&self) {
        if let Err(error) = self.component.still_there() {
            self.complain(&error);
        }
    }

    /// This process is about to lose sight of the component's path, and keeps what it needs of it.
    pub fn confine(&self) {
        self.component.confine();
        confinement::limit_component(&self.component);
    }

    /// Does it, in this thread.
    pub fn carry_out(&self, task: Task) -> Ended {
        match task {
            Task::Read(operation, range, mut space) => {
                let result = self.pace.observe(|| {
                    self.component
                        .read_at(&mut space, self.geometry.data_offset + range.offset)
                });
                Ended::Read(
                    operation,
                    range,
                    space,
                    self.outcome(result, &self.errors.read),
                )
            }
            Task::Write(operation, range, content) => {
                let result = self.write(range, &content);
                Ended::Operation(operation, self.outcome(result, &self.errors.write))
            }
            Task::Delete(operation, range) => {
                let offset = self.geometry.data_offset + range.offset;
                let result = self.component.delete(offset, range.length);
                Ended::Operation(operation, self.outcome(result, &self.errors.delete))
            }
            Task::Flush(operation) => {
                let result = self.component.flush();
                Ended::Operation(operation, self.outcome(result, &self.errors.flush))
            }
            Task::Map(ticket, sectors) => {
                let result = self.write_map(&sectors);
                Ended::Map(ticket, self.outcome(result, &self.errors.write))
            }
            Task::ClearMap => {
                let result = self
                    .component
                    .write_zeroes(METADATA_SIZE as u64, self.geometry.map_size);
                // A map left as it was only makes a later synchronisation longer.
                let _counted = self.outcome(result, &self.errors.write);
                Ended::Nothing
            }
            Task::Metadata(ticket, metadata) => {
                let result = self.write_metadata(&metadata);
                Ended::Metadata(ticket, self.outcome(result, &self.errors.write))
            }
        }
    }

    /// Stores the metadata, durably.
    pub fn write_metadata(&self, metadata: &Metadata) -> Result<(), DiskError> {
        self.component.write_metadata_durably(metadata)
    }

    /// Reads the activemap as it lies on the disk.
    pub fn read_map(&self) -> Result<Bitmap, DiskError> {
        self.component.read_map(&self.geometry)
    }

    /// Stores an activemap, durably.
    pub fn write_whole_map(&self, map: &Bitmap) -> Result<(), DiskError> {
        self.component.write_map(&self.geometry, map)?;
        self.component.flush()
    }

    fn write(&self, range: Range, content: &Content) -> Result<(), DiskError> {
        let offset = self.geometry.data_offset + range.offset;
        self.pace.observe(|| match content {
            Content::Zeroes => self.component.write_zeroes(offset, range.length),
            Content::Bytes(buffer, start) => {
                let end = start + range.length as usize;
                self.component.write_at(&buffer[*start..end], offset)
            }
        })
    }

    /// Writes sectors, those that follow each other at once.
    fn write_map(&self, sectors: &[MapSector]) -> Result<(), DiskError> {
        let mut rest = sectors;
        while let Some(first) = rest.first() {
            let follows = |(position, sector): &(usize, &MapSector)| {
                sector.index == first.index + *position as u64
            };
            let count = rest.iter().enumerate().take_while(follows).count();
            let run: Vec<u8> = rest[..count]
                .iter()
                .flat_map(|sector| &sector.bytes)
                .copied()
                .collect();
            let size = u64::from(self.geometry.sector_size);
            let at = METADATA_SIZE as u64 + first.index * size;
            if self.metaflush.load(Ordering::Relaxed) {
                self.component.write_durably(&run, at)?;
            } else {
                self.component.write_at(&run, at)?;
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    fn outcome(&self, result: Result<(), DiskError>, counter: &AtomicU64) -> Outcome {
        result.map_err(|error| {
            counter.fetch_add(1, Ordering::Relaxed);
            self.complain(&error);
            error.errno()
        })
    }

    fn complain(&self, error: &DiskError) {
        let mut log = lock(&self.log);
        log.last = Some(error.to_string());
        if log.said.is_some_and(|said| said.elapsed() < RESTRAINT) {
            log.unsaid += 1;
            return;
        }
        match std::mem::take(&mut log.unsaid) {
            0 => log::error!("{error}"),
            more => log::error!("{error} (and {more} other failures lately)"),
        }
        log.said = Some(Instant::now());
    }
}
