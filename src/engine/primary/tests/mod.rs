//! The primary by example: one behaviour a test, told as events and the actions they bring.

mod leaning;
mod making;
mod permit;
mod superseded;

use super::*;
use crate::engine::meeting;
use crate::engine::points::{self, Copy};
use crate::engine::{Command, Owner, PeerNote, Range, Request};
use crate::layout::activemap::Bitmap;
use crate::layout::{Metadata, Point, Record, Standing};
use nix::errno::Errno;

const EXTENT: u64 = 4096;

/// A primary whose disk does at once what it is told, unless a test takes that over.
struct Bench {
    engine: Primary,
    /// Actions the test has not looked at.
    seen: Vec<Action>,
    /// Answer map and metadata writes by itself.
    store: bool,
    /// The metadata last stored.
    stored: Metadata,
    /// How the peer's component stands.
    peer: Standing,
}

fn point(of: u64, number: u64) -> Point {
    let generation = Generation::new(of).expect("not 0");
    Point { generation, number }
}

/// The record of a node that has made its first point.
fn met() -> Record {
    Record {
        at: Some(point(1, 1)),
        ..Record::default()
    }
}

fn metadata() -> Metadata {
    Metadata {
        resource: "disk1".to_owned(),
        datasize: 0,
        extentsize: EXTENT as u32,
        keepdirty: 2,
        offset: 0,
        resuid: 7,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        record: met(),
    }
}

fn start(metadata: Metadata, promotion: Promotion) -> Start {
    let geometry = Geometry::new(1 << 20, 512, EXTENT as u32).expect("fits");
    Start {
        geometry,
        metadata,
        map: Bitmap::new(geometry.extents),
        replication: Replication::Fullsync,
        window: 1 << 20,
        piece: 1 << 20,
        patience: 20_000,
        point_interval: 5_000,
        fresh_resuid: 99,
        entropy: 5,
        promotion,
    }
}

impl Bench {
    fn new(replication: Replication) -> Self {
        let start = Start {
            replication,
            ..start(metadata(), Promotion::Asked)
        };
        Self::from(start)
    }

