//! Addresses as the configuration writes them (spec, section 6): a Unix socket or
//! TCP host and port.
//!
//! An [`Address`] keeps the text it was made from, because status and list show it as
//! configured. Parsing never asks the network: only [`Address::resolve`] does, and it
//! may block, so an event loop must not call it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// The port hastd listens on where an address names none.
pub const DEFAULT_PORT: u16 = 8457;

/// The port NBD servers listen on where an address names none (registered with IANA).
pub const NBD_PORT: u16 = 10809;

/// Longest address text, as in base hastd (its buffer holds this and a NUL).
pub const ADDRESS_LENGTH_MAX: usize = 1023;

/// Longest host name (MAXHOSTNAMELEN less its NUL).
const HOST_LENGTH_MAX: usize = 255;

/// Longest path of a Unix socket: `sun_path` less its NUL.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there, or nothing after the scheme.
    #[error("the address '{0}' is empty; expected tcp://host:port or uds:///path")]
    Empty(String),
    /// Longer than [`ADDRESS_LENGTH_MAX`].
    #[error("the address is too long ({0} bytes; at most {ADDRESS_LENGTH_MAX})")]
    TooLong(usize),
    /// `something://` that we do not speak.
    #[error(
        "unknown protocol in the address '{0}'; expected tcp://, tcp4://, tcp6://, uds:// or unix://"
    )]
    Scheme(String),
    /// A socket path that is relative.
    #[error("the socket path in '{0}' must begin with '/'")]
    RelativePath(String),
    /// A socket path that does not fit `sun_path`.
    #[error("the socket path in '{0}' is too long (at most {SOCKET_PATH_MAX} bytes)")]
    LongPath(String),
    /// A port outside 1..=65535.
    #[error("bad port in the address '{0}'; expected a number from 1 to 65535")]
    Port(String),
    /// Neither a host name nor a numeric address (of the family the scheme asks for).
    #[error("bad host in the address '{text}'; expected {expected}")]
    Host {
        /// The address as written.
        text: String,
        /// What would have done.
        expected: &'static str,
    },
}

/// Which IP version a TCP address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `tcp://` or no scheme: whatever the name resolves to.
    Any,
    /// `tcp4://`
    V4,
    /// `tcp6://`
    V6,
}

impl Family {
    /// Whether an IP address is of this family.
    pub const fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Any => "a host name, an IPv4 address, or an IPv6 address (in [] before a port)",
            Self::V4 => "a host name or an IPv4 address",
            Self::V6 => "a host name or an IPv6 address (in [] before a port)",
        }
    }
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A Unix stream socket; the path is absolute.
    Unix(PathBuf),
    /// TCP.
    Tcp {
        /// The IP version asked for.
        family: Family,
        /// Host name or numeric address, without brackets.
        host: String,
        /// The port, a default filled in.
        port: u16,
    },
}

