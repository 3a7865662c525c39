//! GEOM gate's control device: a disk whose requests a program answers (`<geom/gate/g_gate.h>`,
//! version 3). One function for each of its six ioctls; who calls them when is `provider/`'s.
//!
//! Never interprets a failure: errno comes out as the kernel gave it. Every function wants a
//! descriptor of [`CONTROL`]; on anything else, and on any other system, it fails with ENOTTY.

mod header;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use nix::Result;
use nix::errno::Errno;

use header::{
    CANCEL, CREATE, CancelArgument, CreateArgument, DESTROY, DONE, DestroyArgument, INFO_SIZE,
    IoArgument, MODIFY, MODIFY_INFO, MODIFY_MEDIA_SIZE, MODIFY_READ_OFFSET, MODIFY_READ_PROVIDER,
    ModifyArgument, NAME_GIVEN, NAME_SIZE, READ_ONLY, START, VERSION, WRITE_ONLY,
};
pub use header::{CLAIMS, MOST_QUEUED};

/// The control device.
pub const CONTROL: &str = "/dev/ggctl";
/// The file of the kernel module.
pub const MODULE_FILE: &std::ffi::CStr = c"geom_gate";
/// The name under which the module, loaded or built in, is found.
pub const MODULE: &std::ffi::CStr = c"g_gate";

/// Longest name of a device or provider, in bytes: `NAME_MAX` less the NUL.
pub const MOST_NAME: usize = NAME_SIZE - 1;
/// Longest text about a device, in bytes: `G_GATE_INFOSIZE` less the NUL.
pub const MOST_INFO: usize = INFO_SIZE - 1;

/// A provider that is nowhere. Asked for it, the kernel lets go of the one that it reads from, and
/// fails with EINVAL. An empty name is what should do that; but then the kernel (14 and 15) goes on
/// to use what it has let go of.
const NO_PROVIDER: &str = "hast/no provider/";

/// What a file system asks of a disk, as a request carries it (`bio_cmd` in `<sys/bio.h>`).
pub mod command {
    /// Read data.
    pub const READ: u32 = 0x01;
    /// Write data.
    pub const WRITE: u32 = 0x02;
    /// The range holds nothing of value any more.
    pub const DELETE: u32 = 0x03;
    /// A question about the device; the kernel answers it itself.
    pub const GETATTR: u32 = 0x04;
    /// Make what was written durable.
    pub const FLUSH: u32 = 0x05;
    /// For zoned disks; the kernel answers it itself.
    pub const ZONE: u32 = 0x09;
    /// Somebody waits for memory: be quick with what is under way.
    pub const SPEEDUP: u32 = 0x0a;
}

/// The numbers of the requests that a worker makes of a device that is there: what
/// cap_ioctls_limit(2) is to leave it.
pub const WORKER_REQUESTS: [u32; 5] = [
    MODIFY.code(),
    DESTROY.code(),
    CANCEL.code(),
    START.code(),
    DONE.code(),
];

/// A GEOM provider that the kernel reads from without asking the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectReads<'a> {
    /// Its name, without `/dev/`.
    pub provider: &'a str,
    /// Where on it the device's first byte is, in bytes; a multiple of the device's sector.
    pub offset: u64,
}

/// Who may do what with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes.
    #[default]
    Both,
    /// Reads only.
    ReadOnly,
    /// Writes only.
    WriteOnly,
}

/// A device to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Create<'a> {
    /// Its name, without `/dev/`.
    pub name: &'a str,
    /// Its size, in bytes: above 0, a multiple of the sector.
    pub mediasize: u64,
    /// Its sector, in bytes: a power of two.
    pub sectorsize: u32,
    /// What may be done with it.
    pub access: Access,
    /// Requests that may wait. At this number the kernel fails further ones with ENOMEM, and GEOM
    /// then slows down to a crawl; 0 is no bound.
    pub maxcount: u32,
    /// Seconds after which the kernel fails a request; 0 is never.
    pub timeout: u32,
    /// What `geom gate list` says about it.
    pub info: &'a str,
    /// What the kernel reads from by itself.
    pub direct_reads: Option<DirectReads<'a>>,
}

