//! The secondary: does what the primary sends, in an order that keeps changes to one byte apart,
//! makes flushes cover what came before them, stores points, and keeps true what its record says it lacks.
//!
//! Never does I/O, never acknowledges what its disk has not taken (but for `received`, which says
//! only that the data is in memory). Invariants: overlapping operations run in the order of their
//! arrival; a flush begins after everything received before it has ended; a note of the primary is carried out
//! alone; what is answered of a point or of a failure is on the disk before it is answered, and where it
//! cannot be stored the connection ends without an answer.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nix::errno::Errno;

use super::metadata_log::{MetadataLog, Revision, Written};
use super::points::{self, Copy};
use super::range_lock::RangeLock;
use super::{Command, Operation, Outcome, Owner, PeerNote, Range, Request, Told};
use crate::layout::Metadata;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A request arrived; its `id` grows with every arrival.
    Received {
        /// The request.
        request: Request,
        /// An early acknowledgement is wanted.
        memsync: bool,
    },
    /// The primary says something of the two copies; numbered like requests. Only where both speak the
    /// extension.
    Note(u64, PeerNote),
    /// An operation on the local disk ended.
    LocalDone(Operation, Outcome),
    /// A write of the metadata ended.
    MetadataWritten(u64, Outcome),
    /// Time passes.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read this range into the request's buffer.
    ReadLocal(Operation, Range),
    /// Write the request's buffer.
    WriteLocal(Operation, Range),
    /// Discard the range.
    DeleteLocal(Operation, Range),
    /// Flush the component.
    FlushLocal(Operation),
    /// Answer the request; after a successful read with the buffer's content.
    Reply {
        /// Which request.
        id: u64,
        /// Only the early acknowledgement: the ordinary answer follows.
        received: bool,
        /// How it went.
        outcome: Outcome,
    },
    /// Clear the activemap on the disk: the primary has merged it. Nothing waits for it.
    ClearMap,
    /// Write the metadata, durably, and say [`Event::MetadataWritten`].
    WriteMetadata(u64, Box<Metadata>),
    /// End the connection: what is to be answered cannot be stored.
    Disconnect,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its range, or for a flush what came before.
    Waiting,
    /// The disk.
    Running,
    /// The record to say that the copy lacks something, after the write failed with this.
    Marking(Revision, Errno),
}

#[derive(Debug)]
struct Pending {
    request: Request,
    stage: Stage,
}

/// A note being carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// What came before it.
    Waiting,
    /// A flush: what somebody is about to rely on must be durable.
    Flushing,
    /// Its record.
    Storing(Revision),
}

#[derive(Debug, Clone)]
struct Noting {
    id: u64,
    note: PeerNote,
    step: Step,
}

/// How the primary is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// It knows neither records nor points: what the meeting decided is on the disk already.
    Base,
    /// Both speak the extension: nothing is stored before the primary tells a point.
    Extended,
}

/// What is known of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// A point was made in this connection.
    pub met: bool,
    /// The primary has said that both are complete and the same, and nothing else since.
    pub equal: bool,
    /// The primary lacks something, and relies on this copy.
    pub leads: bool,
}

/// A secondary with one connection; it ends with it.
#[derive(Debug)]
pub struct Secondary {
    metadata: MetadataLog,
    dialect: Dialect,
    lock: RangeLock<u64>,
    pending: BTreeMap<u64, Pending>,
    /// Those of `pending` a later flush has to wait for.
    unflushed: BTreeSet<u64>,
    flushes: VecDeque<u64>,
    noting: Option<Noting>,
    /// What arrived behind a note.
    held: VecDeque<Event>,
    map_cleared: bool,
    sight: Sight,
    /// Changes answered with an error, or about to be.
    failures: u64,
    ended: bool,
}

/// The owner number of the flush before a point.
const POINT: u64 = 0;

impl Secondary {
    /// A secondary whose metadata is what the meeting decided on; see [`Dialect`] for what of it is stored.
    pub fn new(metadata: Metadata, dialect: Dialect) -> Self {
        Self {
            metadata: MetadataLog::new(metadata),
            dialect,
            lock: RangeLock::default(),
            pending: BTreeMap::new(),
            unflushed: BTreeSet::new(),
            flushes: VecDeque::new(),
            noting: None,
            held: VecDeque::new(),
            map_cleared: false,
            sight: Sight::default(),
            failures: 0,
            ended: false,
        }
    }

