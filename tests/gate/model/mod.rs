//! A model of GEOM gate (FreeBSD's sys/geom/gate/g_gate.c), for tests on any system.
//!
//! It does what the kernel does with the same calls, down to what one would rather not rely on: cancel wakes
//! nobody, numbers of units are used again, requests are numbered from 1 in each device. Where the
//! kernel would crash or lock up, the model notes it ([`Model::crash`]), and every test ends by looking.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | devices, their queues |
//! | `calls.rs` | the calls of the control device |
//! | `geom.rs` | who uses a device, and the disks below: what GEOM does |
//! | `xml.rs` | kern.geom.confxml |

mod calls;
mod geom;
mod xml;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::ThreadId;

use hast::provider::gate::kernel::Mount;
use nix::errno::Errno;

pub use geom::{Client, Pending};

/// sys/bio.h
pub mod bio {
    pub const READ: u32 = 0x01;
    pub const WRITE: u32 = 0x02;
    pub const DELETE: u32 = 0x03;
    pub const GETATTR: u32 = 0x04;
    pub const FLUSH: u32 = 0x05;
    pub const SPEEDUP: u32 = 0x0a;
}

/// The kernel. Clones are the same one.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Anything changed.
    changed: Condvar,
    max_transfer: usize,
    tastes: bool,
}

/// What there is.
#[derive(Default)]
struct State {
    module: Module,
    devices: Vec<Option<Softc>>,
    disks: HashMap<String, Disk>,
    mounts: Vec<Mount>,
    /// Threads that sleep in start; whether a signal came.
    sleepers: HashMap<ThreadId, bool>,
    /// Threads that are in start, asleep or not, where a test counts them.
    inside: HashSet<ThreadId>,
    /// Tasters that have not finished.
    tasting: usize,
    next_id: u64,
    crash: Option<String>,
    calls: Vec<Call>,
    blind: bool,
}

/// The kernel module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Module {
    /// Not there, and not to be had.
    Missing,
    /// To be loaded.
    #[default]
    Absent,
    /// Loaded.
    Loaded,
}

/// A call that changes something, as a test looks at it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Load,
    Create {
        name: String,
        max_count: u32,
        timeout: u32,
    },
    ReadFrom(String, u64),
    ReadNothing,
    Destroy {
        force: bool,
    },
    Cancel,
}

/// A gate device.
struct Softc {
    name: String,
    size: u64,
    sector_size: u32,
    info: String,
    max_count: u32,
    timeout: u32,
    /// The next request's number.
    next_sequence: u64,
    incoming: VecDeque<Bio>,
    outgoing: VecDeque<Bio>,
    holds: u32,
    being_destroyed: bool,
    /// How often sleepers were woken.
    wakeups: u64,
    /// The consumer that reads go to.
    reader: Option<u64>,
    read_offset: u64,
    /// Consumers for direct reads that are not destroyed.
    consumers: HashMap<u64, Consumer>,
    opens: Vec<Open>,
}

/// A consumer for direct reads.
struct Consumer {
    disk: String,
    under_way: u32,
}

/// Someone who has a device open.
#[derive(Debug, Clone)]
struct Open {
    id: u64,
    class: String,
    geom: String,
}

/// A request.
struct Bio {
    sequence: u64,
    command: u32,
    offset: u64,
    length: u64,
    data: Vec<u8>,
    answer: Sender<Result<Vec<u8>, Errno>>,
}

/// A disk that direct reads go to.
#[derive(Default)]
struct Disk {
    data: Vec<u8>,
    failing: bool,
    holding: bool,
    held: Vec<DirectRead>,
    reads: usize,
}

struct DirectRead {
    unit: usize,
    consumer: u64,
    bio: Bio,
}

/// The kernel's default (kern.geom.gate.maxunits) is larger, and as much a bound.
const MAX_UNITS: usize = 16;

impl Model {
    /// A kernel with this kern.maxphys.
    pub fn new(max_transfer: usize) -> Self {
        Self::with(max_transfer, true)
    }

