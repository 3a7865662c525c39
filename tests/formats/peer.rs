//! What flowed between two base nodes: every message decodes to its line of the transcript, is one
//! of our types, and comes out of that type as the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hast::terms::{Checksum, Compression, Role};
use hast::wire::frame::{self, Message};
use hast::wire::handshake::{Answer, ComponentFacts, HelloAnswer, Opening, Refusal, StartAnswer};
use hast::wire::payload::{self, PayloadFields, Unpacked};
use hast::wire::request::{Incoming, PeerReply};

use crate::vectors;

/// How many extents the captured components have.
const EXTENTS: u64 = 8;

#[test]
fn every_message_reads_as_its_transcript_says() {
    for folder in vectors::conversations() {
        let transcript = vectors::read_text(&folder.join("transcript.txt"));
        let mut connection = "";
        // What the transcript says of each capture, in order.
        let mut expected: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for line in transcript.lines() {
            if let Some(line) = line.strip_prefix("  ") {
                let (direction, line) =
                    line.split_once(' ').expect("a direction, then the message");
                let file = format!("{connection:0>2}.{direction}.bin");
                expected.entry(file).or_default().push(line);
            } else {
                let number = line.strip_prefix("connection ").expect("a connection");
                connection = number.split(':').next().expect("its number");
            }
        }
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in vectors::files(&folder, ".bin") {
            let messages = vectors::messages(&path);
            let lines = messages
                .iter()
                .map(|(at, m)| format!("@{at} {}", vectors::render(m)));
            found.insert(vectors::name(&path).to_owned(), lines.collect());
        }
        assert_eq!(found.len(), expected.len(), "{}", folder.display());
        for (file, lines) in &expected {
            assert_eq!(found.get(file).map(Vec::len), Some(lines.len()), "{file}");
            for (line, found) in lines.iter().zip(&found[file]) {
                assert_eq!(found, line, "{} {file}", folder.display());
            }
        }
    }
}

#[test]
fn every_message_comes_out_of_its_type_as_it_went_in() {
    let mut kinds = BTreeSet::new();
    for folder in vectors::conversations() {
        let compression = configured_compression(&folder);
        for path in vectors::files(&folder, ".bin") {
            let to_secondary = vectors::name(&path).ends_with("to-secondary.bin");
            for (at, message) in vectors::messages(&path) {
                let (kind, again) = if to_secondary {
                    from_primary(&message, compression)
                } else {
                    from_secondary(&message, compression)
                };
                assert!(
                    again == message.encode(),
                    "{} @{at}: {kind}",
                    path.display()
                );
                kinds.insert(kind);
            }
        }
    }
    let all = [
        "hello",
        "hello answer",
        "refusal",
        "reply",
        "request",
        "start",
        "start answer",
        "start refusal",
    ];
    assert_eq!(
        kinds,
        BTreeSet::from(all),
        "a kind of message was not captured"
    );
}

/// What the folder's nodes were configured to: the most that any message shows.
fn configured_compression(folder: &Path) -> Compression {
    let transcript = vectors::read_text(&folder.join("transcript.txt"));
    if transcript.contains("compression:17=lzf") {
        Compression::Lzf
    } else if transcript.contains("compression:17=hole") {
        Compression::Hole
    } else {
        Compression::None
    }
}

fn from_primary(message: &Message, compression: Compression) -> (&'static str, Vec<u8>) {
    let nv = message.nv.view();
    if !nv.contains("cmd") {
        return match Opening::from_nv(nv).expect("captured") {
            Opening::Hello(hello) => ("hello", frame::encode(message.version, &hello.to_nv(), &[])),
            Opening::Start(start) => ("start", frame::encode(message.version, &start.to_nv(), &[])),
            Opening::Query(query) => panic!("base asks nothing: {query:?}"),
        };
    }
    let Incoming::Request(request, fields) = Incoming::decode(nv).expect("captured") else {
        panic!("base sends no record: {nv}");
    };
    request.check(&fields, 16_772_608, 512).expect("captured");
    let (fields, bytes) = packed_again(&fields, &message.payload, request.length, compression);
    let mut again = Vec::new();
    request.encode_into(&mut again, message.version, &fields);
    again.extend_from_slice(&bytes);
    ("request", again)
}

