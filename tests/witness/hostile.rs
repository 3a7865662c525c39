//! Those who do not know the secret, or know only what was said before.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use hast::witness::client::WitnessError;
use hast::witness::message::Request;
use hast::witness::protocol::{self, ProtocolError, VERSION};
use hast::witness::secret::Secret;

use crate::harness::{Place, Raw, Settled, acquire, client, client_with, pass_on, records};

fn look() -> Request {
    Request::Look {
        group: "g".to_owned(),
    }
}

#[test]
fn another_secret_is_turned_away_and_told_apart() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let mut witness = place.start();
    let other = Secret::of(&[b'x'; 32]).unwrap();
    let error = acquire(&client_with(witness.port, other), "a").unwrap_err();
    assert!(matches!(error, WitnessError::TurnedAway(_)), "{error}");
    assert!(error.to_string().contains("is the secret the same"));
    witness
        .wait_for_log(&["Turned 127.0.0.1 away: a message that is not made with the same secret"]);
    acquire(&client(witness.port), "a").unwrap();
}

#[test]
fn a_recorded_request_is_of_no_use() {
    let witness = Settled::start();
    let mut first = Raw::connect(witness.port);
    let sealed = first.seal(&look());
    first.send(&sealed.bytes);
    assert_eq!(first.hear(&sealed.code).str("answer"), Some("view"));
    let mut second = Raw::connect(witness.port);
    assert_ne!(first.challenge, second.challenge);
    second.send(&sealed.bytes);
    second.assert_dropped();
}

#[test]
fn a_connection_carries_one_request() {
    let witness = Settled::start();
    let mut raw = Raw::connect(witness.port);
    let sealed = raw.seal(&look());
    raw.send(&[&sealed.bytes[..], &sealed.bytes[..]].concat());
    // One answer, or none where the rest makes the kernel reset the connection.
    let mut frames = Vec::new();
    let _ = raw.stream.read_to_end(&mut frames);
    if !frames.is_empty() {
        assert_eq!(protocol::frame_size(&frames), Ok(frames.len()));
    }
}

/// Who pretends to be the witness has recorded a challenge and the answer.
#[test]
fn a_recorded_answer_is_of_no_use() {
    let witness = Settled::start();
    let port = witness.port;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(listener.local_addr().unwrap().port());
    let pretender = thread::spawn(move || {
        let recorded = pass_on(&listener, port, Duration::ZERO);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&recorded.greeting).unwrap();
        let mut asked = vec![0; recorded.request.len()];
        stream.read_exact(&mut asked).unwrap();
        stream.write_all(&recorded.answer).unwrap();
    });
    acquire(&client, "a").unwrap();
    let error = acquire(&client, "a").unwrap_err();
    let code = ProtocolError::Code;
    assert!(matches!(error, WitnessError::Protocol { error, .. } if error == code));
    pretender.join().unwrap();
}

#[test]
fn garbage_is_dropped_and_others_are_served() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let mut witness = place.start();
    let client = client(witness.port);
    let sealed = Raw::connect(witness.port).seal(&look());
    let mut too_large = vec![VERSION, 0xff, 0xff];
    too_large.resize(64, 0);
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: witness\r\n\r\n".to_vec(),
        vec![0; 200],
        vec![0xff; 4096],
        too_large,
        sealed.bytes[..sealed.bytes.len() - 1]
            .iter()
            .copied()
            .chain([0])
            .collect(),
    ] {
        let mut raw = Raw::connect(witness.port);
        // The witness may have closed before all of it is sent.
        let _ = raw.stream.write_all(&bytes);
        raw.assert_dropped();
        acquire(&client, "a").unwrap();
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut raw = Raw::connect(witness.port);
        let mut bytes = raw.seal(&look()).bytes;
        let at = random.usize(..bytes.len());
        bytes[at] ^= 1 << random.u8(..8);
        let _ = raw.stream.write_all(&bytes);
        // What announces more than comes is waited for, and its end is the end.
        raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
        raw.assert_dropped();
    }
    acquire(&client, "a").unwrap();
    witness.wait_for_log(&["Turned 127.0.0.1 away: it speaks version 71"]);
}
