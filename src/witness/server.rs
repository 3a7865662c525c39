//! The witness's connections: challenges, takes one request of each, has it decided and stored, and
//! answers. One thread, which waits for everything at once and for nobody in particular.
//!
//! Never waits for a client. The one thing that it waits for is the state file's disk, and for
//! that only on behalf of a node that has proved who it is.
//!
//! Invariants: at most [`CONNECTIONS`] at once, of one address at most [`CONNECTIONS_OF_ONE`],
//! of whom the oldest makes room for a new one; each has its time for everything; nothing is done for
//! a request that is not proven.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::connection::{Connection, Failure, Progress};
use super::leases::{Plan, Records, Table};
use super::message::{Answer, Refusal, Request};
use super::protocol::{self, Code, Kind, Sealed};
use super::secret::Secret;
use super::store::Store;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Connections of one address.
const CONNECTIONS_OF_ONE: usize = 16;
/// How long no connection is accepted after that has failed, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often the log says that somebody is turned away.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// What the process wants of the witness that runs in it.
#[derive(Debug)]
pub enum Wish {
    /// Nothing new.
    GoOn,
    /// Ask for this secret from now on.
    Take(Secret),
    /// End.
    End,
}

/// A witness that runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Socket>,
    secret: Secret,
    store: Store,
    table: Table,
    /// By the order in which they were accepted, which is that of their deadlines, too.
    connections: BTreeMap<u64, Connection>,
    accepted: u64,
    accept_after: Option<Instant>,
    complaints: Complaints,
}

impl Server {
    /// A witness that accepts on `listeners` (which listen, and do not block) and goes on from what the
    /// state file says. It grants no new lease until the longest one that was granted before
    /// `started` is over.
    pub fn new(
        listeners: Vec<Socket>,
        secret: Secret,
        (store, records): (Store, Records),
        started: Instant,
    ) -> Self {
        Self {
            listeners,
            secret,
            store,
            table: Table::new(records, started),
            connections: BTreeMap::new(),
            accepted: 0,
            accept_after: None,
            complaints: Complaints::default(),
        }
    }

    /// Runs until `wish`, which is asked whenever `signals` is readable, says that it is to end.
    pub fn run(
        &mut self,
        signals: BorrowedFd<'_>,
        mut wish: impl FnMut() -> Wish,
    ) -> io::Result<()> {
        loop {
            let ready = self.wait(signals)?;
            if ready.signals {
                match wish() {
                    Wish::GoOn => {}
                    Wish::Take(secret) => self.secret = secret,
                    Wish::End => return Ok(()),
                }
            }
            for order in ready.connections {
                self.proceed(order);
            }
            for listener in ready.listeners {
                self.accept(listener);
            }
            self.drop_overdue();
        }
    }