fn from_secondary(message: &Message, compression: Compression) -> (&'static str, Vec<u8>) {
    let nv = message.nv.view();
    if nv.contains("seq") {
        let (reply, fields) = PeerReply::decode(nv).expect("captured");
        let (fields, bytes) = packed_again(&fields, &message.payload, 1 << 20, compression);
        let mut again = Vec::new();
        reply.encode_into(&mut again, message.version, &fields);
        again.extend_from_slice(&bytes);
        return ("reply", again);
    }
    if nv.contains("datasize") {
        return start_answer(message, compression);
    }
    match HelloAnswer::from_nv(nv).expect("captured") {
        Answer::Accepted(answer) => (
            "hello answer",
            frame::encode(message.version, &answer.to_nv(), &[]),
        ),
        Answer::Refused(refusal) => {
            assert_eq!(refusal, Refusal::not_secondary(Role::Init));
            (
                "refusal",
                frame::encode(message.version, &refusal.to_nv(), &[]),
            )
        }
    }
}

fn start_answer(message: &Message, compression: Compression) -> (&'static str, Vec<u8>) {
    let nv = message.nv.view();
    match StartAnswer::decode(nv, &message.payload, EXTENTS).expect("captured") {
        Answer::Accepted(answer) => {
            let checksum = PayloadFields::from_nv(nv)
                .expect("captured")
                .hash
                .checksum();
            (
                "start answer",
                answer.encode(message.version, compression, checksum),
            )
        }
        // Base's refusal of the third message carries what it has of it, then `errmsg`.
        Answer::Refused(refusal) => {
            let facts = ComponentFacts {
                datasize: nv.i64("datasize").expect("captured") as u64,
                extentsize: nv.i32("extentsize").expect("captured") as u32,
                localcnt: nv.u64("localcnt").expect("captured"),
                remotecnt: nv.u64("remotecnt").expect("captured"),
            };
            let known = [
                Refusal::split_brain(),
                Refusal::resuid_mismatch(9_147_771_387_747_163_517, 7_824_135_133_587_755_679),
            ];
            assert!(known.contains(&refusal), "{refusal:?}");
            (
                "start refusal",
                frame::encode(message.version, &refusal.to_nv_after(facts), &[]),
            )
        }
    }
}

/// The payload, unpacked in both ways and packed again as the sender was configured.
fn packed_again(
    fields: &PayloadFields,
    sent: &[u8],
    length: u64,
    compression: Compression,
) -> (PayloadFields, Vec<u8>) {
    if fields.size == 0 {
        return (PayloadFields::NONE, Vec::new());
    }
    let length = length as usize;
    let mut data = vec![0xaa; length];
    payload::unpack_to(fields, sent, &mut data).expect("captured");
    match payload::unpack(fields, sent, length).expect("captured") {
        Unpacked::Data(unpacked) => assert!(*unpacked == data),
        Unpacked::Zeroes(zeroes) => {
            assert!(zeroes == length && payload::is_zero(&data));
            let zeroes = payload::pack_zeroes(length as u32, fields.hash.checksum());
            assert!((&zeroes.fields, &*zeroes.bytes) == (fields, sent));
        }
    }
    let packed = payload::pack(&data, compression, fields.hash.checksum());
    (packed.fields, packed.bytes.into_owned())
}

/// The captures hold what they are named for, so that the tests above prove something.
#[test]
fn the_captures_show_every_compression_and_checksum() {
    let mut seen = BTreeSet::new();
    for folder in vectors::conversations() {
        for path in vectors::files(&folder, ".bin") {
            for (_, message) in vectors::messages(&path) {
                let fields = PayloadFields::from_nv(message.nv.view()).expect("captured");
                if fields.size > 0 {
                    seen.insert((fields.compression.word(), fields.hash.checksum().word()));
                }
            }
        }
    }
    for compression in Compression::ALL {
        assert!(
            seen.iter().any(|(word, _)| *word == compression.word()),
            "{compression}"
        );
    }
    for checksum in Checksum::ALL {
        assert!(
            seen.iter().any(|(_, word)| *word == checksum.word()),
            "{checksum}"
        );
    }
}
