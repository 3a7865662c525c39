//! Questions to a disk device and what only an ioctl can ask of it: its size and sector,
//! its identity, flush and delete. Never decides what an unsupported request means: the
//! errno comes out as it is.
//!
//! Every function is for a descriptor of a disk device (a GEOM provider's character device
//! on FreeBSD, a block device on Linux); on anything else the kernel answers ENOTTY or ENODEV.

#[cfg(target_os = "freebsd")]
pub use freebsd::{delete, flush, identity, media_size, sector_size, stripe_size};
#[cfg(target_os = "linux")]
pub use linux::{discard, media_size, sector_size};

/// FreeBSD: `<sys/disk.h>`.
#[cfg(target_os = "freebsd")]
mod freebsd {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::Result;

    /// Room for a disk's identity, its NUL included (`DISK_IDENT_SIZE`).
    const IDENTITY_LENGTH: usize = 256;

    /// `off_t[2]` of `DIOCGDELETE`: where, and how long.
    type Range = [libc::off_t; 2];

    const _: () = assert!(size_of::<Range>() == 16);

    mod raw {
        use super::{IDENTITY_LENGTH, Range};

        nix::ioctl_read!(diocgsectorsize, b'd', 128, libc::c_uint);
        nix::ioctl_read!(diocgmediasize, b'd', 129, libc::off_t);
        nix::ioctl_none!(diocgflush, b'd', 135);
        nix::ioctl_write_ptr!(diocgdelete, b'd', 136, Range);
        nix::ioctl_read!(diocgident, b'd', 137, [u8; IDENTITY_LENGTH]);
        nix::ioctl_read!(diocgstripesize, b'd', 139, libc::off_t);
    }

    /// The size of the medium, in bytes.
    pub fn media_size(device: BorrowedFd<'_>) -> Result<u64> {
        let mut size: libc::off_t = 0;
        // SAFETY: the kernel writes one off_t, as long as the request number says.
        unsafe { raw::diocgmediasize(device.as_raw_fd(), &raw mut size)? };
        u64::try_from(size).map_err(|_| nix::errno::Errno::EINVAL)
    }

    /// The size of a sector, in bytes.
    pub fn sector_size(device: BorrowedFd<'_>) -> Result<u32> {
        let mut size: libc::c_uint = 0;
        // SAFETY: the kernel writes one u_int, as long as the request number says.
        unsafe { raw::diocgsectorsize(device.as_raw_fd(), &raw mut size)? };
        Ok(size)
    }

    /// The size of a stripe, in bytes; 0 where the provider names none.
    pub fn stripe_size(device: BorrowedFd<'_>) -> Result<u64> {
        let mut size: libc::off_t = 0;
        // SAFETY: the kernel writes one off_t, as long as the request number says.
        unsafe { raw::diocgstripesize(device.as_raw_fd(), &raw mut size)? };
        u64::try_from(size).map_err(|_| nix::errno::Errno::EINVAL)
    }

    /// What the disk calls itself (a serial number, mostly); it outlives a change of name.
    pub fn identity(device: BorrowedFd<'_>) -> Result<String> {
        let mut text = [0_u8; IDENTITY_LENGTH];
        // SAFETY: the kernel writes IDENTITY_LENGTH bytes, as long as the request number says.
        unsafe { raw::diocgident(device.as_raw_fd(), &raw mut text)? };
        let end = text
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Writes the device's volatile cache to its medium.
    pub fn flush(device: BorrowedFd<'_>) -> Result<()> {
        // SAFETY: the request takes no argument.
        unsafe { raw::diocgflush(device.as_raw_fd())? };
        Ok(())
    }

    /// Tells the device that `length` bytes at `offset` hold nothing of value any more.
    pub fn delete(device: BorrowedFd<'_>, offset: u64, length: u64) -> Result<()> {
        let signed = |number| libc::off_t::try_from(number).map_err(|_| nix::errno::Errno::EINVAL);
        let range: Range = [signed(offset)?, signed(length)?];
        // SAFETY: the kernel reads two off_t, as long as the request number says.
        unsafe { raw::diocgdelete(device.as_raw_fd(), &raw const range)? };
        Ok(())
    }
}

/// Linux: `<linux/fs.h>`.
#[cfg(target_os = "linux")]
mod linux {
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
}

#[cfg(all(test, target_os = "linux"))]
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
