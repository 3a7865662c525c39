//! Peers that do not keep to the protocol: each is dropped, nothing of theirs reaches a component,
//! and the worker goes on or ends as it should.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use hast::control::Condition;
use hast::engine::primary::{Hello, Promotion};
use hast::layout::{Generation, Point, Record, Standing};
use hast::nv::Nv;
use hast::terms::{Checksum, Compression};
use hast::wire::frame::{self, Limits, Message};
use hast::wire::handshake::{HelloAnswer, StartAnswer, SyncSource};
use hast::wire::payload;
use hast::wire::request::{
    CopyState, PeerCommand, PeerRequest, PointNote, RecordChange, RecordRequest,
};
use hast::worker::channel::{FromWorker, Introduction};

use crate::harness::{LIMIT, Node, Worker, eventually};
use crate::pairs::{nodes, noise};

/// Two ends of a TCP connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    here.set_read_timeout(Some(LIMIT)).unwrap();
    (here, listener.accept().unwrap().0)
}

/// What a primary says that was never used.
fn virgin_hello(extended: bool) -> Hello {
    let record = if extended {
        Record::default()
    } else {
        Record::of_base(7)
    };
    Hello {
        standing: Standing {
            resuid: 7,
            localcnt: 0,
            remotecnt: 0,
            record,
        },
        virgin: true,
        holds: false,
        leans: false,
    }
}

/// A secondary that has just agreed with us as its primary, and our ends of its connections.
fn agreed(node: &Node) -> (Worker, TcpStream, TcpStream) {
    agreed_on(node, 0)
}

/// As [`agreed`], with this level of the extension.
pub fn agreed_on(node: &Node, extension: u8) -> (Worker, TcpStream, TcpStream) {
    let ((mut first, theirs), (second, also_theirs)) = (pair(), pair());
    let introduction = Introduction {
        version: 2,
        extension,
        hello: virgin_hello(extension > 0),
    };
    let worker = Worker::secondary(node, introduction, &[theirs.into(), also_theirs.into()]);
    let answer = Message::read_from(&mut first, Limits::PEER).unwrap();
    assert_eq!(answer.nv.i64("datasize"), Some((16 << 20) - 4608));
    (worker, first, second)
}

fn write_request(offset: u64, length: u64, fields: impl FnOnce(&mut Nv)) -> Vec<u8> {
    let mut nv = Nv::new();
    nv.add_u8("cmd", 2)
        .add_u64("seq", 1)
        .add_u64("offset", offset)
        .add_u64("length", length);
    fields(&mut nv);
    let mut bytes = vec![2];
    bytes.extend((nv.as_bytes().len() as u32).to_le_bytes());
    bytes.extend(nv.as_bytes());
    bytes
}

