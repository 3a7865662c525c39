//! Leases, asked for by clients.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use hast::config::Address;
use hast::witness::client::{Witness, WitnessError};
use hast::witness::leases::{LONGEST, MARGIN};
use hast::witness::message::{Copies, MessageError, Refusal, Request};

use crate::harness::{
    Place, Raw, Settled, acquire, acquire_saying, client, pass_on, records, secret,
};

#[track_caller]
fn refusal<T>(result: Result<T, WitnessError>) -> Refusal {
    match result {
        Err(WitnessError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("granted"),
    }
}

#[test]
fn a_lease_passes_to_the_other_when_it_has_run_out_and_not_before() {
    let witness = Settled::start();
    let (one, other) = (client(witness.port), client(witness.port));
    let before = Instant::now();
    let grant = acquire(&one, "a").unwrap();
    let lease = Duration::from_secs(3);
    assert!(grant.until >= before + lease && grant.until <= Instant::now() + lease);
    // There is no event to wait for: the other asks until it is granted.
    let granted = loop {
        match acquire(&other, "b") {
            Ok(_) => break Instant::now(),
            Err(WitnessError::Refused(Refusal::Held { by, left })) => {
                assert_eq!(by, "a");
                assert!(left <= Duration::from_secs(4));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(before.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(20));
    };
    assert!(granted > grant.until);
    let refused = refusal(acquire(&one, "a"));
    assert!(matches!(refused, Refusal::Held { by, .. } if by == "b"));
}

#[test]
fn a_witness_may_be_known_by_its_name() {
    let witness = Settled::start();
    let address = Address::parse(&format!("localhost:{}", witness.port), 0).unwrap();
    acquire(&Witness::new(address, secret()), "a").unwrap();
}

#[test]
fn the_time_counts_from_before_the_witness_is_asked() {
    let witness = Settled::start();
    let port = witness.port;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(listener.local_addr().unwrap().port());
    let late = Duration::from_millis(500);
    let line = thread::spawn(move || pass_on(&listener, port, late));
    let grant = acquire(&client, "a").unwrap();
    let asked = line.join().unwrap().asked;
    assert!(grant.until <= asked + Duration::from_secs(3));
}

#[test]
fn released_it_passes_at_once() {
    let witness = Settled::start();
    let client = client(witness.port);
    acquire(&client, "a").unwrap();
    client.release("g", "b").unwrap();
    refusal(acquire(&client, "b"));
    client.release("g", "a").unwrap();
    acquire(&client, "b").unwrap();
}

#[test]
fn who_is_alone_keeps_the_other_out_unless_it_is_forced() {
    let witness = Settled::start();
    let client = client(witness.port);
    acquire_saying(&client, "a", Copies::OnlyMine).unwrap();
    client.release("g", "a").unwrap();
    let by = "a".to_owned();
    assert_eq!(refusal(acquire(&client, "b")), Refusal::Alone { by });
    let time = Duration::from_secs(3);
    client
        .acquire("g", "b", time, Copies::AsRecorded, true)
        .unwrap();
    assert_eq!(client.look("g").unwrap().alone.as_deref(), Some("b"));
}

#[test]
fn a_third_node_is_refused_until_the_group_is_forgotten() {
    let witness = Settled::start();
    let client = client(witness.port);
    for node in ["a", "b"] {
        acquire(&client, node).unwrap();
        client.release("g", node).unwrap();
    }
    let error = acquire(&client, "c").unwrap_err().to_string();
    assert!(error.contains("with the nodes a and b"), "{error}");
    acquire(&client, "a").unwrap();
    refusal(client.forget("g"));
    client.release("g", "a").unwrap();
    client.forget("g").unwrap();
    assert!(client.look("g").unwrap().nodes.is_empty());
    acquire(&client, "c").unwrap();
}

#[test]
fn what_may_not_be_asked_is_not() {
    let place = Place::new();
    let witness = place.start();
    let client = client(witness.port);
    let asks = |seconds| {
        let time = Duration::from_secs(seconds);
        client.acquire("g", "a", time, Copies::AsRecorded, false)
    };
    for seconds in [0, 2, 61] {
        let error = asks(seconds).unwrap_err();
        let time = MessageError::Time(seconds);
        assert!(matches!(error, WitnessError::Message(found) if found == time));
    }
    let named = client.release("g", "").unwrap_err();
    let name = MessageError::Name("node");
    assert!(matches!(named, WitnessError::Message(found) if found == name));
}

#[test]
fn killed_it_remembers_who_is_alone_and_grants_nothing_new() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let witness = place.start();
    acquire_saying(&client(witness.port), "a", Copies::OnlyMine).unwrap();
    witness.crash();

    let witness = place.start();
    let client = client(witness.port);
    let view = client.look("g").unwrap();
    assert_eq!(view.alone.as_deref(), Some("a"));
    let quiet = LONGEST / 2..=LONGEST + MARGIN;
    assert!(quiet.contains(&view.quiet), "{view:?}");
    let refused = refusal(acquire(&client, "b"));
    assert!(matches!(refused, Refusal::Held { by, left } if by == "a" && quiet.contains(&left)));
    acquire(&client, "a").unwrap();
    client.release("g", "a").unwrap();
    witness.crash();

    let witness = place.start();
    let client = crate::harness::client(witness.port);
    let refused = refusal(acquire(&client, "b"));
    assert!(matches!(refused, Refusal::Quiet { left } if quiet.contains(&left)));
}

#[test]
fn nothing_is_granted_that_cannot_be_stored() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let mut witness = place.start();
    let client = client(witness.port);
    acquire(&client, "a").unwrap();

    let (folder, away) = (place.path("db"), place.path("away"));
    std::fs::rename(&folder, &away).unwrap();
    acquire(&client, "a").unwrap();
    let refused = refusal(acquire_saying(&client, "a", Copies::OnlyMine));
    assert_eq!(refused, Refusal::Storage);
    witness.wait_for_log(&["Unable to write the state file"]);
    // What the file holds is not known now, so a renewal has to be written, too.
    assert_eq!(refusal(acquire(&client, "a")), Refusal::Storage);
    assert_eq!(client.look("g").unwrap().alone, None);

    std::fs::rename(&away, &folder).unwrap();
    acquire_saying(&client, "a", Copies::OnlyMine).unwrap();
    assert_eq!(client.look("g").unwrap().alone.as_deref(), Some("a"));
}

#[test]
fn what_was_given_up_is_not_done_after_what_was_asked_next() {
    let witness = Settled::start();
    let client = client(witness.port);
    acquire(&client, "a").unwrap();
    let mut late = Raw::connect(witness.port);
    let release = late.seal(&Request::Release {
        group: "g".to_owned(),
        node: "a".to_owned(),
    });
    acquire(&client, "a").unwrap();
    late.send(&release.bytes);
    let answer = late.hear(&release.code);
    assert_eq!(answer.str("reason"), Some("overtaken"));
    refusal(acquire(&client, "b"));
}
