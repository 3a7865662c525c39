//! What the kernel says of itself, by name (sysctlbyname(3)). Only reads.
//! On another system every function fails with ENOSYS.

use std::ffi::CStr;

use nix::Result;
use nix::errno::Errno;

/// The most that one request to a disk transfers, in bytes: a number.
pub const MAX_PHYS: &CStr = c"kern.maxphys";
/// The machine's UUID: a text.
pub const HOST_UUID: &CStr = c"kern.hostuuid";
/// The machine's number, derived from its UUID as a rule.
pub const HOST_ID: &CStr = c"kern.hostid";
/// A random number of this boot: bytes.
pub const BOOT_ID: &CStr = c"kern.boot_id";
/// When the machine was started, by its clock as that is set now: a timeval.
pub const BOOT_TIME: &CStr = c"kern.boottime";
/// All of GEOM: classes, geoms, providers, who has what open. XML.
pub const GEOM_TREE: &CStr = c"kern.geom.confxml";

/// How often a value is asked for again that grew between asking for its size and for itself.
const TRIES: usize = 8;

/// A value as it is.
///
/// # Errors
/// ENOENT where there is none of this name, ENOMEM where it grew too often while it was read.
pub fn bytes(name: &CStr) -> Result<Vec<u8>> {
    for _ in 0..TRIES {
        let size = system::read(name, &mut [])?;
        // What changes all the time is longer by the next call.
        let mut value = vec![0; size + size / 8];
        match system::read(name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ENOMEM)
}

/// A text, without the NUL that ends it.
///
/// # Errors
/// As for [`bytes`].
pub fn text(name: &CStr) -> Result<String> {
    bytes(name).map(|value| {
        let end = value.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
    })
}

/// A number, int or long, none of which is ever negative.
///
/// # Errors
/// As for [`bytes`]; EINVAL where it is no number.
pub fn number(name: &CStr) -> Result<u64> {
    number_in(&bytes(name)?).ok_or(Errno::EINVAL)
}

/// The number that a value of 4 or 8 bytes is.
fn number_in(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => value.try_into().ok().map(u32::from_ne_bytes).map(u64::from),
        8 => value.try_into().ok().map(u64::from_ne_bytes),
        _ => None,
    }
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::ffi::CStr;

    use nix::Result;
    use nix::errno::Errno;

    /// Reads a value into a buffer and returns its length; with no buffer, how long it is now.
    pub fn read(name: &CStr, buffer: &mut [u8]) -> Result<usize> {
        let mut length = buffer.len();
        let place = if buffer.is_empty() {
            std::ptr::null_mut()
        } else {
            buffer.as_mut_ptr().cast()
        };
        // SAFETY: the name ends with a NUL; the kernel writes at most `length` bytes, which is how
        // long the buffer is, and their number to `length`; nothing is set.
        let result = unsafe {
            libc::sysctlbyname(name.as_ptr(), place, &raw mut length, std::ptr::null(), 0)
        };
        Errno::result(result).map(|_| length)
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use std::ffi::CStr;

    use nix::Result;
    use nix::errno::Errno;

    pub fn read(_name: &CStr, _buffer: &mut [u8]) -> Result<usize> {
        Err(Errno::ENOSYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ints_or_longs() {
        assert_eq!(number_in(&1_048_576_u32.to_ne_bytes()), Some(1_048_576));
        assert_eq!(number_in(&(1_u64 << 40).to_ne_bytes()), Some(1 << 40));
        assert_eq!(number_in(b"abc"), None);
        assert_eq!(number_in(b""), None);
    }
}
