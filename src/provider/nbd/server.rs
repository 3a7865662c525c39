//! The listener, and the life of clients from accept to close. One thread accepts, one reads
//! for each client.
//!
//! Invariants: clients that have not finished their handshake never take the places of those
//! that have, and the oldest of them makes room for a new one; stopping is bounded in time,
//! whatever clients and backend do; no client's fault ends the server; who has the device open is known from
//! before its handshake is answered until its thread ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::address::{ListenAddress, ListenError, Listener};
use super::compound::Compound;
use super::connection::Connection;
use super::guest::Guest;
use super::opener::{Open, Opener};
use super::protocol::{MAX_CLIENT_REQUEST, MAX_NAME};
use super::socket::Socket;
use crate::pause::pause;
use crate::provider::follower::Follower;
use crate::provider::{Backend, MAX_REQUEST, lock};

/// The device that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// What clients ask for; the empty name means it too.
    pub name: String,
    /// In bytes, a multiple of the sector size.
    pub size: u64,
    /// In bytes, a power of two: requests are in multiples of it.
    pub sector_size: u32,
}

/// What a server puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients that read and write. Each costs two threads at most.
    pub clients: usize,
    /// Connections in the handshake.
    pub handshakes: usize,
    /// For a whole handshake.
    pub handshake: Duration,
    /// How long a client may take no reply, or not send the rest of a request.
    pub stall: Duration,
    /// How long requests in flight may take when a client leaves or the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 64,
            handshakes: 64,
            handshake: Duration::from_secs(10),
            stall: Duration::from_mins(1),
            drain: Duration::from_secs(5),
        }
    }
}

/// How long a client that has closed its connection may take to be gone.
const LEAVING: Duration = Duration::from_millis(500);
/// How long threads have to end after their sockets were closed.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// The pause after accepting failed (mostly: no descriptors left), which would otherwise
/// fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest minimum block size of the protocol, in bytes.
const MAX_SECTOR: u32 = 64 << 10;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The address can not be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The export is not one that NBD can serve.
    #[error("cannot serve '{name}' over NBD: {reason}")]
    Export {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {operation} for the NBD server: {source}")]
    Start {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What all threads of a server share.
pub(super) struct Shared {
    pub export: Export,
    pub backend: Arc<dyn Backend>,
    pub limits: Limits,
    /// The largest request accepted, in bytes.
    pub max_request: u32,
    pub follower: Follower<Compound>,
    /// See [`super::transmission::Transmission`].
    pub gathering: Mutex<()>,
    pub stopping: AtomicBool,
    registry: Mutex<Registry>,
    /// A thread has left.
    left: Condvar,
}

#[derive(Default)]
struct Registry {
    /// Numbers connections.
    next: u64,
    /// Threads of connections.
    threads: usize,
    /// Oldest first.
    handshakes: VecDeque<(u64, Arc<Socket>)>,
    /// Who has one of the [`Limits::clients`] places: has the device open.
    openers: BTreeMap<u64, Opener>,
    clients: HashMap<u64, Arc<Connection>>,
}

/// A running server. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    address: ListenAddress,
    acceptor: Option<JoinHandle<()>>,
    wake: UnixStream,
}

impl Server {
    /// Listens and serves the export to all who come, with the usual limits.
    ///
    /// # Errors
    /// The address is in use or unusable, the export's sizes are not NBD's, or the system
    /// has no threads or descriptors left.
    pub fn start(
        listen: &ListenAddress,
        export: Export,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, ProviderError> {
        Self::start_with(listen, export, backend, Limits::default())
    }

    /// As [`Server::start`], with other limits.
    pub fn start_with(
        listen: &ListenAddress,
        export: Export,
        backend: Arc<dyn Backend>,
        limits: Limits,
    ) -> Result<Self, ProviderError> {
        let max_request = check_export(&export, backend.budget())?;
        let start = |operation| move |source| ProviderError::Start { operation, source };
        let (wake, woken) = UnixStream::pair().map_err(start("make a socket pair"))?;
        let listener = listen.listen()?;
        listener.limit();
        let address = listener.address().map_err(start("look up the address"))?;
        let issuer = backend.clone();
        let follow = move |compound: &Arc<Compound>| compound.advance(&*issuer);
        let follower = Follower::start("nbd follower", follow).map_err(start("start a thread"))?;
        let shared = Arc::new(Shared {
            export,
            backend,
            limits,
            max_request,
            follower,
            gathering: Mutex::new(()),
            stopping: AtomicBool::new(false),
            registry: Mutex::default(),
            left: Condvar::new(),
        });
        let acceptor = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("nbd acceptor".into())
                .spawn(move || shared.accept_until_woken(&listener, &woken))
                .map_err(start("start a thread"))?
        };
        Ok(Self {
            shared,
            address,
            acceptor: Some(acceptor),
            wake,
        })
    }

    /// Where clients connect: with the real port where port 0 was asked for.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The clients that read and write now.
    pub fn clients(&self) -> usize {
        lock(&self.shared.registry).openers.len()
    }

    /// Takes no more clients: the device is about to go. Not while it is open.
    ///
    /// # Errors
    /// It is open.
    pub fn close(&self) -> Result<(), Open> {
        let registry = lock(&self.shared.registry);
        // Who has just left may not have been noticed yet.
        let waited = self
            .shared
            .left
            .wait_timeout_while(registry, LEAVING, |registry| !registry.openers.is_empty());
        let registry = waited.unwrap_or_else(PoisonError::into_inner).0;
        if registry.openers.is_empty() {
            // Under the lock: whoever asks for a place now is too late.
            self.shared.stopping.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(Open {
            address: self.address.to_string(),
            openers: registry.openers.values().cloned().collect(),
        })
    }

    /// Stops accepting, lets requests in flight finish for [`Limits::drain`], closes all
    /// connections and ends the threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if the acceptor is gone already.
        let _ = self.wake.write_all(&[1]);
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            log::error!("nbd: the accepting thread panicked");
        }
        self.shared.end_clients();
        self.shared.follower.stop();
    }
}