/// What is to change of a device.
///
/// One thing at a time: the kernel does nothing else in a call that has a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modify<'a> {
    /// Its size, in bytes: above 0, a multiple of the sector.
    MediaSize(u64),
    /// What `geom gate list` says about it.
    Info(&'a str),
    /// What the kernel reads from by itself from now on. Its offset must be a multiple of the
    /// device's sector, and the device must end within the provider: the kernel (14 and 15)
    /// refuses anything else without letting go of GEOM's lock, and then GEOM stands still.
    DirectReads(DirectReads<'a>),
    /// From now on every read comes to the program. That the kernel did so shows in what GEOM
    /// says about the device: there is no `read_provider` any more.
    NoDirectReads,
}

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device<'a> {
    /// By the number that [`create`] or [`cancel`] gave.
    Unit(u32),
    /// By its name, without `/dev/`.
    Name(&'a str),
}

/// A request to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its number: no other request that is under way has it.
    pub seq: usize,
    /// What is asked, one of [`command`]'s.
    pub command: u32,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: u64,
}

/// What [`start`] brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// A request, the data of a write at the beginning of the buffer. It is under way until
    /// [`done`] or [`cancel`].
    Request(Request),
    /// A write that does not fit the buffer is first in the queue, and stays there: come again
    /// with room for so many bytes.
    TooLong(u64),
    /// The device is being destroyed.
    Destroyed,
}

/// Makes a device and returns its unit's number.
///
/// Other parts of the kernel begin to read from it before this returns, and their requests wait.
///
/// # Errors
/// EEXIST where a device of this name is there, EINVAL where a number is none the kernel takes or
/// the provider to read from is not there or too small, ENFILE where there are as many devices as
/// `kern.geom.gate.maxunits` says, ENAMETOOLONG or EINVAL for a text that is too long or has a NUL.
pub fn create(control: BorrowedFd<'_>, device: &Create<'_>) -> Result<u32> {
    let direct_reads = device.direct_reads.unwrap_or(DirectReads {
        provider: "",
        offset: 0,
    });
    let mut argument = CreateArgument {
        version: VERSION,
        mediasize: signed(device.mediasize)?,
        sectorsize: device.sectorsize,
        flags: match device.access {
            Access::Both => 0,
            Access::ReadOnly => READ_ONLY,
            Access::WriteOnly => WRITE_ONLY,
        },
        maxcount: device.maxcount,
        timeout: device.timeout,
        name: text(device.name)?,
        info: text(device.info)?,
        readprov: text(direct_reads.provider)?,
        readoffset: signed(direct_reads.offset)?,
        unit: NAME_GIVEN,
    };
    // SAFETY: the argument has no pointers, and all that can be written to it is valid.
    unsafe { CREATE.call(control, &mut argument)? };
    unit_number(argument.unit)
}

/// Changes a device.
///
/// # Errors
/// ENXIO where there is no such unit, EINVAL where a number is none the kernel takes, or the
/// provider to read from is not there or too small; whatever opening that provider gave.
pub fn modify(control: BorrowedFd<'_>, unit: u32, change: &Modify<'_>) -> Result<()> {
    let mut argument = ModifyArgument {
        version: VERSION,
        unit: signed_unit(unit)?,
        modify: 0,
        mediasize: 0,
        info: text("")?,
        readprov: text("")?,
        readoffset: 0,
    };
    match change {
        Modify::MediaSize(size) => {
            argument.modify = MODIFY_MEDIA_SIZE;
            argument.mediasize = signed(*size)?;
        }
        Modify::Info(info) => {
            argument.modify = MODIFY_INFO;
            argument.info = text(info)?;
        }
        Modify::DirectReads(DirectReads { provider, offset }) => {
            argument.modify = MODIFY_READ_PROVIDER | MODIFY_READ_OFFSET;
            argument.readprov = text(provider)?;
            argument.readoffset = signed(*offset)?;
        }
        Modify::NoDirectReads => {
            argument.modify = MODIFY_READ_PROVIDER;
            argument.readprov = text(NO_PROVIDER)?;
        }
    }
    // SAFETY: the argument has no pointers, and all that can be written to it is valid.
    let result = unsafe { MODIFY.call(control, &mut argument) };
    match (change, result) {
        (Modify::NoDirectReads, Err(Errno::EINVAL)) => Ok(()),
        (_, result) => result,
    }
}

/// Takes a device away. Whoever waits in [`start`] is told [`Started::Destroyed`].
///
/// # Errors
/// ENXIO where there is none; without `force`, EBUSY where somebody has it open. With it, whoever
/// has it open finds it gone.
pub fn destroy(control: BorrowedFd<'_>, device: Device<'_>, force: bool) -> Result<()> {
    let (unit, name) = which(device)?;
    let mut argument = DestroyArgument {
        version: VERSION,
        unit,
        force: i32::from(force),
        name,
    };
    // SAFETY: the argument has no pointers, and all that can be written to it is valid.
    unsafe { DESTROY.call(control, &mut argument) }
}

