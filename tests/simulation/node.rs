//! One machine: its component, its worker, and the disk operations under way. Decides nothing: it
//! carries operations out when the world says that their time has come, or, when the process
//! dies or the power goes, as far as chance has it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fastrand::Rng;
use hast::engine::base::MapSent;
use hast::engine::{MapSector, Operation, Range, Request};
use hast::layout::{Geometry, Metadata};
use hast::terms::Role;

use crate::dialect::{self, Accepted};
use crate::disk::{Disk, Reached, SECTOR, Value, sectors};
use crate::images::Image;
use crate::primary::PrimaryDriver;
use crate::secondary::SecondaryDriver;
use crate::view::Moment;

/// Data on its way: where it begins, in sectors, and what it is.
#[derive(Debug)]
pub struct Buffer {
    start: usize,
    values: Vec<Value>,
}

/// A buffer as its users share it.
pub type Shared = Rc<RefCell<Buffer>>;

impl Buffer {
    /// A buffer for a range, with the value each of its sectors is given.
    pub fn new(range: Range, value: impl Fn(usize) -> Value) -> Shared {
        let (start, values) = (sectors(range).start, sectors(range).map(value).collect());
        Rc::new(RefCell::new(Self { start, values }))
    }

    /// Part of it; `None` where the range is not within it.
    pub fn get(&self, range: Range) -> Option<Vec<Value>> {
        let span = sectors(range);
        let (from, to) = (
            span.start.checked_sub(self.start)?,
            span.end.checked_sub(self.start)?,
        );
        self.values.get(from..to).map(<[Value]>::to_vec)
    }

    /// Fills part of it; what lies outside is left out.
    pub fn fill(&mut self, range: Range, values: &[Value]) {
        for (sector, value) in sectors(range).zip(values) {
            let place = sector
                .checked_sub(self.start)
                .and_then(|at| self.values.get_mut(at));
            if let Some(place) = place {
                *place = *value;
            }
        }
    }

    /// All of it.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// What a buffer holds that was given back.
    pub fn spoil(&mut self) {
        self.values.fill(Value::MAX);
    }
}

/// An operation on the disk.
#[derive(Debug)]
pub enum Work {
    /// Fill the buffer.
    Read(Operation, Range, Shared),
    /// Store the buffer.
    Write(Operation, Range, Shared),
    /// Discard.
    Delete(Operation, Range),
    /// Flush.
    Flush(Operation),
    /// A durable write of map sectors.
    Map(u64, Vec<MapSector>),
    /// A durable write of the metadata.
    Metadata(u64, Box<Metadata>),
    /// Clear the map.
    ClearMap,
    /// Store what a handshake decided, for this connection.
    Agree(u64, Box<Accepted>),
}

/// An operation under way.
#[derive(Debug)]
pub struct Job {
    /// What it is.
    pub work: Work,
    /// When it began.
    pub begun: Moment,
    /// It will fail.
    pub fails: bool,
    /// A flush: it gives up what it was to write.
    pub gives_up: bool,
    /// The saboteur: leave durable writes in the cache, and flush nothing.
    pub unflushed: bool,
}

/// What runs on a node for the resource.
#[derive(Debug)]
pub enum Worker {
    /// Nothing.
    None,
    /// A primary.
    Primary(Box<PrimaryDriver>),
    /// A secondary with a connection, or finishing after one.
    Secondary(Box<SecondaryDriver>),
}

/// One machine.
#[derive(Debug)]
pub struct Node {
    /// Its component.
    pub disk: Disk,
    /// Its component's layout.
    pub geometry: Geometry,
    /// Whether it has power.
    pub powered: bool,
    /// What its daemon was told to be.
    pub role: Role,
    /// What runs.
    pub worker: Worker,
    /// Names the worker; grows.
    pub incarnation: u64,
    /// The component was made anew and never met a primary.
    pub fresh: bool,
    /// Operations under way.
    pub jobs: BTreeMap<u64, Job>,
    /// When its disk last failed.
    pub last_fault: Moment,
    /// The last write of its metadata failed.
    pub record_fails: bool,
    /// An older image of its component.
    pub image: Option<Box<Image>>,
    /// Its primary said that the other node is of no use to it any more.
    pub hopeless: bool,
    /// What applications still wait for while a dead primary worker is replaced.
    pub requeued: Vec<(Request, Shared)>,
    /// A primary here may acknowledge what only it has.
    pub permitted: bool,
}

impl Node {
    /// A machine with a new component.
    pub fn new(geometry: Geometry, keepdirty: u32) -> Self {
        let map = (geometry.map_size / SECTOR) as usize;
        let data = (geometry.data_size / SECTOR) as usize;
        Self {
            disk: Disk::new(dialect::blank(&geometry, keepdirty), map, data),
            geometry,
            powered: true,
            role: Role::Init,
            worker: Worker::None,
            incarnation: 0,
            fresh: false,
            jobs: BTreeMap::new(),
            last_fault: 0,
            record_fails: false,
            image: None,
            hopeless: false,
            requeued: Vec::new(),
            permitted: true,
        }
    }

