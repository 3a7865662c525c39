use super::*;
use crate::layout::{Generation, Point, Record};
use crate::terms::Role;

fn facts() -> ComponentFacts {
    ComponentFacts {
        datasize: 1 << 40,
        extentsize: 2 << 20,
        localcnt: 1,
        remotecnt: 2,
    }
}

fn answer(map: Vec<u8>) -> StartAnswer {
    let ComponentFacts {
        datasize,
        extentsize,
        localcnt,
        remotecnt,
    } = facts();
    let syncsrc = SyncSource::Secondary;
    StartAnswer {
        datasize,
        extentsize,
        localcnt,
        remotecnt,
        virgin: false,
        syncsrc,
        map,
        ours: None,
    }
}

fn message(bytes: &[u8]) -> frame::Message {
    let limits = frame::Limits::PEER;
    frame::Message::read_from(&mut &bytes[..], limits).expect("valid")
}

#[test]
fn the_extension_is_written_only_where_told() {
    let mut hello = Hello {
        resource: "disk1".to_owned(),
        version: Some(2),
        extension: None,
    };
    assert_eq!(hello.to_nv().to_string(), "resource:17=disk1 version:2=2");
    hello.extension = Some(1);
    assert_eq!(
        hello.to_nv().to_string(),
        "resource:17=disk1 version:2=2 extension:2=1"
    );
    assert_eq!(
        Opening::from_nv(hello.to_nv().view()),
        Ok(Opening::Hello(hello.clone()))
    );
    for (offered, agreed) in [
        (None, 1),
        (Some(0), 1),
        (Some(1), 1),
        (Some(2), 2),
        (Some(9), 2),
    ] {
        assert_eq!(
            Hello {
                version: offered,
                ..hello.clone()
            }
            .negotiated(),
            agreed
        );
    }

    let mut answer = HelloAnswer {
        version: 2,
        token: [5; 16],
        extension: None,
    };
    assert!(!answer.to_nv().contains("extension"));
    answer.extension = Some(1);
    let back = HelloAnswer::from_nv(answer.to_nv().view());
    assert_eq!(back, Ok(Answer::Accepted(answer)));
}

#[test]
fn a_first_answer_without_a_version_means_the_first() {
    let mut nv = Nv::new();
    nv.add_bytes("token", &[1; 16]);
    let Ok(Answer::Accepted(answer)) = HelloAnswer::from_nv(nv.view()) else {
        panic!("accepted")
    };
    assert_eq!(answer.version, 1);
    nv.add_u8("version", 3);
    assert_eq!(
        HelloAnswer::from_nv(nv.view()),
        Err(HandshakeError::Version(3))
    );
    let mut short = Nv::new();
    short.add_u8("version", 2).add_bytes("token", &[1; 15]);
    let error = HelloAnswer::from_nv(short.view()).expect_err("short token");
    assert_eq!(
        error.to_string(),
        "the peer's first answer has no valid 'token'"
    );
}

#[test]
fn the_map_comes_back_through_the_pipeline() {
    for map in [
        vec![],
        vec![0; 512],
        vec![0xff; 512],
        (0..=255).cycle().take(4096).collect(),
    ] {
        for compression in Compression::ALL {
            for checksum in Checksum::ALL {
                let sent = answer(map.clone());
                let message = message(&sent.encode(2, *compression, *checksum));
                let back = StartAnswer::decode(message.nv.view(), &message.payload, 4096);
                assert_eq!(back, Ok(Answer::Accepted(sent)));
            }
        }
    }
}