#[test]
fn a_secondary_drops_a_primary_that_sends_nonsense() {
    let (_folder, _a, b) = nodes("");
    let data = noise(1, 4096);
    let checked = payload::pack(&data, Compression::None, Checksum::Crc32);
    let mut bad_checksum = write_request(0, 4096, |nv| checked.fields.write(&mut nv.writer()));
    bad_checksum.extend(noise(2, 4096));
    let whole = |length: u32| {
        let mut bytes = write_request(0, u64::from(length), |nv| {
            nv.add_u32("size", length);
        });
        bytes.extend(noise(3, length as usize));
        bytes
    };
    let hole = |claimed: u32| {
        let mut bytes = write_request(0, 4096, |nv| {
            nv.add_str("compression", "hole").add_u32("size", 4);
        });
        bytes.extend(claimed.to_le_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", noise(4, 8192)),
        ("a version of the future", vec![3, 0, 0, 0, 0]),
        ("a huge nv", vec![2, 0xff, 0xff, 0xff, 0xff]),
        ("a checksum that does not match", bad_checksum),
        (
            "beyond the end",
            write_request(u64::MAX - 511, 512, |nv| {
                nv.add_u32("size", 512);
            }),
        ),
        ("not on sectors", whole(100)),
        ("longer than a request may be", whole((1 << 20) + 512)),
        (
            "a huge payload",
            write_request(0, 4096, |nv| {
                nv.add_u32("size", u32::MAX);
            }),
        ),
        ("a write without data", write_request(0, 4096, |_| {})),
        ("a hole of another length", hole(512)),
        ("a hole of the whole memory", hole(u32::MAX)),
        ("half a message", whole(4096)[..2000].to_vec()),
        ("half a header", vec![2, 0]),
        ("nothing", Vec::new()),
    ];
    for (what, bytes) in cases {
        let (mut worker, mut first, mut second) = agreed(&b);
        // The worker may drop us before all is written.
        let _ = first.write_all(&bytes);
        let _ = first.shutdown(Shutdown::Write);
        let mut rest: Vec<u8> = Vec::new();
        let _ = second.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{what}: nothing is to be acknowledged");
        assert_eq!(worker.join(), 75, "{what}");
        assert!(b.data().iter().all(|byte| *byte == 0), "{what}: written");
    }
}

/// A point that a primary tells, with this as the secondary's new localcnt.
pub fn point_request(seq: u64, localcnt: u64) -> Vec<u8> {
    let generation = Generation::new(5).unwrap();
    let note = PointNote {
        at: Point {
            generation,
            number: 1,
        },
        copy: CopyState::Full,
        leads: false,
        past: Vec::new(),
    };
    let change = RecordChange::Point {
        note,
        failures: 0,
        localcnt,
        remotecnt: 3,
    };
    record_request(seq, change)
}

/// A request of our extension.
pub fn record_request(seq: u64, change: RecordChange) -> Vec<u8> {
    let mut bytes = Vec::new();
    RecordRequest { seq, change }.encode_into(&mut bytes, 2);
    bytes
}

/// Sends this to a secondary that has agreed: it is to drop us, with this sentence, and without an answer or
/// a change of its metadata.
#[track_caller]
fn dropped_for(b: &Node, extension: u8, bytes: &[u8], sentence: &str) {
    let (mut worker, mut first, mut second) = agreed_on(b, extension);
    let before = b.metadata();
    first.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    let _ = second.read_to_end(&mut rest);
    assert_eq!(rest, b"", "nothing is to be answered");
    let refused = worker.hear(|message| matches!(message, FromWorker::Refused { .. }));
    let FromWorker::Refused { message, .. } = refused else {
        unreachable!()
    };
    assert!(message.contains(sentence), "{message}");
    assert_eq!(worker.join(), 75);
    assert_eq!(b.metadata(), before, "{sentence}");
}

#[test]
fn a_record_request_of_a_primary_that_does_not_speak_the_extension_changes_nothing() {
    let (_folder, _a, b) = nodes("");
    let forged = "a request of our extension, though it does not speak it: it is damaged or forged";
    let highest = (1 << 63) - 1;
    for bytes in [
        point_request(1, 3),
        point_request(1, highest),
        record_request(1, RecordChange::Lacking),
    ] {
        dropped_for(&b, 0, &bytes, forged);
    }
    // Of one that speaks it the same is no surprise.
    let (worker, mut first, mut second) = agreed_on(&b, 1);
    first.write_all(&point_request(1, 4)).unwrap();
    let reply = Message::read_from(&mut second, Limits::PEER).unwrap().nv;
    assert_eq!(
        (reply.u64("seq"), reply.contains("error")),
        (Some(1), false)
    );
    assert_eq!(b.metadata().record.at.map(|at| at.number), Some(1));
    assert_eq!((b.metadata().localcnt, b.metadata().remotecnt), (4, 3));
    assert_eq!(worker.stop(), 0);
}

#[test]
fn a_counter_that_no_node_reaches_is_refused_in_a_note() {
    let (_folder, _a, b) = nodes("");
    for counter in [1 << 63, u64::MAX] {
        let sentence = format!(
            "a bad request: record request with the localcnt {counter}, which is damaged or forged"
        );
        dropped_for(&b, 1, &point_request(1, counter), &sentence);
    }
}

#[test]
fn a_counter_that_no_node_reaches_is_refused_in_a_primary_s_handshake() {
    let (_folder, _a, b) = nodes("");
    let before = b.metadata();
    for (extension, counter) in [(0, 1 << 63), (1, u64::MAX)] {
        let ((mut first, theirs), (_second, also_theirs)) = (pair(), pair());
        let mut hello = virgin_hello(extension > 0);
        hello.standing.localcnt = counter;
        let introduction = Introduction {
            version: 2,
            extension,
            hello,
        };
        let pair = [theirs.into(), also_theirs.into()];
        let mut worker = Worker::secondary(&b, introduction, &pair);
        drop(pair);
        let answer = Message::read_from(&mut first, Limits::PEER).unwrap().nv;
        let sentence = "A counter of the metadata is damaged or forged (localcnt or remotecnt is 2^63 or more).";
        assert_eq!(answer.str("errmsg"), Some(sentence));
        assert_eq!(worker.join(), 78);
        assert_eq!(b.metadata(), before);
    }
}

#[test]
fn a_counter_that_no_node_reaches_is_refused_in_a_secondary_s_answer() {
    let (_folder, a, _b) = nodes("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect(address).map_err(|error| error.to_string());
    let primary = Worker::primary(&a, Promotion::Asked, Box::new(connect));
    primary.started();
    let forged = u64::MAX;
    let answer = StartAnswer {
        localcnt: 0,
        remotecnt: forged,
        ..plain_answer()
    };
    accept_with(&listener, &answer).unwrap();
    let sentence =
        format!("the peer's second answer holds the remotecnt {forged}: its metadata is damaged");
    eventually("it is refused", || {
        let reason = primary.status().details.and_then(|details| details.reason);
        reason.is_some_and(|reason| reason.contains(&sentence))
    });
    drop(listener);
    assert_eq!(primary.stop(), 0);
    assert_eq!((a.metadata().localcnt, a.metadata().remotecnt), (0, 0));
}

#[test]
fn slow_bytes_are_put_together() {
    let (_folder, _a, b) = nodes("");
    let (worker, mut first, mut second) = agreed(&b);
    first.set_nodelay(true).unwrap();
    let mut bytes = write_request(512, 512, |nv| {
        nv.add_u32("size", 512);
    });
    bytes.extend(noise(5, 512));
    for byte in bytes {
        first.write_all(&[byte]).unwrap();
    }
    let reply = Message::read_from(&mut second, Limits::PEER).unwrap();
    assert_eq!(reply.nv.u64("seq"), Some(1));
    assert!(!reply.nv.contains("error"));
    assert_eq!(worker.stop(), 0);
    assert!(b.data()[512..1024] == noise(5, 512));
}

#[test]
fn a_primary_that_takes_no_replies_is_bounded_and_dropped() {
    let (_folder, _a, b) = nodes("compression none");
    let (mut worker, first, _second) = agreed(&b);
    // Reads without end: their answers fill the connection, and then the worker's buffers.
    let mut stream = first.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        let mut head = Vec::new();
        for seq in 1.. {
            head.clear();
            let request = PeerRequest {
                command: PeerCommand::Read,
                seq,
                offset: 0,
                length: 1 << 20,
                memsync: false,
            };
            request.encode_into(&mut head, 2, &payload::PayloadFields::NONE);
            if stream.write_all(&head).is_err() {
                return;
            }
        }
    });
    let begun = Instant::now();
    assert_eq!(worker.join(), 75);
    assert!(begun.elapsed().as_secs() >= 4, "it was given its time");
    let _ = first.shutdown(Shutdown::Both);
    feeder.join().unwrap();
}

