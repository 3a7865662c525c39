//! What ps(1) shows of this process: setproctitle(3). Elsewhere than on FreeBSD that is what it was started
//! with, and stays so.

use std::ffi::CStr;

/// Shows this text in place of the program's name and arguments.
pub fn set(title: &CStr) {
    #[cfg(target_os = "freebsd")]
    // SAFETY: the format takes exactly one string, which is NUL-terminated and copied; its first character
    // leaves the program's name out.
    unsafe {
        libc::setproctitle(c"-%s".as_ptr(), title.as_ptr());
    }
    #[cfg(not(target_os = "freebsd"))]
    let _ = title;
}
