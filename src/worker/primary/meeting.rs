//! The primary's connection: made, kept, and made again.
//!
//! Never decides whether two nodes fit: the engine and the peer do. Invariants: one thread does all
//! this and then receives on the connection it made; the engine is told of a connection's end
//! exactly once for each meeting it was told of; a complaint is logged when it is new.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::core::Work;
use super::talk::{MeetingError, Talk};
use super::{Here, Primary};
use crate::config::Resource;
use crate::control;
use crate::engine::primary::{Answer, Event, Hello};
use crate::worker::channel::HookEvent;
use crate::worker::inbox::Inbox;
use crate::worker::lock;
use crate::worker::peer::Connection;
use crate::worker::slot::Slot;

/// The version in the first header that a worker sends, before any was negotiated.
const FIRST_VERSION: u8 = 1;
/// The first wait after a failure, and where doubling it ends.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the thread that connects shares with the others.
#[derive(Debug)]
pub struct Meeting {
    state: Mutex<State>,
    connections: Slot<(u32, Result<OwnedFd, String>)>,
    hellos: Slot<Option<Box<Hello>>>,
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
    /// Why this node itself closes the connection there is.
    closing: Option<String>,
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
                closing: None,
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
    pub fn say(&self, hello: Box<Hello>) {
        self.hellos.put(Some(hello));
    }

    /// The connection is about to be closed by this node, for this reason.
    pub fn closing(&self, why: String) {
        lock(&self.state).closing.get_or_insert(why);
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

    /// The number of the next thing asked of the main process.
    pub(super) fn next_number(&self) -> u32 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// What the main process answers.
    pub(super) fn take_connection(
        &self,
        deadline: Instant,
    ) -> Option<(u32, Result<OwnedFd, String>)> {
        self.connections.take(Some(deadline))
    }

    /// Forgets what the engine said in an earlier meeting.
    pub(super) fn forget_hello(&self) {
        self.hellos.clear();
    }

    /// What the engine says; `None` if it says nothing in time, or wants no meeting now.
    pub(super) fn take_hello(&self, deadline: Instant) -> Option<Box<Hello>> {
        self.hellos.take(Some(deadline)).flatten()
    }

    /// Whether the worker is ending.
    pub(super) fn is_ending(&self) -> bool {
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
                    if begun.elapsed() > FIRST_WAIT {
                        backoff.succeeded();
                    }
                    backoff.lost()
                }
                Err(MeetingError::Ending) => return,
                Err(error) => {
                    if matches!(error, MeetingError::Refused { .. }) {
                        // What the engine makes of a refusal is no reason to ask for another at once.
                        self.meeting.at_once.store(false, Ordering::Release);
                    }
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
        let split_brain =
            matches!(error, MeetingError::Refused { refusal, .. } if refusal.is_split_brain());
        let mut state = lock(&self.meeting.state);
        state.trying = false;
        let closing = state.closing.take();
        let complaint = match closing {
            // Why the peer refuses says it all.
            Some(why) if !matches!(error, MeetingError::Refused { .. }) => {
                format!("{error}: {why}")
            }
            _ => error.to_string(),
        };
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
        let closing = lock(&self.meeting.state).closing.take();
        let complaint = match closing {
            Some(why) => format!("the connection to {remote} was closed: {why}"),
            None => format!("the connection to {remote} was lost: {error}"),
        };
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
        {
            let mut state = lock(&self.meeting.state);
            state.trying = true;
            state.closing = None;
        }
        let talk = Talk {
            primary: self,
            resource,
            remote,
        };
        let outgoing = talk.connect()?;
        let answer = talk.greet(&outgoing, version)?;
        let incoming = talk.connect()?;
        let connection = Arc::new(Connection { outgoing, incoming });
        *lock(&self.connection) = Some(connection.clone());
        let agreed = talk.agree(&connection, &answer).and_then(|answer| {
            // From here on silence is judged by what is unanswered.
            let timeless = connection.incoming.set_read_timeout(None);
            timeless.map_err(talk.io()).map(|()| answer)
        });
        match agreed {
            Ok(answer) => {
                let inbox = Inbox::new(connection.incoming.clone());
                self.announce_connection(&talk.remote);
                self.begin(connection, *version, answer);
                Ok(inbox)
            }
            Err(error) => {
                self.part();
                Err(error)
            }
        }
    }

    /// The engine hears that the peer agreed; what it sends from now on has where to go.
    fn begin(&self, connection: Arc<Connection>, version: u8, answer: Answer) {
        let mut work = Work::default();
        self.agreeing(answer, |answer| {
            let mut core = lock(&self.core);
            self.outbox.open(connection, version);
            core.step(Event::Connected(Box::new(answer)), &self.outbox, &mut work);
        });
        self.carry_out(work, Here::Nothing);
    }
}
