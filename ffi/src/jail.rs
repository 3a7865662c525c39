//! jail(2): a process that sees one directory, no network and no process outside.
//!
//! There is no way back. On another system this fails with ENOSYS.

use std::ffi::CStr;

use nix::Result;

use crate::headers::Claims;
use crate::layout::structure;

const VERSION: u32 = 2;

structure! {
    struct Argument = "jail", "" [56, 32] {
        version: u32 = [0, 0],
        path: *mut u8 = [8, 4],
        hostname: *mut u8 = [16, 8],
        jailname: *mut u8 = [24, 12],
        ip4s: u32 = [32, 16],
        ip6s: u32 = [36, 20],
        ip4: *mut u8 = [40, 24],
        ip6: *mut u8 = [48, 28],
    }
}

/// What this module says of FreeBSD's headers.
pub const CLAIMS: Claims = Claims {
    headers: &["sys/param.h", "netinet/in.h", "sys/jail.h"],
    structures: &[Argument::STRUCTURE],
    requests: &[],
    constants: &[("JAIL_API_VERSION", VERSION as u64)],
};

/// Makes a jail without addresses, enters it and returns its number. `path` becomes the root
/// directory; the jail is called by its number and goes when its last process ends.
/// A directory that is open stays usable: chdir(2) to `/` afterwards.
///
/// # Errors
/// EPERM for anybody but root, or inside of a jail that may have none; whatever is wrong
/// with the path.
pub fn enter(path: &CStr, hostname: &CStr) -> Result<i32> {
    let argument = Argument {
        version: VERSION,
        path: path.as_ptr().cast_mut().cast(),
        hostname: hostname.as_ptr().cast_mut().cast(),
        jailname: std::ptr::null_mut(),
        ip4s: 0,
        ip6s: 0,
        ip4: std::ptr::null_mut(),
        ip6: std::ptr::null_mut(),
    };
    system::enter(&argument)
}

#[cfg(target_os = "freebsd")]
mod system {
    use nix::Result;
    use nix::errno::Errno;

    use super::Argument;

    pub fn enter(argument: &Argument) -> Result<i32> {
        let argument = std::ptr::from_ref(argument).cast_mut().cast();
        // SAFETY: Argument is struct jail; its two texts end with a NUL and outlive the call, its
        // other pointers are null with counts of 0; the kernel writes to nothing of it.
        Errno::result(unsafe { libc::jail(argument) })
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use nix::Result;
    use nix::errno::Errno;

    use super::Argument;

    pub fn enter(_argument: &Argument) -> Result<i32> {
        Err(Errno::ENOSYS)
    }
}
