//! Those who say nothing, or too slowly: clients to the witness, and a witness to its clients.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hast::witness::client::{LIMIT, WitnessError};
use hast::witness::message::Request;

use crate::harness::{PROMPTLY, Place, Raw, acquire, client, free_port, records};

/// What waits until it is over may be late by this.
const LATE: Duration = Duration::from_secs(2);

#[test]
fn three_hundred_silent_connections_hold_nobody_up() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let witness = place.start();
    let client = client(witness.port);
    let connect = |_| TcpStream::connect(("127.0.0.1", witness.port)).unwrap();
    let mut silent: Vec<TcpStream> = (0..300).map(connect).collect();
    let before = Instant::now();
    acquire(&client, "a").unwrap();
    assert!(before.elapsed() < PROMPTLY, "{:?}", before.elapsed());
    // The oldest had to make room; all have had the challenge, and nothing else.
    let mut words = Vec::new();
    silent[0].set_read_timeout(Some(PROMPTLY)).unwrap();
    match silent[0].read_to_end(&mut words) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it should have been closed: {error}"),
    }
    assert!(words.len() <= 33);
}

#[test]
fn slow_bytes_are_taken_until_the_time_is_over() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let witness = place.start();
    let request = Request::Look {
        group: "g".to_owned(),
    };
    let mut fair = Raw::connect(witness.port);
    let sealed = fair.seal(&request);
    for byte in &sealed.bytes {
        fair.send(&[*byte]);
    }
    assert_eq!(fair.hear(&sealed.code).str("answer"), Some("view"));

    let began = Instant::now();
    let mut slow = Raw::connect(witness.port);
    let bytes = slow.seal(&request).bytes;
    slow.stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let client = client(witness.port);
    // A byte five times a second; meanwhile others are served.
    for byte in bytes {
        let _ = slow.stream.write_all(&[byte]);
        let before = Instant::now();
        acquire(&client, "a").unwrap();
        assert!(before.elapsed() < PROMPTLY);
        match slow.stream.read(&mut [0; 1]) {
            Err(error)
                if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut]
                    .contains(&error.kind()) => {}
            _ => break,
        }
    }
    let lasted = began.elapsed();
    let limit = Duration::from_secs(5);
    assert!((limit..limit + LATE).contains(&lasted), "{lasted:?}");
}

#[test]
fn a_silent_witness_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let before = Instant::now();
    let error = acquire(&client(port), "a").unwrap_err();
    assert!(matches!(error, WitnessError::NoAnswer { .. }), "{error}");
    let lasted = before.elapsed();
    assert!((LIMIT..LIMIT + LATE).contains(&lasted), "{lasted:?}");
}

#[test]
fn a_babbling_witness_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let babbler = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[1]).is_ok() {
            thread::sleep(Duration::from_millis(250));
        }
    });
    let before = Instant::now();
    let error = acquire(&client(port), "a").unwrap_err();
    assert!(matches!(error, WitnessError::NoAnswer { .. }), "{error}");
    assert!(before.elapsed() < LIMIT + LATE);
    babbler.join().unwrap();
}

#[test]
fn a_witness_that_is_not_there_is_said_to_be_not_there() {
    let error = acquire(&client(free_port()), "a").unwrap_err();
    assert!(matches!(error, WitnessError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("cannot connect to the witness"));
}