    fn from(start: Start) -> Self {
        let stored = start.metadata.clone();
        let peer = Standing::from(&metadata());
        let engine = Primary::new(start).expect("may be promoted");
        let mut bench = Self {
            engine,
            seen: Vec::new(),
            store: true,
            stored,
            peer,
        };
        bench.tell(Event::Tick(0));
        bench.seen.clear();
        bench
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.engine.handle(event, &mut actions);
        for action in actions {
            match action {
                Action::WriteMap(ticket, _) if self.store => {
                    self.tell(Event::MapWritten(ticket, Ok(())));
                }
                Action::WriteMetadata(ticket, metadata) if self.store => {
                    self.stored = *metadata;
                    self.tell(Event::MetadataWritten(ticket, Ok(())));
                }
                action => self.seen.push(action),
            }
        }
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.seen)
    }

    fn submit(&mut self, id: u64, command: Command, range: Range) {
        self.tell(Event::Submit(Request { id, command, range }));
    }

    fn local(&mut self, id: u64, outcome: Outcome) {
        let operation = Operation {
            owner: Owner::Request(id),
            part: 0,
        };
        self.tell(Event::LocalDone(operation, outcome));
    }

    /// The number of the only message of this command among what was not looked at.
    fn sent(&self, wanted: Command) -> u64 {
        let mut found = self.seen.iter().filter_map(|action| match action {
            Action::Send { seq, command, .. } if *command == wanted => Some(*seq),
            _ => None,
        });
        let seq = found.next().expect("was sent");
        assert_eq!(found.next(), None, "only one {wanted:?}");
        seq
    }

    /// A write that this disk fails and the peer takes; the number of the flush that is to make it durable there.
    fn only_the_peer_takes(&mut self, id: u64, range: Range) -> u64 {
        self.submit(id, Command::Write, range);
        let seq = self.sent(Command::Write);
        self.take();
        self.local(id, Err(Errno::EIO));
        self.reply(seq, false, Ok(()));
        self.sent(Command::Flush)
    }

    fn reply(&mut self, seq: u64, received: bool, outcome: Outcome) {
        self.tell(Event::Reply {
            seq,
            received,
            outcome,
        });
    }

    fn completed(&self, id: u64) -> Option<Outcome> {
        self.seen.iter().find_map(|action| match action {
            Action::Complete(done, outcome) if *done == id => Some(*outcome),
            _ => None,
        })
    }

    /// Meets the peer as far as its answer, which is what it decides by itself.
    fn connect(&mut self, map: Option<Bitmap>) {
        let hello = self.introduce();
        let agreement = meeting::decide(&hello, &self.peer, true).expect("agrees");
        self.tell(Event::Connected(Box::new(Answer {
            standing: self.peer.clone(),
            virgin: false,
            source: agreement.source,
            map,
            extension: true,
            memsync: true,
        })));
    }

    /// Meets a base secondary that decided like this.
    fn connect_to_base(&mut self, source: meeting::Source, map: Option<Bitmap>) {
        self.introduce();
        self.tell(Event::Connected(Box::new(Answer {
            standing: Standing {
                record: Record::default(),
                ..self.peer.clone()
            },
            virgin: false,
            source,
            map,
            extension: false,
            memsync: true,
        })));
    }

    fn introduce(&mut self) -> Hello {
        self.tell(Event::Meet);
        let mut hellos = self.seen.iter().rev().filter_map(|action| match action {
            Action::Hello(hello) => Some(Hello::clone(hello)),
            _ => None,
        });
        hellos.next().expect("introduces itself")
    }

    /// Meets a peer that went on alone in these extents, and stores the point of the meeting there.
    fn meet_newer(&mut self, extents: &[u64]) {
        self.peer.record.own = Generation::new(77);
        self.peer.localcnt += 1;
        let map = self.map_of(extents);
        self.connect(Some(map));
        self.store_at_peer();
    }

    fn map_of(&self, extents: &[u64]) -> Bitmap {
        let mut map = Bitmap::new(self.engine.geometry.extents);
        for extent in extents {
            map.set(*extent);
        }
        map
    }

    /// The peer stores the note that was told last, and says so.
    fn store_at_peer(&mut self) {
        let position = self
            .seen
            .iter()
            .rposition(|action| matches!(action, Action::Tell { .. }));
        let Action::Tell { seq, note } = self.seen.remove(position.expect("was told")) else {
            unreachable!()
        };
        self.store_note(&note);
        self.reply(seq, false, Ok(()));
    }

    fn store_note(&mut self, note: &PeerNote) {
        match note {
            PeerNote::Lacking => self.peer.record.lacks = true,
            PeerNote::Point(told) => {
                self.peer.record = points::store(&self.peer.record, &told.note);
                if told.note.copy == Copy::Full {
                    (self.peer.localcnt, self.peer.remotecnt) = (told.remotecnt, told.localcnt);
                }
            }
        }
    }

    /// Plays disk and peer until nothing is left to do; returns what they were asked.
    fn settle(&mut self) -> Vec<Action> {
        let mut all = Vec::new();
        loop {
            let actions = self.take();
            if actions.is_empty() {
                return all;
            }
            for action in &actions {
                match action {
                    Action::ReadLocal(operation, _)
                    | Action::WriteLocal(operation, _)
                    | Action::DeleteLocal(operation, _)
                    | Action::FlushLocal(operation) => {
                        self.tell(Event::LocalDone(*operation, Ok(())));
                    }
                    Action::Send { seq, .. } => self.reply(*seq, false, Ok(())),
                    Action::Tell { seq, note } => {
                        self.store_note(note);
                        self.reply(*seq, false, Ok(()));
                    }
                    _ => {}
                }
            }
            all.extend(actions);
        }
    }

    fn together(replication: Replication) -> Self {
        let mut bench = Self::new(replication);
        bench.connect(None);
        bench.settle();
        assert!(bench.engine.status().up_to_date);
        assert_eq!(bench.stored.record.at, bench.peer.record.at);
        bench
    }
}

const BLOCK: Range = Range::new(8192, 512);

#[test]
fn nothing_is_written_anywhere_before_its_mark_is_on_the_disk() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.store = false;
    bench.submit(1, Command::Write, BLOCK);
    let actions = bench.take();
    let [Action::WriteMap(ticket, sectors)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(sectors[0].bytes[0], 1 << 2, "the extent's bit and no other");
    bench.tell(Event::MapWritten(*ticket, Ok(())));
    assert!(matches!(
        bench.take()[..],
        [Action::Send { .. }, Action::WriteLocal(..)]
    ));
}

