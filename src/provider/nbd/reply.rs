//! Replies on their way out, gathered into as few system calls as the socket allows. No
//! locks and no threads: who sends when is the connection's affair.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::protocol::ReplyHeader;
use super::socket::Socket;
use crate::provider::Buffer;

/// Slices for one system call; more do not make it cheaper.
const MAX_SLICES: usize = 64;

/// An answer on its way out, and what it frees when it has left.
pub(super) struct Reply {
    pub header: ReplyHeader,
    pub data: Data,
    /// Bytes in flight that end with it.
    pub bytes: usize,
    /// Whether the request ends with it.
    pub last: bool,
}

/// What follows a reply's header.
pub(super) enum Data {
    None,
    One(Buffer),
    /// In the order to send.
    Many(Vec<Buffer>),
}

impl Data {
    fn buffers(&self) -> &[Buffer] {
        match self {
            Self::None => &[],
            Self::One(buffer) => std::slice::from_ref(buffer),
            Self::Many(buffers) => buffers,
        }
    }
}

impl Reply {
    fn length(&self) -> usize {
        let data: usize = self.data.buffers().iter().map(|buffer| buffer.len()).sum();
        self.header.as_slice().len() + data
    }
}

/// Replies being sent, and how much of the first one has left.
#[derive(Default)]
pub(super) struct Batch {
    pub replies: VecDeque<Reply>,
    sent: usize,
}

/// What ended with the replies that left.
#[derive(Default)]
pub(super) struct Sent {
    pub requests: usize,
    pub bytes: usize,
}

impl Batch {
    /// Sends all of it, adding to `sent` as replies leave. On an error the batch holds what
    /// is left; without `wait`, [`io::ErrorKind::WouldBlock`] says that the peer is behind.
    pub(super) fn send(&mut self, socket: &Socket, wait: bool, sent: &mut Sent) -> io::Result<()> {
        while !self.replies.is_empty() {
            self.sent += self.send_some(socket, wait)?;
            while let Some(first) = self.replies.front()
                && first.length() <= self.sent
            {
                self.sent -= first.length();
                sent.requests += usize::from(first.last);
                sent.bytes += first.bytes;
                self.replies.pop_front();
            }
        }
        Ok(())
    }

    fn send_some(&self, socket: &Socket, wait: bool) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        let mut skip = self.sent;
        let parts = self.replies.iter().flat_map(|reply| {
            let data = reply.data.buffers().iter().map(|buffer| &**buffer);
            std::iter::once(reply.header.as_slice()).chain(data)
        });
        for part in parts {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            slices[used] = IoSlice::new(&part[skip..]);
            skip = 0;
            used += 1;
            if used == MAX_SLICES {
                break;
            }
        }
        socket.send(&slices[..used], wait)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::provider::BufferPool;

    #[test]
    fn a_batch_larger_than_the_socket_leaves_in_parts_and_in_order() {
        let pool = BufferPool::new(8 << 20);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::Unix(ours);
        let mut batch = Batch::default();
        let mut expected: Vec<u8> = Vec::new();
        for n in 0..100u8 {
            let header = ReplyHeader::simple(n.into(), 0);
            expected.extend(header.as_slice());
            let mut buffers = Vec::new();
            for length in [1, 5000, 20_000].into_iter().take(usize::from(n % 4)) {
                let mut buffer = pool.acquire(length).unwrap();
                buffer.fill(n);
                expected.extend(&*buffer);
                buffers.push(buffer);
            }
            let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
            batch.replies.push_back(Reply {
                header,
                data: Data::Many(buffers),
                bytes,
                last: true,
            });
        }
        let (mut sent, mut got) = (Sent::default(), Vec::new());
        let mut behind = 0;
        while let Err(error) = batch.send(&socket, false, &mut sent) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            behind += 1;
            let mut some = [0; 7777];
            let length = theirs.read(&mut some).unwrap();
            got.extend(&some[..length]);
        }
        drop(socket);
        theirs.read_to_end(&mut got).unwrap();
        assert!(behind > 0, "the socket took everything at once");
        assert!(got == expected, "what came is not what was sent");
        assert_eq!((sent.requests, sent.bytes), (100, expected.len() - 1600));
        assert_eq!(pool.in_use(), 0);
    }
}
