//! Peers that misbehave: each loses its own connection, soon, and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use hast::provider::nbd::{Limits, protocol};

use super::backend::{Gated, Memory};
use super::support::eventually;
use super::{PATIENCE, Served, pattern};

const SIZE: usize = 1 << 20;

/// Limits short enough to be waited for.
fn short() -> Limits {
    let soon = Duration::from_millis(200);
    Limits {
        handshake: soon,
        stall: soon,
        handshakes: 8,
        ..Limits::default()
    }
}

fn served(limits: Limits) -> (Arc<Memory>, Served) {
    let memory = Memory::new(SIZE);
    let served = Served::with(SIZE as u64, memory.clone(), limits);
    (memory, served)
}

/// A peer that writes its bytes by hand.
struct Peer(UnixStream);

impl Peer {
    fn connect(served: &Served) -> Self {
        let stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Up to where options are sent.
    fn greeted(served: &Served) -> Self {
        let mut peer = Self::connect(served);
        let greeting = peer.receive(18);
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        peer.send(&3u32.to_be_bytes());
        peer
    }

    /// Up to where requests are sent.
    fn transmitting(served: &Served) -> Self {
        let mut peer = Self::greeted(served);
        peer.option(protocol::option::EXPORT_NAME, b"disk1");
        assert_eq!(peer.receive(10)[..8], (SIZE as u64).to_be_bytes());
        peer
    }

    /// Up to where requests are sent, with structured replies.
    fn structured(served: &Served) -> Self {
        let mut peer = Self::greeted(served);
        peer.option(protocol::option::STRUCTURED_REPLY, b"");
        assert_eq!(peer.option_reply().0, protocol::option_reply::ACK);
        peer.option(protocol::option::EXPORT_NAME, b"disk1");
        peer.receive(10);
        peer
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn option(&mut self, option: u32, data: &[u8]) {
        self.option_of_length(option, data.len() as u32);
        self.send(data);
    }

    fn option_of_length(&mut self, option: u32, length: u32) {
        self.send(&protocol::OPTION_MAGIC.to_be_bytes());
        self.send(&option.to_be_bytes());
        self.send(&length.to_be_bytes());
    }

    fn option_reply(&mut self) -> (u32, Vec<u8>) {
        let header = self.receive(20);
        let number = |at| u32::from_be_bytes(protocol::array(&header, at));
        (number(12), self.receive(number(16) as usize))
    }

    fn request(&mut self, command: u16, flags: u16, offset: u64, length: u32) {
        let header = protocol::RequestHeader {
            flags,
            command,
            cookie: 77,
            offset,
            length,
        };
        self.send(&header.encode());
    }

    fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Waits until the server closes; panics if it says something first.
    #[track_caller]
    fn expect_close(mut self) {
        match self.0.read(&mut [0; 64]) {
            Ok(0) => {}
            // Bytes of ours were unread when it closed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// The server still serves.
#[track_caller]
fn assert_serving(memory: &Memory, served: &Served) {
    let mut client = served.client();
    client.write(4096, &[9; 512], false).unwrap();
    assert_eq!(client.read(4096, 512).unwrap(), [9; 512]);
    client.disconnect().unwrap();
    eventually("all places are free", || served.server.clients() == 0);
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn bad_magic_in_the_handshake() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::greeted(&served);
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn handshake_flags_that_do_not_exist() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::connect(&served);
    peer.receive(18);
    peer.send(&0x8000_0003u32.to_be_bytes());
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn an_option_of_four_gigabytes() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::greeted(&served);
    peer.option_of_length(protocol::option::GO, u32::MAX);
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn options_whose_lengths_do_not_fit_are_answered_and_the_next_one_counts() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::greeted(&served);
    let mut long_name = u32::MAX.to_be_bytes().to_vec();
    long_name.extend(b"disk1\0\0");
    for data in [
        &b""[..],
        b"\0\0",
        b"\0\0\0\x05disk",
        b"\0\0\0\x05disk1\0\x09\0\x01",
        &long_name,
    ] {
        peer.option(protocol::option::GO, data);
        assert_eq!(peer.option_reply().0, protocol::option_reply::ERR_INVALID);
    }
    for option in [protocol::option::LIST, protocol::option::STRUCTURED_REPLY] {
        peer.option(option, b"x");
        assert_eq!(peer.option_reply().0, protocol::option_reply::ERR_INVALID);
    }
    for option in [protocol::option::STARTTLS, 0, 10, 11, u32::MAX] {
        peer.option(option, b"whatever");
        let (kind, text) = peer.option_reply();
        assert_eq!(kind, protocol::option_reply::ERR_UNSUP);
        assert_eq!(
            text,
            format!("option {option} is not supported here").as_bytes()
        );
    }
    peer.option(protocol::option::ABORT, b"");
    assert_eq!(peer.option_reply().0, protocol::option_reply::ACK);
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn an_old_style_client_is_served_and_padded_for() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::connect(&served);
    peer.receive(18);
    // Without the flag that does away with the 124 zeroes.
    peer.send(&1u32.to_be_bytes());
    peer.option(protocol::option::EXPORT_NAME, b"");
    assert_eq!(peer.receive(134)[10..], [0; 124]);
    peer.request(protocol::command::FLUSH, 0, 0, 0);
    let reply = peer.receive(16);
    assert_eq!(reply, protocol::ReplyHeader::simple(77, 0).as_slice());
    drop(peer);
    let mut peer = Peer::greeted(&served);
    peer.option(protocol::option::EXPORT_NAME, b"another");
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn half_a_handshake_then_gone() {
    let (memory, served) = served(Limits::default());
    for cut in [0, 3, 4, 12, 19, 24] {
        let mut peer = Peer::connect(&served);
        let mut bytes = 3u32.to_be_bytes().to_vec();
        bytes.extend(protocol::OPTION_MAGIC.to_be_bytes());
        bytes.extend(protocol::option::GO.to_be_bytes());
        bytes.extend(100u32.to_be_bytes());
        bytes.extend([0; 50]);
        peer.send(&bytes[..cut]);
        peer.0.shutdown(Shutdown::Write).unwrap();
        peer.receive(18);
        peer.expect_close();
    }
    assert_serving(&memory, &served);
}

#[test]
fn silent_connections_are_dropped_and_take_nobodys_place() {
    let limits = Limits {
        handshake: PATIENCE,
        handshakes: 8,
        clients: 1,
        ..Limits::default()
    };
    let (memory, served) = served(limits);
    // More than fit: the oldest make room, a good client comes through at once.
    let mut silent: Vec<_> = (0..100).map(|_| Peer::connect(&served)).collect();
    assert_serving(&memory, &served);
    for mut peer in silent.drain(..90) {
        let mut said = Vec::new();
        let _ = peer.0.read_to_end(&mut said);
        assert!(said.len() <= 18);
    }
}

#[test]
fn a_silent_connection_is_dropped_in_time() {
    let (memory, served) = served(short());
    let mut peer = Peer::connect(&served);
    peer.receive(18);
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn slow_bytes_do_not_stretch_the_handshake() {
    let (memory, served) = served(short());
    let mut peer = Peer::connect(&served);
    peer.receive(18);
    let slow = std::iter::repeat(0u8).take_while(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        peer.0.write_all(&[*byte]).is_ok()
    });
    assert!(slow.count() < 100, "it was listened to for two seconds");
    assert_serving(&memory, &served);
}

#[test]
fn bad_magic_in_place_of_a_request() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::transmitting(&served);
    peer.send(&[0x55; 28]);
    peer.expect_close();
    assert_serving(&memory, &served);
}

#[test]
fn requests_longer_than_allowed() {
    let (memory, served) = served(Limits::default());
    for (command, length) in [
        (protocol::command::WRITE, (32 << 20) + 512),
        (protocol::command::READ, u32::MAX),
    ] {
        let mut peer = Peer::transmitting(&served);
        peer.request(command, 0, 0, length);
        peer.expect_close();
    }
    assert_serving(&memory, &served);
}

#[test]
fn commands_and_flags_that_are_not_offered() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::transmitting(&served);
    for (command, flags) in [(5, 0), (7, 0), (99, 0), (0, 4), (6, 16), (0, 0x8000)] {
        peer.request(command, flags, 0, 512);
        assert_eq!(
            peer.receive(16),
            protocol::ReplyHeader::simple(77, 22).as_slice()
        );
    }
    // A write's payload is taken off the stream.
    peer.request(protocol::command::WRITE, 2, 0, 512);
    peer.send(&[1; 512]);
    assert_eq!(
        peer.receive(16),
        protocol::ReplyHeader::simple(77, 22).as_slice()
    );
    drop(peer);
    assert_serving(&memory, &served);
}

#[test]
fn a_structured_client_gets_its_read_errors_in_chunks() {
    let (memory, served) = served(Limits::default());
    let mut peer = Peer::structured(&served);
    peer.request(protocol::command::READ, 0, SIZE as u64, 512);
    assert_eq!(
        peer.receive(26),
        protocol::ReplyHeader::error_chunk(77, 22).as_slice()
    );
    peer.request(protocol::command::READ, 0, 512, 1024);
    let chunk = peer.receive(28 + 1024);
    assert_eq!(
        chunk[..28],
        *protocol::ReplyHeader::data_chunk(77, 512, 1024, true).as_slice()
    );
    peer.request(protocol::command::TRIM, 0, 1, 512);
    assert_eq!(
        peer.receive(16),
        protocol::ReplyHeader::simple(77, 22).as_slice()
    );
    drop(peer);
    assert_serving(&memory, &served);
}

#[test]
fn a_payload_that_never_comes_or_comes_in_part() {
    let (memory, served) = served(short());
    let mut peer = Peer::transmitting(&served);
    peer.request(protocol::command::WRITE, 0, 0, 65536);
    peer.send(&pattern(1000, 1));
    // It says nothing more, and is given up.
    peer.expect_close();
    let mut peer = Peer::transmitting(&served);
    peer.request(protocol::command::WRITE, 0, 0, 65536);
    peer.send(&pattern(1000, 1));
    drop(peer);
    assert_serving(&memory, &served);
    assert_eq!(
        memory.bytes(0, 1024),
        [0; 1024],
        "half a payload is not written"
    );
}

#[test]
fn an_idle_client_is_not_dropped() {
    let (_, served) = served(short());
    let mut client = served.client();
    // Longer than any limit of a message.
    std::thread::sleep(short().stall * 3);
    client.flush().unwrap();
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let (_, served) = served(Limits::default());
    let mut peer = Peer::transmitting(&served);
    let write = protocol::RequestHeader {
        flags: 0,
        command: protocol::command::WRITE,
        cookie: 77,
        offset: 0,
        length: 512,
    };
    for byte in write.encode().into_iter().chain([4; 512]) {
        peer.send(&[byte]);
    }
    assert_eq!(
        peer.receive(16),
        protocol::ReplyHeader::simple(77, 0).as_slice()
    );
    assert_eq!(served.client().read(0, 512).unwrap(), [4; 512]);
}

#[test]
fn saying_goodbye_waits_for_what_was_asked() {
    let memory = Memory::new(SIZE);
    let gated = Gated::new(memory.clone());
    let served = Served::new(SIZE as u64, gated.clone());
    let mut peer = Peer::transmitting(&served);
    peer.request(protocol::command::WRITE, 0, 0, 512);
    peer.send(&[6; 512]);
    peer.request(protocol::command::DISCONNECT, 0, 0, 0);
    gated.wait_for(1);
    gated.open();
    assert_eq!(
        peer.receive(16),
        protocol::ReplyHeader::simple(77, 0).as_slice()
    );
    peer.expect_close();
    assert_eq!(memory.bytes(0, 512), [6; 512]);
}

#[test]
fn random_bytes_end_a_connection_and_nothing_else() {
    let (memory, served) = served(short());
    for seed in 0..60 {
        let noise = pattern(4096, seed);
        let mut peer = match seed % 3 {
            0 => Peer::connect(&served),
            1 => Peer::greeted(&served),
            _ => Peer::transmitting(&served),
        };
        // The server may close before all of it is sent.
        let _ = peer.0.write_all(&noise);
        let mut said = Vec::new();
        let _ = peer.0.read_to_end(&mut said);
        assert!(said.len() < 4096);
    }
    assert_eq!(memory.log().len(), 0);
    assert_serving(&memory, &served);
}
