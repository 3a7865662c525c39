//! What a primary's lock guards: the engine, and the data of what it has under way.
//!
//! Turns the engine's actions into work for whoever holds no lock. Never does I/O. Invariants: a
//! buffer is either here or with the one thread that fills it, or it is shared and nobody changes it; what
//! is sent is queued in the engine's order, because it is queued under the lock.

use std::collections::HashMap;
use std::sync::Arc;

use nix::errno::Errno;

use crate::control::Permit;
use crate::engine::primary::{Action, DisconnectReason, Event, Hello, Notice, Primary};
use crate::engine::{Command, Operation, Owner, Range, Request};
use crate::provider::{self, Buffer, BufferPool, Completion, ProviderRequest};
use crate::wire::request::{PeerCommand, PeerRequest};
use crate::worker::local::{Content, Ended, Space, Task};
use crate::worker::notes;
use crate::worker::outbox::{Message, Outbox, Payload};
use crate::worker::unanswered::Unanswered;

/// The data of a request or of a piece of a synchronisation.
#[derive(Debug)]
enum Data {
    /// None needed, or on its way.
    None,
    /// Zeros to be written.
    Zeroes,
    /// A buffer to be filled, or just filled.
    Own(Buffer),
    /// A buffer being written, here or at the peer.
    Shared(Arc<Buffer>),
}

/// What an owner of operations has.
#[derive(Debug)]
struct Held {
    range: Range,
    data: Data,
    completion: Option<Completion>,
}

/// A read that the peer was asked for.
#[derive(Debug, Clone, Copy)]
pub struct PeerRead {
    /// The operation.
    pub operation: Operation,
    /// What it reads.
    pub range: Range,
}

/// What is to be done without the lock, in this order.
#[derive(Debug, Default)]
pub struct Work {
    /// Something was queued for the peer.
    pub sends: bool,
    /// Requests to be answered.
    pub completions: Vec<(Completion, Result<Option<Buffer>, Errno>)>,
    /// Things to be done on the component.
    pub tasks: Vec<Task>,
    /// Things that ended without being done.
    pub ended: Vec<Ended>,
    /// Something was released.
    pub released: bool,
    /// What the second message of the handshake says.
    pub hello: Option<Box<Hello>>,
    /// The connection is to be closed.
    pub disconnect: Option<DisconnectReason>,
    /// Things to be told.
    pub notices: Vec<Notice>,
    /// The engine has finished.
    pub stopped: bool,
}

/// What the lock guards.
#[derive(Debug)]
pub struct Core {
    engine: Primary,
    held: HashMap<Owner, Held>,
    /// By message number.
    reads: HashMap<u64, PeerRead>,
    /// Messages that the peer has not answered.
    pub unanswered: Unanswered,
    next_id: u64,
    copies: BufferPool,
    actions: Vec<Action>,
    permit: Permit,
    /// What the engine was told of it.
    permitted: bool,
}

impl Core {
    /// Around a new engine; pieces of synchronisations take their buffers from `copies`. The size of a
    /// sector is in bytes.
    pub fn new(engine: Primary, copies: BufferPool, sector_size: u32, permit: Permit) -> Self {
        Self {
            engine,
            held: HashMap::new(),
            reads: HashMap::new(),
            unanswered: Unanswered::new(sector_size),
            next_id: 0,
            copies,
            actions: Vec::new(),
            permit,
            permitted: true,
        }
    }

    /// What may be acknowledged alone, from here on.
    pub fn permit(&mut self, permit: Permit, outbox: &Outbox, work: &mut Work) {
        self.permit = permit;
        self.permitted = permit.holds();
        self.step(Event::Permit(self.permitted), outbox, work);
    }

    /// What may be acknowledged alone.
    pub fn permit_in_force(&self) -> Permit {
        self.permit
    }

    /// The engine, to be asked for its status.
    pub fn engine(&self) -> &Primary {
        &self.engine
    }

    /// Requests, and pieces of synchronisations, whose data is kept.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Sends the peer something, nothing else being sent.
    pub fn break_silence(&mut self, outbox: &Outbox) {
        let together = self.engine.status().connected;
        let request = self.unanswered.break_silence(together);
        outbox.put(Message::Request(request, Payload::None));
    }

