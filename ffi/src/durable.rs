//! A write that is on the medium when it returns, without flushing what else the file has in memory.
//! Linux only; elsewhere a write and a flush do the same more slowly.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;
use nix::errno::Errno;

/// Writes some of `bytes` at `offset` and returns how many are on the medium now (`RWF_DSYNC`).
/// EOPNOTSUPP or ENOSYS where the kernel or the file system cannot do this.
pub fn write_at(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: the descriptor is open for the duration of the call; the one part describes `bytes`,
    // which the kernel only reads.
    let written = unsafe {
        libc::pwritev2(
            file.as_raw_fd(),
            &raw const part,
            1,
            offset,
            libc::RWF_DSYNC,
        )
    };
    Errno::result(written).map(|count| count as usize)
}
