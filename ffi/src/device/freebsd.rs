//! FreeBSD: `<sys/disk.h>`. On another system every function fails with ENOTTY.

use std::os::fd::BorrowedFd;

use nix::Result;
use nix::errno::Errno;

use crate::headers::Claims;
use crate::ioctl::Ioctl;

/// Room for a disk's identity, its NUL included (`DISK_IDENT_SIZE`).
const IDENTITY_SIZE: usize = 256;

const SECTOR_SIZE: Ioctl<u32> = Ioctl::read("DIOCGSECTORSIZE", b'd', 128);
const MEDIA_SIZE: Ioctl<i64> = Ioctl::read("DIOCGMEDIASIZE", b'd', 129);
const FLUSH: Ioctl<[u8; 0]> = Ioctl::none("DIOCGFLUSH", b'd', 135);
/// Where, and how long.
const DELETE: Ioctl<[i64; 2]> = Ioctl::write("DIOCGDELETE", b'd', 136);
const IDENTITY: Ioctl<[u8; IDENTITY_SIZE]> = Ioctl::read("DIOCGIDENT", b'd', 137);
const STRIPE_SIZE: Ioctl<i64> = Ioctl::read("DIOCGSTRIPESIZE", b'd', 139);

/// The numbers of the requests that a worker makes of a component that is open: what
/// cap_ioctls_limit(2) is to leave it.
pub const WORKER_REQUESTS: [u32; 3] = [DELETE.code(), FLUSH.code(), MEDIA_SIZE.code()];

/// What this module says of FreeBSD's headers.
pub const CLAIMS: Claims = Claims {
    headers: &["sys/types.h", "sys/disk.h"],
    structures: &[],
    requests: &[
        SECTOR_SIZE.number(),
        MEDIA_SIZE.number(),
        FLUSH.number(),
        DELETE.number(),
        IDENTITY.number(),
        STRIPE_SIZE.number(),
    ],
    constants: &[("DISK_IDENT_SIZE", IDENTITY_SIZE as u64)],
};

/// The size of the medium, in bytes.
pub fn media_size(device: BorrowedFd<'_>) -> Result<u64> {
    bytes(device, &MEDIA_SIZE)
}

/// The size of a sector, in bytes.
pub fn sector_size(device: BorrowedFd<'_>) -> Result<u32> {
    let mut size = 0;
    // SAFETY: the argument has no pointers, and any number is valid.
    unsafe { SECTOR_SIZE.call(device, &mut size)? };
    Ok(size)
}

/// The size of a stripe, in bytes; 0 where the provider names none.
pub fn stripe_size(device: BorrowedFd<'_>) -> Result<u64> {
    bytes(device, &STRIPE_SIZE)
}

/// What the disk calls itself (a serial number, mostly); it outlives a change of name.
pub fn identity(device: BorrowedFd<'_>) -> Result<String> {
    let mut text = [0; IDENTITY_SIZE];
    // SAFETY: the argument has no pointers, and any bytes are valid.
    unsafe { IDENTITY.call(device, &mut text)? };
    let end = text
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(text.len());
    Ok(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// Writes the device's volatile cache to its medium.
pub fn flush(device: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the request takes no argument.
    unsafe { FLUSH.call(device, &mut []) }
}

/// Tells the device that `length` bytes at `offset` hold nothing of value any more.
pub fn delete(device: BorrowedFd<'_>, offset: u64, length: u64) -> Result<()> {
    let signed = |number| i64::try_from(number).map_err(|_| Errno::EINVAL);
    let mut range = [signed(offset)?, signed(length)?];
    // SAFETY: the argument has no pointers; the kernel only reads it.
    unsafe { DELETE.call(device, &mut range) }
}

/// Asks for a number of bytes.
fn bytes(device: BorrowedFd<'_>, request: &Ioctl<i64>) -> Result<u64> {
    let mut size = 0;
    // SAFETY: the argument has no pointers, and any number is valid.
    unsafe { request.call(device, &mut size)? };
    u64::try_from(size).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_no_disk_says_so() {
        let file = File::open("/dev/null").expect("there is always /dev/null");
        let device = file.as_fd();
        assert!(media_size(device).is_err());
        assert!(sector_size(device).is_err());
        assert!(stripe_size(device).is_err());
        assert!(identity(device).is_err());
        assert!(flush(device).is_err());
        assert!(delete(device, 0, 512).is_err());
        assert_eq!(delete(device, u64::MAX, 512), Err(Errno::EINVAL));
    }
}