    fn wait(&self, signals: BorrowedFd<'_>) -> io::Result<Ready> {
        let now = Instant::now();
        let accepts = self.accept_after.is_none_or(|after| after <= now);
        let listening = if accepts { &self.listeners[..] } else { &[] };
        let mut polled = vec![PollFd::new(signals, PollFlags::POLLIN)];
        let listening = listening.iter();
        polled.extend(listening.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        let first_connection = polled.len();
        let connections = self.connections.values();
        polled.extend(connections.map(|it| PollFd::new(it.socket.as_fd(), it.interest())));

        let oldest = self.connections.values().next().map(|it| it.deadline);
        let pause = self.accept_after.filter(|_| !accepts);
        let timeout = oldest.into_iter().chain(pause).min().map_or(
            PollTimeout::NONE,
            // A millisecond more, since less than one would be none.
            |at| {
                let wait = at.saturating_duration_since(now) + Duration::from_millis(1);
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
            },
        );
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let happened = |at: &PollFd<'_>| at.any().unwrap_or(true);
        let orders = self.connections.keys().zip(&polled[first_connection..]);
        Ok(Ready {
            signals: happened(&polled[0]),
            listeners: (1..first_connection)
                .filter(|index| happened(&polled[*index]))
                .map(|index| index - 1)
                .collect(),
            connections: orders
                .filter(|(_, at)| happened(at))
                .map(|(order, _)| *order)
                .collect(),
        })
    }

    /// Takes one connection in: those that are there already have their turn before the next.
    fn accept(&mut self, listener: usize) {
        let now = Instant::now();
        let (socket, address) = match self.listeners[listener].accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                let harmless = [
                    io::ErrorKind::WouldBlock,
                    io::ErrorKind::Interrupted,
                    io::ErrorKind::ConnectionAborted,
                ];
                if !harmless.contains(&error.kind()) {
                    log::error!("Unable to accept a connection: {error}");
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                }
                return;
            }
        };
        self.accept_after = None;
        let Some(peer) = address.as_socket().map(|it| it.ip().to_canonical()) else {
            return;
        };
        self.make_room(peer);
        match Connection::new(socket, peer, now) {
            Ok(connection) => {
                self.accepted += 1;
                self.connections.insert(self.accepted, connection);
                self.proceed(self.accepted);
            }
            Err(error) => log::error!("Unable to talk to {peer}: {error}"),
        }
    }

    fn make_room(&mut self, peer: IpAddr) {
        let of_peer = || self.connections.iter().filter(|(_, it)| it.peer == peer);
        let oldest = if of_peer().count() >= CONNECTIONS_OF_ONE {
            of_peer().next()
        } else if self.connections.len() >= CONNECTIONS {
            self.connections.first_key_value()
        } else {
            None
        };
        if let Some((order, connection)) = oldest.map(|(order, it)| (*order, it)) {
            let peer = connection.peer;
            log::debug!("Too many connections, dropping the oldest one from {peer}.");
            self.connections.remove(&order);
        }
    }

    fn drop_overdue(&mut self) {
        let now = Instant::now();
        while let Some(oldest) = self.connections.first_entry()
            && oldest.get().deadline <= now
        {
            let peer = oldest.get().peer;
            log::debug!("Dropping a connection from {peer} that is too slow.");
            oldest.remove();
        }
    }

    fn proceed(&mut self, order: u64) {
        let Some(connection) = self.connections.get_mut(&order) else {
            return;
        };
        let peer = connection.peer;
        let result = match connection.proceed() {
            Ok(Progress::Asked(frame)) => {
                let challenge = connection.challenge;
                self.asked(order, &challenge, &frame)
            }
            other => other,
        };
        match result {
            Ok(Progress::Waiting | Progress::Asked(_)) => {}
            Ok(Progress::Over) => drop(self.connections.remove(&order)),
            Err(failure) => {
                self.connections.remove(&order);
                self.complaints.about(peer, &failure);
            }
        }
    }

    /// A whole request came over a connection: decides it and sends the answer.
    fn asked(&mut self, order: u64, challenge: &Code, frame: &[u8]) -> Result<Progress, Failure> {
        let (body, code) = protocol::open(&self.secret, Kind::Request, challenge, frame)?;
        let request = Request::from_nv(&body)?;
        let answer = self.decide(order, &request);
        log::debug!("{request:?}: {answer:?}");
        let nothing = [0; protocol::CODE_SIZE];
        let Sealed { bytes, .. } =
            protocol::seal(&self.secret, Kind::Answer, &code, &nothing, &answer.to_nv());
        let Some(connection) = self.connections.get_mut(&order) else {
            return Ok(Progress::Over);
        };
        connection.answer(bytes);
        connection.proceed()
    }

    fn decide(&mut self, order: u64, request: &Request) -> Answer {
        let now = Instant::now();
        let planned = match request {
            Request::Acquire(asked) => {
                let plan = self.table.acquire(now, order, asked);
                plan.map(|plan| (Some(plan), Answer::Granted))
            }
            Request::Release { group, node } => {
                let plan = self.table.release(order, group, node);
                plan.map(|plan| (plan, Answer::Done))
            }
            Request::Forget { group } => {
                let plan = self.table.forget(now, group);
                plan.map(|plan| (plan, Answer::Done))
            }
            Request::Look { group } => Ok((None, Answer::View(self.table.look(now, group)))),
        };
        let carried_out = planned.and_then(|(plan, answer)| match plan {
            Some(plan) => self.carry_out(plan, request).map(|()| answer),
            None => Ok(answer),
        });
        carried_out.unwrap_or_else(Answer::Refused)
    }

    /// Stores what a plan changes, and only then lets it count.
    fn carry_out(&mut self, plan: Plan, request: &Request) -> Result<(), Refusal> {
        if plan.is_durable() || !self.store.is_clean() {
            if let Err(error) = self.store.write(&self.table.records_with(&plan)) {
                let path = self.store.path().display();
                log::error!("Unable to write the state file {path}: {error}");
                return Err(Refusal::Storage);
            }
            log::info!("{}", event(request, &plan));
        }
        self.table.commit(plan);
        Ok(())
    }
}

/// What is ready.
struct Ready {
    signals: bool,
    listeners: Vec<usize>,
    connections: Vec<u64>,
}

/// What has changed for good, for the log.
fn event(request: &Request, plan: &Plan) -> String {
    match request {
        Request::Acquire(asked) => {
            let (group, node) = (&asked.group, &asked.node);
            let force = if asked.force { ", forced" } else { "" };
            match plan.alone() {
                Some(alone) => {
                    format!(
                        "[{group}] {node} holds the lease{force}; only {alone} has the current data."
                    )
                }
                None => format!("[{group}] {node} holds the lease{force}."),
            }
        }
        Request::Release { group, node } => format!("[{group}] {node} has released the lease."),
        Request::Forget { group } => format!("[{group}] is forgotten."),
        Request::Look { group } => format!("[{group}] was looked at."),
    }
}

/// Keeps the log from being filled by those who are turned away.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn about(&mut self, peer: IpAddr, failure: &Failure) {
        log::debug!("Dropping the connection from {peer}: {failure}");
        // What breaks off, as scans and monitors do, is nothing to complain about.
        if matches!(failure, Failure::Io(_) | Failure::Closed) {
            return;
        }
        let recent = |last: Instant| last.elapsed() < COMPLAINT_INTERVAL;
        if self.last.is_some_and(recent) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => log::warn!("Turned {peer} away: {failure}."),
            more => log::warn!("Turned {peer} away: {failure} (and {more} others before)."),
        }
    }
}
