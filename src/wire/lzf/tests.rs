use super::*;

fn compress(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let fits = Compressor::default().compress(data, data.len().saturating_sub(1), &mut out);
    assert!(out.starts_with(b"before"));
    assert_eq!(fits, out.len() > 6);
    fits.then(|| out.split_off(6))
}

/// Of words, of noise, of both, of one byte: by how often it repeats itself.
fn text(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let (alphabet, repeat) = (random.u8(1..=255), random.usize(0..20));
    let mut data = Vec::with_capacity(length);
    while data.len() < length {
        if data.len() > 8 && random.usize(..20) < repeat {
            let from = random.usize(..data.len() - 4);
            let until = (from + random.usize(3..400)).min(data.len());
            data.extend_from_within(from..until);
        } else {
            data.push(random.u8(..alphabet));
        }
    }
    data.truncate(length);
    data
}

#[test]
fn what_was_compressed_comes_back() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut compressed = 0;
    for _ in 0..3000 {
        let length = random.usize(..6000);
        let data = text(&mut random, length);
        let Some(block) = compress(&data) else {
            continue;
        };
        assert!(block.len() < data.len());
        let mut out = vec![0xaa; data.len()];
        assert_eq!(decompress(&block, &mut out), Ok(()));
        assert!(out == data);
        assert_eq!(
            lzf::decompress(&block, data.len()).as_deref(),
            Ok(&data[..])
        );
        compressed += 1;
    }
    assert!(compressed > 1000, "{compressed}");
}

/// A compressor that has a history compresses as a new one does.
#[test]
fn one_block_leaves_no_trace_in_the_next() {
    let mut random = fastrand::Rng::with_seed(12);
    let mut used = Compressor::default();
    for round in 0..300 {
        if round == 150 {
            used.stamp = u32::MAX - 9000;
        }
        let length = random.usize(..6000);
        let data = text(&mut random, length);
        let limit = data.len().saturating_sub(random.usize(1..100));
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let fits = Compressor::default().compress(&data, limit, &mut new);
        assert_eq!(used.compress(&data, limit, &mut old), fits);
        assert!(new == old);
        assert!(new.len() <= limit);
    }
    assert!(used.stamp < 1 << 20, "the stamp went round");
}

/// Where a match runs to the end of the block, base leaves its last two bytes as literals; but of
/// 19 or 20 bytes it takes 19.
#[test]
fn the_end_of_a_block_is_cut_as_base_cuts_it() {
    let tail_of = |repeated: usize| {
        let mut data: Vec<u8> = (0..=repeated as u8).collect();
        data.extend_from_within(1..);
        let literals = repeated + 1;
        let block = compress(&data).expect("it repeats itself");
        block[literals + literals.div_ceil(MAX_RUN)..].to_vec()
    };
    assert_eq!(tail_of(18), [0xe0, 7, 17, 1, 17, 18]);
    assert_eq!(tail_of(19), [0xe0, 10, 18]);
    assert_eq!(tail_of(20), [0xe0, 10, 19, 0, 20]);
    assert_eq!(tail_of(21), [0xe0, 10, 20, 1, 20, 21]);
}

/// 4096 bytes of noise take 4224, the whole length: the crate `lzf` panics here.
#[test]
fn a_repetition_at_the_very_limit_is_no_trouble() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut data: Vec<u8> = (0..4096).map(|_| random.u8(..)).collect();
    data.extend_from_within(2000..2128);
    assert_eq!(compress(&data), None);
}

/// Noise, and a repetition just where the output reaches the limit.
#[test]
fn every_limit_is_kept() {
    let mut random = fastrand::Rng::with_seed(13);
    let mut data: Vec<u8> = (0..600).map(|_| random.u8(..)).collect();
    data.extend_from_within(100..400);
    let mut whole = Vec::new();
    assert!(Compressor::default().compress(&data, data.len(), &mut whole));
    for limit in 0..data.len() {
        let mut out = Vec::new();
        let fits = Compressor::default().compress(&data, limit, &mut out);
        assert!(if fits {
            out == whole && out.len() <= limit
        } else {
            out.is_empty()
        });
        assert!(
            fits || limit < whole.len() + 4,
            "refused at {limit}, needs {}",
            whole.len()
        );
    }
}

#[test]
fn malformed_blocks_are_refused() {
    let into = |block: &[u8], length| decompress(block, &mut vec![0; length]);
    assert_eq!(into(b"\x02abc", 3), Ok(()));
    assert_eq!(into(b"\x02abc", 2), Err(LzfError::TooLong));
    assert_eq!(into(b"\x02abc", 4), Err(LzfError::TooShort));
    assert_eq!(into(b"\x02ab", 3), Err(LzfError::Truncated));
    assert_eq!(into(b"\x00a\x20\x00", 4), Ok(()));
    assert_eq!(into(b"\x00a\x20\x00", 3), Err(LzfError::TooLong));
    assert_eq!(into(b"\x00a\x20\x01", 4), Err(LzfError::Reference));
    assert_eq!(into(b"\x00a\x20", 4), Err(LzfError::Truncated));
    assert_eq!(into(b"\x00a\xe0\x00", 10), Err(LzfError::Truncated));
    assert_eq!(into(b"\x00a\xe0\x00\x00", 10), Ok(()));
    assert_eq!(into(b"", 1), Err(LzfError::TooShort));
}
