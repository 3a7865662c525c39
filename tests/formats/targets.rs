//! One function a decoder, to be given any bytes at all: shared by the bounded runs of the tests and
//! the targets in fuzz/. Each panics where a decoder panics, accepts what it then can not
//! reproduce, disagrees with a plainer reading of the same bytes, or holds more than it was fed.

use hast::layout::block::{Block, Image, Wanted};
use hast::layout::record::past_from_bytes;
use hast::layout::{Bitmap, Generation, Geometry, Metadata, Point, Record};
use hast::nv::{Nv, NvView};
use hast::terms::{Checksum, Compression};
use hast::wire::frame::{Decoder, HEADER_SIZE, Head, HeadDecoder, Limits, Message};
use hast::wire::handshake::query::Reply;
use hast::wire::handshake::{Answer, HelloAnswer, Opening, Refusal, StartAnswer, max_map};
use hast::wire::payload::{self, Hash, PayloadFields, Unpacked};
use hast::wire::request::{
    CopyState, Incoming, PeerCommand, PeerReply, PeerRequest, PointNote, RecordChange,
    RecordRequest,
};

/// What the payload target allows an original to be, in bytes.
const MAX_ORIGINAL: usize = 64 << 10;

/// An nv list.
pub fn nv(bytes: &[u8]) {
    let Ok(nv) = Nv::decode(bytes) else { return };
    let length = nv.as_bytes().len();
    assert!(length <= bytes.len());
    assert_eq!(
        NvView::parse(&bytes[..length]).expect("a prefix at an entry's end"),
        nv.view()
    );
    let mut again = Nv::new();
    for entry in nv.entries() {
        again.writer().copy(entry);
        // Names from outside need not be text; those that are must be found.
        if let Ok(name) = std::str::from_utf8(entry.name) {
            assert!(nv.contains(name));
        }
    }
    assert_eq!(again.as_bytes(), nv.as_bytes());
    let back = Nv::decode(again.as_bytes()).expect("what we encode is valid");
    assert_eq!(back, again);
    assert!(!nv.to_string().contains('\0'));
}

/// Messages on a stream: in one piece and in small ones, whole and head by head.
pub fn frame(bytes: &[u8]) {
    let limits = Limits {
        nv: 4096,
        payload: 8192,
    };
    let at_once = messages(bytes, bytes.len().max(1), limits);
    for step in [1, 7, 100] {
        assert_eq!(
            messages(bytes, step, limits),
            at_once,
            "in pieces of {step}"
        );
    }
    let mut rest = bytes;
    for message in &at_once {
        let mut decoder = HeadDecoder::new(limits);
        let taken = decoder.feed(rest).expect("taken as a whole");
        let head = decoder.head().expect("taken as a whole").expect("complete");
        let Message {
            version,
            nv,
            payload,
        } = message;
        let expected = Head {
            version: *version,
            nv: nv.view(),
            payload_size: payload.len(),
        };
        assert_eq!(head, expected);
        rest = &rest[taken + payload.len()..];
    }
}

/// The messages before the first error or the end, fed in pieces of `step` bytes.
fn messages(bytes: &[u8], step: usize, limits: Limits) -> Vec<Message> {
    let mut decoder = Decoder::new(limits);
    let mut messages = Vec::new();
    let mut held = 0;
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            let needed = decoder.needed();
            assert!(needed > 0 && needed <= limits.nv.max(limits.payload) + HEADER_SIZE);
            let Ok((taken, message)) = decoder.feed(piece) else {
                return messages;
            };
            assert!(taken > 0 && taken <= piece.len());
            held += taken;
            if let Some(message) = message {
                // Trailing zeros of an nv are dropped: never more than came.
                let length = HEADER_SIZE + message.nv.as_bytes().len() + message.payload.len();
                assert!(length <= held && message.payload.capacity() <= 2 * held + 8);
                held = 0;
                messages.push(message);
            }
            piece = &piece[taken..];
        }
    }
    messages
}

