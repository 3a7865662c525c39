//! Conversations captured between two base hastd, with a worker of ours in the place of either: the
//! captured side says byte for byte what it said then, and ours has to answer alike.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use hast::control::{Condition, PeerState};
use hast::engine::primary::Promotion;
use hast::nv::Nv;
use hast::wire::frame::{Limits, Message};
use hast::wire::handshake::Opening;
use hast::wire::payload::{self, PayloadFields};
use hast::wire::request::{Incoming, PeerCommand};
use hast::worker::channel::{FromWorker, HookEvent, Introduction};

use crate::harness::{DATA, Node, SIZE, Worker, introduced};
use crate::strangers::pair;
use crate::vectors;

/// Bytes of data of the captured components.
const DATA_SIZE: usize = SIZE as usize - DATA;

/// One direction of a captured connection.
fn captured(folder: &str, connection: u32, to: &str) -> Vec<Message> {
    let path = vectors::root()
        .join(folder)
        .join(format!("{connection:02}.to-{to}.bin"));
    vectors::messages(&path)
        .into_iter()
        .map(|(_, message)| message)
        .collect()
}

/// A node whose component begins as in a captured image.
pub fn node(folder: &Path, name: &'static str, image: &str, data: &[u8], settings: &str) -> Node {
    let node = Node::new(folder, name, settings);
    set_image(&node, image, data);
    node
}

fn set_image(node: &Node, image: &str, data: &[u8]) {
    let head = vectors::read(&vectors::root().join("disk").join(format!("{image}.bin")));
    assert_eq!(head.len(), DATA);
    fs::write(&node.resource.local, [&head, data].concat()).unwrap();
}

/// The data of a message, as it was before it was sent.
fn unpacked(message: &Message, length: usize) -> Vec<u8> {
    let fields = PayloadFields::from_nv(message.nv.view()).unwrap();
    let mut data = vec![0; length];
    payload::unpack_to(&fields, &message.payload, &mut data).unwrap();
    data
}

/// What requests leave on a component.
fn apply(requests: &[Message], data: &mut [u8]) {
    for message in requests {
        let Incoming::Request(request, _) = Incoming::decode(message.nv.view()).unwrap() else {
            panic!("base has no record requests")
        };
        let range = request.offset as usize..(request.offset + request.length) as usize;
        match request.command {
            PeerCommand::Write => {
                data[range.clone()].copy_from_slice(&unpacked(message, range.len()));
            }
            PeerCommand::Delete => data[range].fill(0),
            _ => {}
        }
    }
}

/// What replies to reads of consecutive megabytes say of a component.
fn from_replies(replies: &[Message]) -> Vec<u8> {
    let mut data: Vec<u8> = replies
        .iter()
        .flat_map(|reply| unpacked(reply, 1 << 20))
        .collect();
    data.resize(DATA_SIZE, 0);
    data
}

fn introduction(start: &Message) -> Introduction {
    let Ok(Opening::Start(start)) = Opening::from_nv(start.nv.view()) else {
        panic!("no start")
    };
    let hello = introduced(&start);
    Introduction {
        version: 2,
        extension: 0,
        hello,
    }
}

/// Plays the captured primary of one pair of connections; returns our worker's exit code.
fn serve(node: &Node, folder: &str, first: u32, second: u32) -> u8 {
    let ((mut out, theirs), (mut back, also_theirs)) = (pair(), pair());
    let start = &captured(folder, second, "secondary")[0];
    let pair = [theirs.into(), also_theirs.into()];
    let mut worker = Worker::secondary(node, introduction(start), &pair);
    drop(pair);
    let answer = Message::read_from(&mut out, Limits::PEER).unwrap();
    assert_eq!(
        answer,
        captured(folder, first, "primary")[1],
        "{folder} {first}"
    );

    let requests = &captured(folder, first, "secondary")[1..];
    let bytes: Vec<u8> = requests.iter().flat_map(Message::encode).collect();
    let replies_path = vectors::root()
        .join(folder)
        .join(format!("{second:02}.to-primary.bin"));
    let expected = if replies_path.exists() {
        captured(folder, second, "primary")
    } else {
        vec![]
    };
    let mut replies = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| out.write_all(&bytes));
        for _ in &expected {
            replies.push(Message::read_from(&mut back, Limits::PEER).unwrap());
        }
    });
    let _ = out.shutdown(Shutdown::Write);
    let mut rest: Vec<u8> = Vec::new();
    back.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "{folder} {second}: nothing more");
    check_order(&replies);
    // Replies may come in any order.
    let sorted = |messages: &[Message]| {
        let mut all: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
        all.sort();
        all
    };
    assert!(
        sorted(&replies) == sorted(&expected),
        "{folder} {second}: {replies:#?}"
    );
    worker.join()
}

