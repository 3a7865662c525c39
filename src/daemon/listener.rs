//! Sockets that accept: hastctl's and the peers'. Never reads from what they accept.
//!
//! A control socket is made with mode 0600; the socket file of a daemon that is gone is
//! replaced, that of one which answers is left alone, and on removal only our own is removed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use mio::Token;
use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::reactor::{Reactor, Source};
use super::socket_file::SocketFile;
use crate::config::{Address, Target};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// Connections accepted before others have their turn.
const TURN: usize = 64;

/// A socket that can not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("unable to listen on {what} {address}: {error}")]
pub struct ListenError {
    what: &'static str,
    address: String,
    error: io::Error,
}

/// A socket that accepts, bound and not yet watched, or watched under a token.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    socket: Socket,
    token: Option<Token>,
    file: Option<SocketFile>,
}

/// What accepting gave.
#[derive(Debug)]
pub enum Accepted {
    /// Connections; all that there were.
    All(Vec<Socket>),
    /// Connections; there may be more.
    Some(Vec<Socket>),
    /// Connections, and why there are no more for now (too many open files, say).
    Failed(Vec<Socket>, io::Error),
}

impl Listener {
    /// Listens for hastctl.
    pub fn control(address: &Address) -> Result<Self, ListenError> {
        let fail = |error| ListenError {
            what: "control address",
            address: address.to_string(),
            error,
        };
        match address.target() {
            Target::Unix(path) => {
                let (socket, file) = listen_unix(path).map_err(fail)?;
                Ok(Self::new(address, socket, Some(file)))
            }
            Target::Tcp { .. } => {
                let found = address.resolve().map_err(fail)?;
                let socket = listen_tcp(found[0]).map_err(fail)?;
                Ok(Self::new(address, socket, None))
            }
        }
    }

    /// Listens for peers on everything that an address leads to (`found`). With `lenient`, an
    /// IP version that this machine does not have is left out without complaint.
    pub fn peers(
        address: &Address,
        found: io::Result<Vec<SocketAddr>>,
        lenient: bool,
    ) -> Result<Vec<Self>, ListenError> {
        let fail = |error| ListenError {
            what: "address",
            address: address.to_string(),
            error,
        };
        let mut listeners = Vec::new();
        for one in found.map_err(fail)? {
            match listen_tcp(one) {
                Ok(socket) => listeners.push(Self::new(address, socket, None)),
                Err(error) if lenient && is_foreign(&error) => {
                    log::debug!("Not listening on {address}: {error}");
                }
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(listeners)
    }

    fn new(address: &Address, socket: Socket, file: Option<SocketFile>) -> Self {
        Self {
            address: address.clone(),
            socket,
            token: None,
            file,
        }
    }

    /// The address as configured.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The socket, of one that was never watched, for another loop.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// What the event loop calls it, once it is watched.
    pub const fn token(&self) -> Option<Token> {
        self.token
    }

    /// Has it watched.
    pub fn watch(&mut self, reactor: &mut Reactor, source: Source) -> io::Result<()> {
        self.token = Some(reactor.add_readable(&self.socket, source)?);
        Ok(())
    }

    /// Accepts what there is.
    pub fn accept(&self) -> Accepted {
        let mut accepted = Vec::new();
        while accepted.len() < TURN {
            match self.socket.accept() {
                Ok((socket, _)) => {
                    if socket.set_nonblocking(true).is_ok() {
                        accepted.push(socket);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Accepted::All(accepted),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Accepted::Failed(accepted, error),
                },
            }
        }
        Accepted::Some(accepted)
    }

    /// Has it reported again where there was more than one turn's worth.
    pub fn again(&self, reactor: &Reactor) -> io::Result<()> {
        match self.token {
            Some(token) => reactor.again(&self.socket, token),
            None => Ok(()),
        }
    }

    /// Stops listening and removes the socket's file, where it is still the one we made.
    pub fn close(self, reactor: &mut Reactor) {
        if let Some(token) = self.token {
            reactor.remove(&self.socket, token);
        }
        self.discard();
    }

    /// Stops listening, for one that was never watched.
    pub fn discard(self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// Whether the machine lacks the IP version, rather than the address being taken.
fn is_foreign(error: &io::Error) -> bool {
    let foreign = [
        Errno::EAFNOSUPPORT,
        Errno::EADDRNOTAVAIL,
        Errno::EPROTONOSUPPORT,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| foreign.contains(&Errno::from_raw(number)))
}

fn listen_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn listen_unix(path: &Path) -> io::Result<(Socket, SocketFile)> {
    remove_dead(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    // The mask is the whole process's: no other thread of ours makes files.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = socket.bind(&address);
    umask(before);
    bound?;
    socket.listen(BACKLOG)?;
    Ok((socket, SocketFile::at(path)?))
}

/// Removes the socket file of a daemon that is gone.
fn remove_dead(path: &Path) -> io::Result<()> {
    match SocketFile::at(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map(drop)?,
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error)
            if error.kind() != io::ErrorKind::WouldBlock
                && error.raw_os_error() != Some(Errno::EINPROGRESS as i32) =>
        {
            Err(error)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process answers there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let address = Address::from_socket_path(path.to_str().unwrap()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");

        let listener = Listener::control(&address).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let error = Listener::control(&address).unwrap_err().to_string();
        assert!(error.contains("another process answers there"), "{error}");
        listener.discard();
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        let error = Listener::control(&address).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn another_daemons_file_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let address = Address::from_socket_path(path.to_str().unwrap()).unwrap();
        let listener = Listener::control(&address).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        listener.discard();
        assert!(path.exists());
    }
}
