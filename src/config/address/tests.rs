//! Spellings of addresses, right and wrong.

use super::*;

fn tcp(text: &str) -> (Family, String, u16) {
    match Address::parse(text, DEFAULT_PORT).unwrap().target {
        Target::Tcp { family, host, port } => (family, host, port),
        Target::Unix(path) => panic!("{text} became the socket {}", path.display()),
    }
}

#[test]
fn tcp_spellings() {
    for (text, family, host, port) in [
        ("tcp4://127.0.0.1:8458", Family::V4, "127.0.0.1", 8458),
        ("tcp://0.0.0.0", Family::Any, "0.0.0.0", 8457),
        ("TCP://hastb", Family::Any, "hastb", 8457),
        ("0.0.0.0:1", Family::Any, "0.0.0.0", 1),
        (
            "hast-b.example.org:65535",
            Family::Any,
            "hast-b.example.org",
            65535,
        ),
        ("tcp6://[::]:8457", Family::V6, "::", 8457),
        ("[2001:db8::1]:99", Family::Any, "2001:db8::1", 99),
        ("[2001:db8::1]", Family::Any, "2001:db8::1", 8457),
        ("tcp6://2001:db8::1", Family::V6, "2001:db8::1", 8457),
        ("[fe80::1%em0]:99", Family::Any, "fe80::1%em0", 99),
    ] {
        assert_eq!(tcp(text), (family, host.to_owned(), port), "{text}");
        assert_eq!(Address::parse(text, 1).unwrap().to_string(), text);
    }
}

#[test]
fn unix_spellings_are_one_address() {
    let one = Address::parse("/var/run/hastctl", 0).unwrap();
    for text in ["uds:///var/run/hastctl", "unix:///var/run/hastctl"] {
        let other = Address::parse(text, 0).unwrap();
        assert_eq!(one, other);
        assert_eq!(other.socket_path(), Some(Path::new("/var/run/hastctl")));
        assert_eq!(other.text(), text);
    }
}

#[test]
fn bad_addresses_say_what_is_wrong() {
    for (text, part) in [
        ("", "is empty"),
        ("tcp://", "is empty"),
        ("uds://", "is empty"),
        ("uds://relative", "must begin with '/'"),
        ("sctp://host", "unknown protocol"),
        ("host:0", "bad port"),
        ("host:65536", "bad port"),
        ("host:+1", "bad port"),
        ("host:", "bad port"),
        (":80", "bad host"),
        ("300.1.1.1", "bad host"),
        ("1.2.3", "bad host"),
        ("tcp4://::1", "bad host"),
        ("tcp6://127.0.0.1", "bad host"),
        ("tcp4://[::1]:80", "bad host"),
        ("[::1", "in []"),
        ("fe80::1%", "bad host"),
        ("[::1]80", "in []"),
        ("[host]:80", "in []"),
        ("2001:db8::1/64", "bad host"),
        ("ho st", "bad host"),
    ] {
        let error = Address::parse(text, DEFAULT_PORT).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let long = format!("/{}", "a".repeat(SOCKET_PATH_MAX));
    assert!(matches!(
        Address::parse(&long, 0),
        Err(AddressError::LongPath(_))
    ));
    assert_eq!(
        Address::parse(&"a".repeat(1024), 0).unwrap_err(),
        AddressError::TooLong(1024)
    );
}

#[test]
fn a_peer_is_known_by_its_address_whatever_its_port() {
    let four = Address::parse("tcp4://10.0.0.2:9000", DEFAULT_PORT).unwrap();
    assert!(four.is_peer("10.0.0.2".parse().unwrap()));
    assert!(four.is_peer("::ffff:10.0.0.2".parse().unwrap()));
    assert!(!four.is_peer("10.0.0.3".parse().unwrap()));
    let six = Address::parse("[2001:db8::1]:9000", DEFAULT_PORT).unwrap();
    assert!(six.is_peer("2001:db8::1".parse().unwrap()));
    assert!(!six.is_peer("10.0.0.2".parse().unwrap()));
    assert!(
        !Address::parse("/socket", 0)
            .unwrap()
            .is_peer("10.0.0.2".parse().unwrap())
    );
}

#[test]
fn numeric_addresses_resolve_to_themselves() {
    let address = Address::parse("tcp4://127.0.0.1", DEFAULT_PORT).unwrap();
    assert_eq!(
        address.resolve().unwrap(),
        ["127.0.0.1:8457".parse().unwrap()]
    );
    assert_eq!(address.numeric(), Some("127.0.0.1:8457".parse().unwrap()));
    assert!(Address::parse("/socket", 0).unwrap().resolve().is_err());
}