/// The largest request to accept of clients, in bytes.
fn check_export(export: &Export, budget: usize) -> Result<u32, ProviderError> {
    let refuse = |reason: String| {
        Err(ProviderError::Export {
            name: export.name.clone(),
            reason,
        })
    };
    let sector = export.sector_size;
    if !sector.is_power_of_two() || sector > MAX_SECTOR {
        return refuse(format!(
            "its sectors have {sector} bytes, which is no power of two to 64 KiB"
        ));
    }
    if !export.size.is_multiple_of(u64::from(sector)) {
        return refuse(format!(
            "its size of {} bytes is not whole sectors of {sector}",
            export.size
        ));
    }
    if export.name.len() > MAX_NAME {
        return refuse(format!("its name is longer than {MAX_NAME} bytes"));
    }
    // A read that is answered in one reply holds all of its buffers; half of them at most.
    let pieces = budget / 2 / MAX_REQUEST as usize;
    if pieces == 0 {
        return refuse(format!(
            "a buffer budget of {budget} bytes is too small; 2 MiB is the least"
        ));
    }
    Ok(MAX_CLIENT_REQUEST.min((pieces as u32).saturating_mul(MAX_REQUEST)))
}

impl Shared {
    fn accept_until_woken(self: &Arc<Self>, listener: &Listener, woken: &UnixStream) {
        loop {
            let mut events = [
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(woken.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut events, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => {
                    log::error!("nbd: no new clients are accepted any more: poll: {error}");
                    return;
                }
            }
            if events[1].any().unwrap_or(true) {
                return;
            }
            if !events[0].any().unwrap_or(true) {
                continue;
            }
            match listener.accept() {
                Ok(socket) => self.welcome(socket),
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    log::error!("nbd: cannot accept a connection: {error}");
                    pause(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Starts the thread of a new connection.
    fn welcome(self: &Arc<Self>, socket: Socket) {
        let socket = Arc::new(socket);
        let mut registry = lock(&self.registry);
        let id = registry.next;
        registry.next += 1;
        if registry.handshakes.len() >= self.limits.handshakes
            && let Some((_, oldest)) = registry.handshakes.pop_front()
        {
            oldest.shutdown(Shutdown::Both);
        }
        registry.handshakes.push_back((id, socket.clone()));
        registry.threads += 1;
        drop(registry);
        let guest = Guest::new(self.clone(), id);
        let run = move || guest.serve(&socket);
        // On failure the closure, and with it the guest, is dropped: it signs itself off.
        if let Err(error) = thread::Builder::new().name("nbd client".into()).spawn(run) {
            log::error!("nbd: a client was turned away: cannot start a thread: {error}");
        }
    }

    /// Takes one of the clients' places for a connection whose handshake is done.
    pub(super) fn take_place(&self, id: u64, socket: &Socket) -> bool {
        let opener = Opener::of(socket);
        let mut registry = lock(&self.registry);
        if self.stopping.load(Ordering::Relaxed) || registry.openers.len() >= self.limits.clients {
            return false;
        }
        registry.openers.insert(id, opener);
        registry.handshakes.retain(|(other, _)| *other != id);
        true
    }

    /// Makes a client known to whoever stops the server; not while it is stopping.
    pub(super) fn sign_in(&self, id: u64, connection: &Arc<Connection>) -> bool {
        let mut registry = lock(&self.registry);
        if self.stopping.load(Ordering::Relaxed) {
            return false;
        }
        registry.clients.insert(id, connection.clone());
        true
    }

    /// The last thing that a connection's thread does.
    pub(super) fn sign_off(&self, id: u64) {
        let mut registry = lock(&self.registry);
        registry.handshakes.retain(|(other, _)| *other != id);
        registry.clients.remove(&id);
        registry.openers.remove(&id);
        registry.threads -= 1;
        drop(registry);
        self.left.notify_all();
    }

    fn end_clients(&self) {
        let clients: Vec<_> = {
            let registry = lock(&self.registry);
            self.stopping.store(true, Ordering::Relaxed);
            registry
                .handshakes
                .iter()
                .for_each(|(_, socket)| socket.shutdown(Shutdown::Both));
            registry.clients.values().cloned().collect()
        };
        // Whoever waits for a request wakes, and drains what is in flight.
        for client in &clients {
            client.socket().shutdown(Shutdown::Read);
        }
        if self.wait_for_threads(self.limits.drain) {
            return;
        }
        let clients: Vec<_> = lock(&self.registry).clients.values().cloned().collect();
        for client in clients {
            log::warn!("nbd: {}: closed with requests unanswered", client.label);
            client.close();
        }
        if !self.wait_for_threads(LAST_MOMENT) {
            log::error!("nbd: a thread does not end: it waits for a buffer or the backend");
        }
    }

    /// Whether all threads of connections ended within `limit`.
    fn wait_for_threads(&self, limit: Duration) -> bool {
        let registry = lock(&self.registry);
        let waited = self
            .left
            .wait_timeout_while(registry, limit, |registry| registry.threads > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Errors of accept that concern only the one client, or nobody.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}