    /// Makes the component anew, as `hastctl create` does: its data stays where it is, unless wiped.
    pub fn recreate(&mut self, wipe: bool) {
        if wipe {
            self.disk.wipe();
        }
        let keepdirty = self.disk.metadata().keepdirty;
        self.disk
            .write_metadata(dialect::blank(&self.geometry, keepdirty), Reached::Medium);
        self.fill_map(0, Reached::Medium);
        self.fresh = true;
    }

    fn fill_map(&mut self, byte: u8, reached: Reached) {
        for index in 0..self.disk.map_sectors() {
            self.disk.write_map(
                index,
                vec![byte; SECTOR as usize].into_boxed_slice(),
                reached,
            );
        }
    }

    /// Whether it is a primary whose peer holds what its own component lacks.
    pub fn leans_on_peer(&mut self) -> bool {
        let said = dialect::leans(self.disk.metadata());
        let known = self
            .primary()
            .is_some_and(|driver| driver.lacks_something());
        self.role == Role::Primary && (said || known)
    }

    /// The primary, if one runs.
    pub fn primary(&mut self) -> Option<&mut PrimaryDriver> {
        match &mut self.worker {
            Worker::Primary(driver) => Some(driver),
            _ => None,
        }
    }

    /// The secondary, if one runs.
    pub fn secondary(&mut self) -> Option<&mut SecondaryDriver> {
        match &mut self.worker {
            Worker::Secondary(driver) => Some(driver),
            _ => None,
        }
    }

    /// Carries an operation out, wholly unless it fails.
    pub fn carry_out(&mut self, job: &Job, rng: &mut Rng) {
        let reached = match (job.fails, job.unflushed) {
            (true, _) => Reached::any(rng),
            (false, true) => Reached::Cache,
            (false, false) => Reached::Medium,
        };
        let part = |rng: &mut Rng| !job.fails || rng.bool();
        self.apply(job, reached, part, rng);
    }

    /// The process ends now: each operation happens in part, wholly, or not at all. With `torn` the power
    /// goes with it, in the middle of a write of the metadata.
    pub fn abandon_jobs(&mut self, torn: bool, rng: &mut Rng) {
        for mut job in std::mem::take(&mut self.jobs).into_values() {
            if torn {
                self.tear(&mut job, rng);
            }
            let reached = Reached::any(rng);
            let chance = rng.u8(..3);
            let part = |rng: &mut Rng| match chance {
                0 => false,
                1 => true,
                _ => rng.bool(),
            };
            self.apply(&job, reached, part, rng);
        }
    }

    /// A write of the metadata, or its failure, leaves part of it.
    pub fn tear(&self, job: &mut Job, rng: &mut Rng) {
        let old = self.disk.metadata();
        match &mut job.work {
            Work::Metadata(_, new) => **new = dialect::torn(old, new, rng),
            Work::Agree(_, agreement) => {
                agreement.metadata = dialect::torn(old, &agreement.metadata, rng);
            }
            _ => {}
        }
    }

    fn apply(
        &mut self,
        job: &Job,
        reached: Reached,
        part: impl Fn(&mut Rng) -> bool,
        rng: &mut Rng,
    ) {
        match &job.work {
            Work::Read(_, range, buffer) => {
                if !job.fails {
                    let values: Vec<Value> = sectors(*range).map(|s| self.disk.value(s)).collect();
                    buffer.borrow_mut().fill(*range, &values);
                }
            }
            Work::Write(_, range, buffer) => {
                let values = buffer
                    .borrow()
                    .get(*range)
                    .expect("the range lies in its buffer");
                for (sector, value) in sectors(*range).zip(values) {
                    if part(rng) {
                        self.disk.write(sector, value);
                    }
                }
            }
            Work::Delete(_, range) => {
                for sector in sectors(*range).filter(|_| part(rng)) {
                    self.disk.write(sector, 0);
                }
            }
            Work::Flush(_) if job.gives_up => self.disk.give_up(|| rng.bool()),
            Work::Flush(_) if reached == Reached::Medium => self.disk.flush(),
            Work::Flush(_) => {}
            Work::Map(_, sectors) => {
                for MapSector { index, bytes } in sectors {
                    self.disk.write_map(*index as usize, bytes.clone(), reached);
                }
            }
            Work::ClearMap => self.fill_map(0, reached),
            Work::Metadata(_, metadata) => {
                self.disk.write_metadata((**metadata).clone(), reached);
            }
            Work::Agree(_, agreement) => {
                // The map first, and durably: the metadata alone would forget what must be copied.
                if agreement.map == MapSent::Everything {
                    let whole = reached == Reached::Medium || rng.bool();
                    self.fill_map(0xff, if whole { Reached::Medium } else { reached });
                    if !whole {
                        return;
                    }
                }
                self.disk
                    .write_metadata(agreement.metadata.clone(), reached);
            }
        }
    }
}
