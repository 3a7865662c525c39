//! ioctl(2) as FreeBSD numbers its requests (`<sys/ioccom.h>`). A request knows the type of its
//! argument, so that its number and what is handed over can not disagree.
//!
//! On another system every request fails with ENOTTY before it reaches the kernel, to which its
//! number would mean something else.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;
use nix::errno::Errno;

use crate::layout::{Model, Native, Type};

/// A request whose argument is a `T`.
#[derive(Debug)]
pub struct Ioctl<T> {
    number: Number,
    argument: PhantomData<fn(&mut T)>,
}

/// A request's name in the header and all that its number is made of.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// Its name in the header.
    pub name: &'static str,
    /// Who reads and who writes the argument (`IOC_IN`, `IOC_OUT`), or that there is none.
    direction: u32,
    group: u8,
    within: u8,
    argument: Type,
}

/// No argument, whose type then does not matter.
const VOID: u32 = 0x2000_0000;
/// The kernel writes the argument.
const OUT: u32 = 0x4000_0000;
/// The kernel reads the argument.
const IN: u32 = 0x8000_0000;
/// The kernel knows an argument's size by as many bits.
const SIZE_MASK: usize = 0x1fff;

impl Number {
    /// The request's number on a kind of machine.
    pub const fn code(&self, model: Model) -> u32 {
        let size = self.argument.size(model);
        assert!(size <= SIZE_MASK, "an argument that no ioctl can have");
        self.direction | (size as u32) << 16 | (self.group as u32) << 8 | self.within as u32
    }
}

impl Ioctl<[u8; 0]> {
    /// `_IO(group, number)`
    pub(crate) const fn none(name: &'static str, group: u8, within: u8) -> Self {
        Self::new(name, VOID, group, within)
    }
}

impl<T: Native> Ioctl<T> {
    const fn new(name: &'static str, direction: u32, group: u8, within: u8) -> Self {
        Self {
            number: Number {
                name,
                direction,
                group,
                within,
                argument: T::TYPE,
            },
            argument: PhantomData,
        }
    }

    /// `_IOR(group, number, T)`: the kernel fills in the argument.
    pub(crate) const fn read(name: &'static str, group: u8, within: u8) -> Self {
        Self::new(name, OUT, group, within)
    }

    /// `_IOW(group, number, T)`: the kernel reads the argument.
    pub(crate) const fn write(name: &'static str, group: u8, within: u8) -> Self {
        Self::new(name, IN, group, within)
    }

    /// `_IOWR(group, number, T)`: the kernel reads the argument, then writes it.
    pub(crate) const fn read_write(name: &'static str, group: u8, within: u8) -> Self {
        Self::new(name, IN | OUT, group, within)
    }

    /// What its number is made of.
    pub const fn number(&self) -> Number {
        self.number
    }

    /// The request's number here, as cap_ioctls_limit(2) wants it.
    pub const fn code(&self) -> u32 {
        self.number.code(Model::HERE)
    }

    /// Makes the request; on another system, fails with ENOTTY.
    ///
    /// # Safety
    /// Any pointer in the argument is to memory that the kernel may use as the request says, and
    /// whatever the kernel writes makes a valid `T`.
    pub(crate) unsafe fn call(&self, device: BorrowedFd<'_>, argument: &mut T) -> Result<()> {
        if !cfg!(target_os = "freebsd") {
            return Err(Errno::ENOTTY);
        }
        let argument = std::ptr::from_mut(argument);
        // SAFETY: the descriptor is open; the number says the size of T, so that the kernel reads
        // and writes no more than the argument. The rest is the caller's word.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), self.code().into(), argument) };
        Errno::result(result).map(drop)
    }
}
