use super::*;

fn list() -> Nv {
    let mut nv = Nv::new();
    nv.add_str("resource", "disk1")
        .add_u8("version", 2)
        .add_i16("error", -5);
    nv.add_bytes("token", &[1, 2, 3])
        .add_u64("seq", u64::MAX)
        .add_u8("version", 7);
    nv
}

#[test]
fn values_are_found_by_name_and_type_the_first_of_several() {
    let nv = Nv::decode(&list().encode()).expect("valid");
    assert_eq!(nv.str("resource"), Some("disk1"));
    assert_eq!(nv.u8("version"), Some(2));
    assert_eq!(nv.i16("error"), Some(-5));
    assert_eq!(nv.bytes("token"), Some(&[1, 2, 3][..]));
    assert_eq!(nv.u64("seq"), Some(u64::MAX));
    assert_eq!(nv.u32("seq"), None, "another type");
    assert_eq!(nv.u8("versio"), None, "a prefix is not the name");
    assert!(nv.contains("seq") && !nv.contains("size"));
    assert_eq!(
        nv.to_string(),
        "resource:17=disk1 version:2=2 error:3=-5 token:10=010203 \
         seq:8=18446744073709551615 version:2=7"
    );
}

#[test]
fn entries_are_laid_out_as_the_spec_says() {
    let mut nv = Nv::new();
    nv.add_u8("cmd", 5);
    assert_eq!(
        nv.encode(),
        b"\x02\x04\x01\0\0\0cmd\0\0\0\0\0\x05\0\0\0\0\0\0\0"
    );
    let mut nv = Nv::new();
    nv.add_str("a", "");
    assert_eq!(
        nv.encode(),
        b"\x11\x02\x01\0\0\0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
    let mut nv = Nv::new();
    nv.add_str("a", "cut\0here").add_bytes("none", &[]);
    assert_eq!(nv.to_string(), "a:17=cut");
}

#[test]
fn every_type_survives_the_way_there_and_back() {
    use ArrayType as A;
    let bytes = [7; 16];
    let values = [
        Value::I8(-1),
        Value::U8(1),
        Value::I16(-2),
        Value::U16(2),
        Value::I32(-3),
        Value::U32(3),
        Value::I64(-4),
        Value::U64(4),
        Value::Array(A::I8, &bytes),
        Value::Bytes(&bytes),
        Value::Array(A::I16, &bytes),
        Value::Array(A::U16, &bytes),
        Value::Array(A::I32, &bytes),
        Value::Array(A::U32, &bytes),
        Value::Array(A::I64, &bytes),
        Value::Array(A::U64, &bytes),
        Value::Str(b"\xff text"),
    ];
    let mut nv = Nv::new();
    for value in values {
        nv.add("value", value);
    }
    let back = Nv::decode(nv.as_bytes()).expect("valid");
    assert!(back.entries().map(|entry| entry.value).eq(values));
    assert!(
        back.entries()
            .map(|entry| entry.value.type_number())
            .eq(1..=17)
    );
}

#[test]
fn a_zero_type_ends_the_list() {
    let nv = list();
    let mut bytes = nv.encode();
    bytes.extend_from_slice(&[0, 1, 2, 3]);
    assert_eq!(Nv::decode(&bytes), Ok(nv));
    assert_eq!(Nv::decode(&[]), Ok(Nv::new()));
    assert_eq!(Nv::decode(&[0; 4096]), Ok(Nv::new()));
}

#[test]
fn invalid_entries_are_refused_with_their_place() {
    let fault = |bytes: &[u8]| Nv::decode(bytes).expect_err("invalid").fault;
    let valid = *b"\x02\x04\x01\0\0\0cmd\0\0\0\0\0\x05\0\0\0\0\0\0\0";
    let with = |at: usize, byte: u8| {
        let mut bytes = valid;
        bytes[at] = byte;
        bytes
    };
    assert!(Nv::decode(&valid).is_ok());
    for length in 1..valid.len() {
        assert_eq!(fault(&valid[..length]), NvFault::Truncated, "{length}");
    }
    assert_eq!(fault(&with(0, 0x82)), NvFault::HostOrder);
    assert_eq!(fault(&with(0, 18)), NvFault::Type(18));
    assert_eq!(fault(&with(1, 0)), NvFault::Name);
    assert_eq!(fault(&with(1, 1)), NvFault::Name);
    assert_eq!(fault(&with(1, 3)), NvFault::Name, "no NUL where it must be");
    assert_eq!(fault(&with(1, 5)), NvFault::Name, "a NUL too early");
    assert_eq!(fault(&with(1, 0xff)), NvFault::Truncated);
    assert_eq!(fault(&with(2, 0)), NvFault::Size { kind: 2, size: 0 });
    assert_eq!(fault(&with(2, 2)), NvFault::Size { kind: 2, size: 2 });
    assert_eq!(fault(&with(2, 9)), NvFault::Truncated);
    assert_eq!(fault(&with(5, 0xff)), NvFault::Truncated);
    assert_eq!(fault(&with(0, 12)), NvFault::Size { kind: 12, size: 1 });
    assert_eq!(fault(&with(0, 17)), NvFault::String);

    let mut second = list().encode();
    let at = second.len();
    second.extend_from_slice(&with(0, 99));
    let error = Nv::decode(&second).expect_err("invalid");
    assert_eq!(
        error,
        NvError {
            at,
            fault: NvFault::Type(99)
        }
    );
    assert!(
        error.to_string().ends_with("is of unknown type 99"),
        "{error}"
    );
}

/// Base hastd sends whatever lay on its stack behind names.
#[test]
fn padding_is_neither_looked_at_nor_kept() {
    let clean = *b"\x02\x04\x01\0\0\0cmd\0\0\0\0\0\x05\0\0\0\0\0\0\0";
    let dirty = *b"\x02\x04\x01\0\0\0cmd\0wxyz\x05abcdefg";
    let view = NvView::parse(&dirty).expect("valid");
    assert_eq!(view, NvView::parse(&clean).expect("valid"));
    assert_eq!(view.to_owned().encode(), clean);
}

#[test]
#[should_panic(expected = "malformed entry name")]
fn a_name_that_can_not_be_encoded_is_a_bug() {
    Nv::new().add_u8("", 1);
}
