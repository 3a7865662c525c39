//! Those who say nothing, or too slowly: clients to the witness, and a witness to its clients.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hast::witness::client::{LIMIT, WitnessError};
use hast::witness::message::Request;
use hast::witness::protocol::GREETING_SIZE;

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
    let silent: Vec<TcpStream> = (0..300).map(connect).collect();
    let before = Instant::now();
    acquire(&client, "a").unwrap();
    assert!(before.elapsed() < PROMPTLY, "{:?}", before.elapsed());
    assert_made_room(&silent[250]);
    drop(silent);
}

/// From several addresses, each with fewer than one may have.
#[cfg(target_os = "linux")]
#[test]
fn connections_of_all_together_are_bounded() {
    use socket2::{Domain, Socket, Type};

    let place = Place::new();
    let witness = place.start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], witness.port));
    let connect = |number: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source = std::net::SocketAddr::from(([127, 0, 7, 1 + number % 20], 0));
        socket.bind(&source.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    let mut silent: Vec<TcpStream> = (0..150).map(connect).collect();
    silent.extend((0..120).map(connect));
    assert_made_room(&silent[0]);
}

/// A silent connection was closed long before its time, with nothing said but the challenge.
#[track_caller]
fn assert_made_room(mut silent: &TcpStream) {
    silent.set_read_timeout(Some(PROMPTLY)).unwrap();
    let mut words = Vec::new();
    match silent.read_to_end(&mut words) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it should have been closed: {error}"),
    }
    assert!(words.len() <= GREETING_SIZE);
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
