//! A client's request that takes several of the backend's: longer than [`MAX_REQUEST`], or
//! to be flushed before it is answered (FUA). One reply when all is done; the first error
//! wins.
//!
//! Reads and writes are issued by the connection's reader as buffers come free. Zeroes and
//! deletes, which take no buffers and may be gigabytes long, are issued a few at a time
//! ([`WINDOW`]): each completed piece lets the follower issue the next.

use std::sync::{Arc, Mutex};

use nix::errno::Errno;

use super::connection::Connection;
use super::protocol::{ReplyHeader, error_number};
use super::reply::{Data, Reply};
use crate::provider::follower::{Jobs, WINDOW};
use crate::provider::{
    Backend, Buffer, Command, Done, MAX_REQUEST, ProviderRequest, Requester, lock,
};

/// How far a compound request is.
enum Phase {
    /// So many pieces are not completed, issued or not.
    Pieces(u64),
    /// All pieces are on the disks' write path; the flush is to be issued.
    FlushDue,
    /// The flush is issued.
    Flushing,
    Answered,
}

struct State {
    phase: Phase,
    /// Where the next piece starts that is issued from here (zeroes and deletes).
    next: u64,
    error: Option<Errno>,
    /// What a read that is answered in one reply has so far, by piece.
    gathered: Vec<Option<Buffer>>,
}

/// A request of several pieces.
pub(super) struct Compound {
    connection: Arc<Connection>,
    follower: Jobs<Compound>,
    cookie: u64,
    command: Command,
    start: u64,
    end: u64,
    fua: bool,
    state: Mutex<State>,
}

/// What a client asks in one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub cookie: u64,
    pub command: Command,
    pub start: u64,
    pub end: u64,
    pub fua: bool,
}

impl Compound {
    pub(super) fn new(
        connection: Arc<Connection>,
        follower: &Jobs<Self>,
        range: Range,
    ) -> Arc<Self> {
        let Range {
            cookie,
            command,
            start,
            end,
            fua,
        } = range;
        let pieces = (end - start).div_ceil(u64::from(MAX_REQUEST));
        let gathered = match command {
            Command::Read if !connection.structured => (0..pieces).map(|_| None).collect(),
            _ => Vec::new(),
        };
        let state = State {
            phase: Phase::Pieces(pieces),
            next: start,
            error: None,
            gathered,
        };
        let (follower, state) = (follower.clone(), Mutex::new(state));
        Arc::new(Self {
            connection,
            follower,
            cookie,
            command,
            start,
            end,
            fua,
            state,
        })
    }

