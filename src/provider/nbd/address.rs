//! Where a server listens and a client connects: a unix socket or a TCP address.
//!
//! A unix socket is made with mode 0600 before anyone can connect to it. One that a dead
//! process left behind is replaced; one that somebody answers on, or a file that is no
//! socket, is never touched. Our own is removed at the end, where this process may still do that; hastd's
//! main process removes that of a confined worker.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hast_ffi::capsicum;
use nix::errno::Errno;
use socket2::{Domain, SockAddr, Type};

use super::protocol::PORT;
use super::socket::Socket;

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: i32 = 128;
/// Only the owner may connect: the socket is the device.
const SOCKET_MODE: u32 = 0o600;
/// The socket's directory, where we make it.
const DIRECTORY_MODE: u32 = 0o755;

/// Where an NBD server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A unix socket at this path.
    Unix(PathBuf),
    /// `host:port`, IPv6 as `[address]:port`.
    Tcp(String),
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no address for NBD; expected a socket's absolute path, unix://<path>, or \
     tcp://<host>[:<port>]"
)]
pub struct AddressError {
    /// What was found.
    pub text: String,
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    /// `/path`, `unix:///path`, `uds:///path`; `tcp://host[:port]` or `host[:port]`, with
    /// NBD's port 10809 where none is given.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError {
            text: text.to_owned(),
        };
        let path = text
            .strip_prefix("unix://")
            .or_else(|| text.strip_prefix("uds://"));
        let path = path.unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = match address
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((_, "")) => (address, None),
            Some((host, port)) => (
                &address[..host.len() + 2],
                Some(port.strip_prefix(':').ok_or_else(error)?),
            ),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = port.map_or(Ok(PORT), |port| port.parse::<u16>().map_err(|_| error()))?;
        if host.is_empty() || host.contains('/') || host.contains(char::is_whitespace) {
            return Err(error());
        }
        Ok(Self::Tcp(format!("{host}:{port}")))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// Why listening is impossible.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{address} is in use by another process; stop it or configure another address")]
    InUse {
        /// Where.
        address: ListenAddress,
    },
    /// A file that we did not make.
    #[error("{} exists and is not a socket; remove it or configure another path", path.display())]
    NotASocket {
        /// Which.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} {address}: {source}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// Where.
        address: ListenAddress,
        /// Why not.
        source: io::Error,
    },
}

impl ListenAddress {
    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> ListenError {
        let address = self.clone();
        move |source| ListenError::Failed {
            operation,
            address,
            source,
        }
    }

    /// Starts to listen.
    pub(super) fn listen(&self) -> Result<Listener, ListenError> {
        match self {
            Self::Unix(path) => self.listen_unix(path),
            Self::Tcp(address) => match TcpListener::bind(address) {
                Ok(listener) => {
                    listener
                        .set_nonblocking(true)
                        .map_err(self.failed("listen at"))?;
                    Ok(Listener::Tcp(listener))
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ListenError::InUse {
                    address: self.clone(),
                }),
                Err(error) => Err(self.failed("listen at")(error)),
            },
        }
    }

