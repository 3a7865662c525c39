use super::*;
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

#[test]
fn state_reports_come_back() {
    for (number, state) in [
        (1, ComponentState::Consistent),
        (2, ComponentState::Inconsistent),
        (3, ComponentState::Ahead),
    ] {
        let report = StateReport {
            seq: 4,
            state,
            localcnt: 2,
            remotecnt: 3,
        };
        let mut out = Vec::new();
        report.encode_into(&mut out, 2);
        let text = format!("cmd:2=6 seq:8=4 state:2={number} localcnt:8=2 remotecnt:8=3");
        assert_eq!(nv_of(&out).to_string(), text);
        assert_eq!(
            Incoming::decode(nv_of(&out).view()),
            Ok(Incoming::State(report))
        );
    }
    let mut nv = Nv::new();
    nv.add_u8("cmd", 6).add_u64("seq", 4).add_u8("state", 9);
    assert_eq!(
        Incoming::decode(nv.view()),
        Err(RequestError::UnknownState(9))
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
