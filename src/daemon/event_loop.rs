//! The main process: everything it owns, and the one loop in which something happens to it.
//!
//! One thread, which waits in one place ([`Daemon::run`]) and nowhere else. What happens is
//! handed to the part that it concerns; what the parts decide comes back as values. The
//! files beside this one add what is done about resources ([`super::resources`]), requests
//! ([`super::requests`]), peers ([`super::incoming`]) and a new configuration ([`super::reload`]).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::connector::Connector;
use super::control_server::ControlServer;
use super::hooks::Hooks;
use super::incoming::Strangers;
use super::listener::{Accepted, Listener};
use super::managed::Managed;
use super::meeting::Meetings;
use super::pidfile::PidFile;
use super::reactor::{Deadline, Reactor, Source};
use super::reload::Reloads;
use super::requests::Requests;
use super::resolver::{REFRESH, Resolver};
use super::signals::{Request, Signals};
use crate::config::Config;
use crate::worker::channel::DeviceFate;

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// How long a listener pauses that could not accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What does not change while the process lives.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration named on the command line, absolute.
    pub config: Option<PathBuf>,
    /// The node named on the command line.
    pub node: Option<String>,
    /// The pid file was named on the command line.
    pub own_pidfile: bool,
    /// How often -d was given.
    pub debug: u8,
    /// In the foreground.
    pub foreground: bool,
    /// This program, to be executed as a worker.
    pub program: PathBuf,
}

/// What was opened before the process went to the background.
#[derive(Debug)]
pub struct Opened {
    /// The configuration in force.
    pub config: Config,
    /// Locked, and written.
    pub pidfile: Option<PidFile>,
    /// For hastctl.
    pub control: Listener,
    /// For peers.
    pub listeners: Vec<Listener>,
}

/// The main process.
#[derive(Debug)]
pub struct Daemon {
    pub(super) settings: Settings,
    pub(super) config: Config,
    pub(super) pidfile: Option<PidFile>,
    pub(super) reactor: Reactor,
    signals: Signals,
    /// None once the process is ending.
    pub(super) control_listener: Option<Listener>,
    pub(super) listeners: Vec<Listener>,
    pub(super) control: ControlServer,
    pub(super) requests: Requests,
    pub(super) meetings: Meetings,
    pub(super) strangers: Strangers,
    pub(super) connector: Connector,
    pub(super) resolver: Resolver,
    pub(super) hooks: Hooks,
    pub(super) reloads: Reloads,
    pub(super) resources: BTreeMap<String, Managed>,
    /// Whose channel a token is.
    pub(super) workers: HashMap<Token, String>,
    pub(super) ending: bool,
}

impl Daemon {
    /// Puts everything into the hands of an event loop. To be called in the process that will
    /// run it, since a kqueue does not outlive a fork.
    pub fn new(settings: Settings, opened: Opened) -> io::Result<(Self, Poll)> {
        let poll = Poll::new()?;
        let mut reactor = Reactor::new(poll.registry().try_clone()?);
        let signals = Signals::catch()?;
        reactor.add_readable(signals.readable(), Source::Signals)?;
        let token = reactor.token(Source::Waker);
        let waker = Arc::new(Waker::new(reactor.registry(), token)?);
        let Opened {
            config,
            pidfile,
            mut control,
            mut listeners,
        } = opened;
        control.watch(&mut reactor, Source::ControlListener)?;
        for listener in &mut listeners {
            listener.watch(&mut reactor, Source::PeerListener)?;
        }
        let resources = config
            .resources
            .iter()
            .map(|resource| (resource.name.clone(), Managed::new(resource.clone())))
            .collect();
        let mut daemon = Self {
            settings,
            config,
            pidfile,
            reactor,
            signals,
            resolver: Resolver::new(Arc::clone(&waker)),
            reloads: Reloads::new(waker),
            control_listener: Some(control),
            listeners,
            control: ControlServer::default(),
            requests: Requests::default(),
            meetings: Meetings::default(),
            strangers: Strangers::default(),
            connector: Connector::default(),
            hooks: Hooks::default(),
            resources,
            workers: HashMap::new(),
            ending: false,
        };
        daemon.refresh_names();
        Ok((daemon, poll))
    }