#[test]
fn a_write_whose_mark_cannot_be_stored_fails_and_is_written_nowhere() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.store = false;
    bench.submit(1, Command::Write, BLOCK);
    let Some(Action::WriteMap(ticket, _)) = bench.take().pop() else {
        panic!("no map")
    };
    bench.tell(Event::MapWritten(ticket, Err(Errno::EIO)));
    let actions = bench.take();
    assert_eq!(
        actions[..2],
        [
            Action::Complete(1, Err(Errno::EIO)),
            Action::Release(Owner::Request(1))
        ]
    );
    assert!(
        !actions
            .iter()
            .any(|a| matches!(a, Action::Send { .. } | Action::WriteLocal(..)))
    );
}

#[test]
fn each_mode_acknowledges_when_it_says() {
    for (mode, early, received) in [
        (Replication::Fullsync, false, false),
        (Replication::Memsync, false, true),
        (Replication::Async, true, false),
    ] {
        let mut bench = Bench::together(mode);
        bench.submit(1, Command::Write, BLOCK);
        let seq = bench.sent(Command::Write);
        bench.local(1, Ok(()));
        assert_eq!(bench.completed(1).is_some(), early, "{mode}: local alone");
        if received {
            bench.reply(seq, true, Ok(()));
            assert_eq!(bench.completed(1), Some(Ok(())), "{mode}: in memory");
        }
        bench.reply(seq, false, Ok(()));
        assert_eq!(bench.completed(1), Some(Ok(())), "{mode}: both");
        let released = Action::Release(Owner::Request(1));
        assert_eq!(
            bench.seen.last(),
            Some(&released),
            "{mode}: the buffer goes last"
        );
    }
}

#[test]
fn a_lonely_write_begins_a_generation_before_it_reaches_the_disk() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    assert!(bench.stored.record.own.is_some());
    assert_eq!(bench.stored.localcnt, 1, "base counts it, too");
    bench.local(1, Ok(()));
    assert_eq!(bench.completed(1), Some(Ok(())));

    let mut bench = Bench::new(Replication::Fullsync);
    bench.store = false;
    bench.submit(1, Command::Write, BLOCK);
    let Some(Action::WriteMap(ticket, _)) = bench.take().pop() else {
        panic!("no map")
    };
    bench.tell(Event::MapWritten(ticket, Ok(())));
    let actions = bench.take();
    let [Action::WriteMetadata(ticket, metadata)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(metadata.record.own.is_some());
    bench.tell(Event::MetadataWritten(*ticket, Ok(())));
    assert!(matches!(bench.take()[..], [Action::WriteLocal(..)]));
}

#[test]
fn a_lonely_write_whose_generation_cannot_be_stored_fails() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.store = false;
    bench.submit(1, Command::Write, BLOCK);
    bench.tell(Event::MapWritten(1, Ok(())));
    let ticket = bench.seen.iter().find_map(|action| match action {
        Action::WriteMetadata(ticket, _) => Some(*ticket),
        _ => None,
    });
    bench.tell(Event::MetadataWritten(
        ticket.expect("begins one"),
        Err(Errno::EIO),
    ));
    assert_eq!(bench.completed(1), Some(Err(Errno::EIO)));
    let writes = |action: &Action| matches!(action, Action::WriteLocal(..));
    assert!(!bench.seen.iter().any(writes));
}

#[test]
fn a_peer_left_in_the_middle_of_a_copy_is_known_to_be() {
    let mut bench = Bench::together(Replication::Fullsync);
    let lacks = |bench: &Bench| bench.engine.status().peer_lacks;
    bench.tell(Event::Disconnected);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    assert!(!lacks(&bench), "it lacks a write, no more");
    bench.connect(None);
    bench.store_at_peer();
    assert!(lacks(&bench) && bench.peer.record.lacks);
    bench.tell(Event::Disconnected);
    assert!(lacks(&bench));
    bench.connect(None);
    bench.settle();
    assert!(!lacks(&bench));
}

