//! What is under an open device never changes but by that device's own requests: the other node went on, and
//! this one is superseded.

use super::*;

/// A primary whose device is open meets a node that went on alone.
fn outrun() -> Bench {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.peer.record.own = Generation::new(77);
    bench.tell(Event::Opened(true));
    bench
}

fn refused(bench: &mut Bench) {
    let hello = bench.introduce();
    assert!(hello.holds);
    let verdict = meeting::decide(&hello, &bench.peer, true);
    assert_eq!(verdict, Err(meeting::Refusal::Superseded));
    let theirs = Box::new(bench.peer.clone());
    bench.tell(Event::Refused(theirs));
}

#[test]
fn an_open_device_is_not_changed_by_newer_data_from_the_other_node() {
    let mut bench = outrun();
    refused(&mut bench);
    assert!(bench.engine.status().superseded);
    assert!(
        bench.stored.record.lacks,
        "and so it is not promoted unforced afterwards"
    );
    bench.take();
    for (id, command) in [(1, Command::Read), (2, Command::Write), (3, Command::Flush)] {
        bench.submit(
            id,
            command,
            if command == Command::Flush {
                Range::new(0, 0)
            } else {
                BLOCK
            },
        );
        assert_eq!(bench.completed(id), Some(Err(Errno::ENXIO)), "{command:?}");
    }
    assert!(
        bench
            .seen
            .iter()
            .all(|action| matches!(action, Action::Complete(..) | Action::Release(_)))
    );
}

#[test]
fn what_is_held_fails_and_is_written_nowhere_once_the_other_node_is_known_to_be_newer() {
    let mut bench = outrun();
    bench.tell(Event::Opened(false));
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    assert_eq!(
        bench.engine.status().held,
        1,
        "requests held are as good as an open device"
    );
    refused(&mut bench);
    assert_eq!(bench.completed(1), Some(Err(Errno::ENXIO)));
    assert!(
        bench
            .seen
            .contains(&Action::Notice(Notice::Superseded { requests: 1 }))
    );
    bench.tell(Event::Permit(true));
    let writes = |action: &Action| matches!(action, Action::WriteLocal(..) | Action::Send { .. });
    assert!(!bench.seen.iter().any(writes));
}

#[test]
fn a_device_opened_while_the_two_meet_counts_as_open() {
    let mut bench = outrun();
    bench.tell(Event::Opened(false));
    let hello = bench.introduce();
    let agreement = meeting::decide(&hello, &bench.peer, true).expect("nobody watches");
    bench.tell(Event::Opened(true));
    let map = bench.map_of(&[2]);
    bench.tell(Event::Connected(Box::new(Answer {
        standing: bench.peer.clone(),
        virgin: false,
        source: agreement.source,
        map: Some(map),
        extension: true,
        memsync: true,
    })));
    assert!(bench.engine.status().superseded);
    assert_eq!(bench.engine.status().stale, 0);
}

#[test]
fn a_closed_device_takes_newer_data() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.meet_newer(&[2]);
    bench.settle();
    assert!(!bench.engine.status().superseded);
    assert!(bench.engine.status().up_to_date);
}

#[test]
fn a_device_may_stay_open_over_what_its_own_consumer_wrote_on_the_other_node() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Opened(true));
    let flush = bench.only_the_peer_takes(1, BLOCK);
    bench.reply(flush, false, Ok(()));
    bench.store_at_peer();
    bench.tell(Event::Disconnected);
    bench.take();
    bench.connect(None);
    bench.settle();
    assert!(bench.engine.status().up_to_date);
}
