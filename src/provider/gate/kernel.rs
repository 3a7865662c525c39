//! What GEOM gate's control device offers, as a trait: the kernel's own (`system.rs`, FreeBSD), and a
//! model of it for tests on any system (`tests/gate/model`). Thin on purpose: what it takes to use these
//! calls without harm is in `device.rs`, and so under test.
//!
//! Sources: FreeBSD's sys/geom/gate/g_gate.h and g_gate.c. What of it is relied on is in docs/freebsd.md.

use std::thread::JoinHandle;

use hast_ffi::gate::{MOST_INFO, MOST_NAME, command};
use nix::errno::Errno;

/// The number of a gate device. It stays the same until the device is destroyed, whoever serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit(pub u32);

/// The number of a request, given by the kernel. It stays the same when the request is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// The most that `info` holds, in bytes.
pub const MAX_INFO: usize = MOST_INFO;
/// The most that a device's or a read provider's name holds, in bytes.
pub const MAX_NAME: usize = MOST_NAME;

/// A device to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice<'a> {
    /// Below /dev.
    pub name: &'a str,
    /// In bytes, whole sectors.
    pub size: u64,
    /// In bytes, a power of two.
    pub sector_size: u32,
    /// What `geom gate list` shows.
    pub info: &'a str,
    /// Requests that may wait before the kernel answers ENOMEM itself; 0 is no limit.
    pub max_count: u32,
    /// Seconds after which the kernel answers EIO itself; 0 is never.
    pub timeout: u32,
}

/// What can be changed of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Its size, in bytes. The kernel looks at nothing else in such a call.
    Size(u64),
    /// What `geom gate list` shows.
    Info(&'a str),
    /// From which GEOM provider the kernel reads by itself, and from which byte of it on.
    ReadFrom {
        /// The provider's name.
        provider: &'a str,
        /// In bytes, whole sectors of the device, and so that the device ends within the provider: the
        /// kernel keeps GEOM locked for ever otherwise.
        offset: u64,
    },
    /// That it reads nothing by itself. Such reads as are under way are finished.
    ReadNothing,
}

/// What the kernel asks for, a `BIO_` command (sys/bio.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateCommand {
    /// Wants data.
    Read,
    /// Has data.
    Write,
    /// Does not need the range any more.
    Delete,
    /// Wants what was answered to be durable.
    Flush,
    /// Is short of something that finished writes or deletes would give back. The length says of how
    /// much, and is no range.
    Speedup,
    /// One we do not know.
    Other(u32),
}

impl GateCommand {
    /// The command that the kernel numbers so.
    pub fn from_number(number: u32) -> Self {
        match number {
            command::READ => Self::Read,
            command::WRITE => Self::Write,
            command::DELETE => Self::Delete,
            command::FLUSH => Self::Flush,
            command::SPEEDUP => Self::Speedup,
            other => Self::Other(other),
        }
    }

    /// How the kernel numbers it.
    pub fn number(self) -> u32 {
        match self {
            Self::Read => command::READ,
            Self::Write => command::WRITE,
            Self::Delete => command::DELETE,
            Self::Flush => command::FLUSH,
            Self::Speedup => command::SPEEDUP,
            Self::Other(number) => number,
        }
    }
}

/// A request that the kernel handed over. It is answered with [`Kernel::done`], or put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateRequest {
    /// Its number.
    pub sequence: Sequence,
    /// What is asked.
    pub command: GateCommand,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes. A write's data is at the beginning of the buffer given.
    pub length: u64,
}

/// How waiting for a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// With one.
    Request(GateRequest),
    /// The next request is a write of so many bytes, and the buffer is smaller. It is still first in line.
    NeedsMore(usize),
    /// The device is being destroyed.
    Cancelled,
    /// There is no such device.
    Gone,
    /// A signal came.
    Interrupted,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted, as mount(8) shows it: `/dev/hast/disk1`.
    pub from: String,
    /// Where.
    pub on: String,
}

/// GEOM gate, as a process that serves devices sees it.
pub trait Kernel: Send + Sync {
    /// Loads geom_gate unless it is there, and opens its control device. Before every other call.
    ///
    /// # Errors
    /// As kldload(2) or open(2).
    fn load(&self) -> Result<(), Errno>;

    /// Leaves the control device nothing but what serving a device that is there takes: this process is about
    /// to be confined.
    ///
    /// # Errors
    /// As cap_rights_limit(2).
    fn confine(&self) -> Result<(), Errno>;

    /// The largest transfer that devices are usually asked for, in bytes (kern.maxphys). Not a bound.
    fn max_transfer(&self) -> usize;

    /// Makes a device. GEOM begins to read from it before this returns.
    ///
    /// # Errors
    /// EEXIST: there is one of that name. EINVAL: sizes, ENFILE: too many units.
    fn create(&self, device: &NewDevice<'_>) -> Result<Unit, Errno>;

    /// Changes one thing.
    ///
    /// # Errors
    /// ENXIO: no such device. EINVAL: the size, or no such read provider.
    fn modify(&self, unit: Unit, change: Change<'_>) -> Result<(), Errno>;

    /// Destroys a device. Whoever waits for it gets ENXIO.
    ///
    /// # Errors
    /// ENXIO: no such device. EBUSY: it is open, and this is without force.
    fn destroy(&self, unit: Unit, force: bool) -> Result<(), Errno>;

    /// Puts all requests that were handed over back, in their order, before those that wait; or one. Wakes
    /// nobody who is in [`Kernel::start`].
    ///
    /// # Errors
    /// ENXIO: no such device.
    fn cancel(&self, unit: Unit, sequence: Option<Sequence>) -> Result<(), Errno>;

    /// Waits for a request.
    ///
    /// # Errors
    /// Those of copying a write's data. The request is still first in line then.
    fn start(&self, unit: Unit, buffer: &mut [u8]) -> Result<Started, Errno>;

    /// Answers a request; one that was put back meanwhile is left alone. A read needs all of its data, and
    /// nothing else has any.
    /// The error EAGAIN puts the request back, before all others.
    ///
    /// # Errors
    /// ENOENT: no such device.
    fn done(
        &self,
        unit: Unit,
        request: &GateRequest,
        answer: Result<&[u8], Errno>,
    ) -> Result<(), Errno>;

    /// Ends [`Kernel::start`] in a thread, if that thread is waiting there now.
    fn interrupt(&self, thread: &JoinHandle<()>);

    /// GEOM's view of all devices, in XML (kern.geom.confxml).
    ///
    /// # Errors
    /// As sysctl(3): it can not be read in capability mode.
    fn configuration(&self) -> Result<String, Errno>;

    /// What is mounted.
    ///
    /// # Errors
    /// As getfsstat(2).
    fn mounts(&self) -> Result<Vec<Mount>, Errno>;
}
