//! Buffered receiving: many small messages come out of one system call, and the part of a
//! large payload that is not here yet goes straight into the buffer it is meant for. Waiting
//! is always bounded, by one of the ways of [`Wait`].

use std::io::{self, IoSliceMut};
use std::time::{Duration, Instant};

use super::socket::Socket;

/// The bytes read ahead at most: some dozens of small writes.
const READ_AHEAD: usize = 128 << 10;

/// How long to wait for the bytes of one item.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Until then, whatever came before.
    Until(Instant),
    /// For ever for its first byte; the others within this of the first.
    Idle(Duration),
    /// All within this of now.
    Within(Duration),
}

/// Why an item is not here.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The peer closed between items.
    #[error("the connection was closed")]
    Closed,
    /// The peer closed inside of an item.
    #[error("the connection was closed in the middle of a message")]
    Truncated,
    /// The peer was too slow.
    #[error("the peer did not send the rest of its message in time")]
    TimedOut,
    /// The connection failed.
    #[error("receiving failed: {0}")]
    Failed(#[from] io::Error),
}

/// The receiving side of a connection.
pub struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The receive timeout that the socket has now.
    timeout: Option<Duration>,
}

impl Default for Input {
    fn default() -> Self {
        let buffer = vec![0; READ_AHEAD].into_boxed_slice();
        Self {
            buffer,
            start: 0,
            end: 0,
            timeout: None,
        }
    }
}

impl Input {
    /// Fills `item`.
    ///
    /// # Errors
    /// See [`InputError`]; the connection can not be used after any of them.
    pub fn fill(&mut self, socket: &Socket, item: &mut [u8], wait: Wait) -> Result<(), InputError> {
        let mut filled = self.take_buffered(item);
        let mut deadline = match wait {
            _ if filled == item.len() => return Ok(()),
            Wait::Until(then) => Some(then),
            Wait::Within(limit) => Some(Instant::now() + limit),
            Wait::Idle(limit) => (filled > 0).then(|| Instant::now() + limit),
        };
        while filled < item.len() {
            self.limit_wait(socket, wait, deadline)?;
            let missing = item.len() - filled;
            let mut parts = [
                IoSliceMut::new(&mut item[filled..]),
                IoSliceMut::new(&mut self.buffer),
            ];
            match socket.receive(&mut parts) {
                Ok(0) if filled == 0 => return Err(InputError::Closed),
                Ok(0) => return Err(InputError::Truncated),
                Ok(received) => {
                    filled += received.min(missing);
                    self.start = 0;
                    self.end = received.saturating_sub(missing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if deadline.is_some() {
                        return Err(InputError::TimedOut);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(if filled == 0 {
                        InputError::Closed
                    } else {
                        InputError::Truncated
                    });
                }
                Err(error) => return Err(error.into()),
            }
            if let (Wait::Idle(limit), None, 1..) = (wait, deadline, filled) {
                deadline = Some(Instant::now() + limit);
            }
        }
        Ok(())
    }

    /// Bytes that [`Input::fill`] has without receiving.
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    fn take_buffered(&mut self, item: &mut [u8]) -> usize {
        let taken = item.len().min(self.end - self.start);
        item[..taken].copy_from_slice(&self.buffer[self.start..self.start + taken]);
        self.start += taken;
        taken
    }

    /// Sees to it that the next receive ends in time. In the two ways of the transmission
    /// phase the timeout is set once; a deadline between two receives is noticed here.
    fn limit_wait(
        &mut self,
        socket: &Socket,
        wait: Wait,
        deadline: Option<Instant>,
    ) -> Result<(), InputError> {
        let left = deadline.map(|then| then.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(InputError::TimedOut);
        }
        let timeout = match wait {
            Wait::Until(_) => left,
            Wait::Idle(limit) | Wait::Within(limit) => Some(limit),
        };
        if self.timeout != timeout {
            socket.set_receive_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Wait = Wait::Within(Duration::from_secs(20));

    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Socket::Unix(ours), theirs)
    }

    #[test]
    fn items_come_out_as_they_went_in_whatever_the_pieces() {
        let (socket, mut peer) = pair();
        let bytes: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            for piece in sent.chunks(7777) {
                peer.write_all(piece).unwrap();
            }
        });
        let mut input = Input::default();
        let mut at = 0;
        for length in [1, 28, 4096, 28, 200_000, 0, 28, 195_819] {
            let mut item = vec![0; length];
            input.fill(&socket, &mut item, SOON).unwrap();
            assert_eq!(item, bytes[at..at + length]);
            at += length;
        }
        assert_eq!(at, bytes.len());
        sender.join().unwrap();
        assert!(matches!(
            input.fill(&socket, &mut [0], SOON),
            Err(InputError::Closed)
        ));
    }

    #[test]
    fn waiting_for_a_first_byte_is_patient_and_for_the_rest_is_not() {
        let (socket, mut peer) = pair();
        let limit = Duration::from_millis(30);
        let waiting = std::thread::spawn(move || {
            let mut input = Input::default();
            let mut item = [0; 8];
            input.fill(&socket, &mut item, Wait::Idle(limit)).unwrap();
            input.fill(&socket, &mut item, Wait::Idle(limit))
        });
        // Longer than the limit: the point of the test.
        std::thread::sleep(limit * 3);
        peer.write_all(&[1; 8]).unwrap();
        peer.write_all(&[2; 3]).unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(InputError::TimedOut)));
    }

    #[test]
    fn a_message_cut_short_is_told_from_a_close() {
        let (socket, mut peer) = pair();
        peer.write_all(&[1; 3]).unwrap();
        drop(peer);
        let result = Input::default().fill(&socket, &mut [0; 8], SOON);
        assert!(matches!(result, Err(InputError::Truncated)));
    }

    #[test]
    fn slow_bytes_do_not_move_a_deadline() {
        let (socket, mut peer) = pair();
        let sender = std::thread::spawn(move || {
            while peer.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let until = Instant::now() + Duration::from_millis(60);
        let result = Input::default().fill(&socket, &mut vec![0; 100_000], Wait::Until(until));
        assert!(matches!(result, Err(InputError::TimedOut)));
        drop(socket);
        sender.join().unwrap();
    }
}
