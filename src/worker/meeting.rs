//! The primary's connection: asking for it, the handshake (spec, section 3), and trying again.
//!
//! Never decides whether two nodes fit: the engine and the peer do. Invariants: one thread does all
//! this and then receives on the connection it made; the engine is told of a connection's end
//! exactly once for each meeting it was told of; a complaint is logged when it is new.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::channel::{FromWorker, HookEvent};
use super::inbox::Inbox;
use super::lock;
use super::peer::{self, Connection};
use super::primary::{Here, Primary};
use super::slot::Slot;
use crate::config::Resource;
use crate::control;
use crate::engine::handshake::Source;
use crate::engine::primary::{Answer, Event, Hello};
use crate::layout::Bitmap;
use crate::wire::frame::{self, Limits, Message, ReadError};
use crate::wire::handshake::{self, HandshakeError, HelloAnswer, Refusal, StartAnswer, SyncSource};
use crate::wire::{EXTENSION_LEVEL, PROTOCOL_VERSION};

/// The version in the first header that a worker sends, before any was negotiated.
const FIRST_VERSION: u8 = 1;
/// The first wait after a failure, and where doubling it ends.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum MeetingError {
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
    Receive { remote: String, error: ReadError },
    #[error("{remote} refuses: {}", refusal.errmsg)]
    Refused { remote: String, refusal: Refusal },
    #[error(
        "{remote} has {what} {theirs} where ours is {ours}; create both components with the same sizes"
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

/// What the thread that connects shares with the others.
#[derive(Debug)]
pub struct Meeting {
    state: Mutex<State>,
    connections: Slot<(u32, Result<OwnedFd, String>)>,
    hellos: Slot<Option<Hello>>,
    /// Something that ends a wait came up.
    nudge: Slot<()>,
    /// The next try is to be made at once.
    at_once: AtomicBool,
    ending: AtomicBool,
    /// Numbers what is asked of the main process.
    number: AtomicU32,
}

/// How the connection is, for status.
#[derive(Debug, Clone)]
pub struct State {
    remote: Option<String>,
    trying: bool,
    met: bool,
    complaint: Option<String>,
    split_brain: bool,
}

impl State {
    /// As long as the handshake is not complete.
    pub fn connection(&self) -> control::Connection {
        if self.trying {
            control::Connection::Connecting
        } else {
            control::Connection::Disconnected
        }
    }

    /// Whether the peer said so when it was last met.
    pub fn is_split_brain(&self) -> bool {
        self.split_brain
    }

    /// Whether there ever was a connection.
    pub fn has_met(&self) -> bool {
        self.met
    }

    /// Why there is none.
    pub fn reason(&self) -> String {
        match (&self.complaint, &self.remote) {
            (Some(complaint), _) => complaint.clone(),
            (None, Some(remote)) => format!("not connected to {remote} yet"),
            (None, None) => String::from("no 'remote' is configured"),
        }
    }
}

impl Meeting {
    /// Nothing tried yet.
    pub fn new(resource: &Resource) -> Self {
        Self {
            state: Mutex::new(State {
                remote: remote_of(resource),
                trying: false,
                met: false,
                complaint: None,
                split_brain: false,
            }),
            connections: Slot::default(),
            hellos: Slot::default(),
            nudge: Slot::default(),
            at_once: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            number: AtomicU32::new(0),
        }
    }

    /// How it is.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The main process's answer.
    pub fn connection(&self, number: u32, result: Result<OwnedFd, String>) {
        self.connections.put((number, result));
    }

    /// The engine says what goes into the second message.
    pub fn say(&self, hello: Hello) {
        self.hellos.put(Some(hello));
    }

    /// The engine does not want the meeting that is under way.
    pub fn abandon(&self) {
        self.hellos.put(None);
    }

    /// The next try is to be made without a wait.
    pub fn again(&self) {
        self.at_once.store(true, Ordering::Release);
        self.nudge.put(());
    }

    /// The configuration changed; says whether the connection has to be made anew.
    pub fn reload(&self, before: &Resource, after: &Resource) -> bool {
        if before.remote == after.remote && before.source == after.source {
            return false;
        }
        let mut state = lock(&self.state);
        state.remote = remote_of(after);
        state.complaint = None;
        state.split_brain = false;
        drop(state);
        self.again();
        true
    }