    /// Takes a request from the provider.
    pub fn submit(
        &mut self,
        command: Command,
        request: ProviderRequest,
        outbox: &Outbox,
        work: &mut Work,
    ) {
        let ProviderRequest {
            command: asked,
            offset,
            length,
            data,
            completion,
        } = request;
        let range = Range::new(offset, u64::from(length));
        let data = match (asked, data) {
            (provider::Command::Zeroes, _) => Data::Zeroes,
            (_, Some(buffer)) => Data::Own(buffer),
            (_, None) => Data::None,
        };
        let id = self.next_id;
        self.next_id += 1;
        let held = Held {
            range,
            data,
            completion: Some(completion),
        };
        self.held.insert(Owner::Request(id), held);
        self.step(Event::Submit(Request { id, command, range }), outbox, work);
    }

    /// Tells the engine how a task ended.
    pub fn ended(&mut self, ended: Ended, outbox: &Outbox, work: &mut Work) {
        let event = match ended {
            Ended::Read(operation, range, space, outcome) => {
                self.give_back(operation.owner, range, space);
                Event::LocalDone(operation, outcome)
            }
            Ended::Operation(operation, outcome) => Event::LocalDone(operation, outcome),
            Ended::Map(ticket, outcome) => Event::MapWritten(ticket, outcome),
            Ended::Metadata(ticket, outcome) => Event::MetadataWritten(ticket, outcome),
            Ended::Nothing => return,
        };
        self.step(event, outbox, work);
    }

    /// Tells the engine something, and turns what it wants into work.
    pub fn step(&mut self, event: Event, outbox: &Outbox, work: &mut Work) {
        match &event {
            Event::Reply { received, .. } => self.unanswered.answered(*received),
            Event::Disconnected => {
                outbox.close();
                self.reads.clear();
                self.unanswered.lost();
            }
            _ => {}
        }
        let mut actions = std::mem::take(&mut self.actions);
        // At each step: a permit ends at its moment, not at the next tick.
        if self.permitted && !self.permit.holds() {
            self.permitted = false;
            self.engine.handle(Event::Permit(false), &mut actions);
        }
        self.engine.handle(event, &mut actions);
        for action in actions.drain(..) {
            self.act(action, outbox, work);
        }
        self.actions = actions;
    }

    /// The read that an answer is for; it counts as answered from here on.
    pub fn answered_read(&mut self, seq: u64) -> Option<PeerRead> {
        self.reads.remove(&seq)
    }

    /// Where the data of a read goes; `None` if its owner has no buffer for it here.
    pub fn space_for(&mut self, owner: Owner, range: Range) -> Option<Space> {
        let held = self.held.get_mut(&owner)?;
        if held.range != range {
            return Some(Space::Scratch(vec![0; range.length as usize]));
        }
        match std::mem::replace(&mut held.data, Data::None) {
            Data::Own(buffer) => Some(Space::Pooled(buffer)),
            other => {
                held.data = other;
                None
            }
        }
    }