/// Plays a secondary up to the end of the handshake.
fn accept(listener: &TcpListener) -> Option<(TcpStream, TcpStream)> {
    accept_with(listener, &plain_answer())
}

/// What a new component says.
fn plain_answer() -> StartAnswer {
    StartAnswer {
        datasize: (16 << 20) - 4608,
        extentsize: 2 << 20,
        localcnt: 0,
        remotecnt: 0,
        virgin: true,
        syncsrc: SyncSource::Primary,
        map: Vec::new(),
        ours: None,
    }
}

/// As [`accept`], with this as the last answer.
fn accept_with(listener: &TcpListener, last: &StartAnswer) -> Option<(TcpStream, TcpStream)> {
    let mut first = listener.accept().ok()?.0;
    Message::read_from(&mut first, Limits::PEER).ok()?;
    let answer = HelloAnswer {
        version: 2,
        token: [1; 16],
        extension: None,
    };
    first
        .write_all(&frame::encode(2, &answer.to_nv(), &[]))
        .ok()?;
    let mut second = listener.accept().ok()?.0;
    Message::read_from(&mut second, Limits::PEER).ok()?;
    first
        .write_all(&last.encode(2, Compression::None, Checksum::None))
        .ok()?;
    Some((first, second))
}

#[test]
fn a_primary_serves_on_whatever_its_peer_says() {
    let (_folder, a, _b) = nodes("replication fullsync");
    let reply = |fields: &dyn Fn(&mut Nv)| {
        let mut nv = Nv::new();
        fields(&mut nv);
        let mut bytes = vec![2];
        bytes.extend((nv.as_bytes().len() as u32).to_le_bytes());
        bytes.extend(nv.as_bytes());
        bytes
    };
    let unasked = reply(&|nv| {
        nv.add_u64("seq", 4711);
    });
    let with_data = reply(&|nv| {
        nv.add_u64("seq", 1).add_u32("size", 4096);
    });
    let nonsense: Vec<Vec<u8>> = vec![
        noise(1, 4096),
        unasked,
        [with_data, noise(2, 4096)].concat(),
        vec![2, 255, 255, 255, 127],
        Vec::new(),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect(address).map_err(|error| error.to_string());
    let primary = Worker::primary(&a, Promotion::Asked, Box::new(connect));
    primary.started();
    for (round, bytes) in nonsense.into_iter().enumerate() {
        let (mut first, mut second) = accept(&listener).unwrap();
        let connected = || primary.hooks(hast::worker::channel::HookEvent::Connect) > round;
        eventually("connected", connected);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                a.client()
                    .write(0, &noise(round as u64, 4096), false)
                    .unwrap();
            });
            // Its copy of the write, which it answers with nonsense.
            let _ = Message::read_from(&mut first, Limits::PEER);
            let _ = second.write_all(&bytes);
            let _ = second.shutdown(Shutdown::Write);
            writer.join().unwrap();
        });
        assert!(a.client().read(0, 4096).unwrap() == noise(round as u64, 4096));
    }
    drop(listener);
    assert_eq!(primary.stop(), 0);
}