    fn listen_unix(&self, path: &Path) -> Result<Listener, ListenError> {
        if let Some(directory) = path.parent()
            && !directory.exists()
        {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(directory)
                .map_err(self.failed("make the directory of"))?;
        }
        let address = SockAddr::unix(path).map_err(self.failed("listen at"))?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)
            .map_err(self.failed("listen at"))?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse {
                return Err(self.failed("listen at")(error));
            }
            self.remove_stale(path)?;
            socket.bind(&address).map_err(self.failed("listen at"))?;
        }
        // Connecting is refused until listen(): nobody gets in before the mode is set.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))
            .map_err(self.failed("set the mode of"))?;
        let inode = fs::symlink_metadata(path).map_err(self.failed("look at"))?;
        socket.listen(BACKLOG).map_err(self.failed("listen at"))?;
        socket
            .set_nonblocking(true)
            .map_err(self.failed("listen at"))?;
        Ok(Listener::Unix {
            listener: UnixListener::from(std::os::fd::OwnedFd::from(socket)),
            path: path.to_owned(),
            inode: (inode.dev(), inode.ino()),
        })
    }

    /// Removes the socket of a process that is gone.
    fn remove_stale(&self, path: &Path) -> Result<(), ListenError> {
        let metadata = fs::symlink_metadata(path).map_err(self.failed("look at"))?;
        if !metadata.file_type().is_socket() {
            return Err(ListenError::NotASocket {
                path: path.to_owned(),
            });
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(self.failed("remove the stale socket"))
            }
            Ok(_) => Err(ListenError::InUse {
                address: self.clone(),
            }),
            // A full backlog: alive, only busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse {
                address: self.clone(),
            }),
            Err(error) => Err(self.failed("look who listens at")(error)),
        }
    }

    /// Connects; TCP within `limit` for each address of the host.
    pub(super) fn connect(&self, limit: Duration) -> io::Result<Socket> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).map(Socket::unix),
            Self::Tcp(address) => {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, limit) {
                        Ok(stream) => return Socket::tcp(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

/// A listening socket, which does not wait; a unix one is removed when dropped, if that is allowed.
pub(super) enum Listener {
    Unix {
        listener: UnixListener,
        path: PathBuf,
        inode: (u64, u64),
    },
    Tcp(TcpListener),
}

impl Listener {
    /// The address that clients can connect to: with the real port where 0 was asked for.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Unix { path, .. } => Ok(ListenAddress::Unix(path.clone())),
            Self::Tcp(listener) => listener
                .local_addr()
                .map(|at: SocketAddr| ListenAddress::Tcp(at.to_string())),
        }
    }

    /// Leaves it, and what it accepts, what a server does with them.
    pub(super) fn limit(&self) {
        let limited = capsicum::limit(self.as_fd(), &capsicum::LISTENER)
            .and_then(|()| capsicum::limit_ioctls(self.as_fd(), &capsicum::SOCKET_REQUESTS));
        match limited {
            Ok(()) | Err(Errno::ENOSYS) => {}
            // One that can do more than it has to is not worth failing for.
            Err(errno) => log::warn!("nbd: cannot limit what can be done with sockets: {errno}"),
        }
    }

    /// The next client, or [`io::ErrorKind::WouldBlock`].
    pub(super) fn accept(&self) -> io::Result<Socket> {
        // A BSD's accepted socket inherits O_NONBLOCK; a Linux one does not.
        match self {
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Ok(Socket::unix(stream))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Socket::tcp(stream)
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix { listener, .. } => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, inode, .. } = self
            && fs::symlink_metadata(&*path).is_ok_and(|now| (now.dev(), now.ino()) == *inode)
            && let Err(error) = fs::remove_file(&*path)
        {
            log::warn!("nbd: cannot remove the socket {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        let unix = |path: &str| Ok(ListenAddress::Unix(path.into()));
        let tcp = |address: &str| Ok(ListenAddress::Tcp(address.into()));
        assert_eq!("/run/x".parse(), unix("/run/x"));
        assert_eq!("unix:///run/x".parse(), unix("/run/x"));
        assert_eq!("uds:///run/x".parse(), unix("/run/x"));
        assert_eq!("tcp://host".parse(), tcp("host:10809"));
        assert_eq!("10.0.0.1:99".parse(), tcp("10.0.0.1:99"));
        assert_eq!("[::1]".parse(), tcp("[::1]:10809"));
        assert_eq!("tcp://[::1]:99".parse(), tcp("[::1]:99"));
        for bad in [
            "",
            "unix://x",
            "tcp://",
            "host:x",
            "host:70000",
            "a b",
            "[::1]x",
            "::1",
        ] {
            let error = bad.parse::<ListenAddress>().expect_err(bad);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("'{bad}' is no address"))
            );
        }
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_when_the_listener_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/here/socket");
        let listener = ListenAddress::Unix(path.clone()).listen().unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        drop(listener);
        assert!(!path.exists());
        assert!(path.parent().unwrap().exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = ListenAddress::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        let live = address.listen().unwrap();
        let error = address.listen().err().unwrap();
        assert!(matches!(&error, ListenError::InUse { .. }), "{error}");
        // Replaced by somebody else's: not ours to remove.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(live);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "precious").unwrap();
        let error = ListenAddress::Unix(path.clone()).listen().err().unwrap();
        assert!(matches!(&error, ListenError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_named_in_the_error() {
        let path = format!("/tmp/{}", "x".repeat(200));
        let error = ListenAddress::Unix(path.clone().into())
            .listen()
            .err()
            .unwrap();
        assert!(error.to_string().contains(&path), "{error}");
    }

    #[test]
    fn two_listeners_at_one_port_are_an_error() {
        let first = ListenAddress::Tcp("127.0.0.1:0".into()).listen().unwrap();
        let error = first.address().unwrap().listen().err().unwrap();
        assert!(matches!(&error, ListenError::InUse { .. }), "{error}");
    }
}
