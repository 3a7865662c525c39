use super::*;
use crate::nv::Nv;

const ALL: [(Compression, Checksum); 9] = [
    (Compression::None, Checksum::None),
    (Compression::None, Checksum::Crc32),
    (Compression::None, Checksum::Sha256),
    (Compression::Hole, Checksum::None),
    (Compression::Hole, Checksum::Crc32),
    (Compression::Hole, Checksum::Sha256),
    (Compression::Lzf, Checksum::None),
    (Compression::Lzf, Checksum::Crc32),
    (Compression::Lzf, Checksum::Sha256),
];

fn samples() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(3);
    let noise = (0..4096).map(|_| random.u8(..)).collect();
    let mut last_set = vec![0; 4096];
    last_set[4095] = 1;
    vec![
        b"text ".repeat(1000),
        noise,
        vec![0; 512],
        vec![0; 4096],
        last_set,
        vec![7; 1024],
    ]
}

#[test]
fn payloads_come_back_through_every_combination() {
    for data in samples() {
        for (compression, checksum) in ALL {
            let packed = pack(&data, compression, checksum);
            let nv = Nv::build(|nv| packed.fields.write(nv));
            let fields = PayloadFields::from_nv(nv.view()).expect("ours");
            assert_eq!(fields, packed.fields);
            let mut out = vec![0xaa; data.len()];
            unpack_to(&fields, &packed.bytes, &mut out).expect("ours");
            assert!(out == data);
            match unpack(&fields, &packed.bytes, data.len()).expect("ours") {
                Unpacked::Zeroes(length) => assert!(is_zero(&data) && length == data.len()),
                Unpacked::Data(unpacked) => assert!(*unpacked == data),
            }
            let small = unpack(&fields, &packed.bytes, data.len() - 1);
            let (length, limit) = (data.len(), data.len() - 1);
            assert_eq!(small, Err(PayloadError::TooLarge { length, limit }));
            out.push(0);
            let expected = out.len();
            let long = unpack_to(&fields, &packed.bytes, &mut out);
            assert_eq!(long, Err(PayloadError::WrongLength { length, expected }));
        }
    }
}

#[test]
fn compression_is_used_only_where_it_pays() {
    let [text, noise, _, zeros, last_set, short] = &samples()[..] else {
        panic!("six samples")
    };
    let used = |data: &[u8], compression| {
        let packed = pack(data, compression, Checksum::None);
        assert_eq!(
            packed.fields.compression == Compression::None,
            packed.bytes.len() == data.len()
        );
        packed.fields.compression
    };
    assert_eq!(used(zeros, Compression::None), Compression::None);
    assert_eq!(used(zeros, Compression::Hole), Compression::Hole);
    assert_eq!(used(zeros, Compression::Lzf), Compression::Hole);
    assert_eq!(used(last_set, Compression::Hole), Compression::None);
    assert_eq!(used(last_set, Compression::Lzf), Compression::Lzf);
    assert_eq!(used(text, Compression::Lzf), Compression::Lzf);
    assert_eq!(used(noise, Compression::Lzf), Compression::None);
    assert_eq!(
        used(short, Compression::Lzf),
        Compression::None,
        "base aborts on 1024 and less"
    );
    let plain = pack(noise, Compression::Lzf, Checksum::Crc32);
    assert!(matches!(plain.bytes, Cow::Borrowed(_)), "no needless copy");
}

#[test]
fn known_zeros_need_no_data() {
    let packed = pack_zeroes(1 << 20, Checksum::Sha256);
    assert_eq!(
        packed,
        pack(&vec![0; 1 << 20], Compression::Hole, Checksum::Sha256)
    );
    assert_eq!(
        unpack(&packed.fields, &packed.bytes, 1 << 20),
        Ok(Unpacked::Zeroes(1 << 20))
    );
}

#[test]
fn no_data_is_no_payload() {
    for packed in [
        pack(&[], Compression::Lzf, Checksum::Crc32),
        pack_zeroes(0, Checksum::Crc32),
    ] {
        assert_eq!(
            (packed.fields, packed.bytes.len()),
            (PayloadFields::NONE, 0)
        );
        assert!(Nv::build(|nv| packed.fields.write(nv)).is_empty());
    }
}

#[test]
fn damage_is_found() {
    for data in samples() {
        for (compression, checksum) in ALL {
            let packed = pack(&data, compression, checksum);
            let mut bytes = packed.bytes.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 0x10;
            let result = verify(&packed.fields, &bytes);
            match checksum {
                Checksum::None => assert_eq!(result, Ok(())),
                _ => assert_eq!(result, Err(PayloadError::Mismatch(checksum))),
            }
            let (found, announced) = (last, last + 1);
            let short = verify(&packed.fields, &bytes[..last]);
            assert_eq!(short, Err(PayloadError::Size { found, announced }));
        }
    }
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    let fields = |build: fn(&mut Nv)| {
        let mut nv = Nv::new();
        build(&mut nv);
        PayloadFields::from_nv(nv.add_u32("size", 4).view()).map_err(|error| error.to_string())
    };
    let refused = |build| fields(build).expect_err("refused");
    assert!(refused(|nv| _ = nv.add_str("compression", "zstd")).contains("compression 'zstd'"));
    assert!(refused(|nv| _ = nv.add_str("checksum", "md5")).contains("checksum 'md5'"));
    assert!(refused(|nv| _ = nv.add_str("checksum", "crc32")).contains("no hash of its length"));
    assert!(
        refused(|nv| _ = nv.add_str("checksum", "sha256").add_bytes("hash", &[1; 4]))
            .contains("no hash of its length")
    );
    let hole = fields(|nv| _ = nv.add_str("compression", "hole")).expect("sound");
    assert_eq!(unpack(&hole, &[0, 2, 0, 0], 512), Ok(Unpacked::Zeroes(512)));
    let five = PayloadFields { size: 5, ..hole };
    assert_eq!(unpack(&five, &[0; 5], 512), Err(PayloadError::Malformed(5)));
    let lzf = PayloadFields {
        compression: Compression::Lzf,
        ..hole
    };
    assert_eq!(
        unpack(&lzf, &[0, 2, 0, 0], 512),
        Err(PayloadError::Malformed(4))
    );
    let lzf = PayloadFields { size: 6, ..lzf };
    assert_eq!(
        unpack(&lzf, &[0, 2, 0, 0, 0, 65], 512),
        Err(PayloadError::Lzf(LzfError::TooShort))
    );
}
