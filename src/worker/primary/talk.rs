//! The primary's side of a handshake (spec, section 3).
//!
//! Never tries twice and never waits longer than the resource's timeout for anything.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;

use super::{Here, Primary};
use crate::config::Resource;
use crate::engine::meeting::Source;
use crate::engine::primary::{Answer, Event, Hello};
use crate::layout::{Bitmap, Record, Standing};
use crate::wire::frame::{self, FrameError, Limits, Message, ReadError};
use crate::wire::handshake::{
    self, HandshakeError, HelloAnswer, Refusal, Situation, StartAnswer, SyncSource,
};
use crate::wire::{EXTENSION_LEVEL, PROTOCOL_VERSION};
use crate::worker::channel::FromWorker;
use crate::worker::peer::{self, Connection};
use crate::worker::refusal::explain;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum MeetingError {
    #[error("cannot connect to {remote}: {reason}")]
    Connect { remote: String, reason: String },
    #[error("the handshake with {remote} failed: {error}")]
    Io { remote: String, error: io::Error },
    #[error("the handshake with {remote} failed: {error}")]
    Handshake {
        remote: String,
        error: HandshakeError,
    },
    #[error("the handshake with {remote} failed: {error}")]
    Receive { remote: String, error: FrameError },
    #[error(
        "the handshake with {remote} failed: the other node closed the connection; see its log"
    )]
    Closed { remote: String },
    #[error("{}", explain(refusal, resource))]
    Refused {
        resource: Box<Resource>,
        refusal: Refusal,
    },
    #[error(
        "{remote} has {what} {theirs} bytes where this node has {ours}; \
         run 'hastctl create' with the same sizes on the node whose data is to be given up"
    )]
    Sizes {
        remote: String,
        what: &'static str,
        theirs: u64,
        ours: u64,
    },
    #[error("the handshake with {remote} was given up")]
    GivenUp { remote: String },
    #[error("the worker is ending")]
    Ending,
}

/// One handshake.
pub(super) struct Talk<'a> {
    pub(super) primary: &'a Primary,
    pub(super) resource: Resource,
    pub(super) remote: String,
}

