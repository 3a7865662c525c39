use super::*;
use crate::layout::{Generation, Point};
use crate::nv::Nv;
use crate::terms::{Checksum, Compression};
use crate::wire::payload;

const DATASIZE: u64 = 1 << 30;

fn request(command: PeerCommand, offset: u64, length: u64) -> PeerRequest {
    PeerRequest {
        command,
        seq: 9,
        offset,
        length,
        memsync: false,
    }
}

fn nv_of(message: &[u8]) -> Nv {
    let size = u32::from_le_bytes(message[1..5].try_into().expect("four bytes")) as usize;
    assert_eq!((message[0], size), (2, message.len() - 5));
    Nv::decode(&message[5..]).expect("valid")
}

#[test]
fn requests_say_what_an_nv_built_by_hand_says() {
    let data = [7; 4096];
    let packed = payload::pack(&data, Compression::None, Checksum::Crc32);
    let write = PeerRequest {
        memsync: true,
        ..request(PeerCommand::Write, 8192, 4096)
    };
    let mut out = Vec::new();
    write.encode_into(&mut out, 2, &packed.fields);
    let mut nv = Nv::new();
    nv.add_u8("cmd", 2)
        .add_u64("seq", 9)
        .add_u64("offset", 8192)
        .add_u64("length", 4096);
    nv.add_u8("memsync", 1).add_str("checksum", "crc32");
    nv.add_bytes("hash", &crc32fast::hash(&data).to_le_bytes())
        .add_u32("size", 4096);
    assert_eq!(nv_of(&out), nv);
    assert_eq!(
        Incoming::decode(nv.view()),
        Ok(Incoming::Request(write, packed.fields))
    );

    out.clear();
    PeerRequest::KEEPALIVE.encode_into(&mut out, 2, &PayloadFields::NONE);
    assert_eq!(nv_of(&out).to_string(), "cmd:2=5");
    out.clear();
    request(PeerCommand::Flush, 0, 0).encode_into(&mut out, 2, &PayloadFields::NONE);
    assert_eq!(
        nv_of(&out).to_string(),
        "cmd:2=4 seq:8=9 offset:8=0 length:8=0"
    );
}

#[test]
fn every_request_comes_back() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..1000 {
        let command = PeerCommand::from_number(random.u8(1..=4)).expect("one of four");
        let flush = command == PeerCommand::Flush;
        let mut any = || if flush { 0 } else { random.u64(..) };
        let (offset, length) = (any(), any());
        let memsync = command == PeerCommand::Write && random.bool();
        let sent = PeerRequest {
            command,
            seq: random.u64(1..),
            offset,
            length,
            memsync,
        };
        let mut out = Vec::new();
        sent.encode_into(&mut out, 2, &PayloadFields::NONE);
        let received = Incoming::decode(nv_of(&out).view());
        assert_eq!(received, Ok(Incoming::Request(sent, PayloadFields::NONE)));
    }
}

fn point(of: u64, number: u64) -> Point {
    Point {
        generation: Generation::new(of).expect("not 0"),
        number,
    }
}

fn point_request(past: u64) -> RecordRequest {
    RecordRequest {
        seq: 4,
        change: RecordChange::Point {
            note: PointNote {
                at: point(100, 7),
                copy: CopyState::Full,
                leads: true,
                past: (1..=past).map(|of| point(of, of + 1)).collect(),
            },
            failures: 5,
            localcnt: 2,
            remotecnt: 3,
        },
    }
}

#[test]
fn record_requests_say_what_is_documented() {
    let lacking = RecordRequest {
        seq: 4,
        change: RecordChange::Lacking,
    };
    for (request, text) in [
        (lacking, "cmd:2=6 seq:8=4 kind:2=2"),
        (
            point_request(0),
            "cmd:2=6 seq:8=4 kind:2=1 generation:8=100 number:8=7 copy:2=3 leads:2=1 failures:8=5 \
             localcnt:8=2 remotecnt:8=3",
        ),
        (
            point_request(1),
            "cmd:2=6 seq:8=4 kind:2=1 generation:8=100 number:8=7 copy:2=3 leads:2=1 \
             past:10=01000000000000000200000000000000 failures:8=5 localcnt:8=2 remotecnt:8=3",
        ),
    ] {
        let mut out = Vec::new();
        request.encode_into(&mut out, 2);
        assert_eq!(nv_of(&out).to_string(), text);
        let back = Incoming::decode(nv_of(&out).view());
        assert_eq!(back, Ok(Incoming::Record(request)));
    }
}

