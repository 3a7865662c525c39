//! What happens without a permit to go on alone.

use super::*;

/// Where the tests write, too.
const OTHER: Range = Range::new(65536, 512);

fn held(bench: &Bench) -> u64 {
    bench.engine.status().held
}

/// Plays the disk and a peer that answers nothing, until nothing is left to do.
fn play_disk(bench: &mut Bench) {
    loop {
        let actions = bench.take();
        let mut done = Vec::new();
        for action in actions {
            match action {
                Action::WriteLocal(operation, _)
                | Action::DeleteLocal(operation, _)
                | Action::ReadLocal(operation, _)
                | Action::FlushLocal(operation) => done.push(operation),
                action => bench.seen.push(action),
            }
        }
        if done.is_empty() {
            return;
        }
        for operation in done {
            bench.tell(Event::LocalDone(operation, Ok(())));
        }
    }
}

#[test]
fn alone_and_without_a_permit_changes_wait_uncounted_and_reads_are_served() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Disconnected);
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    bench.submit(2, Command::Delete, OTHER);
    bench.submit(3, Command::Flush, Range::new(0, 0));
    bench.submit(4, Command::Read, BLOCK);
    play_disk(&mut bench);
    assert_eq!(bench.completed(4), Some(Ok(())));
    for id in 1..=3 {
        assert_eq!(bench.completed(id), None, "{id}");
    }
    assert_eq!(held(&bench), 3);
    let notices = |bench: &Bench| {
        let held = |action: &&Action| matches!(action, Action::Notice(Notice::Held));
        bench.seen.iter().filter(held).count()
    };
    assert_eq!(notices(&bench), 1, "said once");
    bench.tell(Event::Tick(1_000_000));
    assert_eq!(held(&bench), 3, "however long it takes");
    assert_eq!(bench.stored.localcnt, 0, "nothing was done alone");

    bench.tell(Event::Permit(true));
    play_disk(&mut bench);
    for id in 1..=3 {
        assert_eq!(bench.completed(id), Some(Ok(())), "{id}");
    }
    assert_eq!((held(&bench), bench.stored.localcnt), (0, 1));
}

#[test]
fn what_was_under_way_when_the_peer_left_waits_for_it_and_is_written_again() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    bench.local(1, Ok(()));
    bench.submit(2, Command::Flush, Range::new(0, 0));
    bench.local(2, Ok(()));
    bench.tell(Event::Disconnected);
    assert_eq!((bench.completed(1), bench.completed(2)), (None, None));
    assert_eq!((held(&bench), bench.stored.localcnt), (2, 0));

    bench.take();
    bench.connect(None);
    let actions = bench.settle();
    for id in 1..=2 {
        let done = Action::Complete(id, Ok(()));
        assert!(actions.contains(&done), "{id}: {actions:?}");
    }
    assert!(bench.engine.status().up_to_date);
}

#[test]
fn beside_a_peer_async_waits_for_it_without_a_permit() {
    let mut bench = Bench::together(Replication::Async);
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), None);
    bench.reply(seq, false, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())), "the peer has it");

    bench.take();
    bench.submit(2, Command::Write, OTHER);
    bench.local(2, Ok(()));
    assert_eq!(bench.completed(2), None);
    bench.tell(Event::Permit(true));
    assert_eq!(bench.completed(2), Some(Ok(())), "as async does");
}

#[test]
fn what_the_peer_fails_is_held_until_it_has_recovered() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    let seq = bench.sent(Command::Write);
    bench.local(1, Ok(()));
    bench.take();
    bench.reply(seq, false, Err(Errno::EIO));
    let again = |action: &Action| {
        let operation = match action {
            Action::Send { operation, .. } => Some(operation.owner),
            _ => None,
        };
        operation == Some(Owner::Request(1))
    };
    assert!(!bench.seen.iter().any(again), "not over and over");
    assert_eq!((bench.completed(1), held(&bench)), (None, 1));
    let actions = bench.settle();
    assert!(
        actions.contains(&Action::Complete(1, Ok(()))),
        "{actions:?}"
    );
    assert_eq!(bench.stored.localcnt, 0);
}

#[test]
fn a_permit_that_runs_out_while_the_generation_is_stored_holds() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.local(1, Ok(()));
    bench.store = false;
    bench.tell(Event::Disconnected);
    let metadata = bench.seen.iter().find_map(|action| match action {
        Action::WriteMetadata(ticket, _) => Some(*ticket),
        _ => None,
    });
    bench.tell(Event::Permit(false));
    bench.tell(Event::MetadataWritten(
        metadata.expect("begins one"),
        Ok(()),
    ));
    assert_eq!((bench.completed(1), held(&bench)), (None, 1));
}

#[test]
fn what_was_acknowledged_with_a_permit_stays_so_and_is_counted() {
    let mut bench = Bench::together(Replication::Async);
    bench.submit(1, Command::Write, BLOCK);
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())));
    bench.tell(Event::Permit(false));
    bench.tell(Event::Disconnected);
    assert_eq!((held(&bench), bench.stored.localcnt), (0, 1));
}

#[test]
fn at_the_end_what_is_held_fails() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.tell(Event::Permit(false));
    bench.submit(1, Command::Write, BLOCK);
    bench.tell(Event::Stop);
    assert_eq!(bench.completed(1), Some(Err(Errno::EIO)));
    let needed = Action::Notice(Notice::PeerNeeded);
    assert!(!bench.seen.contains(&needed), "nothing is stale here");
    let actions = bench.settle();
    assert!(actions.contains(&Action::Stopped));
}