    /// Runs until the process has been told to end and has ended its workers.
    pub fn run(&mut self, poll: &mut Poll) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !(self.ending && self.has_no_workers()) {
            match poll.poll(&mut events, self.reactor.patience()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.happened(event.token());
            }
            let now = Instant::now();
            while let Some(deadline) = self.reactor.due(now) {
                self.overdue(deadline);
            }
            self.hand_over_connections();
        }
        Ok(())
    }

    /// Removes what shows that the process is there.
    pub fn finish(mut self) {
        if !self.hooks.is_idle() {
            log::warn!("Exiting while hooks are running; those that waited are not run.");
        }
        self.close_listeners();
        if let Some(pidfile) = self.pidfile.take()
            && let Err(error) = pidfile.remove()
        {
            log::warn!("Unable to remove the pidfile: {error}");
        }
    }

    fn happened(&mut self, token: Token) {
        match self.reactor.source(token) {
            Some(Source::Signals) => self.signalled(),
            Some(Source::Waker) => self.woken(),
            Some(Source::ControlListener | Source::PeerListener) => self.accept(token),
            Some(Source::ControlClient) => {
                if let Some(request) = self.control.ready(&mut self.reactor, token) {
                    self.requested(token, &request);
                }
            }
            Some(Source::Meeting) => {
                if let Some((peer, opening)) = self.meetings.ready(&mut self.reactor, token) {
                    self.opened(token, peer, opening);
                }
            }
            Some(Source::Worker) => self.worker_ready(token),
            Some(Source::Connect) => self.connector.ready(&mut self.reactor, token),
            Some(Source::Hook) => self.hooks.ready(&mut self.reactor, token),
            // An event of something that an earlier event of the same batch has ended.
            None => {}
        }
    }

    fn overdue(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::ControlClient(token) => self.control.overdue(&mut self.reactor, token),
            Deadline::Request(token) => self.request_overdue(token),
            Deadline::Meeting(token) => self.meetings.overdue(&mut self.reactor, token),
            Deadline::Connect(token) => self.connector.overdue(&mut self.reactor, token),
            Deadline::Hook(token) => self.hooks.overdue(&mut self.reactor, token),
            Deadline::Accept(token) => self.accept(token),
            Deadline::Resource(name) => self.stage_over(&name),
            Deadline::Names => self.refresh_names(),
        }
    }

    fn signalled(&mut self) {
        for request in self.signals.take() {
            match request {
                Request::Child => {
                    self.reap_workers();
                    self.hooks.reap(&mut self.reactor);
                }
                Request::Reload if self.ending => {}
                Request::Reload => self.begin_reload(),
                Request::End => self.end(DeviceFate::Vacate),
                Request::HandOver => self.end(DeviceFate::Keep),
            }
        }
    }

    /// Another thread has an answer.
    fn woken(&mut self) {
        for found in self.resolver.take() {
            self.connector.found(&mut self.reactor, &found);
        }
        if let Some(loaded) = self.reloads.take()
            && !self.ending
        {
            self.reload(loaded);
        }
    }

    fn accept(&mut self, token: Token) {
        let mut all = self.control_listener.iter().chain(&self.listeners);
        let Some(listener) = all.find(|listener| listener.token() == Some(token)) else {
            return;
        };
        let accepted = match listener.accept() {
            Accepted::All(accepted) => accepted,
            Accepted::Some(accepted) => {
                if let Err(error) = listener.again(&self.reactor) {
                    log::error!("Unable to watch {}: {error}", listener.address());
                }
                accepted
            }
            Accepted::Failed(accepted, error) => {
                log::error!("Unable to accept on {}: {error}", listener.address());
                self.reactor.after(ACCEPT_PAUSE, Deadline::Accept(token));
                accepted
            }
        };
        let control = self.reactor.source(token) == Some(Source::ControlListener);
        for socket in accepted {
            if control {
                self.control.add(&mut self.reactor, socket);
            } else {
                self.arrived(socket);
            }
        }
    }

    /// Looks the peers' names up again, and once more after a while.
    fn refresh_names(&mut self) {
        let remotes = self.config.resources.iter();
        self.resolver
            .refresh(remotes.filter_map(|resource| resource.remote.as_ref()));
        self.reactor.after(REFRESH, Deadline::Names);
    }

    pub(super) fn close_listeners(&mut self) {
        let control = self.control_listener.take();
        for listener in control.into_iter().chain(self.listeners.drain(..)) {
            listener.close(&mut self.reactor);
        }
    }
}