/// Requests, replies and the handshake, as entries.
pub fn request(bytes: &[u8]) {
    let Ok(nv) = NvView::parse(bytes) else { return };
    assert_eq!(Incoming::decode(nv).ok(), plain_request(nv));
    if let Ok(Incoming::Request(request, fields)) = Incoming::decode(nv) {
        let checked = request.check(&fields, 1 << 30, 512);
        let mut again = Nv::new();
        request.write(&mut again.writer(), &fields);
        // A keepalive is written alone; one that came with a payload is refused.
        if request.command == PeerCommand::Keepalive && fields.size > 0 {
            assert!(checked.is_err());
        } else {
            assert_eq!(
                Incoming::decode(again.view()),
                Ok(Incoming::Request(request, fields))
            );
        }
    }
    if let Ok(Incoming::Record(request)) = Incoming::decode(nv) {
        let again = Nv::build(|nv| request.write(nv));
        assert_eq!(
            Incoming::decode(again.view()),
            Ok(Incoming::Record(request))
        );
    }
    if let Ok((reply, fields)) = PeerReply::decode(nv) {
        assert_eq!(Some(reply.seq), nv.u64("seq"));
        assert_eq!(reply.received, nv.contains("received"));
        assert_eq!(reply.error.is_some(), nv.i16("error").unwrap_or(0) != 0);
        assert_eq!(Ok(fields), PayloadFields::from_nv(nv));
    }
    handshake(nv);
}

fn handshake(nv: NvView<'_>) {
    if let Ok(opening) = Opening::from_nv(nv) {
        let again = match &opening {
            Opening::Hello(hello) => hello.to_nv(),
            Opening::Start(start) => start.to_nv(),
            Opening::Query(query) => query.to_nv(),
        };
        assert_eq!(Opening::from_nv(again.view()), Ok(opening));
    }
    if let Ok(Reply::Answer(answer)) = Reply::from_nv(nv) {
        let again = Reply::from_nv(answer.to_nv().view());
        assert_eq!(again, Ok(Reply::Answer(answer)));
    }
    if let Ok(Answer::Accepted(answer)) = HelloAnswer::from_nv(nv) {
        assert_eq!(
            HelloAnswer::from_nv(answer.to_nv().view()),
            Ok(Answer::Accepted(answer))
        );
    }
    for size in [0, 4, 512] {
        match StartAnswer::decode(nv, &vec![1; size], 4096) {
            Ok(Answer::Accepted(answer)) => {
                assert!(answer.map.is_empty() || (512..=max_map(4096)).contains(&answer.map.len()));
                assert_eq!(answer.standing().is_ok(), nv.contains("record"));
            }
            Ok(Answer::Refused(refusal)) => {
                assert_eq!(Refusal::from_nv(refusal.to_nv().view()), Some(refusal));
            }
            Err(_) => {}
        }
    }
}

/// What [`Incoming::decode`] must say of a request, by look-ups.
fn plain_request(nv: NvView<'_>) -> Option<Incoming> {
    let command = PeerCommand::from_number(nv.u8("cmd")?)?;
    let seq = if command == PeerCommand::Keepalive {
        0
    } else {
        nv.u64("seq")?
    };
    let (mut offset, mut length) = (0, 0);
    match command {
        PeerCommand::Record => return plain_record(nv, seq).map(Incoming::Record),
        PeerCommand::Flush | PeerCommand::Keepalive => {}
        PeerCommand::Read | PeerCommand::Write | PeerCommand::Delete => {
            offset = nv.u64("offset")?;
            length = nv.u64("length")?;
        }
    }
    let memsync = command == PeerCommand::Write && nv.contains("memsync");
    let request = PeerRequest {
        command,
        seq,
        offset,
        length,
        memsync,
    };
    Some(Incoming::Request(request, plain_fields(nv)?))
}

fn plain_record(nv: NvView<'_>, seq: u64) -> Option<RecordRequest> {
    let change = match nv.u8("kind")? {
        1 => {
            let generation = Generation::new(nv.u64("generation")?)?;
            let number = nv.u64("number")?;
            let record = Record {
                at: Some(Point { generation, number }),
                past: past_from_bytes(nv.bytes("past").unwrap_or_default()).ok()?,
                ..Record::default()
            };
            record.check().ok()?;
            let note = PointNote {
                at: record.at?,
                copy: CopyState::from_number(nv.u8("copy")?)?,
                leads: nv.u8("leads")? != 0,
                past: record.past,
            };
            let failures = nv.u64("failures")?;
            let (localcnt, remotecnt) = (nv.u64("localcnt")?, nv.u64("remotecnt")?);
            if localcnt.max(remotecnt) >= 1 << 63 {
                return None;
            }
            RecordChange::Point {
                note,
                failures,
                localcnt,
                remotecnt,
            }
        }
        2 => RecordChange::Lacking,
        _ => return None,
    };
    Some(RecordRequest { seq, change })
}

