//! A blocking socket with a moment at which every wait on it ends, however slowly the bytes drop in.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use socket2::Socket;

/// Reads from and writes to a socket until a moment; then fails with `TimedOut`.
#[derive(Debug)]
pub struct DeadlineStream {
    socket: Socket,
    deadline: Instant,
}

impl DeadlineStream {
    /// Bounds a connected socket that blocks.
    pub const fn new(socket: Socket, deadline: Instant) -> Self {
        Self { socket, deadline }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// A socket says that its time is over as it says that it would block.
fn overdue(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer).map_err(overdue)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(overdue)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