impl Talk<'_> {
    pub(super) fn io(&self) -> impl Fn(io::Error) -> MeetingError + use<> {
        let remote = self.remote.clone();
        move |error| {
            let remote = remote.clone();
            match error.kind() {
                // What the system says of these means nothing to an administrator.
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    MeetingError::Closed { remote }
                }
                _ => MeetingError::Io { remote, error },
            }
        }
    }

    /// Asks the main process for a connection.
    pub(super) fn connect(&self) -> Result<Arc<Socket>, MeetingError> {
        let meeting = &self.primary.meeting;
        let number = meeting.next_number();
        self.primary.link.send(&FromWorker::Connect { number });
        // The main process keeps the timeout; it is given the same time again to say so.
        let deadline = Instant::now() + 2 * self.resource.timeout;
        let descriptor = loop {
            match meeting.take_connection(deadline) {
                Some((answered, result)) if answered == number => break result,
                // Of an earlier meeting, that was given up.
                Some(_) => {}
                None if meeting.is_ending() => return Err(MeetingError::Ending),
                None => break Err(String::from("hastd's main process does not answer")),
            }
        };
        let descriptor = descriptor.map_err(|reason| MeetingError::Connect {
            remote: self.remote.clone(),
            reason,
        })?;
        peer::prepare(descriptor, self.resource.timeout).map_err(self.io())
    }

    /// The first message and its answer.
    pub(super) fn greet(
        &self,
        socket: &Socket,
        version: &mut u8,
    ) -> Result<HelloAnswer, MeetingError> {
        let hello = handshake::Hello {
            resource: self.resource.name.clone(),
            version: Some(PROTOCOL_VERSION),
            extension: Some(EXTENSION_LEVEL),
        };
        self.send(socket, &frame::encode(*version, &hello.to_nv(), &[]))?;
        let message = self.receive(socket, Limits::PEER)?;
        let answer = self.accepted(HelloAnswer::from_nv(message.nv.view()))?;
        *version = answer.version;
        Ok(answer)
    }

    /// The second message and its answer.
    pub(super) fn agree(
        &self,
        connection: &Connection,
        first: &HelloAnswer,
    ) -> Result<Answer, MeetingError> {
        let Connection { outgoing, incoming } = connection;
        let hello = self.hello()?;
        let extended = first.extension.unwrap_or(0) >= EXTENSION_LEVEL;
        let start = handshake::Start {
            resource: self.resource.name.clone(),
            token: first.token,
            resuid: hello.standing.resuid,
            localcnt: hello.standing.localcnt,
            remotecnt: hello.standing.remotecnt,
            virgin: hello.virgin,
            ours: extended.then(|| Situation {
                record: hello.standing.record,
                holds: hello.holds,
                leans: hello.leans,
            }),
        };
        self.send(incoming, &frame::encode(first.version, &start.to_nv(), &[]))?;
        let extents = self.primary.local.geometry().extents;
        let limits = Limits::PEER.with_payload(handshake::max_map(extents));
        let message = self.receive(outgoing, limits)?;
        let answer = StartAnswer::decode(message.nv.view(), &message.payload, extents);
        if let Ok(handshake::Answer::Refused(refusal)) = &answer
            && let Some(standing) = &refusal.standing
        {
            // It may be newer than what is here.
            let standing = standing.clone();
            self.primary.tell(Event::Refused(standing), Here::Nothing);
        }
        let answer = self.accepted(answer)?;
        self.check(&answer)?;
        let standing = if extended {
            let standing = answer.standing();
            standing.map_err(|error| self.misunderstood(error))?
        } else {
            Standing {
                resuid: start.resuid,
                localcnt: answer.localcnt,
                remotecnt: answer.remotecnt,
                record: Record::default(),
            }
        };
        Ok(Answer {
            standing,
            virgin: answer.virgin,
            source: match answer.syncsrc {
                SyncSource::Primary => Source::Primary,
                SyncSource::Secondary => Source::Secondary,
            },
            map: (!answer.map.is_empty()).then(|| Bitmap::from_bytes(extents, &answer.map)),
            extension: extended,
            memsync: first.version >= 2,
        })
    }

    /// Asks the engine what to say of our data.
    fn hello(&self) -> Result<Box<Hello>, MeetingError> {
        let meeting = &self.primary.meeting;
        meeting.forget_hello();
        self.primary.tell(Event::Meet, Here::Nothing);
        match meeting.take_hello(Instant::now() + self.resource.timeout) {
            Some(hello) => Ok(hello),
            _ if meeting.is_ending() => Err(MeetingError::Ending),
            _ => Err(MeetingError::GivenUp {
                remote: self.remote.clone(),
            }),
        }
    }

    fn check(&self, answer: &StartAnswer) -> Result<(), MeetingError> {
        let geometry = self.primary.local.geometry();
        let sizes = [
            ("a data size of", answer.datasize, geometry.data_size),
            (
                "an extent size of",
                u64::from(answer.extentsize),
                u64::from(geometry.extent_size),
            ),
        ];
        for (what, theirs, ours) in sizes {
            if theirs != ours {
                let remote = self.remote.clone();
                return Err(MeetingError::Sizes {
                    remote,
                    what,
                    theirs,
                    ours,
                });
            }
        }
        Ok(())
    }

    fn accepted<T>(
        &self,
        answer: Result<handshake::Answer<T>, HandshakeError>,
    ) -> Result<T, MeetingError> {
        match answer {
            Ok(handshake::Answer::Accepted(answer)) => Ok(answer),
            Ok(handshake::Answer::Refused(refusal)) => Err(MeetingError::Refused {
                resource: Box::new(self.resource.clone()),
                refusal,
            }),
            Err(error) => Err(self.misunderstood(error)),
        }
    }

    fn misunderstood(&self, error: HandshakeError) -> MeetingError {
        let remote = self.remote.clone();
        MeetingError::Handshake { remote, error }
    }

    fn send(&self, socket: &Socket, message: &[u8]) -> Result<(), MeetingError> {
        let mut socket = socket;
        socket.write_all(message).map_err(self.io())
    }

    fn receive(&self, socket: &Socket, limits: Limits) -> Result<Message, MeetingError> {
        let deadline = Instant::now() + self.resource.timeout;
        let received = Message::read_from(&mut Timed { socket, deadline }, limits);
        let restored = socket.set_read_timeout(Some(self.resource.timeout));
        restored.map_err(self.io())?;
        received.map_err(|error| match error {
            ReadError::Io(error) => self.io()(error),
            ReadError::Frame(error) => MeetingError::Receive {
                remote: self.remote.clone(),
                error,
            },
        })
    }
}

/// Reads until a deadline, however slowly the bytes come.
struct Timed<'a> {
    socket: &'a Socket,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let late = || io::Error::new(ErrorKind::TimedOut, "the other node answers too late");
        let wait = self.deadline.checked_duration_since(Instant::now());
        let wait = wait.filter(|wait| !wait.is_zero()).ok_or_else(late)?;
        self.socket.set_read_timeout(Some(wait))?;
        match self.socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(late()),
            result => result,
        }
    }
}
