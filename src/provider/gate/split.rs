//! A request that takes several of the backend's, because it is longer than [`MAX_REQUEST`]. One answer
//! when all is done; the first error wins.
//!
//! Reads and writes are issued by the thread that received them, as buffers come free. Deletes, which take no
//! buffers and may be as long as the device, are issued a few at a time ([`WINDOW`]): each piece
//! that is done lets the follower issue the next.

use std::sync::{Arc, Mutex};

use nix::errno::Errno;

use super::areas::Area;
use super::desk::Desk;
use super::kernel::GateRequest;
use crate::provider::follower::WINDOW;
use crate::provider::{Buffer, Command, Done, MAX_REQUEST, ProviderRequest, Requester, lock};

/// A request of several pieces.
pub(super) struct Split {
    desk: Arc<Desk>,
    request: GateRequest,
    command: Command,
    state: Mutex<State>,
}

struct State {
    /// Where the next piece starts.
    next: u64,
    /// Pieces issued and not completed, and one while more are being issued.
    out: usize,
    error: Option<Errno>,
    /// It is not to be answered.
    given_up: bool,
    /// What a read has so far.
    area: Option<Area>,
}

impl Split {
    /// Issues a request that the desk took in; all of it, except of a delete.
    pub(super) fn begin(desk: &Arc<Desk>, request: GateRequest, command: Command, data: &[u8]) {
        let area = match command {
            Command::Read => match desk.areas.take(request.length as usize) {
                Some(area) => Some(area),
                None if desk.standing().receives() => {
                    log::error!("gate: there is no memory for {request:?}");
                    return desk.answer(&request, Err(Errno::EIO));
                }
                None => return desk.give_up(),
            },
            Command::Write | Command::Delete | Command::Zeroes | Command::Flush => None,
        };
        let state = Mutex::new(State {
            next: request.offset,
            out: 1,
            error: None,
            given_up: false,
            area,
        });
        let split = Arc::new(Self {
            desk: desk.clone(),
            request,
            command,
            state,
        });
        match command {
            Command::Delete => (0..WINDOW).for_each(|_| split.advance()),
            _ => split.issue_all(data),
        }
        split.one_less();
    }

    fn issue_all(self: &Arc<Self>, data: &[u8]) {
        while let Some((offset, length)) = self.next_piece() {
            let Ok(mut buffer) = self.desk.buffer(length as usize) else {
                lock(&self.state).given_up = true;
                return self.one_less();
            };
            if self.command == Command::Write {
                let start = (offset - self.request.offset) as usize;
                buffer.copy_from_slice(&data[start..start + length as usize]);
            }
            self.issue(offset, length, Some(buffer));
        }
    }

    /// Issues the next piece of a delete, if there is one.
    pub(super) fn advance(self: &Arc<Self>) {
        if let Some((offset, length)) = self.next_piece() {
            self.issue(offset, length, None);
        }
    }

    fn issue(self: &Arc<Self>, offset: u64, length: u32, data: Option<Buffer>) {
        let id = self.request.sequence.0;
        let request = ProviderRequest::new(self.clone(), id, self.command, offset, length, data);
        self.desk.backend.submit(request);
    }

    /// The piece to be issued next; it counts as issued. None after an error.
    fn next_piece(&self) -> Option<(u64, u32)> {
        let mut state = lock(&self.state);
        let end = self.request.offset + self.request.length;
        if state.error.is_some() || state.given_up || state.next == end {
            return None;
        }
        let offset = state.next;
        let length = (end - offset).min(MAX_REQUEST.into()) as u32;
        state.next += u64::from(length);
        state.out += 1;
        Some((offset, length))
    }

    /// Something that was counted in [`State::out`] is over; answers after the last.
    fn one_less(&self) {
        let mut state = lock(&self.state);
        state.out -= 1;
        let end = self.request.offset + self.request.length;
        let more = state.next < end && state.error.is_none() && !state.given_up;
        if state.out > 0 || more {
            return;
        }
        let (given_up, error, area) = (state.given_up, state.error, state.area.take());
        drop(state);
        match (given_up, error) {
            (true, _) => self.desk.give_up(),
            (false, Some(error)) => self.desk.answer(&self.request, Err(error)),
            (false, None) => self
                .desk
                .answer(&self.request, Ok(area.as_deref().unwrap_or(&[]))),
        }
    }
}

impl Requester for Split {
    fn completed(self: Arc<Self>, done: Done) {
        let start = (done.offset - self.request.offset) as usize;
        let result = done.data();
        let mut state = lock(&self.state);
        match (result, &mut state.area) {
            (Ok(Some(data)), Some(area)) => {
                area[start..start + data.len()].copy_from_slice(&data);
            }
            (Ok(_), _) => {}
            (Err(error), _) => state.error = state.error.or(Some(error)),
        }
        drop(state);
        if self.command == Command::Delete {
            self.desk.follower.jobs().follow(&self);
        }
        self.one_less();
    }
}