    /// The metadata as it should be on the disk.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.get()
    }

    /// What is known of the two copies; of a base primary's nothing.
    pub const fn sight(&self) -> Sight {
        self.sight
    }

    /// How many requests are unanswered.
    pub fn requests(&self) -> usize {
        self.pending.len() + self.held.len()
    }

    /// Takes note of what happened and says what to do.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Received { .. } | Event::Note(..) if self.ended => {}
            Event::Received { .. } | Event::Note(..) if self.noting.is_some() => {
                self.held.push_back(event);
            }
            Event::Received { request, memsync } => self.received(request, memsync, actions),
            Event::Note(id, note) => {
                assert!(
                    self.dialect == Dialect::Extended,
                    "a note comes only from a primary that speaks the extension"
                );
                let step = Step::Waiting;
                self.noting = Some(Noting { id, note, step });
            }
            Event::LocalDone(operation, outcome) => self.local_done(operation, outcome, actions),
            Event::MetadataWritten(ticket, outcome) => {
                let written = self.metadata.written(ticket, outcome);
                self.metadata_written(written, actions);
            }
            Event::Tick => {}
        }
        self.begin_flushes(actions);
        self.begin_noting(actions);
        if let Some((ticket, metadata)) = self.metadata.next_write() {
            actions.push(Action::WriteMetadata(ticket, Box::new(metadata)));
        }
    }

    fn received(&mut self, request: Request, memsync: bool, actions: &mut Vec<Action>) {
        // A base primary has merged our map once it sends something; ours says so by a point.
        if self.dialect == Dialect::Base {
            self.clear_map(actions);
        }
        if memsync && request.command == Command::Write {
            actions.push(Action::Reply {
                id: request.id,
                received: true,
                outcome: Ok(()),
            });
        }
        self.pending.insert(
            request.id,
            Pending {
                request,
                stage: Stage::Waiting,
            },
        );
        if request.command == Command::Flush {
            self.flushes.push_back(request.id);
            return;
        }
        self.unflushed.insert(request.id);
        if self.lock.acquire(request.range, request.id) {
            self.run(request.id, actions);
        }
    }

    fn run(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        pending.stage = Stage::Running;
        let range = pending.request.range;
        let operation = Operation {
            owner: Owner::Request(id),
            part: 0,
        };
        actions.push(match pending.request.command {
            Command::Read => Action::ReadLocal(operation, range),
            Command::Write => Action::WriteLocal(operation, range),
            Command::Delete => Action::DeleteLocal(operation, range),
            Command::Flush => Action::FlushLocal(operation),
        });
    }

    fn clear_map(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.map_cleared, true) {
            actions.push(Action::ClearMap);
        }
    }

    fn local_done(&mut self, operation: Operation, outcome: Outcome, actions: &mut Vec<Action>) {
        let id = match operation.owner {
            Owner::Engine(_) => return self.flushed_for_point(outcome, actions),
            Owner::Request(id) => id,
        };
        let pending = self
            .pending
            .get_mut(&id)
            .expect("a request is pending until it is finished");
        match outcome {
            Err(errno) if pending.request.command.mutates() => {
                self.failures += 1;
                if self.sight.leads {
                    // The primary relies on this copy, and acknowledges nothing that failed here: were this one
                    // marked, too, neither could be promoted.
                    return self.finish(id, Err(errno), actions);
                }
                // The primary may be gone before it hears of this: our own disk has to say it.
                let revision = self
                    .metadata
                    .change(|metadata| metadata.record.lacks = true);
                pending.stage = Stage::Marking(revision, errno);
                if self.metadata.is_durable(revision) {
                    self.finish(id, Err(errno), actions);
                }
            }
            _ => self.finish(id, outcome, actions),
        }
    }

    fn finish(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        if !self.ended {
            actions.push(Action::Reply {
                id,
                received: false,
                outcome,
            });
        }
        self.forget(id, actions);
    }

    fn forget(&mut self, id: u64, actions: &mut Vec<Action>) {
        let pending = self
            .pending
            .remove(&id)
            .expect("a request is finished once");
        if pending.request.command == Command::Flush {
            return;
        }
        self.unflushed.remove(&id);
        for next in self.lock.release(pending.request.range) {
            self.run(next, actions);
        }
    }

    fn begin_flushes(&mut self, actions: &mut Vec<Action>) {
        while let Some(&id) = self.flushes.front() {
            if self.unflushed.first().is_some_and(|earlier| *earlier < id) {
                return;
            }
            self.flushes.pop_front();
            self.run(id, actions);
        }
    }

    /// Carries out a note once it is alone, then lets in what arrived behind it.
    fn begin_noting(&mut self, actions: &mut Vec<Action>) {
        let Some(noting) = &mut self.noting else {
            return;
        };
        if noting.step != Step::Waiting || !self.pending.is_empty() {
            return;
        }
        match &noting.note {
            PeerNote::Point(told) if is_premature(told, self.failures) => {
                self.noted(Err(Errno::EIO), actions);
            }
            PeerNote::Point(told) if told.note.leads => {
                noting.step = Step::Flushing;
                actions.push(Action::FlushLocal(Operation {
                    owner: Owner::Engine(POINT),
                    part: 0,
                }));
            }
            PeerNote::Point(_) | PeerNote::Lacking => self.store_note(actions),
        }
    }

    fn flushed_for_point(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        match outcome {
            // No volatile cache, nothing to flush.
            Ok(()) | Err(Errno::EOPNOTSUPP) => self.store_note(actions),
            Err(_) => self.noted(outcome, actions),
        }
    }

    fn store_note(&mut self, actions: &mut Vec<Action>) {
        let Some(noting) = &mut self.noting else {
            return;
        };
        let revision = self.metadata.change(|metadata| match &noting.note {
            PeerNote::Lacking => metadata.record.lacks = true,
            PeerNote::Point(told) => {
                metadata.record = points::store(&metadata.record, &told.note);
                if told.note.copy == Copy::Full {
                    metadata.localcnt = told.remotecnt;
                    metadata.remotecnt = told.localcnt;
                }
            }
        });
        noting.step = Step::Storing(revision);
        if self.metadata.is_durable(revision) {
            self.noted(Ok(()), actions);
        }
    }

    fn noted(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(Noting { id, note, .. }) = self.noting.take() else {
            return;
        };
        match (note, outcome) {
            (PeerNote::Point(told), Ok(())) => {
                let leads = told.note.leads;
                self.sight = Sight {
                    met: true,
                    equal: match told.note.copy {
                        Copy::Full => true,
                        Copy::Unchanged => self.sight.equal && !leads,
                        Copy::Lacking => false,
                    },
                    leads,
                };
                // The primary has merged it before it told the point.
                self.clear_map(actions);
            }
            (PeerNote::Lacking, Ok(())) => self.sight.equal = false,
            (_, Err(_)) => {}
        }
        actions.push(Action::Reply {
            id,
            received: false,
            outcome,
        });
        for event in std::mem::take(&mut self.held) {
            self.handle(event, actions);
        }
    }

    fn metadata_written(&mut self, written: Written, actions: &mut Vec<Action>) {
        let reached = match written {
            Written::Durable(reached) => reached,
            Written::Failed(_) => return self.end(actions),
        };
        let marked: Vec<(u64, Errno)> = self
            .pending
            .iter()
            .filter_map(|(id, pending)| match pending.stage {
                Stage::Marking(revision, errno) if revision <= reached => Some((*id, errno)),
                _ => None,
            })
            .collect();
        for (id, errno) in marked {
            self.finish(id, Err(errno), actions);
        }
        let stored = self.noting.as_ref().is_some_and(
            |noting| matches!(noting.step, Step::Storing(revision) if revision <= reached),
        );
        if stored {
            self.noted(Ok(()), actions);
        }
    }

    /// What was to be answered cannot be stored: nothing is answered any more. What is under way on the disk
    /// ends by itself.
    fn end(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.ended, true) {
            actions.push(Action::Disconnect);
        }
        self.noting = None;
        self.held.clear();
        let marking = |pending: &Pending| matches!(pending.stage, Stage::Marking(..));
        let over: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| marking(pending))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.forget(id, actions);
        }
    }
}

/// Whether the primary says that both are complete, or that it relies on this copy, not knowing yet of a change
/// that failed here.
fn is_premature(told: &Told, failures: u64) -> bool {
    (told.note.copy == Copy::Full || told.note.leads) && told.failures != failures
}
