//! Who has the device open over NBD, said so that an administrator knows what to end.
//!
//! Looked up when the handshake is done, because a process may hand its socket over and end (nbd-client
//! leaves it to the kernel), and its name is gone with it.

use std::fmt;
use std::os::fd::AsFd;

use super::socket::Socket;

/// A client that reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// One that came through the unix socket.
    Process {
        /// Its number.
        pid: i32,
        /// Its name, where that can be read.
        name: Option<String>,
    },
    /// One that came over a network: its address.
    Address(String),
    /// One of which nothing is known.
    Unknown,
}

impl Opener {
    /// Of a client's connection.
    pub(super) fn of(socket: &Socket) -> Self {
        match socket {
            Socket::Unix(stream) => match hast_ffi::peer::process(stream.as_fd()) {
                Ok(pid) => Self::Process {
                    pid,
                    name: name_of(pid),
                },
                Err(_) => Self::Unknown,
            },
            Socket::Tcp(stream) => stream.peer_addr().map_or(Self::Unknown, |address| {
                let address =
                    std::net::SocketAddr::new(address.ip().to_canonical(), address.port());
                Self::Address(address.to_string())
            }),
        }
    }
}

/// A process's name; there is none to be had where /proc is not mounted, or not for this process.
fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process {
                pid,
                name: Some(name),
            } => write!(f, "process {pid}, {name}"),
            Self::Process { pid, name: None } => write!(f, "process {pid}"),
            Self::Address(address) => write!(f, "client {address}"),
            Self::Unknown => f.write_str("a client"),
        }
    }
}

/// Clients that keep a server from being closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the NBD device at {address} is open ({}); end that first, or use force", listed(.openers))]
pub struct Open {
    /// Where it is served.
    pub address: String,
    /// By whom.
    pub openers: Vec<Opener>,
}

fn listed(openers: &[Opener]) -> String {
    let names: Vec<_> = openers.iter().map(ToString::to_string).collect();
    names.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_so_that_it_can_be_found() {
        let process = |name: Option<&str>| Opener::Process {
            pid: 12,
            name: name.map(str::to_owned),
        };
        let open = Open {
            address: "unix:///run/disk1".into(),
            openers: vec![
                process(Some("qemu-nbd")),
                process(None),
                Opener::Address("10.0.0.7:4000".into()),
                Opener::Unknown,
            ],
        };
        assert_eq!(
            open.to_string(),
            "the NBD device at unix:///run/disk1 is open (process 12, qemu-nbd; process 12; client \
             10.0.0.7:4000; a client); end that first, or use force"
        );
    }
}