/// An address and the text it was written as. Two addresses are equal when they lead to the
/// same place, however they are spelled.
#[derive(Debug, Clone)]
pub struct Address {
    text: String,
    target: Target,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl Eq for Address {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Address {
    /// Reads an address; `default_port` is taken where a TCP address names no port
    /// ([`DEFAULT_PORT`] for nodes, 0 for a source, [`NBD_PORT`] for NBD).
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_LENGTH_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        let target = match split_scheme(text) {
            (Some(scheme), rest) => match scheme.to_ascii_lowercase().as_str() {
                "uds" | "unix" => unix_target(text, rest)?,
                "tcp" => tcp_target(text, rest, Family::Any, default_port)?,
                "tcp4" => tcp_target(text, rest, Family::V4, default_port)?,
                "tcp6" => tcp_target(text, rest, Family::V6, default_port)?,
                _ => return Err(AddressError::Scheme(text.to_owned())),
            },
            (None, rest) if rest.starts_with('/') => unix_target(text, rest)?,
            (None, rest) => tcp_target(text, rest, Family::Any, default_port)?,
        };
        Ok(Self {
            text: text.to_owned(),
            target,
        })
    }

    /// The address of a Unix socket.
    pub fn from_socket_path(path: &str) -> Result<Self, AddressError> {
        Ok(Self {
            target: unix_target(path, path)?,
            text: path.to_owned(),
        })
    }

    /// The text as configured.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The path, of a Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.target {
            Target::Unix(path) => Some(path),
            Target::Tcp { .. } => None,
        }
    }

    /// The socket address of a TCP address with a numeric host: known without asking anyone.
    pub fn numeric(&self) -> Option<SocketAddr> {
        match &self.target {
            Target::Unix(_) => None,
            Target::Tcp { host, port, .. } => {
                Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port))
            }
        }
    }

    /// The socket addresses of a TCP address, all of the family asked for, in the resolver's
    /// order; never empty. A host name is looked up, which may block for as long as the
    /// resolver waits.
    ///
    /// # Errors
    /// `InvalidInput` for a Unix socket; the resolver's error, or `NotFound` where the name has
    /// no address of the family.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let Target::Tcp { family, host, port } = &self.target else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{self} is a Unix socket, not a TCP address"),
            ));
        };
        let found: Vec<SocketAddr> = (host.as_str(), *port)
            .to_socket_addrs()?
            .filter(|address| family.admits(address.ip()))
            .collect();
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{host} has no address of the family that {self} asks for"),
            ));
        }
        Ok(found)
    }

    /// Whether a connection from `peer` is one from this address: the port does not count, and
    /// an IPv4 address mapped into IPv6 is the IPv4 address. Looks a host name up (see
    /// [`Self::resolve`]); a name that can not be resolved matches nobody.
    pub fn is_peer(&self, peer: IpAddr) -> bool {
        match self.numeric() {
            Some(address) => same_host(address.ip(), peer),
            None => self
                .resolve()
                .is_ok_and(|found| found.iter().any(|address| same_host(address.ip(), peer))),
        }
    }
}

/// Whether two IP addresses are one, IPv4 mapped into IPv6 counting as IPv4.
pub fn same_host(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    }
}

fn unix_target(text: &str, path: &str) -> Result<Target, AddressError> {
    if path.is_empty() {
        return Err(AddressError::Empty(text.to_owned()));
    }
    if !path.starts_with('/') {
        return Err(AddressError::RelativePath(text.to_owned()));
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(AddressError::LongPath(text.to_owned()));
    }
    Ok(Target::Unix(PathBuf::from(path)))
}

fn tcp_target(
    text: &str,
    rest: &str,
    family: Family,
    default_port: u16,
) -> Result<Target, AddressError> {
    if rest.is_empty() {
        return Err(AddressError::Empty(text.to_owned()));
    }
    let (host, port) = split_port(text, rest)?;
    let port = match port {
        None => default_port,
        Some(digits) => parse_port(digits).ok_or_else(|| AddressError::Port(text.to_owned()))?,
    };
    if !valid_host(host, family) {
        return Err(AddressError::Host {
            text: text.to_owned(),
            expected: family.expected(),
        });
    }
    Ok(Target::Tcp {
        family,
        host: host.to_owned(),
        port,
    })
}

/// Separates `host[:port]`. Two colons without brackets are an IPv6 address without a port.
fn split_port<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<&'a str>), AddressError> {
    if let Some(inner) = rest.strip_prefix('[') {
        let bad = || AddressError::Host {
            text: text.to_owned(),
            expected: "an IPv6 address in [], then nothing or :port",
        };
        let (host, after) = inner.split_once(']').ok_or_else(bad)?;
        if !is_ipv6(host) {
            return Err(bad());
        }
        return match after.strip_prefix(':') {
            None if after.is_empty() => Ok((host, None)),
            None => Err(bad()),
            Some(port) => Ok((host, Some(port))),
        };
    }
    match rest.split_once(':') {
        Some((_, after)) if after.contains(':') => Ok((rest, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((rest, None)),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u16>().ok().filter(|port| *port != 0)
}

/// Whether a host is an IPv6 address, perhaps with the interface of a link-local one
/// (`fe80::1%em0`).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
    address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
}

fn valid_host(host: &str, family: Family) -> bool {
    if host.contains(':') {
        return family != Family::V4 && is_ipv6(host);
    }
    let numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric {
        return family != Family::V6 && host.parse::<Ipv4Addr>().is_ok();
    }
    !host.is_empty()
        && host.len() <= HOST_LENGTH_MAX
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests;
