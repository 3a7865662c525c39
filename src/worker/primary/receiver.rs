//! What the secondary answers: taken from the second connection and told to the engine.
//!
//! Invariants: a read's data is in its buffer before the engine hears of it; an answer that nobody
//! asked for, or that does not fit its request, ends the connection.

use super::core::{PeerRead, Work};
use super::{Here, Primary};
use crate::engine::Owner;
use crate::engine::primary::Event;
use crate::provider::BufferError;
use crate::wire::payload::PayloadFields;
use crate::wire::request::{PeerReply, RequestError};
use crate::worker::inbox::{Inbox, InboxError};
use crate::worker::local::Space;
use crate::worker::lock;

/// Answers told to the engine at once, at most: beyond, those that wait for them would wait longer
/// than it saves.
const BATCH: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// By itself, or for what came.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// An answer that makes no sense.
    #[error("the other node sent a bad answer: {0}")]
    Reply(#[from] RequestError),
    /// Data that nobody asked for, or none where some was asked for.
    #[error("the other node sent an answer that does not fit request {0}")]
    Unfitting(u64),
    /// The worker is ending.
    #[error("the worker is ending: {0}")]
    Buffer(#[from] BufferError),
}

impl Primary {
    /// Receives until the connection ends; says why it did.
    pub(super) fn receive(&self, mut inbox: Inbox) -> ReceiveError {
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let received = self.next(&mut inbox, &mut events);
            if received.is_err() || events.len() >= BATCH || !inbox.has_more() {
                self.tell_all(&mut events);
            }
            if let Err(error) = received {
                return error;
            }
        }
    }

    fn tell_all(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut work = Work::default();
        let mut core = lock(&self.core);
        for event in events.drain(..) {
            core.step(event, &self.outbox, &mut work);
        }
        drop(core);
        self.carry_out(work, Here::Quick);
    }

    fn next(&self, inbox: &mut Inbox, events: &mut Vec<Event>) -> Result<(), ReceiveError> {
        let (reply, payload) = PeerReply::decode(inbox.head()?.nv)?;
        let PeerReply {
            seq,
            received,
            error,
        } = reply;
        let has_data = payload.size > 0;
        let probe = if received {
            None
        } else {
            lock(&self.core).unanswered.answered_probe(seq)
        };
        if let Some(length) = probe {
            // That it came is all there is to know of it.
            return match error {
                None => Ok(inbox.payload(&payload, &mut vec![0; length])?),
                Some(_) if has_data => Err(ReceiveError::Unfitting(seq)),
                Some(_) => Ok(()),
            };
        }
        let read = if received {
            None
        } else {
            lock(&self.core).answered_read(seq)
        };
        match read {
            Some(read) if error.is_none() => self.take_data(inbox, seq, read, &payload)?,
            _ if has_data => return Err(ReceiveError::Unfitting(seq)),
            _ => {}
        }
        events.push(Event::Reply {
            seq,
            received,
            outcome: error.map_or(Ok(()), Err),
        });
        Ok(())
    }

    /// Puts a read's data where it belongs.
    fn take_data(
        &self,
        inbox: &mut Inbox,
        seq: u64,
        read: PeerRead,
        payload: &PayloadFields,
    ) -> Result<(), ReceiveError> {
        let PeerRead { operation, range } = read;
        let owner = operation.owner;
        let mut space = match owner {
            // The window bounds what is under way, and the pool holds more than the window.
            Owner::Engine(_) => Space::Pooled(self.copies.acquire(range.length as usize)?),
            Owner::Request(_) => {
                let space = lock(&self.core).space_for(owner, range);
                space.ok_or(ReceiveError::Unfitting(seq))?
            }
        };
        let taken = if payload.size == 0 {
            Err(ReceiveError::Unfitting(seq))
        } else {
            inbox
                .payload(payload, &mut space)
                .map_err(ReceiveError::from)
        };
        lock(&self.core).give_back(owner, range, space);
        taken
    }
}