    /// Ends the thread that connects.
    pub fn close(&self) {
        self.ending.store(true, Ordering::Release);
        self.connections.close();
        self.hellos.close();
        self.nudge.close();
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

fn remote_of(resource: &Resource) -> Option<String> {
    resource.remote.as_ref().map(ToString::to_string)
}

/// How long to wait before the next try.
#[derive(Debug, Default)]
struct Backoff {
    wait: Duration,
}

impl Backoff {
    /// After a failure: twice as long as before, give or take a quarter, so that many resources do
    /// not come all at once.
    fn failed(&mut self) -> Duration {
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        self.wait.mul_f64(0.75 + fastrand::f64() / 2.0)
    }

    fn succeeded(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// After a connection was lost: at once, the first time.
    fn lost(&mut self) -> Duration {
        let first = self.wait.is_zero();
        let wait = self.failed();
        if first { Duration::ZERO } else { wait }
    }
}

impl Primary {
    /// Connects, receives, and connects again, until the worker ends. For a thread of its own.
    pub(super) fn keep_connected(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut version = FIRST_VERSION;
        let mut waiting_since = None;
        while !self.meeting.is_ending() {
            if self.meeting.state().remote.is_none() {
                self.meeting.nudge.take(None);
                continue;
            }
            self.meeting.at_once.store(false, Ordering::Release);
            let wait = match self.meet(&mut version) {
                Ok(inbox) => {
                    waiting_since = None;
                    let begun = Instant::now();
                    self.stay(inbox);
                    // A connection that lasts is worth an immediate try; one that breaks whenever it
                    // is made would be made without end.
                    if begun.elapsed() > LONGEST_WAIT {
                        backoff.succeeded();
                    }
                    backoff.lost()
                }
                Err(MeetingError::Ending) => return,
                Err(error) => {
                    let wait = self.wait_after(&error, &mut waiting_since);
                    self.complain(&error);
                    wait.unwrap_or_else(|| backoff.failed())
                }
            };
            if !wait.is_zero() && !self.meeting.at_once.load(Ordering::Acquire) {
                self.meeting.nudge.clear();
                self.meeting.nudge.take(Some(Instant::now() + wait));
            }
        }
    }

    /// A peer that is on its way down is asked each second, until it has had its time.
    fn wait_after(&self, error: &MeetingError, since: &mut Option<Instant>) -> Option<Duration> {
        match error {
            MeetingError::Refused { refusal, .. } if refusal.wait => {
                let since = since.get_or_insert_with(Instant::now);
                (since.elapsed() < self.timeout()).then_some(FIRST_WAIT)
            }
            _ => {
                *since = None;
                None
            }
        }
    }

    fn complain(&self, error: &MeetingError) {
        let complaint = error.to_string();
        let split_brain =
            matches!(error, MeetingError::Refused { refusal, .. } if refusal.is_split_brain());
        let mut state = lock(&self.meeting.state);
        state.trying = false;
        let hook = split_brain && !std::mem::replace(&mut state.split_brain, split_brain);
        let new = state.complaint.as_ref() != Some(&complaint);
        state.complaint = Some(complaint.clone());
        drop(state);
        if new {
            log::warn!("{complaint}");
        }
        if hook {
            self.hook(HookEvent::SplitBrain);
        }
    }

    /// Says that there is a connection, before the engine says what it begins with it.
    fn announce_connection(&self, remote: &str) {
        let mut state = lock(&self.meeting.state);
        state.complaint = None;
        state.split_brain = false;
        state.trying = false;
        state.met = true;
        drop(state);
        log::info!("connected to {remote}");
        self.hook(HookEvent::Connect);
    }

    /// Receives on a connection until it ends, and tells the engine.
    fn stay(self: &Arc<Self>, inbox: Inbox) {
        let remote = lock(&self.meeting.state).remote.clone().unwrap_or_default();
        let error = self.receive(inbox);
        self.part();
        let complaint = format!("the connection to {remote} was lost: {error}");
        if !self.meeting.is_ending() {
            log::warn!("{complaint}");
        }
        lock(&self.meeting.state).complaint = Some(complaint);
        self.hook(HookEvent::Disconnect);
    }

    /// The engine hears that the connection is gone.
    fn part(&self) {
        let connection = lock(&self.connection).take();
        if let Some(connection) = connection {
            connection.shut();
        }
        self.tell(Event::Disconnected, Here::Nothing);
    }

    /// Connects and goes through the handshake.
    fn meet(self: &Arc<Self>, version: &mut u8) -> Result<Inbox, MeetingError> {
        let resource = lock(&self.resource).clone();
        let remote = resource.remote_text().to_owned();
        lock(&self.meeting.state).trying = true;
        let mut talk = Talk {
            primary: self,
            resource,
            remote,
        };
        let outgoing = talk.connect()?;
        let answer = talk.greet(&outgoing, version)?;
        let incoming = talk.connect()?;
        let connection = Connection {
            outgoing: outgoing.clone(),
            incoming: incoming.clone(),
        };
        *lock(&self.connection) = Some(Arc::new(connection));
        let agreed = talk.agree(&outgoing, &incoming, &answer);
        let answer = match agreed {
            Ok(answer) => answer,
            Err(error) => {
                self.part();
                return Err(error);
            }
        };
        // From here on silence is judged by what is unanswered.
        let timeless = incoming.set_read_timeout(None);
        if let Err(error) = timeless {
            self.part();
            return Err(MeetingError::Io {
                remote: talk.remote,
                error,
            });
        }
        self.announce_connection(&talk.remote);
        self.begin(outgoing, *version, answer);
        Ok(Inbox::new(incoming))
    }

    /// The engine hears that the peer agreed; what it sends from now on has where to go.
    fn begin(&self, outgoing: Arc<Socket>, version: u8, answer: Answer) {
        let mut work = super::core::Work::default();
        let mut core = lock(&self.core);
        self.outbox.open(outgoing, version);
        core.step(Event::Connected(Box::new(answer)), &self.outbox, &mut work);
        drop(core);
        self.carry_out(work, Here::Nothing);
    }
}

/// One handshake.
struct Talk<'a> {
    primary: &'a Arc<Primary>,
    resource: Resource,
    remote: String,
}

impl Talk<'_> {
    fn io(&self) -> impl Fn(io::Error) -> MeetingError + use<> {
        let remote = self.remote.clone();
        move |error| MeetingError::Io {
            remote: remote.clone(),
            error,
        }
    }

    /// Asks the main process for a connection.
    fn connect(&mut self) -> Result<Arc<Socket>, MeetingError> {
        let meeting = &self.primary.meeting;
        let number = meeting.number.fetch_add(1, Ordering::Relaxed);
        self.primary.link.send(&FromWorker::Connect { number });
        // The main process keeps the timeout; it is given the same time again to say so.
        let deadline = Instant::now() + 2 * self.resource.timeout;
        let descriptor = loop {
            match meeting.connections.take(Some(deadline)) {
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
    fn greet(&self, socket: &Socket, version: &mut u8) -> Result<HelloAnswer, MeetingError> {
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
    fn agree(
        &self,
        outgoing: &Socket,
        incoming: &Socket,
        first: &HelloAnswer,
    ) -> Result<Answer, MeetingError> {
        let hello = self.hello()?;
        let start = handshake::Start {
            resource: self.resource.name.clone(),
            token: first.token,
            resuid: hello.resuid,
            localcnt: hello.localcnt,
            remotecnt: hello.remotecnt,
            virgin: hello.virgin,
        };
        self.send(incoming, &frame::encode(first.version, &start.to_nv(), &[]))?;
        let extents = self.primary.local.geometry().extents;
        let limits = Limits::PEER.with_payload(handshake::max_map(extents));
        let message = self.receive(outgoing, limits)?;
        let answer = StartAnswer::decode(message.nv.view(), &message.payload, extents);
        let answer = self.accepted(answer)?;
        self.check(&answer)?;
        Ok(Answer {
            localcnt: answer.localcnt,
            remotecnt: answer.remotecnt,
            virgin: answer.virgin,
            source: match answer.syncsrc {
                SyncSource::Primary => Source::Primary,
                SyncSource::Secondary => Source::Secondary,
            },
            map: (!answer.map.is_empty()).then(|| Bitmap::from_bytes(extents, &answer.map)),
            extension: first.extension.unwrap_or(0) >= EXTENSION_LEVEL,
            memsync: first.version >= 2,
        })
    }

    /// Asks the engine what to say of our data.
    fn hello(&self) -> Result<Hello, MeetingError> {
        let meeting = &self.primary.meeting;
        meeting.hellos.clear();
        self.primary.tell(Event::Meet, Here::Nothing);
        match meeting
            .hellos
            .take(Some(Instant::now() + self.resource.timeout))
        {
            Some(Some(hello)) => Ok(hello),
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
        let remote = || self.remote.clone();
        match answer {
            Ok(handshake::Answer::Accepted(answer)) => Ok(answer),
            Ok(handshake::Answer::Refused(refusal)) => Err(MeetingError::Refused {
                remote: remote(),
                refusal,
            }),
            Err(error) => Err(MeetingError::Handshake {
                remote: remote(),
                error,
            }),
        }
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
        received.map_err(|error| MeetingError::Receive {
            remote: self.remote.clone(),
            error,
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
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the other node answers too late");
        let wait = self.deadline.checked_duration_since(Instant::now());
        let wait = wait.filter(|wait| !wait.is_zero()).ok_or_else(late)?;
        self.socket.set_read_timeout(Some(wait))?;
        match self.socket.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(late()),
            result => result,
        }
    }
}
