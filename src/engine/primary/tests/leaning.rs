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
    let ahead = bench.seen.iter().find_map(|action| match action {
        Action::SendState {
            seq,
            state: PeerState::Ahead,
            localcnt,
            ..
        } => Some((*seq, *localcnt)),
        _ => None,
    });
    let (told, localcnt) = ahead.expect("tells the peer");
    assert_eq!(localcnt, 1);
    assert_eq!(bench.stored.inconsistent, Some(Inconsistent::Mapped));
    assert_eq!(
        bench.completed(1),
        None,
        "durable there, but not known to be ahead"
    );
    bench.reply(told, false, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())));
    bench.settle();
    assert!(
        bench.engine.status().up_to_date,
        "fetched and in step again"
    );
    assert_eq!(
        (bench.stored.inconsistent, bench.stored.remotecnt),
        (None, 1)
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
    let mut map = Bitmap::new(bench.engine.geometry.extents);
    map.set(2);
    bench.connect(Source::Secondary, 1, Some(map));
    assert_eq!(bench.stored.inconsistent, Some(Inconsistent::Mapped));
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
    let mut map = Bitmap::new(bench.engine.geometry.extents);
    map.set(2);
    bench.connect(Source::Secondary, 1, Some(map));
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
fn an_inconsistent_component_is_promoted_only_by_force_or_to_go_on() {
    use Inconsistent::{Mapped, Unmapped};
    let inconsistent = |kind| Metadata {
        inconsistent: Some(kind),
        ..metadata()
    };
    let refused = |kind, promotion| Primary::new(start(inconsistent(kind), promotion)).err();
    assert_eq!(
        refused(Mapped, Promotion::Asked),
        Some(PromotionRefused::Stale { bytes: 0 })
    );
    assert_eq!(
        refused(Unmapped, Promotion::Asked),
        Some(PromotionRefused::Unfinished)
    );
    assert_eq!(
        refused(Unmapped, Promotion::Resumed),
        Some(PromotionRefused::Unfinished)
    );
    assert_eq!(refused(Mapped, Promotion::Resumed), None);
    let bench = Bench::from(start(inconsistent(Unmapped), Promotion::Forced));
    assert_eq!(
        (bench.stored.inconsistent, bench.stored.localcnt),
        (None, 1)
    );
    assert_eq!(
        bench.engine.status().behind,
        bench.engine.geometry.data_size
    );
}

#[test]
fn what_was_fetched_but_not_noted_still_counts_as_the_peer_s() {
    let mut bench = Bench::new(Replication::Fullsync);
    let mut map = Bitmap::new(bench.engine.geometry.extents);
    map.set(2);
    bench.connect(Source::Secondary, 1, Some(map));
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
    let mut map = Bitmap::new(bench.engine.geometry.extents);
    map.set(9);
    bench.connect(Source::Secondary, 1, Some(map.clone()));
    bench.submit(1, Command::Write, BLOCK);
    bench.local(1, Ok(()));
    bench.tell(Event::Disconnected);
    assert_eq!(bench.completed(1), None, "the peer has to have it, too");
    bench.take();
    bench.connect(Source::Secondary, 1, Some(map));
    assert_eq!(bench.engine.status().behind, EXTENT);
    bench.submit(2, Command::Flush, Range::new(0, 0));
    let told = |actions: &[Action]| {
        let inconsistent = |action: &Action| {
            matches!(
                action,
                Action::SendState {
                    state: PeerState::Inconsistent,
                    ..
                }
            )
        };
        actions.iter().any(inconsistent)
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
    assert_eq!(bench.stored.inconsistent, None);
}

#[test]
fn the_peer_is_not_met_before_a_map_that_failed_to_be_stored_is() {
    let mut bench = Bench::new(Replication::Fullsync);
    let mut map = Bitmap::new(bench.engine.geometry.extents);
    map.set(9);
    bench.store = false;
    bench.connect(Source::Secondary, 1, Some(map.clone()));
    let metadata = bench.take().into_iter().find_map(|action| match action {
        Action::WriteMetadata(ticket, _) => Some(ticket),
        _ => None,
    });
    bench.tell(Event::MapWritten(1, Err(Errno::EIO)));
    bench.tell(Event::MetadataWritten(metadata.expect("stored"), Ok(())));
    bench.tell(Event::Disconnected);
    bench.store = true;
    bench.connect(Source::Secondary, 1, Some(map));
    let fetches = |bench: &mut Bench| asks_peer(&bench.take(), Command::Read);
    assert!(
        !fetches(&mut bench),
        "the first request makes the peer clear its own map"
    );
    bench.tell(Event::Tick(1_000));
    assert!(fetches(&mut bench));
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
    bench.local(3, Ok(()));
    assert_eq!(
        bench.completed(3),
        None,
        "it would have to catch up with that, too"
    );
    let late = bench.sent(Command::Write);
    bench.take();
    bench.reply(flush, false, Ok(()));
    assert_eq!(bench.engine.status().stale, 0, "it has not got the first");
    let flush = bench.sent(Command::Flush);
    bench.take();
    bench.reply(early, false, Ok(()));
    bench.reply(flush, false, Ok(()));
    assert_ne!(bench.engine.status().stale, 0);
    bench.reply(late, false, Ok(()));
    bench.settle();
    assert!(bench.engine.status().up_to_date);
}
