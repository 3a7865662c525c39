//! What the primary asks: taken from the first connection, checked, and told to the engine.
//!
//! Invariants: a write's data is whole, and its checksum right, before the engine hears of it; a
//! request that is not within the device ends the connection; nobody waits for a buffer while
//! holding back requests whose end would free one.

use std::sync::Arc;

use super::Secondary;
use super::core::{Data, Taken};
use crate::engine::secondary::Event;
use crate::engine::{Command, Range, Request};
use crate::provider::{Buffer, BufferError};
use crate::terms::Compression;
use crate::wire::payload::PayloadFields;
use crate::wire::request::{Incoming, PeerCommand, PeerRequest, RecordRequest, RequestError};
use crate::worker::inbox::{Inbox, InboxError};
use crate::worker::local::{Content, Space};
use crate::worker::notes;

/// Requests told to the engine at once, at most: beyond, those that wait for them would wait longer
/// than it saves.
const BATCH: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// By itself, or for what came.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// A request that makes no sense.
    #[error("the primary sent a bad request: {0}")]
    Request(#[from] RequestError),
    /// A note, though the two did not agree on the extension.
    #[error(
        "the primary sent a request of our extension, though it does not speak it: it is damaged or forged"
    )]
    Unexpected,
    /// The worker is ending.
    #[error("the worker is ending: {0}")]
    Buffer(#[from] BufferError),
}

/// A request as it came, its data in place.
pub struct Arrival {
    /// Grows with every request.
    pub id: u64,
    /// What the engine hears.
    pub event: Event,
    /// What belongs to it.
    pub(super) taken: Taken,
}

/// The receiving side.
pub struct Arrivals<'a> {
    secondary: &'a Secondary,
    inbox: Inbox,
    arrived: Vec<Arrival>,
    next_id: u64,
}

impl<'a> Arrivals<'a> {
    /// Nothing received yet.
    pub(super) fn new(secondary: &'a Secondary, inbox: Inbox) -> Self {
        Self {
            secondary,
            inbox,
            arrived: Vec::with_capacity(BATCH),
            next_id: 1,
        }
    }

    /// Receives until the connection ends; says why it did.
    pub fn receive(mut self) -> ReceiveError {
        loop {
            let received = self.next();
            if received.is_err() || self.arrived.len() >= BATCH || !self.inbox.has_more() {
                self.hand_over();
            }
            if let Err(error) = received {
                return error;
            }
        }
    }

    fn hand_over(&mut self) {
        if !self.arrived.is_empty() {
            self.secondary.take(&mut self.arrived);
        }
    }

    fn next(&mut self) -> Result<(), ReceiveError> {
        match Incoming::decode(self.inbox.head()?.nv)? {
            Incoming::Record(request) if self.secondary.extension => self.note(request),
            Incoming::Record(_) => return Err(ReceiveError::Unexpected),
            Incoming::Request(request, payload) => self.request(request, &payload)?,
        }
        Ok(())
    }

    fn note(&mut self, request: RecordRequest) {
        let id = self.take_id();
        let (seq, note) = notes::from_wire(request);
        self.arrived.push(Arrival {
            id,
            event: Event::Note(id, note),
            taken: Taken {
                seq,
                data: Data::None,
            },
        });
    }

    fn request(
        &mut self,
        request: PeerRequest,
        payload: &PayloadFields,
    ) -> Result<(), ReceiveError> {
        let geometry = *self.secondary.local.geometry();
        request.check(payload, geometry.data_size, geometry.sector_size)?;
        let command = match request.command {
            PeerCommand::Read => Command::Read,
            PeerCommand::Write => Command::Write,
            PeerCommand::Delete => Command::Delete,
            PeerCommand::Flush => Command::Flush,
            // A record request is decoded as such.
            PeerCommand::Keepalive | PeerCommand::Record => return Ok(()),
        };
        let PeerRequest {
            seq,
            offset,
            length,
            memsync,
            ..
        } = request;
        let data = match command {
            Command::Read => Data::Space(Space::Pooled(self.buffer(length as usize)?)),
            Command::Write => Data::Content(self.content(length as usize, payload)?),
            Command::Delete | Command::Flush => Data::None,
        };
        self.secondary.counts.count(command);
        let id = self.take_id();
        let request = Request {
            id,
            command,
            range: Range::new(offset, length),
        };
        let event = Event::Received { request, memsync };
        self.arrived.push(Arrival {
            id,
            event,
            taken: Taken { seq, data },
        });
        Ok(())
    }

    fn content(&mut self, length: usize, payload: &PayloadFields) -> Result<Content, ReceiveError> {
        if payload.compression == Compression::Hole {
            self.inbox.hole(payload, length)?;
            return Ok(Content::Zeroes);
        }
        let mut buffer = self.buffer(length)?;
        self.inbox.payload(payload, &mut buffer)?;
        Ok(Content::Bytes(Arc::new(buffer), 0))
    }

    fn buffer(&mut self, length: usize) -> Result<Buffer, ReceiveError> {
        let buffers = &self.secondary.buffers;
        if let Some(buffer) = buffers.try_acquire(length)? {
            return Ok(buffer);
        }
        self.hand_over();
        Ok(self.secondary.buffers.acquire(length)?)
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}