/// Puts back into the queue what is under way, in its order: request `seq`, or with `None` all.
/// Returns the unit's number, which is how a device is found again after its program died.
///
/// # Errors
/// ENXIO where there is no such device.
pub fn cancel(control: BorrowedFd<'_>, device: Device<'_>, seq: Option<usize>) -> Result<u32> {
    let (unit, name) = which(device)?;
    let mut argument = CancelArgument {
        version: VERSION,
        unit,
        seq: seq.unwrap_or(0),
        name,
    };
    // SAFETY: the argument has no pointers, and all that can be written to it is valid.
    unsafe { CANCEL.call(control, &mut argument)? };
    unit_number(argument.unit)
}

/// Waits for a request and takes it. Several threads may wait at once.
///
/// # Errors
/// ENXIO where there is no such unit, EINTR where a signal came first.
pub fn start(control: BorrowedFd<'_>, unit: u32, buffer: &mut [u8]) -> Result<Started> {
    let mut argument = IoArgument {
        version: VERSION,
        unit: signed_unit(unit)?,
        seq: 0,
        cmd: 0,
        offset: 0,
        length: signed(buffer.len() as u64)?,
        data: buffer.as_mut_ptr(),
        error: 0,
    };
    // SAFETY: the kernel writes at most `length` bytes to `data`, both of them the buffer's, which
    // is borrowed for the call; it does not keep the pointer.
    unsafe { START.call(control, &mut argument)? };
    started(&argument)
}

/// What the kernel's answer to [`start`] means.
fn started(answer: &IoArgument) -> Result<Started> {
    match answer.error {
        0 => Ok(Started::Request(Request {
            seq: answer.seq,
            command: answer.cmd,
            offset: unsigned(answer.offset)?,
            length: unsigned(answer.length)?,
        })),
        libc::ENOMEM => Ok(Started::TooLong(unsigned(answer.length)?)),
        libc::ECANCELED => Ok(Started::Destroyed),
        other => Err(Errno::from_raw(other)),
    }
}

/// Answers a request that [`start`] brought from this unit: with the data for a read, with nothing
/// for any other; or with an error, of which EAGAIN puts the request back into the queue. One that
/// was cancelled meanwhile is ignored.
///
/// # Errors
/// ENOENT where there is no such unit; EINVAL where a read comes with less or more than was asked for.
pub fn done(
    control: BorrowedFd<'_>,
    unit: u32,
    request: &Request,
    answer: Result<&[u8]>,
) -> Result<()> {
    let (data, error) = match answer {
        Ok(data) => (data, 0),
        Err(errno) => (&[][..], errno as i32),
    };
    // The kernel takes as much as it knows to be the request's length, whatever it is told here.
    if request.command == command::READ && error == 0 && data.len() as u64 != request.length {
        return Err(Errno::EINVAL);
    }
    let mut argument = IoArgument {
        version: VERSION,
        unit: signed_unit(unit)?,
        seq: request.seq,
        cmd: request.command,
        offset: signed(request.offset)?,
        length: signed(request.length)?,
        data: data.as_ptr().cast_mut(),
        error,
    };
    // SAFETY: the kernel only reads from `data`, and only for a read that succeeded: as much as it
    // said at the start, which was checked above to be what is there.
    unsafe { DONE.call(control, &mut argument) }
}

/// A text as the kernel wants it: ended by a NUL, the rest filled with them.
fn text<const SIZE: usize>(text: &str) -> Result<[u8; SIZE]> {
    let bytes = text.as_bytes();
    if bytes.contains(&0) {
        return Err(Errno::EINVAL);
    }
    if bytes.len() >= SIZE {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut field = [0; SIZE];
    field[..bytes.len()].copy_from_slice(bytes);
    Ok(field)
}

/// A device as two fields say which.
fn which(device: Device<'_>) -> Result<(i32, [u8; NAME_SIZE])> {
    match device {
        Device::Unit(unit) => Ok((signed_unit(unit)?, text("")?)),
        Device::Name(name) => Ok((NAME_GIVEN, text(name)?)),
    }
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Errno::EINVAL)
}

fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Errno::EINVAL)
}

fn signed_unit(unit: u32) -> Result<i32> {
    i32::try_from(unit).map_err(|_| Errno::ENXIO)
}

fn unit_number(unit: i32) -> Result<u32> {
    u32::try_from(unit).map_err(|_| Errno::ENXIO)
}
