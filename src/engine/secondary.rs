//! The secondary: does what the primary sends, in an order that keeps changes to one byte apart,
//! makes flushes cover what came before them, and keeps the inconsistent mark true.
//!
//! Never does I/O, never acknowledges what its disk has not taken (but for `received`, which says
//! only that the data is in memory). Invariants: overlapping operations run in the order of their
//! arrival; a flush begins after everything received before it has ended; a state message is alone.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nix::errno::Errno;

use super::metadata_log::{Generation, MetadataLog, Written};
use super::range_lock::RangeLock;
use super::{Command, Operation, Outcome, Owner, PeerState, Range, Request};
use crate::layout::{Inconsistent, Metadata};

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A request arrived; its `id` grows with every arrival.
    Received {
        /// The request.
        request: Request,
        /// An early acknowledgement is wanted.
        memsync: bool,
    },
    /// A state message arrived; numbered like requests.
    State {
        /// Its number.
        id: u64,
        /// What the primary says.
        state: PeerState,
        /// The primary's counter, or what ours is to be raised to.
        localcnt: u64,
        /// Our counter as the primary knows it.
        remotecnt: u64,
    },
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
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its range, or for a flush what came before.
    Waiting,
    /// The disk.
    Running,
    /// The inconsistent mark, after its write failed with this.
    Marking(Generation, Errno),
}

#[derive(Debug)]
struct Pending {
    request: Request,
    stage: Stage,
}

/// A state message being carried out.
#[derive(Debug, Clone, Copy)]
struct StateChange {
    id: u64,
    state: PeerState,
    localcnt: u64,
    remotecnt: u64,
    /// Set once it is alone and its write has begun.
    generation: Option<Generation>,
}

/// A secondary with one connection; it ends with it.
#[derive(Debug)]
pub struct Secondary {
    metadata: MetadataLog,
    lock: RangeLock<u64>,
    pending: BTreeMap<u64, Pending>,
    /// Those of `pending` a later flush has to wait for.
    unflushed: BTreeSet<u64>,
    flushes: VecDeque<u64>,
    state: Option<StateChange>,
    /// What arrived behind a state message.
    held: VecDeque<Event>,
    map_cleared: bool,
    /// What the primary said last of the two copies, in this connection.
    told: Option<PeerState>,
    /// A write failed here that the primary may not know of yet when it says that all is well.
    failed: bool,
    /// The inconsistent mark was asked for and could not be stored: nothing may be changed without it.
    unmarked: bool,
}

impl Secondary {
    /// A secondary whose metadata (already on the disk) says what the handshake agreed on.
    pub fn new(metadata: Metadata) -> Self {
        Self {
            metadata: MetadataLog::new(metadata),
            lock: RangeLock::default(),
            pending: BTreeMap::new(),
            unflushed: BTreeSet::new(),
            flushes: VecDeque::new(),
            state: None,
            held: VecDeque::new(),
            map_cleared: false,
            told: None,
            failed: false,
            unmarked: false,
        }
    }

