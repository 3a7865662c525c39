//! Reading from a socket until a moment, however slowly the bytes drop in.

use std::io::{self, Read};
use std::time::Instant;

use socket2::Socket;

/// A socket that is read from until `deadline`; what has not come by then is `TimedOut`.
pub struct DeadlineReader {
    /// Blocking.
    pub socket: Socket,
    /// The end of all reading.
    pub deadline: Instant,
}

impl Read for DeadlineReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })
    }
}
