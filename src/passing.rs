//! Descriptors handed from one process of a resource to another, over the unix stream socket
//! between them, together with the bytes that say what they are for. Frames nothing:
//! what the bytes mean, and how many descriptors belong to them, is the caller's.
//!
//! Invariant: descriptors arrive in the order in which they were sent, each no later than the
//! first byte that was sent with it. So a reader that keeps them in a queue, and takes
//! from it as many as a whole message names, takes the right ones, however the stream was cut.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

pub use hast_ffi::descriptors::{MOST_DESCRIPTORS, Received, inherited};

/// Sends bytes and, with the first of them, descriptors; says how many bytes went. Where
/// that is not all, the descriptors have gone: the rest is sent without them. Blocks as
/// the socket does. The sender's own descriptors stay open.
///
/// # Errors
/// `InvalidInput` for more than [`MOST_DESCRIPTORS`] and for descriptors without a byte to go
/// with; `WouldBlock` where the socket does not block and has no room (nothing went);
/// `BrokenPipe` where the other end is closed.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if descriptors.len() > MOST_DESCRIPTORS || (bytes.is_empty() && !descriptors.is_empty()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} descriptors can not go with {} bytes",
                descriptors.len(),
                bytes.len()
            ),
        ));
    }
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    loop {
        let sent = sendmsg::<UnixAddr>(
            socket.as_fd().as_raw_fd(),
            &[IoSlice::new(bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        match sent {
            Err(Errno::EINTR) => {}
            sent => return Ok(sent?),
        }
    }
}

/// Receives what is there, up to the length of `buffer`, and the descriptors that came with
/// it, closed on exec. A length of 0 is the end of the stream. Blocks as the socket does.
///
/// # Errors
/// `WouldBlock` where the socket does not block and nothing is there; `InvalidData` where a
/// sender other than [`send`] passed more than [`MOST_DESCRIPTORS`].
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    hast_ffi::descriptors::receive(socket.as_fd(), buffer)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[test]
    fn descriptors_arrive_in_order_with_their_bytes() {
        let (here, there) = UnixStream::pair().expect("pair");
        let (first_reader, mut first) = io::pipe().expect("pipe");
        let (second_reader, mut second) = io::pipe().expect("pipe");
        let both = [first_reader.as_fd(), second_reader.as_fd()];
        assert_eq!(send(&here, b"two", &both).expect("sent"), 3);
        assert_eq!(send(&here, b"none", &[]).expect("sent"), 4);
        drop((first_reader, second_reader, here));

        let mut bytes = Vec::new();
        let mut descriptors = Vec::new();
        loop {
            let mut buffer = [0; 2];
            let received = receive(&there, &mut buffer).expect("received");
            if received.length == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..received.length]);
            descriptors.extend(received.descriptors);
            assert_eq!(descriptors.len(), 2, "with the first byte, and once");
        }
        assert_eq!(bytes, b"twonone");
        first.write_all(b"first").expect("room");
        second.write_all(b"second").expect("room");
        drop((first, second));
        let texts: Vec<String> = descriptors
            .into_iter()
            .map(|descriptor| {
                let flags = fcntl(&descriptor, FcntlArg::F_GETFD).expect("open");
                assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
                let mut text = String::new();
                File::from(descriptor)
                    .read_to_string(&mut text)
                    .expect("text");
                text
            })
            .collect();
        assert_eq!(texts, ["first", "second"]);
    }

    #[test]
    fn a_socket_that_does_not_block_says_so_both_ways() {
        let (here, there) = UnixStream::pair().expect("pair");
        here.set_nonblocking(true).expect("set");
        there.set_nonblocking(true).expect("set");
        let error = receive(&there, &mut [0; 8]).expect_err("nothing there");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

        let block = vec![7; 1 << 20];
        let mut sent = 0;
        let error = loop {
            match send(&here, &block, &[]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut received = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(part) = receive(&there, &mut buffer) {
            received += part.length;
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn a_closed_end_is_an_error_and_no_signal() {
        let (here, there) = UnixStream::pair().expect("pair");
        drop(there);
        let error = send(&here, b"x", &[]).expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_could_not_arrive_whole_is_refused() {
        let (here, there) = UnixStream::pair().expect("pair");
        let many = [there.as_fd(); MOST_DESCRIPTORS + 1];
        for (bytes, count) in [(&b"x"[..], MOST_DESCRIPTORS + 1), (&b""[..], 1)] {
            let error = send(&here, bytes, &many[..count]).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn too_many_descriptors_of_another_sender_are_closed_again() {
        for excess in [1, 100] {
            let (here, there) = UnixStream::pair().expect("pair");
            let (mut reader, writer) = io::pipe().expect("pipe");
            let many = vec![writer.as_raw_fd(); MOST_DESCRIPTORS + excess];
            sendmsg::<UnixAddr>(
                here.as_raw_fd(),
                &[IoSlice::new(b"x")],
                &[ControlMessage::ScmRights(&many)],
                MsgFlags::empty(),
                None,
            )
            .expect("sent");
            drop(writer);
            let error = receive(&there, &mut [0; 8]).expect_err("too many");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            // Reaches the end only if no copy of the writing end stayed open.
            assert_eq!(reader.read(&mut [0; 1]).expect("end"), 0);
        }
    }
}
