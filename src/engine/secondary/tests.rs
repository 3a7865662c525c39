//! The secondary by example.

use super::*;
use crate::engine::points::PointNote;
use crate::layout::{Generation, Point, Record};
use crate::terms::Role;

fn metadata() -> Metadata {
    Metadata {
        resource: "disk1".to_owned(),
        datasize: 1 << 20,
        extentsize: 4096,
        keepdirty: 64,
        offset: 4608,
        resuid: 7,
        localcnt: 1,
        remotecnt: 2,
        prevrole: Role::Secondary,
        record: Record::default(),
    }
}

fn told(copy: Copy, leads: bool, failures: u64) -> PeerNote {
    let generation = Generation::new(3).expect("not 0");
    PeerNote::Point(Box::new(Told {
        note: PointNote {
            at: Point {
                generation,
                number: 4,
            },
            copy,
            leads,
            past: Vec::new(),
        },
        failures,
        localcnt: 5,
        remotecnt: 1,
    }))
}

struct Bench {
    engine: Secondary,
}

impl Bench {
    fn new() -> Self {
        Self {
            engine: Secondary::new(metadata(), Dialect::Extended),
        }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.engine.handle(event, &mut actions);
        actions.retain(|action| *action != Action::ClearMap);
        actions
    }

    fn receive(&mut self, id: u64, command: Command, offset: u64) -> Vec<Action> {
        let range = match command {
            Command::Flush => Range::new(0, 0),
            _ => Range::new(offset, 512),
        };
        self.tell(Event::Received {
            request: Request { id, command, range },
            memsync: false,
        })
    }

    fn done(&mut self, id: u64, outcome: Outcome) -> Vec<Action> {
        self.tell(Event::LocalDone(operation(id), outcome))
    }

    fn note(&mut self, id: u64, note: PeerNote) -> Vec<Action> {
        self.tell(Event::Note(id, note))
    }

    /// Ends the only metadata write among these actions well.
    fn store(&mut self, actions: &[Action]) -> (Metadata, Vec<Action>) {
        let [Action::WriteMetadata(ticket, metadata)] = actions else {
            panic!("{actions:?}")
        };
        (
            Metadata::clone(metadata),
            self.tell(Event::MetadataWritten(*ticket, Ok(()))),
        )
    }
}

fn operation(id: u64) -> Operation {
    Operation {
        owner: Owner::Request(id),
        part: 0,
    }
}

fn write(id: u64, offset: u64) -> Action {
    Action::WriteLocal(operation(id), Range::new(offset, 512))
}

fn reply(id: u64, outcome: Outcome) -> Action {
    Action::Reply {
        id,
        received: false,
        outcome,
    }
}

#[test]
fn overlapping_requests_run_in_the_order_of_their_arrival() {
    let mut bench = Bench::new();
    assert_eq!(bench.receive(1, Command::Write, 0), [write(1, 0)]);
    assert_eq!(bench.receive(2, Command::Write, 0), []);
    assert_eq!(bench.receive(3, Command::Write, 512), [write(3, 512)]);
    assert_eq!(bench.done(1, Ok(())), [reply(1, Ok(())), write(2, 0)]);
}

#[test]
fn a_flush_covers_all_that_came_before_it_and_delays_nothing_behind_it() {
    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    assert_eq!(bench.receive(2, Command::Flush, 0), []);
    assert_eq!(bench.receive(3, Command::Write, 512), [write(3, 512)]);
    assert_eq!(
        bench.done(1, Ok(())),
        [reply(1, Ok(())), Action::FlushLocal(operation(2))]
    );
    assert_eq!(bench.done(2, Ok(())), [reply(2, Ok(()))]);
}

#[test]
fn the_early_acknowledgement_comes_before_the_disk_is_asked() {
    let mut bench = Bench::new();
    let request = Request {
        id: 1,
        command: Command::Write,
        range: Range::new(0, 512),
    };
    let actions = bench.tell(Event::Received {
        request,
        memsync: true,
    });
    let received = Action::Reply {
        id: 1,
        received: true,
        outcome: Ok(()),
    };
    assert_eq!(actions, [received, write(1, 0)]);
}

fn clears_map(actions: &[Action]) -> bool {
    actions.contains(&Action::ClearMap)
}

#[test]
fn the_map_is_cleared_once_a_base_primary_asks_something() {
    let mut engine = Secondary::new(metadata(), Dialect::Base);
    for id in 1..4 {
        let mut actions = Vec::new();
        let request = Request {
            id,
            command: Command::Read,
            range: Range::new(0, 512),
        };
        let memsync = false;
        engine.handle(Event::Received { request, memsync }, &mut actions);
        assert_eq!(clears_map(&actions), id == 1, "{id}");
    }
}

