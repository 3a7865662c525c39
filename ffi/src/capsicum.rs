//! Capsicum: a process that can open nothing any more, and descriptors that can do only what is
//! left to them (`<sys/capsicum.h>`). What the rest of the program needs, its callers say.
//!
//! There is no way back from anything here. On another system every function fails with ENOSYS.

use std::os::fd::BorrowedFd;

use nix::Result;

use crate::headers::Claims;
use crate::ioctl::Ioctl;
use crate::layout::structure;

/// What may be done with a descriptor. One bit says which, another in which word that one is.
pub type Right = u64;

const fn right(word: u32, bits: u64) -> Right {
    1 << (57 + word) | bits
}

/// read(2), recv(2).
pub const READ: Right = right(0, 0x01);
/// write(2), send(2).
pub const WRITE: Right = right(0, 0x02);
const SEEK_TELL: Right = right(0, 0x04);
const SEEK: Right = SEEK_TELL | right(0, 0x08);
/// pread(2), preadv(2).
pub const PREAD: Right = SEEK | READ;
/// pwrite(2), pwritev(2), and fspacectl(2).
pub const PWRITE: Right = SEEK | WRITE;
/// fsync(2), fdatasync(2).
pub const FSYNC: Right = right(0, 0x100);
/// ftruncate(2).
pub const FTRUNCATE: Right = right(0, 0x200);
/// fcntl(2): the descriptor's flags.
pub const FCNTL: Right = right(0, 0x8000);
/// flock(2).
pub const FLOCK: Right = right(0, 0x1_0000);
/// fstat(2).
pub const FSTAT: Right = right(0, 0x8_0000);
/// accept(2).
pub const ACCEPT: Right = right(0, 0x2000_0000);
/// getpeername(2).
pub const GETPEERNAME: Right = right(0, 0x1_0000_0000);
/// getsockname(2).
pub const GETSOCKNAME: Right = right(0, 0x2_0000_0000);
/// getsockopt(2).
pub const GETSOCKOPT: Right = right(0, 0x4_0000_0000);
/// setsockopt(2).
pub const SETSOCKOPT: Right = right(0, 0x20_0000_0000);
/// shutdown(2).
pub const SHUTDOWN: Right = right(0, 0x40_0000_0000);
/// poll(2), and being watched by a kqueue.
pub const EVENT: Right = right(1, 0x20);
/// kevent(2) on a kqueue.
pub const KQUEUE: Right = right(1, 0x10_0040);
/// ioctl(2); [`limit_ioctls`] says which.
pub const IOCTL: Right = right(1, 0x80);

const FIONBIO: Ioctl<i32> = Ioctl::write("FIONBIO", b'f', 126);

/// A connected socket: to the peer, or to the main process, descriptors sent along included.
pub const SOCKET: Rights = Rights::of(&[
    READ,
    WRITE,
    EVENT,
    FCNTL,
    GETPEERNAME,
    GETSOCKNAME,
    GETSOCKOPT,
    SETSOCKOPT,
    SHUTDOWN,
    IOCTL,
]);
/// A socket that accepts. What it accepts has these rights, too.
pub const LISTENER: Rights = SOCKET.with(ACCEPT);
/// What is left to ask of either: whether its calls wait. Rust's library sets that with an ioctl.
pub const SOCKET_REQUESTS: [u32; 1] = [FIONBIO.code()];

/// A component that is a regular file.
pub const FILE: Rights = Rights::of(&[PREAD, PWRITE, FSYNC, FSTAT, FLOCK]);
/// A component that is a disk device.
pub const DISK: Rights = Rights::of(&[PREAD, PWRITE, FSYNC, FSTAT, FLOCK, IOCTL]);
/// A pipe that takes a log.
pub const LOG: Rights = Rights::of(&[WRITE]);
/// A device that is there for its ioctls.
pub const CONTROL: Rights = Rights::of(&[IOCTL]);
/// A kqueue.
pub const QUEUE: Rights = Rights::of(&[KQUEUE, EVENT, FCNTL]);

structure! {
    /// A set of rights.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rights = "cap_rights", "cr_" [16, 16] {
        rights: [u64; 2] = [0, 0],
    }
}

impl Rights {
    /// Nothing but these.
    pub const fn of(rights: &[Right]) -> Self {
        // Each word bears its own mark; the uppermost two bits of the first are the version, 0.
        let mut all = Self {
            rights: [right(0, 0), right(1, 0)],
        };
        let mut index = 0;
        while index < rights.len() {
            all = all.with(rights[index]);
            index += 1;
        }
        all
    }

    /// These and one more.
    pub const fn with(mut self, right: Right) -> Self {
        let word = (right >> 57).trailing_zeros() as usize;
        self.rights[word] |= right;
        self
    }