#[test]
fn a_handshake_that_goes_wrong_is_tried_again() {
    let (_folder, a, _b) = nodes("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect(address).map_err(|error| error.to_string());
    let primary = Worker::primary(&a, Promotion::Asked, Box::new(connect));
    primary.started();
    for bytes in [noise(1, 300), Vec::new(), vec![2, 4, 0, 0, 0, 1, 2, 3, 4]] {
        let mut stream = listener.accept().unwrap().0;
        Message::read_from(&mut stream, Limits::PEER).unwrap();
        let _ = stream.write_all(&bytes);
        drop(stream);
        if bytes.is_empty() {
            eventually("it says what happened", || {
                let reason = primary.status().details.and_then(|details| details.reason);
                reason.is_some_and(|reason| reason.contains("the other node closed the connection"))
            });
        }
    }
    accept(&listener).unwrap();
    drop(listener);
    primary.hear(|message| *message == FromWorker::Hook(hast::worker::channel::HookEvent::Connect));
    assert_eq!(primary.stop(), 0);
}

/// Answers one request of a primary; what it was.
fn answer(first: &mut TcpStream, second: &mut TcpStream) -> Nv {
    let request = Message::read_from(first, Limits::PEER).unwrap().nv;
    let mut reply = Nv::new();
    reply.add_u64("seq", request.u64("seq").expect("an answer is wanted"));
    let length = match request.u8("cmd") {
        Some(1) => request.u64("length").unwrap() as u32,
        _ => 0,
    };
    if length > 0 {
        reply.add_u32("size", length);
    }
    let data = noise(1, length as usize);
    second.write_all(&frame::encode(2, &reply, &data)).unwrap();
    request
}

#[test]
fn a_peer_that_hangs_is_noticed_though_nothing_is_written() {
    let (_folder, a, _b) = nodes("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect(address).map_err(|error| error.to_string());
    let primary = Worker::primary(&a, Promotion::Asked, Box::new(connect));
    let (mut first, mut second) = accept(&listener).unwrap();
    assert_eq!(answer(&mut first, &mut second).u8("cmd"), Some(4));
    primary.becomes(Condition::Complete);

    // It is asked whether it is still there, and is.
    let probe = answer(&mut first, &mut second);
    assert_eq!(probe.u8("cmd"), Some(1));
    assert_eq!(
        (probe.u64("offset"), probe.u64("length")),
        (Some(0), Some(512))
    );
    Message::read_from(&mut first, Limits::PEER).unwrap();
    assert_eq!(primary.status().condition, Condition::Complete);

    // It no longer is: the connections stay open, but no answer comes.
    let since = Instant::now();
    primary.becomes(Condition::Degraded);
    assert!(since.elapsed() < 2 * a.resource.timeout);
    let reason = primary.status().details.and_then(|details| details.reason);
    assert!(reason.unwrap().contains("has not answered for 5 seconds"));
    drop(listener);
    assert_eq!(primary.stop(), 0);
}