#[test]
fn every_record_request_comes_back() {
    for past in 0..=24 {
        for (number, copy) in [
            (1, CopyState::Lacking),
            (2, CopyState::Unchanged),
            (3, CopyState::Full),
        ] {
            assert_eq!(copy as u8, number);
            let mut sent = point_request(past);
            if let RecordChange::Point { note, .. } = &mut sent.change {
                note.copy = copy;
                note.leads = past % 2 == 0;
            }
            let mut out = Vec::new();
            sent.encode_into(&mut out, 2);
            assert!(out.len() < frame::Limits::OPENING.nv);
            let back = Incoming::decode(nv_of(&out).view());
            assert_eq!(back, Ok(Incoming::Record(sent)));
        }
    }
}

#[test]
fn record_requests_that_cannot_be_are_refused_by_what_is_wrong() {
    let sent = |changed: &str, value: Option<Value<'_>>| {
        let whole = Nv::build(|nv| point_request(2).write(nv));
        let mut nv = Nv::new();
        for entry in whole.entries() {
            if entry.name != changed.as_bytes() {
                nv.writer().copy(entry);
            } else if let Some(value) = value {
                nv.add(changed, value);
            }
        }
        Incoming::decode(nv.view())
    };
    for field in [
        "kind",
        "generation",
        "number",
        "copy",
        "leads",
        "localcnt",
        "remotecnt",
    ] {
        let what = "record";
        assert_eq!(
            sent(field, None),
            Err(RequestError::Missing { what, field })
        );
        assert_eq!(
            sent(field, Some(Value::U16(1))),
            Err(RequestError::Missing { what, field }),
            "of another type"
        );
    }
    let refused = |field, value| sent(field, Some(value)).expect_err("refused");
    let missing = RequestError::Missing {
        what: "record",
        field: "generation",
    };
    assert_eq!(refused("generation", Value::U64(0)), missing);
    assert_eq!(refused("kind", Value::U8(3)), RequestError::UnknownKind(3));
    assert_eq!(refused("copy", Value::U8(0)), RequestError::UnknownCopy(0));
    let limit = 1 << 63;
    for field in ["localcnt", "remotecnt"] {
        let value = limit;
        let expected = RequestError::Counter { field, value };
        assert_eq!(refused(field, Value::U64(limit)), expected);
        assert!(sent(field, Some(Value::U64(limit - 1))).is_ok());
    }
    assert_eq!(
        refused("number", Value::U64(limit)),
        RequestError::Record(RecordError::Number(limit))
    );
    let history = |bytes: &[u8]| sent("past", Some(Value::Bytes(bytes))).expect_err("refused");
    for (bytes, error) in [
        (&[1; 17][..], RecordError::Length(17)),
        (&[1; 16 * 25], RecordError::TooManyPast(25)),
        (&[0; 16], RecordError::NoGeneration),
        (&[1; 32], RecordError::Repeated(0x0101_0101_0101_0101)),
        (
            &[[100, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat(),
            RecordError::Repeated(100),
        ),
        (&[0xff; 16], RecordError::Number(u64::MAX)),
    ] {
        assert_eq!(history(bytes), RequestError::Record(error));
    }
    assert_eq!(
        history(&[0; 16]).to_string(),
        "record request with a point without a generation"
    );
}

#[test]
fn replies_come_back_with_freebsds_errors() {
    let mut out = Vec::new();
    let reply = PeerReply {
        seq: 3,
        received: true,
        error: None,
    };
    reply.encode_into(&mut out, 2, &PayloadFields::NONE);
    assert_eq!(nv_of(&out).to_string(), "seq:8=3 received:1=1");
    assert_eq!(
        PeerReply::decode(nv_of(&out).view()),
        Ok((reply, PayloadFields::NONE))
    );
    out.clear();
    let reply = PeerReply {
        seq: 3,
        received: false,
        error: Some(Errno::EOPNOTSUPP),
    };
    reply.encode_into(&mut out, 2, &PayloadFields::NONE);
    assert_eq!(nv_of(&out).to_string(), "seq:8=3 error:3=45");
    assert_eq!(
        PeerReply::decode(nv_of(&out).view()),
        Ok((reply, PayloadFields::NONE))
    );
    let mut nv = Nv::new();
    nv.add_u64("seq", 1).add_i16("error", 0);
    let (fine, _) = PeerReply::decode(nv.view()).expect("valid");
    assert_eq!(fine.error, None);
    let missing = PeerReply::decode(Nv::new().view())
        .expect_err("no seq")
        .to_string();
    assert_eq!(missing, "reply without 'seq'");
}

#[test]
fn incomplete_and_unknown_requests_are_refused() {
    let error = |nv: &Nv| {
        Incoming::decode(nv.view())
            .expect_err("refused")
            .to_string()
    };
    let mut nv = Nv::new();
    assert_eq!(error(&nv), "request without 'cmd'");
    nv.add_u8("cmd", 2);
    assert_eq!(error(&nv), "write without 'seq'");
    nv.add_u64("seq", 1);
    assert_eq!(error(&nv), "write without 'offset'");
    nv.add_u64("offset", 1);
    assert_eq!(error(&nv), "write without 'length'");
    nv.add_u64("length", 1)
        .add_u32("size", 1)
        .add_str("compression", "rot13");
    assert_eq!(error(&nv), "payload with unknown compression 'rot13'");
    for number in [0, 7, 255] {
        let mut nv = Nv::new();
        nv.add_u8("cmd", number);
        assert_eq!(
            Incoming::decode(nv.view()),
            Err(RequestError::UnknownCommand(number))
        );
    }
}

#[test]
fn ranges_are_checked_against_the_component() {
    use PeerCommand::{Delete, Flush, Read, Write};
    let data = PayloadFields {
        size: 4,
        ..PayloadFields::NONE
    };
    let checked = |command, offset, length| {
        let payload = if command == Write {
            data
        } else {
            PayloadFields::NONE
        };
        request(command, offset, length).check(&payload, DATASIZE, 512)
    };
    for command in [Read, Write, Delete] {
        assert_eq!(checked(command, 0, 512), Ok(()));
        assert_eq!(checked(command, DATASIZE - 512, 512), Ok(()));
        assert!(matches!(
            checked(command, 0, 0),
            Err(RequestError::Empty { .. })
        ));
        for (offset, length) in [(1, 512), (0, 511), (256, 256)] {
            let result = checked(command, offset, length);
            assert!(
                matches!(result, Err(RequestError::Unaligned { .. })),
                "{result:?}"
            );
        }
        for (offset, length) in [
            (DATASIZE, 512),
            (DATASIZE - 512, 1024),
            (u64::MAX - 511, 512),
        ] {
            let result = checked(command, offset, length);
            assert!(
                matches!(result, Err(RequestError::BeyondEnd { .. })),
                "{result:?}"
            );
        }
    }
    let long = MAX_REQUEST as u64 + 512;
    assert_eq!(checked(Delete, 0, long), Ok(()), "a delete carries no data");
    for command in [Read, Write] {
        assert_eq!(
            checked(command, 0, long),
            Err(RequestError::TooLong {
                command,
                length: long
            })
        );
        assert_eq!(checked(command, 0, long - 512), Ok(()));
    }
    assert_eq!(checked(Flush, 0, 0), Ok(()));
    for (command, payload) in [(Read, data), (Flush, data), (Write, PayloadFields::NONE)] {
        let result = request(command, 0, 512).check(&payload, DATASIZE, 512);
        assert_eq!(
            result,
            Err(RequestError::UnexpectedPayload {
                command,
                size: payload.size
            })
        );
    }
}