#[test]
fn base_s_counter_is_raised_once_until_the_two_agree_again() {
    let mut bench = Bench::new(Replication::Fullsync);
    for id in 1..4 {
        bench.submit(id, Command::Write, BLOCK);
        bench.settle();
    }
    assert_eq!(bench.stored.localcnt, 1);
    bench.connect(None);
    bench.settle();
    assert!(bench.engine.status().up_to_date);
    bench.tell(Event::Disconnected);
    bench.submit(9, Command::Write, BLOCK);
    assert_eq!(bench.stored.localcnt, 2);
}

#[test]
fn what_was_written_alone_is_copied_and_the_peer_is_told_before_and_after() {
    let mut bench = Bench::new(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    bench.connect(None);
    let actions = bench.settle();
    let told: Vec<Copy> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Tell {
                note: PeerNote::Point(told),
                ..
            } => Some(told.note.copy),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Copy::Lacking, Copy::Full]);
    let copied: Vec<Range> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send {
                command: Command::Write,
                range,
                ..
            } => Some(*range),
            _ => None,
        })
        .collect();
    assert_eq!(
        copied,
        [Range::new(8192, EXTENT)],
        "the extent, and no other"
    );
    let last_write = actions.iter().rposition(|a| {
        matches!(
            a,
            Action::Send {
                command: Command::Write,
                ..
            }
        )
    });
    let flush = actions.iter().position(|a| {
        matches!(
            a,
            Action::Send {
                command: Command::Flush,
                ..
            }
        )
    });
    assert!(last_write < flush, "flushed after the last copy");
    assert!(actions.contains(&Action::Notice(Notice::SynchronisationDone)));
}

#[test]
fn what_no_point_covers_is_copied_again_after_the_connection_broke() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    bench.tell(Event::Disconnected);
    assert_eq!(
        bench.engine.status().behind,
        EXTENT,
        "the peer may have lost it from its cache"
    );

    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    bench.tell(Event::Tick(5_000));
    bench.settle();
    bench.tell(Event::Disconnected);
    assert_eq!(
        bench.engine.status().behind,
        0,
        "flushed on both, and both have stored a point since"
    );
}

#[test]
fn marks_go_only_after_a_flush_of_both_copies_and_a_point_on_both_disks() {
    let mut bench = Bench::together(Replication::Fullsync);
    for id in 0..8 {
        bench.submit(id, Command::Write, Range::new(id * EXTENT, 512));
    }
    bench.settle();
    bench.store = false;
    bench.tell(Event::Tick(1000));
    let actions = bench.take();
    let [Action::Send { seq, command, .. }, Action::FlushLocal(flush)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*command, Command::Flush);
    bench.reply(*seq, false, Ok(()));
    bench.tell(Event::LocalDone(*flush, Ok(())));
    let actions = bench.take();
    let [Action::WriteMetadata(ticket, metadata)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(metadata.record.next.map(|next| next.full), Some(false));
    bench.tell(Event::MetadataWritten(*ticket, Ok(())));
    bench.tell(Event::Tick(1500));
    assert!(
        matches!(bench.seen[..], [Action::Tell { .. }]),
        "{:?}",
        bench.seen
    );
    bench.store_at_peer();
    let actions = bench.take();
    let [Action::WriteMetadata(ticket, metadata)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(metadata.record.at, bench.peer.record.at);
    bench.tell(Event::Tick(1800));
    assert_eq!(bench.take(), [], "its own disk has it not yet");
    bench.tell(Event::MetadataWritten(*ticket, Ok(())));
    bench.tell(Event::Tick(2000));
    let actions = bench.take();
    let [Action::WriteMap(_, sectors)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        sectors[0].bytes[0], 0b1100_0000,
        "keepdirty of the most recently used stay"
    );
}

#[test]
fn a_clean_stop_leaves_no_marks() {
    let mut bench = Bench::together(Replication::Fullsync);
    bench.submit(1, Command::Write, BLOCK);
    bench.settle();
    bench.tell(Event::Stop);
    let actions = bench.settle();
    assert_eq!(actions.last(), Some(&Action::Stopped));
    assert!(bench.engine.map.is_tidy());
    assert!(!bench.engine.map.is_stable(BLOCK));
}