    /// A kernel in which nobody looks at new devices.
    pub fn untasted(max_transfer: usize) -> Self {
        Self::with(max_transfer, false)
    }

    fn with(max_transfer: usize, tastes: bool) -> Self {
        let mut state = State::default();
        state.devices.resize_with(MAX_UNITS, || None);
        let inner = Inner {
            state: Mutex::new(state),
            changed: Condvar::new(),
            max_transfer,
            tastes,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    fn notify(&self) {
        self.inner.changed.notify_all();
    }

    /// What would have crashed the kernel, or locked it up.
    pub fn crash(&self) -> Option<String> {
        self.lock().crash.clone()
    }

    /// Sets whether the module is there.
    pub fn set_module(&self, module: Module) {
        self.lock().module = module;
    }

    /// Makes kern.geom.confxml unreadable, as capability mode does.
    pub fn set_blind(&self, blind: bool) {
        self.lock().blind = blind;
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The units in use, with their names.
    pub fn units(&self) -> Vec<(usize, String)> {
        let state = self.lock();
        let devices = state.devices.iter().enumerate();
        devices
            .filter_map(|(unit, softc)| Some((unit, softc.as_ref()?.name.clone())))
            .collect()
    }

    /// Requests waiting, and handed over and not answered, of the device in a unit.
    pub fn queues(&self, unit: usize) -> (usize, usize) {
        let state = self.lock();
        let softc = state.devices[unit].as_ref().unwrap();
        (softc.incoming.len(), softc.outgoing.len())
    }

    /// Waits until something is so; fails the test if it never is.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = std::time::Instant::now() + crate::PATIENCE;
        while !is_so(self) {
            assert!(
                std::time::Instant::now() < deadline,
                "waited in vain for: {what}"
            );
            let state = self.lock();
            let pause = std::time::Duration::from_millis(5);
            drop(self.inner.changed.wait_timeout(state, pause).unwrap());
        }
    }

    /// A thread is going to wait for requests.
    pub fn enter(&self, thread: ThreadId) {
        self.lock().inside.insert(thread);
    }

    /// It does not any more.
    pub fn leave(&self, thread: ThreadId) {
        self.lock().inside.remove(&thread);
    }

    /// Whether a thread that was said to enter has not left.
    pub fn is_in_kernel(&self, thread: ThreadId) -> bool {
        self.lock().inside.contains(&thread)
    }

    /// Sends a thread a signal. Where it does not sleep it is lost.
    pub fn signal(&self, thread: ThreadId) {
        if let Some(signalled) = self.lock().sleepers.get_mut(&thread) {
            *signalled = true;
        }
        self.notify();
    }

    /// Makes a device look as one that is being destroyed and does not end.
    pub fn set_withering(&self, unit: usize) {
        self.lock().softc(unit).unwrap().being_destroyed = true;
    }

    /// Adds something to the table of mounts.
    pub fn add_mount(&self, from: &str, on: &str) {
        let (from, on) = (from.to_owned(), on.to_owned());
        self.lock().mounts.push(Mount { from, on });
    }
}

impl State {
    fn softc(&mut self, unit: usize) -> Option<&mut Softc> {
        self.devices.get_mut(unit)?.as_mut()
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn note_crash(&mut self, what: &str) {
        self.crash.get_or_insert_with(|| what.to_owned());
    }

    /// g_gate_queue_io
    fn queue(&mut self, unit: usize, mut bio: Bio) {
        let Some(softc) = self.softc(unit).filter(|softc| !softc.being_destroyed) else {
            return bio.finish(Err(Errno::ENXIO));
        };
        let count = softc.incoming.len() + softc.outgoing.len();
        if softc.max_count > 0 && count > softc.max_count as usize {
            return bio.finish(Err(Errno::ENOMEM));
        }
        bio.sequence = softc.next_sequence;
        softc.next_sequence += 1;
        softc.incoming.push_back(bio);
        softc.wakeups += 1;
    }
}

impl Bio {
    fn finish(self, result: Result<Vec<u8>, Errno>) {
        // A test that does not look does not mind.
        let _ = self.answer.send(result);
    }
}