/// `received` comes before the ordinary reply.
fn check_order(replies: &[Message]) {
    for (index, reply) in replies
        .iter()
        .enumerate()
        .filter(|(_, r)| r.nv.contains("received"))
    {
        let seq = reply.nv.u64("seq");
        let final_reply = replies.iter().rposition(|other| other.nv.u64("seq") == seq);
        assert!(final_reply > Some(index));
    }
}

fn writes_arrive(folder: &str, settings: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let node = node(
        temporary.path(),
        "b",
        "created.b",
        &vec![0; DATA_SIZE],
        settings,
    );
    assert_eq!(serve(&node, folder, 0, 1), 75);
    assert_eq!(serve(&node, folder, 2, 3), 75);
    let mut expected = vec![0; DATA_SIZE];
    apply(&captured(folder, 2, "secondary")[1..], &mut expected);
    assert!(expected.iter().any(|byte| *byte != 0));
    assert!(node.data() == expected, "{folder}");
    let metadata = node.metadata();
    assert_eq!(
        metadata.resuid,
        introduction(&captured(folder, 1, "secondary")[0])
            .hello
            .standing
            .resuid
    );
    assert_eq!((metadata.localcnt, metadata.remotecnt), (0, 0));
}

#[test]
fn our_secondary_serves_a_base_primary_in_fullsync() {
    writes_arrive("fullsync-virgin", "");
}

#[test]
fn our_secondary_serves_a_base_primary_in_memsync() {
    writes_arrive("memsync-crc32-lzf", "checksum crc32 compression lzf");
}

#[test]
fn our_secondary_serves_a_base_primary_in_async() {
    writes_arrive("async-sha256", "checksum sha256 compression none");
}

#[test]
fn our_secondary_is_brought_up_to_date_by_a_base_primary() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = "resync-from-primary";
    let mut expected = vec![0x55; DATA_SIZE];
    let node = node(temporary.path(), "b", "degraded.b", &expected, "");
    assert_eq!(serve(&node, folder, 1, 2), 75);
    apply(&captured(folder, 1, "secondary")[1..], &mut expected);
    assert!(node.data() == expected);
    // Base's primary never says when all is copied; only the next meeting shows it.
    let record = node.metadata().record;
    assert!(record.lacks && record.counted, "{record}");
}

#[test]
fn our_secondary_brings_a_base_primary_up_to_date() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = "resync-from-secondary";
    let data = from_replies(&captured(folder, 4, "primary"));
    let node = node(temporary.path(), "b", "b-ahead.b", &data, "");
    assert_eq!(serve(&node, folder, 1, 2), 75);
    assert_eq!(serve(&node, folder, 3, 4), 75);
    assert!(node.data() == data);
}

#[test]
fn our_secondary_refuses_as_base_does() {
    let temporary = tempfile::tempdir().unwrap();
    let data = vec![7; DATA_SIZE];
    let node = node(temporary.path(), "b", "resuid-mismatch.b", &data, "");
    assert_eq!(serve(&node, "resuid-mismatch", 1, 2), 78);
    set_image(&node, "split-brain.b", &data);
    assert_eq!(serve(&node, "split-brain", 5, 6), 78);
    assert_eq!(serve(&node, "split-brain", 7, 8), 78);
    assert!(node.data() == data);
}

/// A captured secondary, in front of a primary of ours.
struct Captured {
    folder: &'static str,
    listener: TcpListener,
}

