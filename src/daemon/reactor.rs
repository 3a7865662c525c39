//! What the event loop waits for: descriptors, each with a token that says what it is, and
//! timers. Never owns a descriptor and never acts on what happens.
//!
//! Invariants: a token is given out once in the life of the process, so a late event or timer finds
//! nothing rather than somebody else; every descriptor is watched edge-triggered for both
//! directions, so its owner reads and writes until it would block.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::timers::{TimerId, Timers};

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The pipe that signals write to.
    Signals,
    /// Another thread of this process has an answer.
    Waker,
    /// Accepts hastctl.
    ControlListener,
    /// A hastctl.
    ControlClient,
    /// Accepts peers.
    PeerListener,
    /// A peer's connection on its way to a worker.
    Meeting,
    /// The channel to a worker, and its log.
    Worker,
    /// A connection being opened for a worker.
    Connect,
    /// What a hook prints.
    Hook,
}

/// What a timer stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deadline {
    /// A hastctl has had its time to send a request or to take the answer.
    ControlClient(Token),
    /// A request has waited long enough for workers.
    Request(Token),
    /// A peer has had its time to say what it wants.
    Meeting(Token),
    /// A connection for a worker has had its time.
    Connect(Token),
    /// A hook has had its time.
    Hook(Token),
    /// A listener could not accept for want of something; it may now.
    Accept(Token),
    /// The current stage of a resource has lasted long enough.
    Resource(String),
    /// Names of peers are to be looked up again.
    Names,
}

/// Registers what the loop waits for.
#[derive(Debug)]
pub struct Reactor {
    registry: Registry,
    sources: HashMap<Token, Source>,
    timers: Timers<Deadline>,
    next: usize,
}

impl Reactor {
    /// A reactor that waits for nothing yet.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            sources: HashMap::new(),
            timers: Timers::default(),
            next: 0,
        }
    }

    /// The registry, for what registers itself.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A fresh token, for something that is not watched but has timers.
    pub fn name(&mut self) -> Token {
        let token = Token(self.next);
        self.next += 1;
        token
    }

    /// A fresh token for something that registers itself.
    pub fn token(&mut self, source: Source) -> Token {
        let token = self.name();
        self.sources.insert(token, source);
        token
    }

    /// Watches a descriptor (which must not block) until [`Self::remove`].
    pub fn add(&mut self, descriptor: &impl AsRawFd, source: Source) -> io::Result<Token> {
        self.add_for(descriptor, source, Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches a descriptor that can only be read (or accepted from).
    pub fn add_readable(&mut self, descriptor: &impl AsRawFd, source: Source) -> io::Result<Token> {
        self.add_for(descriptor, source, Interest::READABLE)
    }

    /// Watches one more descriptor that can only be read, under the token of another.
    pub fn add_beside(&self, descriptor: &impl AsRawFd, token: Token) -> io::Result<()> {
        let mut source = SourceFd(&descriptor.as_raw_fd());
        self.registry
            .register(&mut source, token, Interest::READABLE)
    }

    fn add_for(
        &mut self,
        descriptor: &impl AsRawFd,
        source: Source,
        interest: Interest,
    ) -> io::Result<Token> {
        let token = self.token(source);
        let registered =
            self.registry
                .register(&mut SourceFd(&descriptor.as_raw_fd()), token, interest);
        if registered.is_err() {
            self.sources.remove(&token);
        }
        registered.map(|()| token)
    }

    /// Reports a readable descriptor again, for an owner that stopped before it would block.
    pub fn again(&self, descriptor: &impl AsRawFd, token: Token) -> io::Result<()> {
        self.registry.reregister(
            &mut SourceFd(&descriptor.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// Stops watching.
    pub fn remove(&mut self, descriptor: &impl AsRawFd, token: Token) {
        self.sources.remove(&token);
        // Fails only for a descriptor that is not registered, which is what is wanted.
        let _ = self
            .registry
            .deregister(&mut SourceFd(&descriptor.as_raw_fd()));
    }

    /// What a token stands for; none where it is no longer watched.
    pub fn source(&self, token: Token) -> Option<Source> {
        self.sources.get(&token).copied()
    }

    /// Sets a timer.
    pub fn after(&mut self, time: Duration, deadline: Deadline) -> TimerId {
        self.timers.set(Instant::now() + time, deadline)
    }

    /// Cancels a timer.
    pub fn cancel(&mut self, timer: TimerId) {
        self.timers.cancel(timer);
    }

    /// How long the loop may wait; none for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.timers
            .next_at()
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// A timer that is due at `now`.
    pub fn due(&mut self, now: Instant) -> Option<Deadline> {
        self.timers.pop_due(now)
    }
}
