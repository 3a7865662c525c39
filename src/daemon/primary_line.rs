//! The line on which a secondary's worker answers its primary, as the main process sees it: whether the
//! primary still has it open.
//!
//! Only looks: reads nothing, writes nothing, and is let go of as soon as the worker has ended, so that it never
//! keeps a connection open that nobody serves. After the handshake the primary sends nothing on this line (its
//! requests come on the other one), so whatever there is to be read is its end. A primary that lost power has
//! ended nothing: its line is alive until the worker gives it up, [`SILENCE`](crate::worker::secondary::SILENCE)
//! after the last word.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// A second descriptor of the line.
#[derive(Debug)]
pub struct PrimaryLine(OwnedFd);

impl PrimaryLine {
    /// Of the connection that carries replies.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn of(replies: &OwnedFd) -> io::Result<Self> {
        replies.try_clone().map(Self)
    }

    /// Whether the primary has neither closed it nor lost it, as far as this machine knows.
    pub fn is_open(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.0.as_raw_fd(), &mut [0], flags) {
            Ok(0) => false,
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// Waits for what the other end did to arrive.
    fn closes(line: &PrimaryLine) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while line.is_open() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        !line.is_open()
    }

    #[test]
    fn a_line_is_open_until_the_primary_closes_it_whatever_the_worker_does() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let primary = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let worker = OwnedFd::from(listener.accept().unwrap().0);
        let line = PrimaryLine::of(&worker).unwrap();
        assert!(line.is_open());
        drop(worker);
        assert!(line.is_open());
        drop(primary);
        assert!(closes(&line));
        assert!(!line.is_open(), "and stays so");
    }

    #[test]
    fn a_line_that_was_torn_off_is_not_open() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let primary = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let worker = listener.accept().unwrap().0;
        let line = PrimaryLine::of(&OwnedFd::from(worker)).unwrap();
        socket2::SockRef::from(&primary)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(primary);
        assert!(closes(&line));
    }
}