#[test]
fn the_map_is_cleared_only_when_the_point_of_the_meeting_is_stored() {
    let mut engine = Secondary::new(metadata(), Dialect::Extended);
    let mut actions = Vec::new();
    engine.handle(
        Event::Note(1, told(Copy::Unchanged, false, 0)),
        &mut actions,
    );
    let [Action::WriteMetadata(ticket, _)] = actions[..] else {
        panic!("{actions:?}")
    };
    actions.clear();
    engine.handle(Event::MetadataWritten(ticket, Ok(())), &mut actions);
    assert!(clears_map(&actions));
}

#[test]
fn a_note_is_carried_out_alone_and_before_anything_that_came_behind_it() {
    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    assert_eq!(bench.note(2, PeerNote::Lacking), []);
    assert_eq!(bench.receive(3, Command::Write, 512), [], "behind the note");
    let actions = bench.done(1, Ok(()));
    assert_eq!(actions[0], reply(1, Ok(())));
    let (metadata, actions) = bench.store(&actions[1..]);
    assert!(metadata.record.lacks);
    assert_eq!(actions, [reply(2, Ok(())), write(3, 512)]);

    bench.done(3, Ok(()));
    let actions = bench.note(4, told(Copy::Full, false, 0));
    let (metadata, _) = bench.store(&actions);
    assert!(!metadata.record.lacks);
    assert_eq!((metadata.localcnt, metadata.remotecnt), (1, 5), "crosswise");
}

#[test]
fn a_failed_write_is_on_the_disk_as_lacking_before_it_is_answered() {
    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    let actions = bench.done(1, Err(Errno::EIO));
    let (metadata, actions) = bench.store(&actions);
    assert!(metadata.record.lacks);
    assert_eq!(actions, [reply(1, Err(Errno::EIO))]);
    let refused = bench.note(2, told(Copy::Full, false, 0));
    assert_eq!(
        refused,
        [reply(2, Err(Errno::EIO))],
        "the primary did not know of it"
    );
    let actions = bench.note(3, told(Copy::Full, false, 1));
    let (metadata, _) = bench.store(&actions);
    assert!(!metadata.record.lacks, "it does, and copied it again");
}

#[test]
fn a_copy_that_is_relied_on_flushes_first_and_does_not_mark_itself() {
    let mut bench = Bench::new();
    let actions = bench.note(1, told(Copy::Unchanged, true, 0));
    let [Action::FlushLocal(flush)] = actions[..] else {
        panic!("{actions:?}")
    };
    let actions = bench.tell(Event::LocalDone(flush, Ok(())));
    let (metadata, actions) = bench.store(&actions);
    assert!(!metadata.record.lacks);
    assert_eq!(actions, [reply(1, Ok(()))]);
    bench.receive(2, Command::Write, 0);
    assert_eq!(
        bench.done(2, Err(Errno::EIO)),
        [reply(2, Err(Errno::EIO))],
        "the primary acknowledges nothing that failed here"
    );
    let actions = bench.note(3, told(Copy::Unchanged, true, 1));
    let [Action::FlushLocal(flush)] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        bench.tell(Event::LocalDone(flush, Err(Errno::EIO))),
        [reply(3, Err(Errno::EIO))]
    );
}

#[test]
fn what_cannot_be_stored_is_not_answered_and_ends_the_connection() {
    let mut bench = Bench::new();
    let actions = bench.note(1, PeerNote::Lacking);
    bench.receive(2, Command::Write, 0);
    let [Action::WriteMetadata(ticket, _)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let actions = bench.tell(Event::MetadataWritten(*ticket, Err(Errno::EIO)));
    assert_eq!(actions[0], Action::Disconnect);
    let silent = |actions: &[Action]| {
        let answers =
            |action: &Action| matches!(action, Action::Reply { .. } | Action::WriteLocal(..));
        !actions.iter().any(answers)
    };
    assert!(silent(&actions));
    assert!(silent(&bench.receive(3, Command::Write, 512)));

    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    let actions = bench.done(1, Err(Errno::EIO));
    let [Action::WriteMetadata(ticket, _)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let actions = bench.tell(Event::MetadataWritten(*ticket, Err(Errno::EIO)));
    assert_eq!(actions[0], Action::Disconnect);
    assert!(silent(&actions));
    assert_eq!(bench.engine.requests(), 0);
}
