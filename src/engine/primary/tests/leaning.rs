//! What one copy lacks and the other has: requests that need the peer, writes that only one side took,
//! and who may be promoted then.

use super::*;

#[test]
fn a_write_that_only_the_peer_has_makes_it_the_source_before_it_is_acknowledged() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.take();
    bench.local(1, Err(Errno::EIO));
    bench.reply(seq, false, Ok(()));
    assert_eq!(bench.completed(1), None);
    assert_eq!(bench.engine.status().stale, 0, "the peer may lose it yet");
    let flush = bench.sent(Command::Flush);
    bench.reply(flush, false, Ok(()));
    assert!(bench.stored.record.lacks, "durable before the peer is told");
    assert_eq!(
        bench.completed(1),
        None,
        "durable there, but not known to be relied on"
    );
    bench.store_at_peer();
    assert_eq!(bench.peer.record.at, bench.stored.record.at);
    assert_eq!(bench.completed(1), Some(Ok(())));
    bench.settle();
    assert!(
        bench.engine.status().up_to_date,
        "fetched and in step again"
    );
    assert!(!bench.stored.record.lacks);
}

#[test]
fn a_write_that_only_the_peer_has_fails_where_the_peer_cannot_be_relied_on() {
    let only_the_peer = |bench: &mut Bench| {
        bench.submit(1, Command::Write, BLOCK);
        let seq = bench.sent(Command::Write);
        bench.take();
        bench.local(1, Err(Errno::EIO));
        bench.reply(seq, false, Ok(()));
        bench.completed(1)
    };
    let mut bench = Bench::new(Replication::Fullsync);
    bench.submit(9, Command::Write, Range::new(65536, 512));
    bench.settle();
    bench.connect(None);
    bench.store_at_peer();
    bench.take();
    assert_eq!(
        only_the_peer(&mut bench),
        Some(Err(Errno::EIO)),
        "it lacks something itself"
    );
    assert!(!bench.stored.record.lacks, "else both would");

    let mut bench = Bench::new(Replication::Fullsync);
    bench.connect_to_base(meeting::Source::Primary, None);
    bench.settle();
    assert_eq!(
        only_the_peer(&mut bench),
        Some(Err(Errno::EIO)),
        "base cannot say that it is newer"
    );
}

#[test]
fn a_peer_that_cannot_store_that_it_is_relied_on_is_not() {
    let mut bench = Bench::together(Replication::Fullsync);
    let flush = bench.only_the_peer_takes(1, BLOCK);
    bench.reply(flush, false, Ok(()));
    let told = bench.seen.iter().find_map(|action| match action {
        Action::Tell { seq, .. } => Some(*seq),
        _ => None,
    });
    bench.reply(told.expect("tells it"), false, Err(Errno::EIO));
    assert_eq!(bench.completed(1), Some(Err(Errno::EIO)));
    assert!(!bench.stored.record.lacks);
    let status = bench.engine.status();
    assert_eq!(
        (status.stale, status.behind),
        (0, EXTENT),
        "its content is undecided"
    );
}

#[test]
fn a_write_that_both_copies_failed_fails() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.local(1, Err(Errno::ENXIO));
    bench.reply(seq, false, Err(Errno::EIO));
    assert_eq!(bench.completed(1), Some(Err(Errno::ENXIO)));
}

#[test]
fn stale_extents_are_read_from_the_peer_and_fetched_before_they_are_written() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.meet_newer(&[2]);
    assert!(bench.stored.record.lacks);
    bench.take();
    bench.submit(1, Command::Read, Range::new(EXTENT, 2 * EXTENT));
    let reads = bench.take();
    assert!(
        matches!(
            reads[..],
            [
                Action::ReadLocal(
                    _,
                    Range {
                        offset: EXTENT,
                        length: EXTENT
                    }
                ),
                Action::Send {
                    command: Command::Read,
                    range: Range {
                        offset: 8192,
                        length: EXTENT
                    },
                    ..
                }
            ]
        ),
        "{reads:?}"
    );
    bench.submit(2, Command::Write, BLOCK);
    assert_eq!(bench.take(), [], "waits for its extent");
}

