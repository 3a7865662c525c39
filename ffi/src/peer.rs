//! Who is at the other end of a unix socket: `SO_PEERCRED` on Linux, `LOCAL_PEERCRED` on FreeBSD
//! (`<sys/ucred.h>`, unix(4)).

use std::os::fd::BorrowedFd;

use nix::Result;

/// The process that connected. It may be gone since, and may have passed the socket on.
///
/// # Errors
/// ENOENT where the system does not say, and whatever getsockopt(2) has.
pub fn process(socket: BorrowedFd<'_>) -> Result<i32> {
    system::process(socket)
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::BorrowedFd;

    use nix::Result;
    use nix::errno::Errno;
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    pub fn process(socket: BorrowedFd<'_>) -> Result<i32> {
        let pid = getsockopt(&socket, PeerCredentials)?.pid();
        // 0: a process of another container.
        if pid > 0 { Ok(pid) } else { Err(Errno::ENOENT) }
    }
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::Result;
    use nix::errno::Errno;

    pub fn process(socket: BorrowedFd<'_>) -> Result<i32> {
        // SAFETY: a struct of numbers, for which zeros are valid.
        let mut credentials: libc::xucred = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::xucred>() as libc::socklen_t;
        // SAFETY: the pointers are to a value of the length given, and to that length; both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_LOCAL,
                libc::LOCAL_PEERCRED,
                (&raw mut credentials).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        // SAFETY: the union is of a number and of room for one, and was zeroed or filled by the kernel.
        let pid = unsafe { credentials.cr_pid__c_anonymous_union.cr_pid };
        // 0: a kernel before FreeBSD 13.
        if pid > 0 { Ok(pid) } else { Err(Errno::ENOENT) }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod system {
    use std::os::fd::BorrowedFd;

    use nix::Result;
    use nix::errno::Errno;

    pub fn process(_: BorrowedFd<'_>) -> Result<i32> {
        Err(Errno::ENOENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(process(one.as_fd()), Ok(std::process::id().cast_signed()));
    }

    #[test]
    fn what_is_no_unix_socket_has_no_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(process(listener.as_fd()).is_err());
    }
}
