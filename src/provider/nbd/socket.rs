//! A connected stream of either family, the same for server and client. Holds no state of
//! the protocol.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, sendmsg};

/// A stream socket.
pub enum Socket {
    /// On this machine.
    Unix(UnixStream),
    /// Over a network.
    Tcp(TcpStream),
}

/// What a unix socket may hold in either direction, in bytes. A BSD's default of a few KiB
/// would cut every request into pieces.
const UNIX_BUFFER: usize = 256 << 10;

impl Socket {
    /// A unix socket with room for some large requests.
    pub fn unix(stream: UnixStream) -> Self {
        let socket = socket2::SockRef::from(&stream);
        // A system that grants less works all the same.
        let _ = socket.set_send_buffer_size(UNIX_BUFFER);
        let _ = socket.set_recv_buffer_size(UNIX_BUFFER);
        Self::Unix(stream)
    }

    /// A TCP connection as NBD wants it: small messages leave at once, and a peer that
    /// vanished without a word is noticed by the kernel.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_keepalive(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Receives what is there, at least one byte unless the peer closed.
    pub fn receive(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&*stream).read_vectored(into),
            Self::Tcp(stream) => (&*stream).read_vectored(into),
        }
    }

    /// Sends what fits, at least one byte. Without `wait`, [`io::ErrorKind::WouldBlock`]
    /// says that the peer is behind; with it, that the send timeout passed.
    pub fn send(&self, slices: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        let mut flags = MsgFlags::MSG_NOSIGNAL;
        if !wait {
            flags |= MsgFlags::MSG_DONTWAIT;
        }
        loop {
            match sendmsg::<()>(self.as_fd().as_raw_fd(), slices, &[], flags, None) {
                Err(nix::errno::Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Sends all of it, waiting as needed.
    pub fn send_all(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let sent = self.send(slices, true)?;
            IoSlice::advance_slices(&mut slices, sent);
        }
        Ok(())
    }

    /// Limits how long [`Socket::receive`] waits; `None` is for ever.
    pub fn set_receive_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(limit),
            Self::Tcp(stream) => stream.set_read_timeout(limit),
        }
    }

    /// Limits how long [`Socket::send`] waits; `None` is for ever.
    pub fn set_send_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_write_timeout(limit),
            Self::Tcp(stream) => stream.set_write_timeout(limit),
        }
    }

    /// Closes one or both directions under whoever waits in them.
    pub fn shutdown(&self, how: Shutdown) {
        // The only failure is a connection that is closed already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(how),
            Self::Tcp(stream) => stream.shutdown(how),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// The peer, for a log line.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_) => f.write_str("local"),
            Self::Tcp(stream) => match stream.peer_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("gone"),
            },
        }
    }
}