impl Captured {
    fn new(folder: &'static str) -> Self {
        Self {
            folder,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn primary(&self, node: &Node) -> Worker {
        let address = self.listener.local_addr().unwrap();
        let connect = move || TcpStream::connect(address).map_err(|error| error.to_string());
        let primary = Worker::primary(node, Promotion::Asked, Box::new(connect));
        primary.started();
        primary
    }

    /// Answers the first message as captured.
    fn greet(&self, connection: u32) -> TcpStream {
        let mut stream = self.listener.accept().unwrap().0;
        let hello = Message::read_from(&mut stream, Limits::PEER).unwrap();
        let expected = &captured(self.folder, connection, "secondary")[0];
        assert_eq!(hello.version, 1, "a worker's very first message");
        alike(&hello, expected, &["extension"]);
        stream
            .write_all(&captured(self.folder, connection, "primary")[0].encode())
            .unwrap();
        stream
    }

    /// Answers both messages as captured; `apart` names what ours may say otherwise.
    fn accept(&self, first: u32, second: u32, apart: &[&str]) -> (TcpStream, TcpStream) {
        let mut out = self.greet(first);
        let mut back = self.listener.accept().unwrap().0;
        let start = Message::read_from(&mut back, Limits::PEER).unwrap();
        alike(
            &start,
            &captured(self.folder, second, "secondary")[0],
            apart,
        );
        out.write_all(&captured(self.folder, first, "primary")[1].encode())
            .unwrap();
        (out, back)
    }
}

/// Two messages say the same, but for these entries.
#[track_caller]
fn alike(ours: &Message, captured: &Message, apart: &[&str]) {
    let entries = |message: &Message| -> Vec<String> {
        let entries = message.nv.entries();
        let others =
            entries.filter(|entry| !apart.iter().any(|name| name.as_bytes() == entry.name));
        others.map(|entry| entry.to_string()).collect()
    };
    assert_eq!(entries(ours), entries(captured));
    assert!(ours.payload == captured.payload);
}

/// A message under another number.
fn renumbered(message: &Message, seq: u64) -> Vec<u8> {
    let mut nv = Nv::new();
    for entry in message.nv.entries() {
        match entry.name {
            b"seq" => nv.add_u64("seq", seq),
            name => nv.add(std::str::from_utf8(name).unwrap(), entry.value),
        };
    }
    Message {
        nv,
        ..message.clone()
    }
    .encode()
}

/// Answers what the captured secondary answers, and checks that ours asks what was asked then.
fn answer_as_captured(folder: &str, mut out: TcpStream, mut back: TcpStream) {
    let expected = &captured(folder, 2, "secondary")[1..];
    let replies = captured(folder, 3, "primary");
    let mut expected = expected
        .iter()
        .filter(|request| request.nv.u8("cmd") != Some(5));
    while let Ok(request) = Message::read_from(&mut out, Limits::PEER) {
        let Some(seq) = request.nv.u64("seq") else {
            continue;
        };
        if request.nv.u8("cmd") == Some(4) {
            // A flush: base never sent one here.
            back.write_all(&renumbered(&replies[replies.len() - 1], seq))
                .unwrap();
            continue;
        }
        let then = expected.next().expect("no more than was asked then");
        alike_packed(&request, then);
        for reply in replies
            .iter()
            .filter(|reply| reply.nv.u64("seq") == then.nv.u64("seq"))
        {
            back.write_all(&renumbered(reply, seq)).unwrap();
        }
    }
    assert_eq!(expected.count(), 0, "as much as was asked then");
}

/// As `alike`, for a payload that two LZF compressors need not pack to the same bytes.
fn alike_packed(ours: &Message, captured: &Message) {
    if captured.nv.str("compression") != Some("lzf") {
        alike(ours, captured, &["seq"]);
        return;
    }
    alike(
        &Message {
            payload: Vec::new(),
            ..ours.clone()
        },
        &Message {
            payload: Vec::new(),
            ..captured.clone()
        },
        &["seq", "hash", "size"],
    );
    let length = captured.nv.u64("length").unwrap() as usize;
    assert!(unpacked(ours, length) == unpacked(captured, length));
}

fn writes_are_sent(folder: &'static str, settings: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let node = node(
        temporary.path(),
        "a",
        "created.a",
        &vec![0; DATA_SIZE],
        settings,
    );
    let peer = Captured::new(folder);
    let primary = peer.primary(&node);
    // Both are new, and ours invents another number for the data.
    let (out, back) = peer.accept(0, 1, &["resuid"]);
    let mut expected = vec![0; DATA_SIZE];
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer_as_captured(folder, out, back));
        primary.becomes(Condition::Complete);
        let mut client = node.client();
        let requests = captured(folder, 2, "secondary");
        for message in &requests[1..] {
            let Ok(Incoming::Request(request, _)) = Incoming::decode(message.nv.view()) else {
                panic!("base has no record requests")
            };
            let length = request.length as usize;
            match request.command {
                PeerCommand::Write => {
                    client
                        .write(request.offset, &unpacked(message, length), false)
                        .unwrap();
                }
                PeerCommand::Delete => client.trim(request.offset, length as u32).unwrap(),
                _ => {}
            }
        }
        apply(&requests[1..], &mut expected);
        client.flush().unwrap();
        client.disconnect().unwrap();
        assert_eq!(primary.stop(), 0);
        answering.join().unwrap();
    });
    assert!(node.data() == expected);
}

#[test]
fn our_primary_writes_to_a_base_secondary_in_fullsync() {
    writes_are_sent("fullsync-virgin", "replication fullsync");
}

#[test]
fn our_primary_writes_to_a_base_secondary_in_memsync() {
    writes_are_sent("memsync-crc32-lzf", "checksum crc32 compression lzf");
}

#[test]
fn our_primary_writes_to_a_base_secondary_in_async() {
    writes_are_sent(
        "async-sha256",
        "replication async checksum sha256 compression none",
    );
}

