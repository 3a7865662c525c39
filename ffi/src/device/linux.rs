//! Linux: `<linux/fs.h>`.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;

/// `uint64_t[2]` of `BLKDISCARD`: where, and how long.
type Range = [u64; 2];

const _: () = assert!(size_of::<Range>() == 16);

mod raw {
    use super::Range;

    nix::ioctl_read_bad!(blksszget, libc::BLKSSZGET, libc::c_int);
    // The header says size_t, the kernel always writes 64 bits.
    nix::ioctl_read_bad!(
        blkgetsize64,
        nix::request_code_read!(0x12, 114, size_of::<libc::size_t>()),
        u64
    );
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), Range);
}

/// The size of the medium, in bytes.
pub fn media_size(device: BorrowedFd<'_>) -> Result<u64> {
    let mut size = 0;
    // SAFETY: the kernel writes one 64-bit number, which is what is handed over.
    unsafe { raw::blkgetsize64(device.as_raw_fd(), &raw mut size)? };
    Ok(size)
}

/// The size of a logical sector, in bytes.
pub fn sector_size(device: BorrowedFd<'_>) -> Result<u32> {
    let mut size: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which is what is handed over.
    unsafe { raw::blksszget(device.as_raw_fd(), &raw mut size)? };
    u32::try_from(size).map_err(|_| nix::errno::Errno::EINVAL)
}

/// Tells the device that `length` bytes at `offset` hold nothing of value any more.
/// What a read returns there afterwards is not defined.
pub fn discard(device: BorrowedFd<'_>, offset: u64, length: u64) -> Result<()> {
    let range: Range = [offset, length];
    // SAFETY: the kernel reads two 64-bit numbers, which is what is handed over.
    unsafe { raw::blkdiscard(device.as_raw_fd(), &raw const range)? };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::errno::Errno;

    #[test]
    fn what_is_no_disk_says_so() {
        let file = File::open("/dev/null").expect("there is always /dev/null");
        assert_eq!(super::media_size(file.as_fd()), Err(Errno::ENOTTY));
        assert_eq!(super::sector_size(file.as_fd()), Err(Errno::ENOTTY));
        assert_eq!(super::discard(file.as_fd(), 0, 512), Err(Errno::ENOTTY));
    }
}