    /// The pieces as (offset, length).
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, u32)> + use<> {
        let end = self.end;
        (self.start..end)
            .step_by(MAX_REQUEST as usize)
            .map(move |offset| (offset, (end - offset).min(MAX_REQUEST.into()) as u32))
    }

    /// One piece of it, for the backend.
    pub(super) fn piece(
        self: &Arc<Self>,
        offset: u64,
        length: u32,
        data: Option<Buffer>,
    ) -> ProviderRequest {
        ProviderRequest::new(
            self.clone(),
            self.cookie,
            self.command,
            offset,
            length,
            data,
        )
    }

    /// Issues the first pieces of a zeroes or delete.
    pub(super) fn begin(self: &Arc<Self>, backend: &dyn Backend) {
        for _ in 0..WINDOW {
            self.advance(backend);
        }
    }

    /// Issues what is due, if anything: the next piece, or the flush.
    pub(super) fn advance(self: &Arc<Self>, backend: &dyn Backend) {
        let mut state = lock(&self.state);
        let request = match state.phase {
            Phase::Pieces(_) if state.next < self.end && state.error.is_none() => {
                let offset = state.next;
                let length = (self.end - offset).min(MAX_REQUEST.into()) as u32;
                state.next += u64::from(length);
                self.piece(offset, length, None)
            }
            Phase::FlushDue => {
                state.phase = Phase::Flushing;
                ProviderRequest::new(self.clone(), self.cookie, Command::Flush, 0, 0, None)
            }
            Phase::Pieces(_) | Phase::Flushing | Phase::Answered => return,
        };
        drop(state);
        backend.submit(request);
    }

    /// Whether pieces are issued from here, and not by the reader.
    fn is_lazy(&self) -> bool {
        matches!(self.command, Command::Zeroes | Command::Delete)
    }

    /// A piece is done. Answers whether the connection has something to send.
    fn piece_done(self: &Arc<Self>, state: &mut State, left: u64, done: Done) -> bool {
        let (offset, length) = (done.offset, done.length);
        let (data, error) = match done.data() {
            Ok(data) => (data, None),
            Err(error) => (None, Some(error)),
        };
        state.error = state.error.or(error);
        let left = match state.error {
            // Pieces that are not issued now never will be.
            Some(_) if self.is_lazy() => {
                let unissued = (self.end - state.next).div_ceil(MAX_REQUEST.into());
                state.next = self.end;
                left - 1 - unissued
            }
            _ => left - 1,
        };
        state.phase = Phase::Pieces(left);
        match self.command {
            Command::Read if self.connection.structured => {
                return self.read_chunk(state, left, offset, length, data);
            }
            Command::Read => {
                let index = (offset - self.start) / u64::from(MAX_REQUEST);
                state.gathered[index as usize] = data;
            }
            Command::Write => self.connection.release(length as usize),
            Command::Zeroes | Command::Delete | Command::Flush => {
                if state.next < self.end {
                    self.follower.follow(self);
                }
            }
        }
        left == 0 && self.pieces_done(state)
    }

    /// Sends what a piece of a structured read brought, in whatever order pieces complete.
    fn read_chunk(
        &self,
        state: &mut State,
        left: u64,
        offset: u64,
        length: u32,
        data: Option<Buffer>,
    ) -> bool {
        let last = left == 0;
        if last {
            state.phase = Phase::Answered;
        }
        let (header, data) = match (state.error, data) {
            (None, Some(data)) => {
                let header = ReplyHeader::data_chunk(self.cookie, offset, length, last);
                (header, Data::One(data))
            }
            (error, _) if last => {
                let error = error.unwrap_or(Errno::EIO);
                (self.connection.read_error(self.cookie, error), Data::None)
            }
            // An error will be the answer: this piece is of no use.
            _ => {
                self.connection.release(length as usize);
                return false;
            }
        };
        self.connection.queue(Reply {
            header,
            data,
            bytes: length as usize,
            last,
        })
    }

    /// All pieces are done: the answer, or first the flush.
    fn pieces_done(self: &Arc<Self>, state: &mut State) -> bool {
        if self.fua && state.error.is_none() {
            state.phase = Phase::FlushDue;
            self.follower.follow(self);
            return false;
        }
        self.answer(state)
    }

    fn answer(&self, state: &mut State) -> bool {
        state.phase = Phase::Answered;
        let number = state.error.map_or(0, error_number);
        let header = ReplyHeader::simple(self.cookie, number);
        let (data, bytes) = match self.command {
            Command::Read => {
                let gathered = std::mem::take(&mut state.gathered);
                let data = match state.error {
                    None => Data::Many(gathered.into_iter().flatten().collect()),
                    Some(_) => Data::None,
                };
                (data, (self.end - self.start) as usize)
            }
            Command::Write | Command::Zeroes | Command::Delete | Command::Flush => (Data::None, 0),
        };
        self.connection.queue(Reply {
            header,
            data,
            bytes,
            last: true,
        })
    }
}

impl Requester for Compound {
    fn completed(self: Arc<Self>, done: Done) {
        let mut state = lock(&self.state);
        // Under the lock, so that the chunk that says "last" is the last in line.
        let pump = match state.phase {
            Phase::Pieces(left) => self.piece_done(&mut state, left, done),
            Phase::Flushing => {
                state.error = done.result.err();
                self.answer(&mut state)
            }
            // Each piece completes once, and these come after the last one.
            Phase::FlushDue | Phase::Answered => false,
        };
        drop(state);
        if pump {
            self.connection.pump();
        }
    }
}
