//! Peers' side of the handshake, as far as the main process leads it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use hast::nv::Nv;
use hast::terms::Role;
use hast::wire::handshake::TOKEN_SIZE;

use crate::harness::{
    Hastd, PROMPTLY, assert_ended, receive, say_hello, send, start_message, token_of,
};

/// Two resources of the address that the tests connect from.
const BOTH_OURS: &str = "
    resource disk1 { local FOLDER/disk1 on a { remote 127.0.0.1 } }
    resource disk2 { local FOLDER/disk2 on a { remote 127.0.0.1 } }
";

fn captured(path: &str) -> Vec<u8> {
    let folder = std::env::var_os("HAST_VECTORS").map(PathBuf::from);
    let folder =
        folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"));
    std::fs::read(folder.join(path)).unwrap()
}

#[test]
fn a_base_primary_is_refused_in_init_with_bases_bytes() {
    let hastd = Hastd::with_two_resources();
    let mut stream = hastd.connect();
    stream
        .write_all(&captured("not-secondary/00.to-secondary.bin"))
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, captured("not-secondary/00.to-primary.bin"));
}

#[test]
fn refusals_have_bases_words() {
    let hastd = Hastd::with_two_resources();
    let refused = |resource| {
        let (mut stream, answer) = say_hello(&hastd, resource);
        assert_ended(&mut stream);
        assert!(!answer.contains("wait"));
        answer.str("errmsg").unwrap().to_owned()
    };
    assert_eq!(refused("nothing"), "Resource not configured.");
    assert_eq!(refused("disk2"), "No access to the resource.");
    let text = "Remote node acts as init for the resource and not as secondary.";
    assert_eq!(refused("disk1"), text);
}

#[test]
fn unknown_addresses_are_dropped_before_they_say_anything() {
    let hastd = Hastd::start("resource disk1 { local FOLDER/disk1 on a { remote 127.0.0.9 } }");
    for _ in 0..50 {
        assert_ended(&mut hastd.connect());
    }
    hastd.wait_for_log("Client 127.0.0.1 isn't known.");
    assert_eq!(
        hastd.logged("isn't known"),
        1,
        "the log is not theirs to fill"
    );
}

#[test]
fn a_first_connection_is_answered_with_a_version_and_a_token() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    let (mut first, answer) = say_hello(&hastd, "disk1");
    assert_eq!(answer.u8("version"), Some(2));
    assert!(!answer.contains("extension"), "it was not offered");
    let token = token_of(&answer);

    // The newest first connection counts, and has a token of its own.
    let (_second, answer) = say_hello(&hastd, "disk1");
    assert_ne!(token_of(&answer), token);
    assert_ended(&mut first);

    let mut old = Nv::new();
    old.add_str("resource", "disk1")
        .add_u8("version", 9)
        .add_u8("extension", 200);
    let mut stream = hastd.connect();
    send(&mut stream, 2, &old);
    let answer = receive(&mut stream);
    assert_eq!(answer.u8("version"), Some(2));
    assert_eq!(answer.u8("extension"), Some(hast::wire::EXTENSION_LEVEL));

    let mut oldest = Nv::new();
    oldest.add_str("resource", "disk1");
    let mut stream = hastd.connect();
    send(&mut stream, 1, &oldest);
    assert_eq!(receive(&mut stream).u8("version"), Some(1));
}

#[test]
fn a_wrong_token_is_refused() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    let wrong = |token| {
        let mut stream = hastd.connect();
        send(&mut stream, 2, &start_message("disk1", token));
        let answer = receive(&mut stream);
        assert_ended(&mut stream);
        answer.str("errmsg").unwrap().to_owned()
    };
    assert_eq!(
        wrong([0; TOKEN_SIZE]),
        "Token doesn't match.",
        "no first connection"
    );
    let (_first, answer) = say_hello(&hastd, "disk1");
    let mut token = token_of(&answer);
    token[3] ^= 1;
    assert_eq!(wrong(token), "Token doesn't match.");
}

#[test]
fn a_role_change_ends_what_was_half_open() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    let (mut first, answer) = say_hello(&hastd, "disk1");
    hastd.set_role("disk1", Role::Init).unwrap();
    assert_ended(&mut first);
    let mut second = hastd.connect();
    send(&mut second, 2, &start_message("disk1", token_of(&answer)));
    let refusal = receive(&mut second);
    let text = "Remote node acts as init for the resource and not as secondary.";
    assert_eq!(refusal.str("errmsg"), Some(text));
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    let mut nonsense = vec![2, 64, 0, 0, 0];
    nonsense.extend([0xee; 64]);
    let no_resource = hast::wire::frame::encode(2, Nv::new().add_u8("version", 2), &[]);
    let mut payload = Nv::new();
    payload
        .add_str("resource", "disk1")
        .add_u32("size", 1 << 20);
    let mut payload_head = vec![2];
    payload_head.extend((payload.as_bytes().len() as u32).to_le_bytes());
    payload_head.extend(payload.as_bytes());
    for bytes in [
        &[2, 0xff, 0xff, 0xff, 0x7f][..],
        &[9; 5],
        &nonsense,
        &no_resource,
        &payload_head,
    ] {
        let mut stream = hastd.connect();
        stream.write_all(bytes).unwrap();
        assert_ended(&mut stream);
    }
    let (_first, answer) = say_hello(&hastd, "disk1");
    assert!(answer.contains("token"));
}

#[test]
fn five_hundred_silent_peers_are_no_obstacle() {
    let hastd = Hastd::start(BOTH_OURS);
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.set_role("disk2", Role::Secondary).unwrap();
    let (mut half_open, answer) = say_hello(&hastd, "disk2");
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(hastd.connect());
        if silent.len() % 50 == 0 {
            let begin = Instant::now();
            let (_first, answer) = say_hello(&hastd, "disk1");
            assert!(answer.contains("token"));
            assert_eq!(hastd.status("disk1").role, Role::Secondary);
            assert!(begin.elapsed() < PROMPTLY, "{:?}", begin.elapsed());
        }
    }
    assert_ended(&mut silent[0]);

    // Who has said hello is not pushed out by those who say nothing.
    half_open.set_nonblocking(true).unwrap();
    let error = half_open.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(token_of(&answer).len(), TOKEN_SIZE);
}
