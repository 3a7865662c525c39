//! Zeroing, deleting and flushing: what not every component can do, and what stands in
//! where it can not.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hast_ffi::device;
use log::info;
use nix::errno::Errno;
use nix::libc::off_t;

use super::component::{Component, Medium, errno_of};
use super::error::{DiskError, Operation};

/// Zeros written at a time, where a component has no better way: enough to keep a disk
/// busy, small beside a worker's memory.
static ZEROES: [u8; 256 << 10] = [0; 256 << 10];

/// What a component may or may not be able to do.
#[derive(Debug, Default)]
pub(super) struct Abilities {
    /// Giving up the space of a range, which then reads zero.
    hole: Ability,
    /// Zeroing a range without sending zeros.
    #[cfg(target_os = "linux")]
    zero_range: Ability,
    /// Giving up the space of a range, which then reads anything.
    discard: Ability,
    /// Writing a volatile cache to the medium.
    flush: Ability,
}

/// One of them: presumed until the system says otherwise, which is then logged, once.
#[derive(Debug, Default)]
struct Ability {
    missing: AtomicBool,
}

impl Ability {
    /// Tries it; false means that the component lacks it, and nothing was done. `without` says
    /// what that means, for the log.
    fn attempt(
        &self,
        path: &Path,
        without: &str,
        action: impl Fn() -> nix::Result<()>,
    ) -> nix::Result<bool> {
        if self.missing.load(Ordering::Relaxed) {
            return Ok(false);
        }
        loop {
            match action() {
                Ok(()) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(errno) if says_unsupported(errno) => {
                    if !self.missing.swap(true, Ordering::Relaxed) {
                        info!("component '{}' {without} ({errno})", path.display());
                    }
                    return Ok(false);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Component {
    /// Makes `length` bytes at `offset` zero, giving up their space where the component can
    /// (a sparse file, a thin disk), else by writing zeros.
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let operation = Operation::Zero { offset, length };
        self.check_bounds(offset, length, operation)?;
        if length == 0 {
            return Ok(());
        }
        if self
            .zero_cheaply(offset, length)
            .map_err(|errno| self.error(errno, operation))?
        {
            return Ok(());
        }
        self.write_out_zeroes(offset, length, operation)
    }

    /// Zeroes a range by writing zeros.
    pub(super) fn write_out_zeroes(
        &self,
        offset: u64,
        length: u64,
        operation: Operation,
    ) -> Result<(), DiskError> {
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(ZEROES.len() as u64);
            self.write_whole(&ZEROES[..piece as usize], offset + done, operation)?;
            done += piece;
        }
        Ok(())
    }

    /// Gives up the space of `length` bytes at `offset`: nothing of value is there any more, and
    /// what is read there afterwards is not defined. Where the component can not, it
    /// succeeds by doing nothing.
    pub fn delete(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let operation = Operation::Delete { offset, length };
        self.check_bounds(offset, length, operation)?;
        if length == 0 {
            return Ok(());
        }
        match self.medium {
            Medium::File => self.punch_hole(offset, length),
            Medium::Device => self.abilities.discard.attempt(
                self.path(),
                "can not delete: deletes succeed by doing nothing",
                || self.discard(offset, length),
            ),
        }
        .map(|_given_up| ())
        .map_err(|errno| self.error(errno, operation))
    }

    /// Makes everything written before it survive a power cut. A component without a cache to
    /// flush succeeds by doing nothing.
    pub fn flush(&self) -> Result<(), DiskError> {
        let without = "can not flush: flushes succeed by doing nothing";
        self.abilities
            .flush
            .attempt(self.path(), without, || self.synchronise())
            .map(|_flushed| ())
            .map_err(|errno| self.error(errno, Operation::Flush))
    }

    /// Gives up the space of a range, which then reads zero; false where the component can not.
    fn punch_hole(&self, offset: u64, length: u64) -> nix::Result<bool> {
        let without = "can not give up space: what is deleted keeps its place";
        self.abilities.hole.attempt(self.path(), without, || {
            let (offset, length) = (signed(offset)?, signed(length)?);
            #[cfg(target_os = "linux")]
            {
                use nix::fcntl::{FallocateFlags as Flags, fallocate};
                let mode = Flags::FALLOC_FL_PUNCH_HOLE | Flags::FALLOC_FL_KEEP_SIZE;
                fallocate(&self.file, mode, offset, length)
            }
            #[cfg(target_os = "freebsd")]
            {
                nix::fcntl::fspacectl_all(&self.file, offset, length)
            }
        })
    }

    /// Zeroes a range without sending zeros; false where the component can not. Linux' block
    /// devices punch holes, too, where discarding zeroes them; FreeBSD's devices never do.
    fn zero_cheaply(&self, offset: u64, length: u64) -> nix::Result<bool> {
        #[cfg(target_os = "freebsd")]
        if self.medium == Medium::Device {
            return Ok(false);
        }
        if self.punch_hole(offset, length)? {
            return Ok(true);
        }
        #[cfg(target_os = "linux")]
        {
            use nix::fcntl::{FallocateFlags as Flags, fallocate};
            let without = "can not zero a range: zeros are written out";
            self.abilities.zero_range.attempt(self.path(), without, || {
                let mode = Flags::FALLOC_FL_ZERO_RANGE | Flags::FALLOC_FL_KEEP_SIZE;
                fallocate(&self.file, mode, signed(offset)?, signed(length)?)
            })
        }
        #[cfg(target_os = "freebsd")]
        {
            Ok(false)
        }
    }

    #[cfg(target_os = "linux")]
    fn discard(&self, offset: u64, length: u64) -> nix::Result<()> {
        device::discard(self.file.as_fd(), offset, length)
    }

    #[cfg(target_os = "freebsd")]
    fn discard(&self, offset: u64, length: u64) -> nix::Result<()> {
        device::delete(self.file.as_fd(), offset, length)
    }

    /// fdatasync(2), except for a FreeBSD device, which has a request of its own.
    fn synchronise(&self) -> nix::Result<()> {
        #[cfg(target_os = "freebsd")]
        if self.medium == Medium::Device {
            return device::flush(self.file.as_fd());
        }
        self.file.sync_data().map_err(|error| errno_of(&error))
    }
}

/// Whether an errno says that the component never can, rather than that it failed this time.
fn says_unsupported(errno: Errno) -> bool {
    match errno {
        Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::ENOSYS => true,
        // What a FreeBSD driver without the request answers; on Linux a device that is gone may
        // say so.
        Errno::ENODEV => cfg!(target_os = "freebsd"),
        _ => false,
    }
}

/// An offset or length as the system takes it. Those within a component always fit.
fn signed(number: u64) -> nix::Result<off_t> {
    off_t::try_from(number).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_once() {
        let ability = Ability::default();
        let asked = Cell::new(0);
        let attempt = || {
            ability.attempt(Path::new("/component"), "can not", || {
                asked.set(asked.get() + 1);
                Err(Errno::EOPNOTSUPP)
            })
        };
        assert_eq!(attempt(), Ok(false));
        assert_eq!(attempt(), Ok(false));
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_failure_is_no_lack() {
        let ability = Ability::default();
        let path = Path::new("/component");
        assert_eq!(
            ability.attempt(path, "", || Err(Errno::EIO)),
            Err(Errno::EIO)
        );
        let interruptions = Cell::new(3);
        let interrupted = || {
            interruptions.set(interruptions.get() - 1);
            if interruptions.get() > 0 {
                Err(Errno::EINTR)
            } else {
                Ok(())
            }
        };
        assert_eq!(ability.attempt(path, "", interrupted), Ok(true));
    }
}
