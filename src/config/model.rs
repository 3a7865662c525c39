//! The configuration of one node, everything inherited and defaulted: what hastd, a worker and
//! hastctl work from. Holds no trace of the notation it was written in.

use super::address::Address;
use crate::terms::{Checksum, Compression, Replication};
use std::path::PathBuf;
use std::time::Duration;

/// Where hastctl finds hastd unless told otherwise.
pub const DEFAULT_CONTROL: &str = "uds:///var/run/hastctl";
/// Where hastd listens for peers unless told otherwise.
pub const DEFAULT_LISTEN: [&str; 2] = ["tcp4://0.0.0.0:8457", "tcp6://[::]:8457"];
/// Where hastd leaves its process number.
pub const DEFAULT_PIDFILE: &str = "/var/run/hastd.pid";
/// Connection timeout.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest connection timeout: a day. More is a slip of the keyboard.
pub const TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// A worker's memory budget for requests, in bytes.
pub const DEFAULT_BUFFERS: u64 = 32 << 20;
/// Least budget: a few of the largest requests (1 MiB) must fit beside each other.
pub const BUFFERS_MIN: u64 = 4 << 20;
/// Most: what no machine this runs on has to spare; more is a slip of the keyboard.
pub const BUFFERS_MAX: u64 = 64 << 30;
/// Longest resource or provider name in bytes, as in base hastd (NAME_MAX less a NUL).
pub const NAME_LENGTH_MAX: usize = 254;
/// Longest path in bytes, as in base hastd (PATH_MAX less a NUL).
pub const PATH_LENGTH_MAX: usize = 1023;
/// Folder of the sockets that `provider nbd` makes where it is given no address.
pub const NBD_SOCKET_FOLDER: &str = "/var/run/hast";

/// What one node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of this node's sections: of several the first in the file. None where it has no section.
    pub node: Option<String>,
    /// The names of all nodes' sections, in the order of the file, each once.
    pub nodes: Vec<String>,
    /// Address hastctl talks to.
    pub control: Address,
    /// Addresses peers connect to: all TCP, at least one.
    pub listen: Vec<Address>,
    /// No `listen` was written, so [`DEFAULT_LISTEN`] is in force: one the kernel has no
    /// address family for may be left out without complaint.
    pub listen_is_default: bool,
    /// File for the main process's number; absolute.
    pub pidfile: PathBuf,
    /// The resources, in the order of the file. No two share a name, a local path or a provider.
    pub resources: Vec<Resource>,
}

impl Config {
    /// The resource called `name`.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}

/// One replicated disk, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name on both nodes; 1..=[`NAME_LENGTH_MAX`] bytes, never `all`.
    pub name: String,
    /// Name of the device this node offers (`/dev/hast/<provname>` for a GEOM gate).
    pub provname: String,
    /// The local component; absolute.
    pub local: PathBuf,
    /// The peer; TCP. None where the file says `remote none`.
    pub remote: Option<Address>,
    /// Local address of connections to the peer; TCP, port 0 where it names none.
    pub source: Option<Address>,
    /// When a write is acknowledged.
    pub replication: Replication,
    /// How payloads sent are checked.
    pub checksum: Checksum,
    /// How payloads sent are made smaller.
    pub compression: Compression,
    /// How long the peer may be silent; whole seconds, 1 s..=[`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Program run on events; absolute.
    pub exec: Option<PathBuf>,
    /// Whether the activemap is flushed before data it covers is written.
    pub metaflush: bool,
    /// Where requests come from.
    pub provider: Provider,
    /// A worker's memory budget for requests in bytes, [`BUFFERS_MIN`]..=[`BUFFERS_MAX`].
    pub buffers: u64,
}

impl Resource {
    /// The peer's address as status shows it: `none` where there is none.
    pub fn remote_text(&self) -> &str {
        self.remote.as_ref().map_or("none", Address::text)
    }
}

/// Where a resource's requests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// A GEOM gate device (FreeBSD).
    Gate,
    /// An NBD server at an address.
    Nbd(Address),
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gate => f.write_str("gate"),
            Self::Nbd(address) => write!(f, "nbd {address}"),
        }
    }
}
