//! Getting a thread out of a system call that would wait for ever: a signal whose handler does nothing,
//! and after which the call is not begun again.
//!
//! A signal that comes just before the call has no effect on it: whoever interrupts does so until the thread
//! is where it should be.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use nix::Result;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The signal. Nothing else in hast uses it.
const SIGNAL: Signal = Signal::SIGUSR1;

/// Makes the signal harmless. Before the first [`interrupt`], once for the process.
///
/// # Errors
/// None that sigaction(2) has for this signal.
pub fn prepare() -> Result<()> {
    // Without SA_RESTART: that is the point.
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, so it may run anywhere; nobody else has one for this signal.
    unsafe { sigaction(SIGNAL, &action) }.map(drop)
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Ends the system call that a thread waits in, if it does: with EINTR.
///
/// # Errors
/// ESRCH where the thread has ended.
pub fn interrupt<T>(thread: &JoinHandle<T>) -> Result<()> {
    // SAFETY: a thread's id is valid until it is joined, which takes the handle away.
    let result = unsafe { libc::pthread_kill(thread.as_pthread_t(), SIGNAL as libc::c_int) };
    match result {
        0 => Ok(()),
        error => Err(Errno::from_raw(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_thread_that_waits_is_woken() {
        prepare().unwrap();
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let (ended, end) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut byte = [0];
            // SAFETY: the byte is there to be written to.
            let read = unsafe { libc::read(reader.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
            ended.send((read, Errno::last())).unwrap();
        });
        let result = loop {
            interrupt(&thread).unwrap();
            if let Ok(result) = end.recv_timeout(Duration::from_millis(10)) {
                break result;
            }
        };
        assert_eq!(result, (-1, Errno::EINTR));
        thread.join().unwrap();
    }
}