#[test]
fn a_map_of_another_component_is_refused() {
    let sent = message(&answer(vec![1; 1024]).encode(2, Compression::None, Checksum::None));
    let decode = |nv: &Nv, extents| StartAnswer::decode(nv.view(), &sent.payload, extents);
    assert!(decode(&sent.nv, 8192).is_ok());
    assert!(
        decode(&sent.nv, 1).is_ok(),
        "longer than needed, as base may send it"
    );
    let refused = HandshakeError::MapSize {
        found: 1024,
        needed: 1025,
    };
    assert_eq!(decode(&sent.nv, 8193), Err(refused));
    let lying = |size| {
        Nv::build(|nv| {
            nv.u32("mapsize", size);
            sent.nv.entries().for_each(|entry| _ = nv.copy(entry));
        })
    };
    let (length, expected) = (1024, 1025);
    let refused = PayloadError::WrongLength { length, expected };
    assert_eq!(
        decode(&lying(1025), 8192),
        Err(HandshakeError::Map(refused))
    );
    let refused = PayloadError::TooLarge {
        length: 1024,
        limit: 1023,
    };
    assert_eq!(decode(&lying(1023), 8), Err(HandshakeError::Map(refused)));
    let found = max_map(8) + 1;
    let refused = HandshakeError::MapSize { found, needed: 1 };
    assert_eq!(decode(&lying(found as u32), 8), Err(refused));
}

#[test]
fn any_answer_may_be_a_refusal() {
    let refusal = Refusal::not_secondary(Role::Primary);
    assert!(refusal.wait && !Refusal::not_secondary(Role::Init).wait);
    let nv = refusal.to_nv();
    assert_eq!(
        nv.to_string(),
        "errmsg:17=Remote node acts as primary for the resource and not as secondary. wait:2=1"
    );
    assert_eq!(
        HelloAnswer::from_nv(nv.view()),
        Ok(Answer::Refused(refusal))
    );

    let split = Refusal::split_brain();
    assert!(split.is_split_brain() && !Refusal::new(Refusal::WRONG_TOKEN).is_split_brain());
    let nv = split.to_nv_after(facts());
    assert_eq!(
        StartAnswer::decode(nv.view(), &[], 512),
        Ok(Answer::Refused(split))
    );
    let mut latin = Nv::new();
    latin.add("errmsg", crate::nv::Value::Str(b"caf\xe9"));
    let refused = Refusal::from_nv(latin.view()).expect("whatever its character set");
    assert_eq!(refused.errmsg, "caf\u{fffd}");
}

#[test]
fn messages_that_lack_something_are_refused_by_its_name() {
    let start = Start {
        resource: "disk1".to_owned(),
        token: [3; 16],
        resuid: 7,
        localcnt: 1,
        remotecnt: 0,
        virgin: true,
        ours: None,
    };
    let nv = start.to_nv();
    assert_eq!(Opening::from_nv(nv.view()), Ok(Opening::Start(start)));
    for field in ["resource", "resuid", "localcnt", "remotecnt"] {
        let mut without = Nv::new();
        for entry in nv.entries().filter(|entry| entry.name != field.as_bytes()) {
            without.writer().copy(entry);
        }
        let error = Opening::from_nv(without.view())
            .expect_err("incomplete")
            .to_string();
        assert_eq!(
            error,
            format!("the peer's second message has no valid '{field}'")
        );
    }
    let error = Opening::from_nv(Nv::new().view())
        .expect_err("empty")
        .to_string();
    assert_eq!(error, "the peer's first message has no valid 'resource'");
    let mut negative = Nv::new();
    negative.add_i64("datasize", -1);
    let error = StartAnswer::decode(negative.view(), &[], 512)
        .expect_err("negative")
        .to_string();
    assert_eq!(error, "the peer's second answer has no valid 'datasize'");
}

fn record() -> Record {
    let point = |of, number| Point {
        generation: Generation::new(of).expect("not 0"),
        number,
    };
    Record {
        at: Some(point(7, 2)),
        lacks: true,
        past: vec![point(6, 9)],
        ..Record::default()
    }
}

fn standing() -> Standing {
    Standing {
        resuid: 7,
        localcnt: 1,
        remotecnt: 2,
        record: record(),
    }
}

fn start(ours: Option<Situation>) -> Start {
    Start {
        resource: "disk1".to_owned(),
        token: [3; 16],
        resuid: 7,
        localcnt: 1,
        remotecnt: 0,
        virgin: false,
        ours,
    }
}

/// The same entries without the one of this name, or with another value in its place.
fn without(nv: &Nv, field: &str, instead: Option<&[u8]>) -> Nv {
    let mut changed = Nv::new();
    for entry in nv.entries() {
        if entry.name != field.as_bytes() {
            changed.writer().copy(entry);
        } else if let Some(bytes) = instead {
            changed.add_bytes(field, bytes);
        }
    }
    changed
}

