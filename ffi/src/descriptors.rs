//! Descriptors that arrive from another process: over a unix socket, or by inheritance.
//! Each comes out as an `OwnedFd`, exactly once, and closed on exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::spawn::FIRST_NUMBER;

/// Descriptors that one message may carry: what the two processes of a resource ever
/// exchange at once is a handful.
pub const MOST_DESCRIPTORS: usize = 16;

/// Room for the control message of [`MOST_DESCRIPTORS`], in words, so that it is aligned
/// as its header wants: the header takes at most 16 bytes, and padding at most 8.
const CONTROL_WORDS: usize = (MOST_DESCRIPTORS * size_of::<RawFd>() + 24).div_ceil(8);

/// What one receive gave.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer were filled; 0 is the end of the stream.
    pub length: usize,
    /// The descriptors that came with them, in the sender's order.
    pub descriptors: Vec<OwnedFd>,
}

/// Receives bytes and the descriptors sent with them. Blocks as the socket does.
///
/// # Errors
/// What the socket says (`WouldBlock` where it does not block), and `InvalidData` where more
/// than [`MOST_DESCRIPTORS`] came: those that arrived are closed again.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let length = loop {
        // SAFETY: message points to one iovec over `buffer` and to `control`, with their true
        // lengths; all of them outlive the call.
        let length =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(length) {
            Ok(length) => break length as usize,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    // SAFETY: recvmsg has just filled `message`, and `control` is still in place.
    let descriptors = unsafe { received_descriptors(&message) };
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    if cut || descriptors.len() > MOST_DESCRIPTORS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message came with more than {MOST_DESCRIPTORS} descriptors"),
        ));
    }
    Ok(Received {
        length,
        descriptors,
    })
}

/// Takes the descriptors out of a received message.
///
/// # Safety
/// `message` is as a successful recvmsg left it, its control buffer is alive, and this is
/// called once for it.
unsafe fn received_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the caller vouches for the control buffer; CMSG_FIRSTHDR and CMSG_NXTHDR stay in
    // it or return null, and a header they return is whole and says how much data follows.
    // The kernel made each number in SCM_RIGHTS a new descriptor of this process, which
    // nobody else knows of.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                // socklen_t on FreeBSD, size_t on Linux.
                #[allow(clippy::unnecessary_cast)]
                let length = found.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let numbers = libc::CMSG_DATA(header);
                for start in (0..length).step_by(size_of::<RawFd>()) {
                    let bytes = numbers.add(start).cast::<[u8; size_of::<RawFd>()]>().read();
                    descriptors.push(OwnedFd::from_raw_fd(RawFd::from_ne_bytes(bytes)));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

/// Claims a descriptor that this process was started with (see
/// [`crate::spawn::with_descriptors`]) and closes it on exec from here on.
///
/// What came through exec is recognised by its lack of the close-on-exec flag, which
/// everything that this program opens itself has: so nothing can be claimed twice, and
/// nothing that already has an owner (nor standard input, output and error).
///
/// # Errors
/// EBADF where no such descriptor was inherited, or it was already claimed.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    /// One claim at a time: looking at the flag and setting it are two calls.
    static CLAIM: Mutex<()> = Mutex::new(());
    let _claim = CLAIM.lock().unwrap_or_else(PoisonError::into_inner);

    if number < FIRST_NUMBER {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: borrowed only for the two calls below, of which the first checks that it is open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD)?);
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return Err(Errno::EBADF.into());
    }
    fcntl(descriptor, FcntlArg::F_SETFD(flags | FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and came through exec without an owner in this program; the flag
    // just set keeps it from being claimed again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_inherited_is_not_claimed() {
        let own = std::fs::File::open("/dev/null").expect("there is always /dev/null");
        for number in [own.as_raw_fd(), -1, 0, 2, 1_000_000] {
            let error = inherited(number).expect_err("not inherited");
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }

    #[test]
    fn an_inherited_descriptor_is_claimed_once() {
        let own = std::fs::File::open("/dev/null").expect("there is always /dev/null");
        // F_DUPFD without CLOEXEC: what a process finds that was started with it.
        let number = fcntl(&own, FcntlArg::F_DUPFD(100)).expect("a free number");
        let claimed = inherited(number).expect("first claim");
        assert_eq!(claimed.as_raw_fd(), number);
        assert!(inherited(number).is_err());
    }

    /// Tells this test, in the process that it starts, that it is the one started.
    const STARTED: &str = "HAST_FFI_TEST_STARTED";

    #[test]
    fn a_started_program_claims_what_it_was_given() {
        use std::io::{Read, Write};

        if std::env::var_os(STARTED).is_some() {
            let given = inherited(3).expect("given at the start");
            std::fs::File::from(given)
                .write_all(b"claimed")
                .expect("written");
            return;
        }
        let (mut reader, writer) = io::pipe().expect("pipe");
        let program = std::env::current_exe().expect("this test's program");
        let mut command = std::process::Command::new(program);
        command
            .env(STARTED, "1")
            .stdout(std::process::Stdio::null())
            .args([
                "--exact",
                "descriptors::tests::a_started_program_claims_what_it_was_given",
            ]);
        let mut child =
            crate::spawn::with_descriptors(command, vec![(writer.into(), 3)]).expect("started");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "claimed");
        assert!(child.wait().expect("ends").success());
    }
}
