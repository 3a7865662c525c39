use super::*;

fn sample() -> Message {
    let nv = Nv::build(|nv| {
        nv.u64("seq", 7).u32("size", 5);
    });
    Message {
        version: 2,
        nv,
        payload: b"hello".to_vec(),
    }
}

fn header(version: u8, size: u32) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn a_message_comes_back_however_its_bytes_are_cut() {
    let bytes = sample().encode();
    for step in 1..=bytes.len() {
        let mut decoder = Decoder::new(Limits::PEER);
        let mut messages = Vec::new();
        for mut piece in [&bytes[..], &bytes[..]].concat().chunks(step) {
            while !piece.is_empty() {
                assert!(decoder.needed() > 0);
                let (taken, message) = decoder.feed(piece).expect("valid");
                assert!(taken > 0);
                piece = &piece[taken..];
                messages.extend(message);
            }
        }
        assert_eq!(messages, [sample(), sample()], "in pieces of {step}");
        assert!(!decoder.is_amid());
    }
}

#[test]
fn asking_for_what_is_needed_reads_exactly_one_message() {
    let mut stream = sample().encode();
    stream.extend_from_slice(b"of the next");
    let mut reader = &stream[..];
    let message = Message::read_from(&mut reader, Limits::PEER).expect("valid");
    assert_eq!(message, sample());
    assert_eq!(reader, b"of the next");
    let cut = Message::read_from(&mut &stream[..20], Limits::PEER);
    assert!(
        matches!(cut, Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn a_head_leaves_its_payload_on_the_stream() {
    let bytes = sample().encode();
    let mut decoder = HeadDecoder::new(Limits::PEER);
    for _ in 0..2 {
        assert_eq!(decoder.head(), Ok(None));
        let taken = decoder.feed(&bytes).expect("valid");
        assert_eq!(&bytes[taken..], b"hello");
        assert_eq!(
            decoder.feed(b"hello"),
            Ok(0),
            "none of the payload is taken"
        );
        let head = decoder.head().expect("valid").expect("complete");
        assert_eq!((head.version, head.payload_size), (2, 5));
        assert_eq!(head.nv, sample().nv.view());
        decoder.reset();
    }
}

#[test]
fn what_is_too_new_or_too_large_is_refused_by_its_header() {
    let error = |bytes: &[u8], limits| Decoder::new(limits).feed(bytes).expect_err("refused");
    assert_eq!(
        error(&header(3, 0), Limits::PEER),
        FrameError::Version { found: 3 }
    );
    let (size, limit) = (65537, 65536);
    assert_eq!(
        error(&header(2, 65537), Limits::PEER),
        FrameError::NvTooLarge { size, limit }
    );
    assert_eq!(
        error(&sample().encode(), Limits::PEER.with_payload(4)),
        FrameError::PayloadTooLarge { size: 5, limit: 4 }
    );
    assert!(matches!(
        error(b"\x02\x01\0\0\0\xff", Limits::PEER),
        FrameError::Nv(_)
    ));
    assert!(Decoder::new(Limits::PEER).feed(&header(2, 65536)).is_ok());
}

#[test]
fn an_empty_nv_is_a_message() {
    let (taken, message) = Decoder::new(Limits::PEER)
        .feed(&header(1, 0))
        .expect("valid");
    assert_eq!(taken, HEADER_SIZE);
    assert!(message.expect("complete").nv.is_empty());
}

/// Whatever is announced, memory is taken for what has come.
#[test]
fn announced_sizes_take_no_memory() {
    let mut decoder = Decoder::new(Limits::CONTROL.with_payload(1 << 30));
    decoder.feed(&header(2, 4 << 20)).expect("within the limit");
    assert!(decoder.head.buffer.capacity() < 64);
    let mut decoder = Decoder::new(Limits::CONTROL.with_payload(1 << 30));
    let nv = Nv::build(|nv| {
        nv.u32("size", 1 << 30);
    });
    let mut bytes = Vec::new();
    encode_head(&mut bytes, 2, |writer| {
        writer.u32("size", 1 << 30);
    });
    assert_eq!(bytes[HEADER_SIZE..], nv.encode());
    bytes.extend_from_slice(b"few");
    let (_, message) = decoder.feed(&bytes).expect("within the limit");
    assert_eq!(message, None);
    assert_eq!(decoder.needed(), (1 << 30) - 3);
    let held = decoder
        .message
        .expect("amid the payload")
        .payload
        .capacity();
    assert!(held < 64, "{held}");
}
