//! Who uses a device, and the disks below: what GEOM itself does.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::errno::Errno;

use super::{Bio, DirectRead, Model, Open, State, bio};

/// Someone who has a device open. Dropping it closes.
pub struct Client {
    model: Model,
    unit: usize,
    open: u64,
}

/// A request that is not answered yet.
pub struct Pending(Receiver<Result<Vec<u8>, Errno>>);

impl Pending {
    /// The answer; fails the test if there is none in time, and of a second one.
    pub fn wait(self) -> Result<Vec<u8>, Errno> {
        let answer = self.0.recv_timeout(crate::PATIENCE);
        let answer = answer.expect("the request is answered");
        assert!(self.0.try_recv().is_err(), "one answer");
        answer
    }

    /// Whether it is not answered.
    pub fn is_waiting(&self) -> bool {
        matches!(self.0.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

impl Model {
    /// Opens a device as a program does.
    pub fn open(&self, name: &str) -> Result<Client, Errno> {
        self.open_as(name, "DEV", name)
    }

    /// Opens a device as a geom of a class.
    pub fn open_as(&self, name: &str, class: &str, geom: &str) -> Result<Client, Errno> {
        let mut state = self.lock();
        let id = state.fresh_id();
        let mut devices = state.devices.iter_mut().enumerate();
        let found = devices.find_map(|(unit, softc)| {
            let softc = softc.as_mut()?;
            (softc.name == name && !softc.being_destroyed).then_some((unit, softc))
        });
        let (unit, softc) = found.ok_or(Errno::ENXIO)?;
        softc.opens.push(Open {
            id,
            class: class.to_owned(),
            geom: geom.to_owned(),
        });
        Ok(Client {
            model: self.clone(),
            unit,
            open: id,
        })
    }

    /// What classes do with a new device: open it, read its ends, close it.
    pub(super) fn taste(&self, name: &str, size: u64, sector_size: u32) {
        self.lock().tasting += 1;
        let (model, name) = (self.clone(), name.to_owned());
        thread::spawn(move || {
            if let Ok(client) = model.open_as(&name, "PART", "taster") {
                let sector = u64::from(sector_size);
                let last = client.read(size - sector, sector);
                let first = client.read(0, sector);
                assert!(first.is_ok() == last.is_ok());
            }
            model.lock().tasting -= 1;
            model.notify();
        });
    }

    /// Waits until nobody tastes.
    pub fn tasted(&self) {
        self.wait_until("tasting to end", |model| model.lock().tasting == 0);
    }

    /// Adds a disk.
    pub fn add_disk(&self, name: &str, data: Vec<u8>) {
        self.lock().disks.entry(name.to_owned()).or_default().data = data;
    }

    /// Direct reads from a disk that succeeded.
    pub fn direct_reads(&self, name: &str) -> usize {
        self.lock().disks[name].reads
    }

    /// Makes a disk fail its reads, or not.
    pub fn set_failing(&self, name: &str, failing: bool) {
        self.lock().disks.get_mut(name).unwrap().failing = failing;
    }

    /// Makes direct reads of a disk wait, or lets them go.
    pub fn set_holding(&self, name: &str, holding: bool) {
        let mut state = self.lock();
        let disk = state.disks.get_mut(name).unwrap();
        disk.holding = holding;
        let held = std::mem::take(&mut disk.held);
        held.into_iter().for_each(|read| state.direct_read(read));
        drop(state);
        self.notify();
    }
}

impl State {
    /// g_gate_start
    fn begin(&mut self, unit: usize, bio: Bio) {
        let Some(softc) = self.softc(unit).filter(|softc| !softc.being_destroyed) else {
            return bio.finish(Err(Errno::ENXIO));
        };
        match bio.command {
            bio::READ => match softc.reader {
                None => self.queue(unit, bio),
                Some(consumer) => {
                    let Some(found) = softc.consumers.get_mut(&consumer) else {
                        self.note_crash("g_gate_start read through a freed consumer");
                        return bio.finish(Err(Errno::ENXIO));
                    };
                    found.under_way += 1;
                    self.direct_read(DirectRead {
                        unit,
                        consumer,
                        bio,
                    });
                }
            },
            bio::GETATTR => bio.finish(Err(Errno::EOPNOTSUPP)),
            // The commands that a kernel to come may pass on reach us like those it passes on now.
            _ => self.queue(unit, bio),
        }
    }

    /// A read of the kernel's own, and g_gate_done.
    fn direct_read(&mut self, read: DirectRead) {
        let softc = self.devices[read.unit].as_mut();
        let Some((softc, name)) = softc.and_then(|softc| {
            let name = softc.consumers.get(&read.consumer)?.disk.clone();
            Some((softc, name))
        }) else {
            self.note_crash("g_gate_done after the device was destroyed");
            return read.bio.finish(Err(Errno::ENXIO));
        };
        let disk = self.disks.get_mut(&name).unwrap();
        if disk.holding {
            return disk.held.push(read);
        }
        let start = (read.bio.offset + softc.read_offset) as usize;
        let data = disk.data.get(start..start + read.bio.length as usize);
        let data = data.filter(|_| !disk.failing).map(<[u8]>::to_vec);
        disk.reads += usize::from(data.is_some());
        let consumer = softc.consumers.get_mut(&read.consumer).unwrap();
        consumer.under_way -= 1;
        if consumer.under_way == 0 && softc.reader != Some(read.consumer) {
            softc.consumers.remove(&read.consumer);
        }
        match data {
            Some(data) => read.bio.finish(Ok(data)),
            None => self.queue(read.unit, read.bio),
        }
    }
}

impl Client {
    /// Asks for something; g_io_check, and down.
    pub fn ask(&self, command: u32, offset: u64, length: u64, data: &[u8]) -> Pending {
        let (answer, pending) = mpsc::channel();
        let bio = Bio {
            sequence: 0,
            command,
            offset,
            length,
            data: data.to_vec(),
            answer,
        };
        let mut state = self.model.lock();
        let is_open = |open: &Open| open.id == self.open;
        let sizes = state.softc(self.unit).and_then(|softc| {
            let is_ours = softc.opens.iter().any(is_open);
            is_ours.then_some((softc.size, u64::from(softc.sector_size)))
        });
        match (command, sizes) {
            (_, None) => bio.finish(Err(Errno::ENXIO)),
            (bio::READ | bio::WRITE | bio::DELETE, Some((size, sector))) => {
                if offset % sector != 0 || length % sector != 0 {
                    bio.finish(Err(Errno::EINVAL));
                } else if offset + length > size {
                    bio.finish(Err(Errno::EIO));
                } else if length == 0 {
                    bio.finish(Ok(Vec::new()));
                } else {
                    state.begin(self.unit, bio);
                }
            }
            (_, Some(_)) => state.begin(self.unit, bio),
        }
        drop(state);
        self.model.notify();
        Pending(pending)
    }

    /// Reads.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        self.ask(bio::READ, offset, length, &[]).wait()
    }

    /// Writes.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.begin_write(offset, data).wait().map(drop)
    }

    /// Begins to write.
    pub fn begin_write(&self, offset: u64, data: &[u8]) -> Pending {
        self.ask(bio::WRITE, offset, data.len() as u64, data)
    }

    /// Gives a range up.
    pub fn delete(&self, offset: u64, length: u64) -> Result<(), Errno> {
        self.ask(bio::DELETE, offset, length, &[]).wait().map(drop)
    }

    /// Makes what was written durable (g_io_flush: the offset is the device's size).
    pub fn flush(&self) -> Result<(), Errno> {
        let size = self
            .model
            .lock()
            .softc(self.unit)
            .map_or(0, |softc| softc.size);
        self.ask(bio::FLUSH, size, 0, &[]).wait().map(drop)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(softc) = self.model.lock().softc(self.unit) {
            softc.opens.retain(|open| open.id != self.open);
        }
        self.model.notify();
    }
}
