//! Kernel modules: whether one is there, and loading it. On another system both fail with ENOSYS.

use std::ffi::CStr;

use nix::Result;
use nix::errno::Errno;

/// Whether the kernel has a module of this name, loaded or built in (modfind(2)).
pub fn is_present(name: &CStr) -> Result<bool> {
    match system::find(name) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Loads a module's file and what it depends on (kldload(2)). One that is loaded is left as it is.
///
/// # Errors
/// EPERM for anybody but root, in a jail and at a raised securelevel; ENOENT where there is no
/// such file; ENOEXEC where it is for another kernel.
pub fn load(file: &CStr) -> Result<()> {
    match system::load(file) {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::ffi::{CStr, c_char, c_int};

    use nix::Result;
    use nix::errno::Errno;

    // Of <sys/module.h> and <sys/linker.h>; libc has neither.
    unsafe extern "C" {
        fn modfind(name: *const c_char) -> c_int;
        fn kldload(file: *const c_char) -> c_int;
    }

    pub fn find(name: &CStr) -> Result<c_int> {
        // SAFETY: the name ends with a NUL and is only read.
        Errno::result(unsafe { modfind(name.as_ptr()) })
    }

    pub fn load(file: &CStr) -> Result<c_int> {
        // SAFETY: the name ends with a NUL and is only read.
        Errno::result(unsafe { kldload(file.as_ptr()) })
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use std::ffi::{CStr, c_int};

    use nix::Result;
    use nix::errno::Errno;

    pub fn find(_name: &CStr) -> Result<c_int> {
        Err(Errno::ENOSYS)
    }

    pub fn load(_file: &CStr) -> Result<c_int> {
        Err(Errno::ENOSYS)
    }
}
