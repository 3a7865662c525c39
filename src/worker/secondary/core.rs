//! What a secondary's lock guards: the engine, and the data of the requests it has.
//!
//! Turns the engine's actions into work for whoever holds no lock. Never does I/O. Invariant: a
//! request's data is either here or with the one task that uses it.

use std::collections::HashMap;

use super::arrivals::Arrival;
use crate::engine::secondary::{Action, Dialect, Event, Sight};
use crate::engine::{self, Operation, Owner};
use crate::layout::Metadata;
use crate::wire::request::PeerReply;
use crate::worker::local::{Content, Ended, Space, Task};
use crate::worker::outbox::{Message, Outbox, Payload};

/// What the lock guards.
pub struct Core {
    engine: engine::Secondary,
    taken: HashMap<u64, Taken>,
    actions: Vec<Action>,
}

/// A request, and where its data is.
pub struct Taken {
    /// The primary's number.
    pub seq: u64,
    /// What belongs to it.
    pub data: Data,
}

/// The data of a request.
pub enum Data {
    /// None.
    None,
    /// What a write stores.
    Content(Content),
    /// Where a read puts what it finds; filled, it is what is answered.
    Space(Space),
}

/// What is to be done without the lock.
#[derive(Default)]
pub struct Work {
    /// Something was queued for the primary.
    pub sends: bool,
    /// Things to be done on the component.
    pub tasks: Vec<Task>,
    /// The connection is to end: what is to be answered cannot be stored.
    pub disconnect: bool,
}

impl Core {
    /// Around a new engine.
    pub fn new(metadata: Metadata, dialect: Dialect) -> Self {
        Self {
            engine: engine::Secondary::new(metadata, dialect),
            taken: HashMap::new(),
            actions: Vec::new(),
        }
    }

    /// How many requests are unanswered.
    pub fn requests(&self) -> usize {
        self.engine.requests()
    }

    /// The metadata as it should be on the disk.
    pub fn metadata(&self) -> &Metadata {
        self.engine.metadata()
    }

    /// What is known of the two copies.
    pub fn sight(&self) -> Sight {
        self.engine.sight()
    }

    /// Takes a request that arrived.
    pub fn take(&mut self, arrival: Arrival, outbox: &Outbox, work: &mut Work) {
        self.taken.insert(arrival.id, arrival.taken);
        self.step(arrival.event, outbox, work);
    }

    /// Tells the engine how a task ended.
    pub fn ended(&mut self, ended: Ended, outbox: &Outbox, work: &mut Work) {
        let event = match ended {
            Ended::Read(operation, _, space, outcome) => {
                if let Some(taken) = self.taken_of(operation) {
                    taken.data = Data::Space(space);
                }
                Event::LocalDone(operation, outcome)
            }
            Ended::Operation(operation, outcome) => Event::LocalDone(operation, outcome),
            Ended::Metadata(ticket, outcome) => Event::MetadataWritten(ticket, outcome),
            // A secondary's map is only ever cleared, and nobody waits for that.
            Ended::Map(..) | Ended::Nothing => return,
        };
        self.step(event, outbox, work);
    }

    fn taken_of(&mut self, operation: Operation) -> Option<&mut Taken> {
        match operation.owner {
            Owner::Request(id) => self.taken.get_mut(&id),
            Owner::Engine(_) => None,
        }
    }

    /// Tells the engine something, and turns what it wants into work.
    pub fn step(&mut self, event: Event, outbox: &Outbox, work: &mut Work) {
        let mut actions = std::mem::take(&mut self.actions);
        self.engine.handle(event, &mut actions);
        for action in actions.drain(..) {
            self.act(action, outbox, work);
        }
        self.actions = actions;
    }

    fn act(&mut self, action: Action, outbox: &Outbox, work: &mut Work) {
        match action {
            Action::ReadLocal(operation, range) => {
                let taken = self
                    .taken_of(operation)
                    .expect("a read waits for its answer");
                match std::mem::replace(&mut taken.data, Data::None) {
                    Data::Space(space) => work.tasks.push(Task::Read(operation, range, space)),
                    Data::None | Data::Content(_) => unreachable!("a read came with its buffer"),
                }
            }
            Action::WriteLocal(operation, range) => {
                let taken = self
                    .taken_of(operation)
                    .expect("a write waits for its answer");
                match std::mem::replace(&mut taken.data, Data::None) {
                    Data::Content(content) => {
                        work.tasks.push(Task::Write(operation, range, content));
                    }
                    Data::None | Data::Space(_) => unreachable!("a write came with its data"),
                }
            }
            Action::DeleteLocal(operation, range) => {
                work.tasks.push(Task::Delete(operation, range));
            }
            Action::FlushLocal(operation) => work.tasks.push(Task::Flush(operation)),
            Action::Reply {
                id,
                received,
                outcome,
            } => {
                if let Some(message) = self.reply(id, received, outcome) {
                    outbox.put(message);
                    work.sends = true;
                }
            }
            Action::ClearMap => work.tasks.push(Task::ClearMap),
            Action::WriteMetadata(ticket, metadata) => {
                work.tasks.push(Task::Metadata(ticket, metadata));
            }
            Action::Disconnect => work.disconnect = true,
        }
    }

    fn reply(&mut self, id: u64, received: bool, outcome: engine::Outcome) -> Option<Message> {
        if received {
            let seq = self.taken.get(&id)?.seq;
            return Some(Message::Reply(
                PeerReply {
                    seq,
                    received,
                    error: None,
                },
                Payload::None,
            ));
        }
        let Taken { seq, data } = self.taken.remove(&id)?;
        let error = outcome.err();
        let payload = match data {
            Data::Space(Space::Pooled(buffer)) if error.is_none() => Payload::Own(buffer),
            _ => Payload::None,
        };
        Some(Message::Reply(
            PeerReply {
                seq,
                received,
                error,
            },
            payload,
        ))
    }
}