/// A base secondary with this data: stores what it is sent, sends what it is asked for.
fn serve_data(mut out: TcpStream, mut back: TcpStream, mut data: Vec<u8>) -> Vec<u8> {
    while let Ok(message) = Message::read_from(&mut out, Limits::PEER) {
        let Ok(Incoming::Request(request, _)) = Incoming::decode(message.nv.view()) else {
            panic!("base has no record requests")
        };
        let range = request.offset as usize..(request.offset + request.length) as usize;
        let mut nv = Nv::new();
        nv.add_u64("seq", request.seq);
        let mut payload = &[][..];
        match request.command {
            PeerCommand::Keepalive => continue,
            PeerCommand::Read => {
                payload = &data[range];
                nv.add_u32("size", payload.len() as u32);
            }
            _ => apply(std::slice::from_ref(&message), &mut data),
        }
        let reply = Message {
            version: 2,
            nv,
            payload: payload.to_vec(),
        };
        back.write_all(&reply.encode()).unwrap();
    }
    data
}

#[test]
fn our_primary_brings_a_base_secondary_up_to_date() {
    let folder = "resync-from-primary";
    let temporary = tempfile::tempdir().unwrap();
    let mut data = vec![0x33; DATA_SIZE];
    apply(&captured(folder, 1, "secondary")[1..], &mut data);
    let node = node(temporary.path(), "a", "degraded.a", &data, "");
    let peer = Captured::new(folder);
    let primary = peer.primary(&node);
    let (out, back) = peer.accept(1, 2, &[]);
    let theirs = thread::spawn(move || serve_data(out, back, vec![0x33; DATA_SIZE]));
    primary.becomes(Condition::Complete);
    assert_eq!(primary.stop(), 0);
    assert!(
        theirs.join().unwrap() == data,
        "what was copied then is copied now"
    );
    let metadata = node.metadata();
    assert_eq!(
        (metadata.localcnt, metadata.remotecnt),
        (0, 0),
        "crosswise as theirs"
    );
}

#[test]
fn our_primary_is_brought_up_to_date_by_a_base_secondary() {
    let folder = "resync-from-secondary";
    let temporary = tempfile::tempdir().unwrap();
    let data = from_replies(&captured(folder, 4, "primary"));
    let mut ours = data.clone();
    ours[..4 << 20].fill(0x44);
    let node = node(temporary.path(), "a", "b-ahead.a", &ours, "");
    let peer = Captured::new(folder);
    let primary = peer.primary(&node);
    let (out, back) = peer.accept(1, 2, &[]);
    let theirs = {
        let data = data.clone();
        thread::spawn(move || serve_data(out, back, data))
    };
    primary.becomes(Condition::Complete);
    assert_eq!(primary.stop(), 0);
    assert!(theirs.join().unwrap() == data, "nothing is written there");
    assert!(node.data() == data);
    let metadata = node.metadata();
    assert_eq!(
        (metadata.localcnt, metadata.remotecnt),
        (0, 1),
        "crosswise as theirs"
    );
}

#[test]
fn our_primary_takes_refusals_as_they_are_meant() {
    let temporary = tempfile::tempdir().unwrap();
    let data = vec![1; DATA_SIZE];
    let node = node(temporary.path(), "a", "split-brain.a", &data, "");

    let peer = Captured::new("split-brain");
    let primary = peer.primary(&node);
    peer.accept(5, 6, &[]);
    primary.hear(|message| *message == FromWorker::Hook(HookEvent::SplitBrain));
    let details = primary.status().details.unwrap();
    assert_eq!(details.peer, PeerState::SplitBrain);
    assert!(
        details
            .reason
            .unwrap()
            .contains("both nodes were written to while apart")
    );
    drop(primary);

    set_image(&node, "resuid-mismatch.a", &data);
    let peer = Captured::new("resuid-mismatch");
    let primary = peer.primary(&node);
    // Base calls virgin what it has written to, if it invented the number meanwhile.
    peer.accept(1, 2, &["virgin"]);
    says(
        &primary,
        "Resource unique ID mismatch (primary=9147771387747163517,",
    );
    drop(primary);

    set_image(&node, "created.a", &data);
    let peer = Captured::new("not-secondary");
    let primary = peer.primary(&node);
    peer.greet(0);
    says(
        &primary,
        "Remote node acts as init for the resource and not as secondary; run 'hastctl role secondary",
    );
}

/// Waits until status gives this reason.
#[track_caller]
fn says(primary: &Worker, text: &str) {
    crate::harness::eventually(text, || {
        let status = primary.status();
        assert_eq!(status.condition, Condition::Degraded);
        status
            .details
            .unwrap()
            .reason
            .is_some_and(|reason| reason.contains(text))
    });
}