    /// Takes the data of a read back, whether it is any good or not.
    pub fn give_back(&mut self, owner: Owner, range: Range, space: Space) {
        match space {
            Space::Pooled(buffer) => {
                let held = Held {
                    range,
                    data: Data::None,
                    completion: None,
                };
                self.held.entry(owner).or_insert(held).data = Data::Own(buffer);
            }
            Space::Scratch(bytes) => {
                let Some(held) = self.held.get_mut(&owner) else {
                    return;
                };
                let start = (range.offset - held.range.offset) as usize;
                if let Data::Own(buffer) = &mut held.data {
                    buffer[start..start + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }

    fn act(&mut self, action: Action, outbox: &Outbox, work: &mut Work) {
        match action {
            Action::ReadLocal(operation, range) => match self.space_to_read(operation, range) {
                Some(space) => work.tasks.push(Task::Read(operation, range, space)),
                None => work
                    .ended
                    .push(Ended::Operation(operation, Err(Errno::ENOMEM))),
            },
            Action::WriteLocal(operation, range) => {
                let content = self.content(operation.owner, range);
                work.tasks.push(Task::Write(operation, range, content));
            }
            Action::DeleteLocal(operation, range) => {
                work.tasks.push(Task::Delete(operation, range));
            }
            Action::FlushLocal(operation) => work.tasks.push(Task::Flush(operation)),
            Action::Send {
                seq,
                operation,
                command,
                range,
                memsync,
            } => {
                let message = self.request(seq, operation, command, range, memsync);
                self.send(message, outbox, work);
            }
            Action::Tell { seq, note } => {
                let message = Message::Note(notes::to_wire(seq, note));
                self.send(message, outbox, work);
            }
            Action::WriteMap(ticket, sectors) => work.tasks.push(Task::Map(ticket, sectors)),
            Action::WriteMetadata(ticket, metadata) => {
                work.tasks.push(Task::Metadata(ticket, metadata));
            }
            Action::Complete(id, outcome) => self.complete(id, outcome, work),
            Action::Release(owner) => {
                self.held.remove(&owner);
                work.released = true;
            }
            Action::Hello(hello) => work.hello = Some(hello),
            Action::Disconnect(reason) => work.disconnect = Some(reason),
            Action::Notice(notice) => work.notices.push(notice),
            Action::Stopped => work.stopped = true,
        }
    }

    fn space_to_read(&mut self, operation: Operation, range: Range) -> Option<Space> {
        match operation.owner {
            Owner::Request(_) => self.space_for(operation.owner, range),
            // The window bounds what is under way, and the pool holds more than the window.
            Owner::Engine(_) => {
                let buffer = self
                    .copies
                    .try_acquire(range.length as usize)
                    .ok()
                    .flatten();
                buffer.map(Space::Pooled)
            }
        }
    }

    fn content(&mut self, owner: Owner, range: Range) -> Content {
        let held = self
            .held
            .get_mut(&owner)
            .expect("a write has its data until it is released");
        if matches!(held.data, Data::Zeroes) {
            return Content::Zeroes;
        }
        let start = (range.offset - held.range.offset) as usize;
        Content::Bytes(held.share(), start)
    }

    fn request(
        &mut self,
        seq: u64,
        operation: Operation,
        command: Command,
        range: Range,
        memsync: bool,
    ) -> Message {
        let (command, payload) = match command {
            Command::Read => {
                self.reads.insert(seq, PeerRead { operation, range });
                (PeerCommand::Read, Payload::None)
            }
            Command::Write => (
                PeerCommand::Write,
                match self.content(operation.owner, range) {
                    Content::Zeroes => Payload::Zeroes(range.length as u32),
                    Content::Bytes(buffer, start) => {
                        Payload::Shared(buffer, start..start + range.length as usize)
                    }
                },
            ),
            Command::Delete => (PeerCommand::Delete, Payload::None),
            Command::Flush => (PeerCommand::Flush, Payload::None),
        };
        let Range { offset, length } = range;
        Message::Request(
            PeerRequest {
                command,
                seq,
                offset,
                length,
                memsync,
            },
            payload,
        )
    }

    fn send(&mut self, message: Message, outbox: &Outbox, work: &mut Work) {
        self.unanswered.sent();
        outbox.put(message);
        work.sends = true;
    }

    fn complete(&mut self, id: u64, outcome: Result<(), Errno>, work: &mut Work) {
        let Some(held) = self.held.get_mut(&Owner::Request(id)) else {
            return;
        };
        let Some(completion) = held.completion.take() else {
            return;
        };
        let result = outcome.map(|()| match std::mem::replace(&mut held.data, Data::None) {
            Data::Own(buffer) => Some(buffer),
            other => {
                held.data = other;
                None
            }
        });
        work.completions.push((completion, result));
    }
}

impl Held {
    /// The buffer, which nobody changes from here on.
    fn share(&mut self) -> Arc<Buffer> {
        let shared = match std::mem::replace(&mut self.data, Data::None) {
            Data::Own(buffer) => Arc::new(buffer),
            Data::Shared(buffer) => buffer,
            Data::None | Data::Zeroes => unreachable!("a write has its data"),
        };
        self.data = Data::Shared(shared.clone());
        shared
    }
}

/// What the engine is asked where a provider asks this.
pub const fn command_of(command: provider::Command) -> Command {
    match command {
        provider::Command::Read => Command::Read,
        provider::Command::Write | provider::Command::Zeroes => Command::Write,
        provider::Command::Delete => Command::Delete,
        provider::Command::Flush => Command::Flush,
    }
}