fn plain_fields(nv: NvView<'_>) -> Option<PayloadFields> {
    let size = nv.u32("size").unwrap_or(0);
    if size == 0 {
        return Some(PayloadFields::NONE);
    }
    // A word that is not UTF-8 is no word of ours.
    let word = |name| nv.text(name).map(std::borrow::Cow::into_owned);
    let compression = match word("compression").as_deref() {
        None => Compression::None,
        Some("hole") => Compression::Hole,
        Some("lzf") => Compression::Lzf,
        Some(_) => return None,
    };
    let hash = match word("checksum").as_deref() {
        None => Hash::None,
        Some("crc32") => Hash::Crc32(nv.bytes("hash")?.try_into().ok()?),
        Some("sha256") => Hash::Sha256(nv.bytes("hash")?.try_into().ok()?),
        Some(_) => return None,
    };
    Some(PayloadFields {
        compression,
        hash,
        size,
    })
}

/// A payload as sent; its first byte chooses how it claims to be compressed.
pub fn payload(bytes: &[u8]) {
    let Some((choice, sent)) = bytes.split_first() else {
        return;
    };
    let compression = Compression::ALL[*choice as usize % Compression::ALL.len()];
    let size = u32::try_from(sent.len()).expect("a short input");
    let fields = PayloadFields {
        compression,
        hash: Hash::None,
        size,
    };
    let unpacked = payload::unpack(&fields, sent, MAX_ORIGINAL);
    let length = unpacked.as_ref().map_or(MAX_ORIGINAL, Unpacked::len);
    assert!(length <= MAX_ORIGINAL);
    let mut out = vec![0xaa; length];
    let filled = payload::unpack_to(&fields, sent, &mut out);
    match unpacked {
        Ok(Unpacked::Data(data)) => assert!(filled == Ok(()) && *data == out),
        Ok(Unpacked::Zeroes(_)) => assert!(filled == Ok(()) && payload::is_zero(&out)),
        Err(_) => assert!(filled.is_err()),
    }
    for compression in Compression::ALL {
        let packed = payload::pack(sent, *compression, Checksum::Crc32);
        assert!(packed.bytes.len() <= sent.len().max(4));
        let mut back = vec![0xaa; sent.len()];
        assert_eq!(
            payload::unpack_to(&packed.fields, &packed.bytes, &mut back),
            Ok(())
        );
        assert!(back == sent);
    }
}

/// What a block says is stored in it, and then alone, and comes back from both.
fn stored_again(block: &[u8], metadata: Metadata) {
    let Ok(wanted) = Wanted::new(&metadata) else {
        assert!(metadata.resource.len() > 255);
        return;
    };
    let image = Image::whole(block).expect("its size");
    let mut opened = Block::open(&image, None).expect("it was opened before");
    assert_eq!(opened.metadata, metadata);
    let mut again = block.to_vec();
    let stored: Result<(), ()> = opened.block.store(&wanted, 512, &mut |bytes, at| {
        let at = at as usize;
        again[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    });
    assert_eq!(stored, Ok(()));
    assert_eq!(Metadata::decode(&again).as_ref(), Ok(&metadata));
    let alone = metadata.encode().expect("it fitted before");
    let record = Record::of_base(metadata.resuid);
    assert_eq!(
        Metadata::decode(&alone),
        Ok(Metadata { record, ..metadata })
    );
}

/// A record as messages carry it.
fn record(bytes: &[u8]) {
    if let Ok(record) = Record::from_bytes(bytes) {
        assert_eq!(record.to_bytes(), bytes);
        assert_eq!(record.check(), Ok(()));
        assert!(!record.to_string().is_empty());
    }
}

/// The metadata block, of any size, and the map behind it.
pub fn metadata(bytes: &[u8]) {
    let mut block = bytes.to_vec();
    block.resize(hast::layout::METADATA_SIZE, 0);
    if let Ok(metadata) = Metadata::decode(&block) {
        if let Ok(geometry) = Geometry::of_component(&metadata, 16 << 20, 512) {
            let last = geometry.extents_of(geometry.data_size - 1, 1);
            assert_eq!(*last.end() + 1, geometry.extents);
            assert!(geometry.map_size * 8 >= geometry.extents);
        }
        stored_again(&block, metadata);
    }
    record(bytes);
    assert!(bytes.len() == block.len() || Metadata::decode(bytes).is_err());
    let map = Bitmap::from_bytes(1000, bytes);
    assert_eq!(map.iter().count() as u64, map.count());
    assert_eq!(Bitmap::from_bytes(1000, &map.to_bytes(125)), map);
}
