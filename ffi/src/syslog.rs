//! syslog(3): the one log of a daemon. Never interprets a message as a format.

use std::ffi::CStr;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// What an administrator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
}

impl Priority {
    const fn number(self) -> libc::c_int {
        match self {
            Self::Error => libc::LOG_ERR,
            Self::Warning => libc::LOG_WARNING,
            Self::Info => libc::LOG_INFO,
            Self::Debug => libc::LOG_DEBUG,
        }
    }
}

/// Connects to the system's log as `name`, facility daemon, with the process id in each line.
/// Does so at once, so that it still works when the process can no longer open anything.
pub fn open(name: &'static CStr) {
    // SAFETY: the C library keeps the pointer; it is to a string that lives for ever.
    unsafe {
        libc::openlog(
            name.as_ptr(),
            libc::LOG_PID | libc::LOG_NDELAY,
            libc::LOG_DAEMON,
        );
    }
}

/// Logs one line. A log that can not be reached loses it: there is nowhere to say so.
pub fn write(priority: Priority, line: &CStr) {
    // SAFETY: the format takes exactly one string, which is NUL-terminated and outlives the call.
    unsafe { libc::syslog(priority.number(), c"%s".as_ptr(), line.as_ptr()) };
}