    /// Whether all of another set is in this one.
    pub const fn contains(&self, other: &Self) -> bool {
        other.rights[0] & !self.rights[0] == 0 && other.rights[1] & !self.rights[1] == 0
    }
}

/// What this module says of FreeBSD's headers.
pub const CLAIMS: Claims = Claims {
    headers: &["sys/types.h", "sys/capsicum.h", "sys/filio.h"],
    structures: &[Rights::STRUCTURE],
    requests: &[FIONBIO.number()],
    constants: &[
        ("CAP_RIGHTS_VERSION", 0),
        ("CAPRIGHT(0, 0)", right(0, 0)),
        ("CAPRIGHT(1, 0)", right(1, 0)),
        ("CAP_READ", READ),
        ("CAP_WRITE", WRITE),
        ("CAP_SEEK_TELL", SEEK_TELL),
        ("CAP_SEEK", SEEK),
        ("CAP_PREAD", PREAD),
        ("CAP_PWRITE", PWRITE),
        ("CAP_FSYNC", FSYNC),
        ("CAP_FTRUNCATE", FTRUNCATE),
        ("CAP_FCNTL", FCNTL),
        ("CAP_FLOCK", FLOCK),
        ("CAP_FSTAT", FSTAT),
        ("CAP_ACCEPT", ACCEPT),
        ("CAP_GETPEERNAME", GETPEERNAME),
        ("CAP_GETSOCKNAME", GETSOCKNAME),
        ("CAP_GETSOCKOPT", GETSOCKOPT),
        ("CAP_SETSOCKOPT", SETSOCKOPT),
        ("CAP_SHUTDOWN", SHUTDOWN),
        ("CAP_EVENT", EVENT),
        ("CAP_KQUEUE", KQUEUE),
        ("CAP_IOCTL", IOCTL),
    ],
};

/// Enters capability mode: from here on this process, all of its threads, opens nothing by name,
/// connects to nothing and sees no other process.
///
/// # Errors
/// ENOSYS where the kernel has no capability mode.
pub fn enter() -> Result<()> {
    system::enter()
}

/// Leaves a descriptor, and all copies made of it later, only these rights.
///
/// # Errors
/// ENOTCAPABLE for a right that the descriptor does not have, ENOSYS where the kernel has no
/// capability mode.
pub fn limit(descriptor: BorrowedFd<'_>, rights: &Rights) -> Result<()> {
    system::limit(descriptor, rights)
}

/// Leaves a descriptor only these ioctls.
///
/// # Errors
/// ENOTCAPABLE for one that the descriptor does not have, ENOSYS where the kernel has no
/// capability mode.
pub fn limit_ioctls(descriptor: BorrowedFd<'_>, requests: &[u32]) -> Result<()> {
    system::limit_ioctls(descriptor, requests)
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::Result;
    use nix::errno::Errno;

    use super::Rights;

    pub fn enter() -> Result<()> {
        // SAFETY: takes nothing, and changes only what later system calls may do.
        Errno::result(unsafe { libc::cap_enter() }).map(drop)
    }

    pub fn limit(descriptor: BorrowedFd<'_>, rights: &Rights) -> Result<()> {
        let rights = std::ptr::from_ref(rights).cast();
        // SAFETY: the descriptor is open; the kernel reads one cap_rights_t, which Rights is.
        Errno::result(unsafe { libc::cap_rights_limit(descriptor.as_raw_fd(), rights) }).map(drop)
    }

    pub fn limit_ioctls(descriptor: BorrowedFd<'_>, requests: &[u32]) -> Result<()> {
        let requests: Vec<libc::c_ulong> = requests.iter().map(|code| (*code).into()).collect();
        // SAFETY: the descriptor is open; the kernel reads as many numbers as there are.
        let result = unsafe {
            libc::cap_ioctls_limit(descriptor.as_raw_fd(), requests.as_ptr(), requests.len())
        };
        Errno::result(result).map(drop)
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use std::os::fd::BorrowedFd;

    use nix::Result;
    use nix::errno::Errno;

    use super::Rights;

    pub fn enter() -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn limit(_descriptor: BorrowedFd<'_>, _rights: &Rights) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn limit_ioctls(_descriptor: BorrowedFd<'_>, _requests: &[u32]) -> Result<()> {
        Err(Errno::ENOSYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_in_the_word_that_it_names() {
        let none = Rights::of(&[]);
        assert_eq!(none.rights, [1 << 57, 1 << 58]);
        let both = Rights::of(&[READ, IOCTL]);
        assert_eq!(both.rights, [1 << 57 | 0x01, 1 << 58 | 0x80]);
        assert!(both.contains(&none) && both.contains(&CONTROL));
        assert!(!both.contains(&DISK) && DISK.contains(&both));
        assert!(DISK.contains(&FILE) && !FILE.contains(&DISK));
        assert!(LISTENER.contains(&SOCKET) && !SOCKET.contains(&LISTENER));
    }
}