#[test]
fn without_the_peer_that_has_the_data_requests_wait_and_then_fail() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.meet_newer(&[2]);
    bench.tell(Event::Disconnected);
    bench.take();
    bench.submit(1, Command::Read, BLOCK);
    bench.submit(2, Command::Write, Range::new(0, 512));
    bench.submit(3, Command::Read, Range::new(0, 512));
    assert!(
        matches!(bench.take()[..], [Action::ReadLocal(..)]),
        "only the current extent"
    );
    bench.tell(Event::Tick(20_000));
    assert_eq!(bench.completed(1), Some(Err(Errno::EIO)));
    assert_eq!(bench.completed(2), Some(Err(Errno::EIO)));
}

#[test]
fn a_component_that_lacks_something_is_promoted_only_by_force_or_to_go_on() {
    let lacking = || Metadata {
        record: Record {
            lacks: true,
            past: vec![point(5, 5)],
            ..met()
        },
        ..metadata()
    };
    let refused = |promotion| Primary::new(start(lacking(), promotion)).err();
    assert_eq!(
        refused(Promotion::Asked),
        Some(PromotionRefused::Lacking { bytes: 0 })
    );
    assert_eq!(refused(Promotion::Resumed), None);
    let bench = Bench::from(start(lacking(), Promotion::Forced));
    let record = &bench.stored.record;
    assert_eq!(
        (record.at, record.lacks, record.past.len()),
        (None, false, 0)
    );
    assert!(record.own.is_some(), "with no point in common with anybody");
    assert_eq!(bench.stored.localcnt, 1);
    assert_eq!(
        bench.engine.status().behind,
        bench.engine.geometry.data_size
    );
}

#[test]
fn a_counter_that_no_node_reaches_is_not_raised_further() {
    let damaged = Metadata {
        localcnt: u64::MAX,
        ..metadata()
    };
    let refused = Primary::new(start(damaged, Promotion::Forced)).err();
    assert_eq!(refused, Some(PromotionRefused::Counter));
}

#[test]
fn what_was_fetched_but_not_noted_still_counts_as_the_peer_s() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.meet_newer(&[2]);
    let actions = bench.take();
    let fetch = actions.iter().find_map(|action| match action {
        Action::Send {
            seq,
            command: Command::Read,
            ..
        } => Some(*seq),
        _ => None,
    });
    bench.reply(fetch.expect("fetches"), false, Ok(()));
    let Some(Action::WriteLocal(piece, _)) = bench.take().pop() else {
        panic!("stores it")
    };
    bench.tell(Event::LocalDone(piece, Ok(())));
    assert_eq!(bench.engine.status().stale, 0);
    bench.tell(Event::Disconnected);
    bench.take();
    bench.submit(1, Command::Write, BLOCK);
    assert_eq!(
        bench.take(),
        [],
        "the disk still says that the peer is ahead"
    );
    assert_eq!(bench.stored.localcnt, 0, "so no second history begins");
}

#[test]
fn a_stop_still_fetches_what_a_request_waits_for() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.submit(2, Command::Write, BLOCK);
    bench.tell(Event::Stop);
    let seq = bench.sent(Command::Write);
    bench.take();
    bench.local(1, Err(Errno::EIO));
    bench.reply(seq, false, Ok(()));
    let actions = bench.settle();
    assert!(
        actions.contains(&Action::Complete(1, Ok(()))),
        "the peer has it"
    );
    assert!(
        actions.contains(&Action::Complete(2, Ok(()))),
        "its extent was fetched first"
    );
    assert_eq!(actions.last(), Some(&Action::Stopped));
}

#[test]
fn what_only_the_peer_had_finished_is_doubted_when_it_goes() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.reply(seq, false, Ok(()));
    bench.tell(Event::Disconnected);
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())));
    assert_eq!(
        bench.engine.status().behind,
        EXTENT,
        "it was not flushed there"
    );
    assert_eq!(bench.stored.localcnt, 1);
}