#[test]
fn a_primary_of_ours_says_its_situation_behind_base_s_entries() {
    let plain = start(None).to_nv();
    for (holds, leans) in [(false, true), (true, false)] {
        let sent = start(Some(Situation {
            record: record(),
            holds,
            leans,
        }));
        let nv = sent.to_nv();
        assert!(nv.as_bytes().starts_with(plain.as_bytes()));
        assert!(nv.as_bytes().len() < frame::Limits::OPENING.nv);
        let text = nv.to_string();
        let (holds, leans) = (u8::from(holds), u8::from(leans));
        assert!(
            text.ends_with(&format!(" holds:2={holds} leans:2={leans}")),
            "{text}"
        );
        assert_eq!(sent.situation(), Ok(sent.ours.as_ref().expect("said")));
        assert_eq!(Opening::from_nv(nv.view()), Ok(Opening::Start(sent)));
    }
    let error = start(None).situation().expect_err("not said").to_string();
    assert_eq!(error, "the peer's second message has no valid 'record'");
}

#[test]
fn what_a_primary_of_ours_says_by_halves_is_refused() {
    let sent = start(Some(Situation {
        record: record(),
        holds: true,
        leans: true,
    }));
    let error = |nv: &Nv| {
        let error = Opening::from_nv(nv.view()).expect_err("refused");
        error.to_string()
    };
    for field in ["holds", "leans"] {
        let text = format!("the peer's second message has no valid '{field}'");
        assert_eq!(error(&without(&sent.to_nv(), field, None)), text);
        assert_eq!(error(&without(&sent.to_nv(), field, Some(&[1]))), text);
    }
    let mut other_type = without(&sent.to_nv(), "record", None);
    other_type.add_u8("record", 1);
    assert_eq!(
        error(&other_type),
        "the peer's second message has no valid 'record'"
    );
    let damaged = without(&sent.to_nv(), "record", Some(&[1; 43]));
    assert_eq!(
        error(&damaged),
        "the peer's second message holds a damaged record: a history or record of 43 bytes, which cannot be"
    );
}

#[test]
fn a_secondary_of_ours_says_its_standing() {
    let Standing { resuid, record, .. } = standing();
    let sent = StartAnswer {
        ours: Some(Identity { resuid, record }),
        ..answer(vec![0xff; 512])
    };
    let message = message(&sent.encode(2, Compression::Lzf, Checksum::Crc32));
    let decode = |nv: &Nv| StartAnswer::decode(nv.view(), &message.payload, 4096);
    let Ok(Answer::Accepted(back)) = decode(&message.nv) else {
        panic!("accepted");
    };
    assert_eq!(back.standing(), Ok(standing()));
    assert_eq!(back, sent);

    let refused = |nv: &Nv| decode(nv).expect_err("refused").to_string();
    assert_eq!(
        refused(&without(&message.nv, "resuid", None)),
        "the peer's second answer has no valid 'resuid'"
    );
    let damaged = refused(&without(&message.nv, "record", Some(&[0xff; 44])));
    assert!(
        damaged.starts_with("the peer's second answer holds a damaged record: "),
        "{damaged}"
    );
    let error = answer(vec![]).standing().expect_err("not said").to_string();
    assert_eq!(error, "the peer's second answer has no valid 'record'");
}

#[test]
fn a_refusal_of_ours_says_the_standing_and_stands_without_it() {
    let split = Refusal::split_brain().with_standing(standing());
    let after = split.to_nv_after(facts());
    for nv in [split.to_nv(), after] {
        assert_eq!(Refusal::from_nv(nv.view()).as_ref(), Some(&split));
        let damaged = without(&nv, "record", Some(&[1; 43]));
        let bare = Some(Refusal::split_brain());
        assert_eq!(Refusal::from_nv(damaged.view()), bare);
        for field in ["record", "resuid", "localcnt", "remotecnt"] {
            let nv = without(&nv, field, None);
            assert_eq!(Refusal::from_nv(nv.view()), bare);
        }
    }
    let facts_alone = Refusal::split_brain().to_nv_after(facts());
    assert!(!facts_alone.contains("record") && !facts_alone.contains("resuid"));
}