    /// The metadata as it should be on the disk.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.get()
    }

    /// What the primary said last of the two copies in this connection; base's says nothing.
    pub const fn told(&self) -> Option<PeerState> {
        self.told
    }

    /// How many requests are unanswered.
    pub fn requests(&self) -> usize {
        self.pending.len() + self.held.len()
    }

    /// Takes note of what happened and says what to do.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Received { .. } | Event::State { .. } if self.state.is_some() => {
                self.held.push_back(event);
            }
            Event::Received { request, memsync } => self.received(request, memsync, actions),
            Event::State {
                id,
                state,
                localcnt,
                remotecnt,
            } => {
                self.state = Some(StateChange {
                    id,
                    state,
                    localcnt,
                    remotecnt,
                    generation: None,
                });
            }
            Event::LocalDone(operation, outcome) => self.local_done(operation, outcome, actions),
            Event::MetadataWritten(ticket, outcome) => {
                let written = self.metadata.written(ticket, outcome);
                self.metadata_written(written, actions);
            }
            Event::Tick => self.metadata.retry(),
        }
        self.begin_flushes(actions);
        self.begin_state(actions);
        if let Some((ticket, metadata)) = self.metadata.next_write() {
            actions.push(Action::WriteMetadata(ticket, Box::new(metadata)));
        }
    }

    fn received(&mut self, request: Request, memsync: bool, actions: &mut Vec<Action>) {
        if self.unmarked && request.command.mutates() {
            actions.push(Action::Reply {
                id: request.id,
                received: false,
                outcome: Err(Errno::EIO),
            });
            return;
        }
        if !self.map_cleared {
            self.map_cleared = true;
            actions.push(Action::ClearMap);
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

    fn local_done(&mut self, operation: Operation, outcome: Outcome, actions: &mut Vec<Action>) {
        let Owner::Request(id) = operation.owner else {
            return;
        };
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        match outcome {
            Err(errno) if pending.request.command.mutates() => {
                // The primary may be gone before it hears of this: our own disk has to say it.
                self.failed = true;
                let generation = self
                    .metadata
                    .change(|metadata| metadata.inconsistent = Some(Inconsistent::Unmapped));
                pending.stage = Stage::Marking(generation, errno);
                if self.metadata.is_durable(generation) {
                    self.finish(id, Err(errno), actions);
                }
            }
            _ => self.finish(id, outcome, actions),
        }
    }

    fn finish(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        actions.push(Action::Reply {
            id,
            received: false,
            outcome,
        });
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

    /// Carries out a state message once it is alone, then lets in what arrived behind it.
    fn begin_state(&mut self, actions: &mut Vec<Action>) {
        let Some(change) = self.state else { return };
        if change.generation.is_some() || !self.pending.is_empty() {
            return;
        }
        if change.state == PeerState::Consistent && self.failed {
            return self.state_done(Err(Errno::EIO), actions);
        }
        if change.state == PeerState::Inconsistent {
            self.failed = false;
        }
        let generation = self.metadata.change(|metadata| match change.state {
            PeerState::Consistent => {
                metadata.inconsistent = None;
                metadata.localcnt = change.remotecnt;
                metadata.remotecnt = change.localcnt;
            }
            PeerState::Inconsistent => metadata.inconsistent = Some(Inconsistent::Unmapped),
            PeerState::Ahead => metadata.localcnt = metadata.localcnt.max(change.localcnt),
        });
        if self.metadata.is_durable(generation) {
            self.state_done(Ok(()), actions);
        } else {
            self.state = Some(StateChange {
                generation: Some(generation),
                ..change
            });
        }
    }

    fn state_done(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(change) = self.state.take() else {
            return;
        };
        if outcome.is_ok() {
            self.told = Some(change.state);
        }
        if change.state == PeerState::Inconsistent {
            self.unmarked = outcome.is_err();
        }
        actions.push(Action::Reply {
            id: change.id,
            received: false,
            outcome,
        });
        for event in std::mem::take(&mut self.held) {
            self.handle(event, actions);
        }
    }

    fn metadata_written(&mut self, written: Written, actions: &mut Vec<Action>) {
        let (reached, outcome) = match written {
            Written::Durable(generation) => (generation, Ok(())),
            Written::Failed(generation) => (generation, Err(Errno::EIO)),
        };
        let marked: Vec<(u64, Errno)> = self
            .pending
            .iter()
            .filter_map(|(id, pending)| match pending.stage {
                Stage::Marking(generation, errno) if generation <= reached => Some((*id, errno)),
                _ => None,
            })
            .collect();
        for (id, errno) in marked {
            self.finish(id, Err(errno), actions);
        }
        if self
            .state
            .is_some_and(|change| change.generation.is_some_and(|g| g <= reached))
        {
            self.state_done(outcome, actions);
        }
    }
}