#[test]
fn a_peer_that_is_leant_on_is_brought_up_to_date_unmarked_and_before_any_flush() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.meet_newer(&[9]);
    bench.submit(1, Command::Write, BLOCK);
    bench.local(1, Ok(()));
    bench.tell(Event::Disconnected);
    assert_eq!(bench.completed(1), None, "the peer has to have it, too");
    bench.take();
    bench.connect(None);
    bench.store_at_peer();
    assert_eq!(bench.engine.status().behind, EXTENT);
    bench.submit(2, Command::Flush, Range::new(0, 0));
    let told = |actions: &[Action]| {
        let lacking = |action: &Action| {
            matches!(
                action,
                Action::Tell {
                    note: PeerNote::Lacking,
                    ..
                }
            )
        };
        actions.iter().any(lacking)
    };
    let begun = bench.take();
    assert!(!told(&begun), "else neither node could be promoted");
    assert!(!asks_peer(&begun, Command::Flush), "{begun:?}");
    bench.seen = begun;
    let rest = bench.settle();
    assert!(!told(&rest));
    let flushed = rest
        .iter()
        .position(|action| *action == Action::Complete(2, Ok(())));
    let copied = rest.iter().position(|action| {
        matches!(
            action,
            Action::Send {
                command: Command::Write,
                ..
            }
        )
    });
    assert!(copied < flushed && copied.is_some(), "{rest:?}");
    assert!(!bench.stored.record.lacks && !bench.peer.record.lacks);
}

#[test]
fn the_point_of_a_meeting_is_not_told_before_the_merged_map_is_stored() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.peer.record.own = Generation::new(77);
    let map = bench.map_of(&[9]);
    bench.store = false;
    bench.connect(Some(map.clone()));
    let metadata = bench.take().into_iter().find_map(|action| match action {
        Action::WriteMetadata(ticket, _) => Some(ticket),
        _ => None,
    });
    bench.tell(Event::MetadataWritten(metadata.expect("stored"), Ok(())));
    let told = |bench: &mut Bench| {
        let actions = bench.take();
        actions
            .iter()
            .any(|action| matches!(action, Action::Tell { .. }))
    };
    assert!(!told(&mut bench), "it makes the peer clear its own map");
    bench.tell(Event::MapWritten(1, Err(Errno::EIO)));
    bench.tell(Event::Disconnected);
    bench.store = true;
    bench.connect(Some(map));
    assert!(told(&mut bench));
}

fn asks_peer(actions: &[Action], wanted: Command) -> bool {
    let asks =
        |action: &Action| matches!(action, Action::Send { command, .. } if *command == wanted);
    actions.iter().any(asks)
}

#[test]
fn before_this_node_leans_on_its_peer_that_has_what_async_acknowledged() {
    let far = Range::new(65536, 512);
    let mut bench = Bench::together(Replication::Async);
    bench.submit(1, Command::Write, far);
    let early = bench.sent(Command::Write);
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())));
    bench.take();
    bench.submit(2, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.take();
    bench.local(2, Err(Errno::EIO));
    bench.reply(seq, false, Ok(()));
    let flush = bench.sent(Command::Flush);
    bench.take();

    bench.submit(3, Command::Write, Range::new(131_072, 512));
    assert_eq!(bench.take(), [], "it would have to catch up with that, too");
    bench.reply(flush, false, Ok(()));
    assert!(!bench.stored.record.lacks, "it has not got the first");
    let flush = bench.sent(Command::Flush);
    bench.take();
    bench.reply(early, false, Ok(()));
    bench.reply(flush, false, Ok(()));
    assert!(bench.stored.record.lacks);
    bench.settle();
    assert!(bench.engine.status().up_to_date);
}

#[test]
fn a_peer_that_has_not_answered_everything_is_not_relied_on_yet() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, Range::new(65536, 512));
    let other = bench.sent(Command::Write);
    bench.take();
    bench.submit(2, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.take();
    bench.local(2, Err(Errno::EIO));
    bench.reply(seq, false, Ok(()));
    let flush = bench.sent(Command::Flush);
    bench.reply(flush, false, Ok(()));
    assert!(!bench.stored.record.lacks, "it may fail the first yet");
    bench.local(1, Ok(()));
    bench.reply(other, false, Err(Errno::EIO));
    bench.tell(Event::Tick(1));
    assert_eq!(bench.completed(2), Some(Err(Errno::EIO)));
    assert!(
        !bench.stored.record.lacks,
        "else both copies would lack something"
    );
}
