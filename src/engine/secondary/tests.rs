//! The secondary by example.

use super::*;
use crate::terms::Role;

struct Bench {
    engine: Secondary,
}

impl Bench {
    fn new() -> Self {
        Self {
            engine: Secondary::new(Metadata {
                resource: "disk1".to_owned(),
                datasize: 1 << 20,
                extentsize: 4096,
                keepdirty: 64,
                offset: 4608,
                resuid: 7,
                localcnt: 1,
                remotecnt: 2,
                prevrole: Role::Secondary,
                inconsistent: None,
            }),
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

    fn state(&mut self, id: u64, state: PeerState) -> Vec<Action> {
        self.tell(Event::State {
            id,
            state,
            localcnt: 5,
            remotecnt: 1,
        })
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

#[test]
fn the_map_is_cleared_once_at_the_first_request() {
    let mut engine = Bench::new().engine;
    let mut cleared = 0;
    for id in 1..4 {
        let mut actions = Vec::new();
        let request = Request {
            id,
            command: Command::Read,
            range: Range::new(0, 512),
        };
        engine.handle(
            Event::Received {
                request,
                memsync: false,
            },
            &mut actions,
        );
        cleared += actions
            .iter()
            .filter(|action| **action == Action::ClearMap)
            .count();
    }
    assert_eq!(cleared, 1);
}

#[test]
fn a_state_is_set_alone_and_before_anything_that_came_behind_it() {
    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    assert_eq!(bench.state(2, PeerState::Inconsistent), []);
    assert_eq!(
        bench.receive(3, Command::Write, 512),
        [],
        "behind the state"
    );
    let actions = bench.done(1, Ok(()));
    assert_eq!(actions[0], reply(1, Ok(())));
    let (metadata, actions) = bench.store(&actions[1..]);
    assert_eq!(metadata.inconsistent, Some(Inconsistent::Unmapped));
    assert_eq!(actions, [reply(2, Ok(())), write(3, 512)]);

    bench.done(3, Ok(()));
    let actions = bench.state(4, PeerState::Consistent);
    let (metadata, _) = bench.store(&actions);
    assert_eq!(metadata.inconsistent, None);
    assert_eq!((metadata.localcnt, metadata.remotecnt), (1, 5), "crosswise");
}

#[test]
fn a_failed_write_marks_the_component_before_it_is_answered() {
    let mut bench = Bench::new();
    bench.receive(1, Command::Write, 0);
    let actions = bench.done(1, Err(Errno::EIO));
    let (metadata, actions) = bench.store(&actions);
    assert_eq!(metadata.inconsistent, Some(Inconsistent::Unmapped));
    assert_eq!(actions, [reply(1, Err(Errno::EIO))]);
    let refused = bench.state(2, PeerState::Consistent);
    assert_eq!(
        refused,
        [reply(2, Err(Errno::EIO))],
        "the primary cannot have known"
    );
    bench.state(3, PeerState::Inconsistent);
    let actions = bench.state(4, PeerState::Consistent);
    let (metadata, _) = bench.store(&actions);
    assert_eq!(metadata.inconsistent, None, "told again, and copied since");
}

#[test]
fn nothing_is_changed_where_the_inconsistent_mark_could_not_be_stored() {
    let mut bench = Bench::new();
    let actions = bench.state(1, PeerState::Inconsistent);
    bench.receive(2, Command::Write, 0);
    let [Action::WriteMetadata(ticket, _)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let actions = bench.tell(Event::MetadataWritten(*ticket, Err(Errno::EIO)));
    let refused = Err(Errno::EIO);
    assert_eq!(actions[..2], [reply(1, refused), reply(2, refused)]);
    assert!(!actions.contains(&write(2, 0)));
}
