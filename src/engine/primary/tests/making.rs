//! When points are made, what they say, and what a connection that breaks in their middle leaves.

use super::*;

fn tell_of(bench: &Bench) -> (u64, points::PointNote) {
    let found = bench.seen.iter().find_map(|action| match action {
        Action::Tell {
            seq,
            note: PeerNote::Point(told),
        } => Some((*seq, told.note.clone())),
        _ => None,
    });
    found.expect("tells a point")
}

/// Two that have just met flush for their first full point: the peer's flush, and this disk's.
fn flushing_for_a_full_point() -> (Bench, u64, Operation) {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.connect(None);
    bench.store_at_peer();
    let both = bench.take();
    let [.., Action::Send { seq, .. }, Action::FlushLocal(flush)] = both[..] else {
        panic!("{both:?}")
    };
    (bench, seq, flush)
}

#[test]
fn a_point_whose_answer_was_lost_counts_as_made_where_the_peer_has_it() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Disconnected);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    let own = bench.stored.record.own;
    bench.connect(None);
    let (_, note) = tell_of(&bench);
    assert_eq!(
        Some(note.at.generation),
        own,
        "what was done alone is both nodes' from here on"
    );
    let position = bench
        .seen
        .iter()
        .position(|action| matches!(action, Action::Tell { .. }));
    let Action::Tell { note, .. } = bench.seen.remove(position.expect("told")) else {
        unreachable!()
    };
    bench.store_note(&note);
    bench.tell(Event::Disconnected);
    bench.take();
    bench.connect(None);
    bench.settle();
    assert!(bench.engine.status().up_to_date);
    assert_eq!(bench.stored.record.own, None);
    assert_eq!(bench.stored.record.at, bench.peer.record.at);
}

#[test]
fn what_is_done_alone_after_a_proposal_is_a_generation_of_its_own() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Disconnected);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    let first = bench.stored.record.own;
    bench.connect(None);
    bench.tell(Event::Disconnected);
    bench.take();
    bench.submit(2, Command::Write, BLOCK);
    bench.settle();
    assert!(bench.stored.record.own.is_some());
    assert_ne!(bench.stored.record.own, first, "the peer may know that one");
}

#[test]
fn a_flush_of_a_freshly_promoted_node_counts_as_done_alone() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.submit(1, Command::Flush, Range::new(0, 0));
    bench.settle();
    assert!(
        bench.stored.record.own.is_some(),
        "what it makes safe the other may have lost"
    );
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Disconnected);
    bench.submit(1, Command::Flush, Range::new(0, 0));
    bench.settle();
    assert_eq!(bench.stored.record.own, None, "a point covers all there is");
}

#[test]
fn a_peer_is_told_that_it_lacks_something_before_it_is_copied_to() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.take();
    bench.local(1, Err(Errno::EIO));
    // A local flush that the peer fails: the write is nowhere for sure.
    bench.reply(seq, false, Ok(()));
    let flush = bench.sent(Command::Flush);
    bench.take();
    bench.reply(flush, false, Err(Errno::EIO));
    assert_eq!(bench.completed(1), Some(Err(Errno::EIO)));
    let reads = |bench: &Bench| {
        bench
            .seen
            .iter()
            .any(|action| matches!(action, Action::ReadLocal(..)))
    };
    assert!(!reads(&bench), "nothing is copied yet");
    bench.store_at_peer();
    assert!(bench.peer.record.lacks);
    assert!(reads(&bench));
}

#[test]
fn an_orderly_end_beside_a_peer_makes_a_point() {
    let mut bench = Bench::together(Replication::Fullsync);
    let before = bench.stored.record.at;
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    bench.tell(Event::Stop);
    bench.settle();
    assert_ne!(bench.stored.record.at, before);
    assert_eq!(bench.stored.record.at, bench.peer.record.at);
    assert_eq!(bench.stored.record.next, None);
}

#[test]
fn a_full_point_is_not_made_where_the_peer_failed_something_meanwhile() {
    let (mut bench, seq, flush) = flushing_for_a_full_point();
    bench.submit(1, Command::Write, BLOCK);
    let write = bench.sent(Command::Write);
    bench.reply(seq, false, Ok(()));
    bench.tell(Event::LocalDone(flush, Ok(())));
    let (told, note) = tell_of(&bench);
    assert_eq!(note.copy, Copy::Full);
    bench.local(1, Ok(()));
    bench.reply(write, false, Err(Errno::EIO));
    bench.reply(told, false, Err(Errno::EIO));
    assert!(!bench.engine.status().up_to_date);
    assert_eq!(bench.engine.status().behind, EXTENT);
}

#[test]
fn no_full_point_is_made_over_a_change_that_the_peer_has_failed() {
    let (mut bench, seq, flush) = flushing_for_a_full_point();
    bench.submit(1, Command::Write, BLOCK);
    let write = bench.sent(Command::Write);
    bench.take();
    bench.reply(write, false, Err(Errno::EIO));
    bench.reply(seq, false, Ok(()));
    bench.tell(Event::LocalDone(flush, Ok(())));
    let full = |action: &Action| matches!(action, Action::Tell { note: PeerNote::Point(told), .. } if told.note.copy == Copy::Full);
    assert!(
        !bench.seen.iter().any(full),
        "its local half is still under way"
    );
    assert_eq!(bench.engine.status().behind, EXTENT);
}

#[test]
fn a_flush_begun_alone_is_made_beside_a_peer_that_came_meanwhile() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.submit(1, Command::Flush, Range::new(0, 0));
    bench.take();
    bench.connect(None);
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), None);
    assert_eq!(
        bench.stored.record.own, None,
        "else a split brain that is none"
    );
    let actions = bench.settle();
    assert!(actions.contains(&Action::Complete(1, Ok(()))));
}
