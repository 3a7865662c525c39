//! What `hast-failover` and its agent say to each other over the agent's socket: one line of JSON each way, and where a
//! request is followed one more for whatever happens until it has settled.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

/// Longest line, in bytes: a status of some hundred groups.
pub const LINE: u64 = 1 << 20;

/// What is asked of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// devd says what has become of an address.
    Event {
        /// `vhid@interface`
        subsystem: String,
        /// `MASTER`, `BACKUP` or `INIT`.
        state: String,
    },
    /// Become master.
    Master {
        /// Of this group.
        group: String,
        /// A person vouches for the peer.
        force: bool,
    },
    /// Become backup, and stay so.
    Backup {
        /// Of this group.
        group: String,
    },
    /// Change places with the peer.
    Switchover {
        /// In this group.
        group: String,
    },
    /// Follow CARP again.
    Clear {
        /// In this group.
        group: String,
    },
    /// Tell how things are.
    Status {
        /// Of one group; none: of all.
        group: Option<String>,
    },
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done, or will be.
    Taken,
    /// It will not be done.
    Refused {
        /// A sentence.
        why: String,
    },
    /// A step begins.
    Begins {
        /// The step.
        what: String,
    },
    /// A step has ended.
    Ended(Ended),
    /// Something to be known.
    Said {
        /// `info`, `warning` or `error`.
        level: String,
        /// A sentence.
        text: String,
    },
    /// Nothing is under way any more. The last answer.
    Settled {
        /// `master` or `backup`.
        phase: String,
        /// Why the last way up failed.
        trouble: Option<String>,
    },
    /// How things are.
    Status {
        /// In the order of the configuration.
        groups: Vec<GroupReport>,
    },
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The step.
    pub what: String,
    /// Whether it was done, or gave the answer that was hoped for.
    pub done: bool,
    /// What came of it.
    pub outcome: String,
    /// How long it took.
    pub milliseconds: u64,
    /// When it ended, in seconds since 1970.
    pub at: u64,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Its name.
    pub group: String,
    /// `starting`, `backup`, `master`, `becoming-master` or `becoming-backup`.
    pub state: String,
    /// What is being done.
    pub step: Option<String>,
    /// For how long, in milliseconds.
    pub step_milliseconds: Option<u64>,
    /// Why the last way up failed.
    pub trouble: Option<String>,
    /// `MASTER`, `BACKUP` or `INIT`: CARP's last word.
    pub carp: Option<String>,
    /// CARP is not followed until `clear`.
    pub pinned: bool,
    /// This node's CARP demotion is raised for the group.
    pub demoted: bool,
    /// How long the lease has yet to run, in seconds.
    pub lease_seconds: Option<u64>,
    /// How long ago this copy was last known to be up to date with the peer there, in seconds.
    pub fresh_seconds: Option<u64>,
    /// Why hastd can not be asked.
    pub hastd: Option<String>,
    /// As hastd says.
    pub resources: Vec<ResourceReport>,
    /// The last ones, the latest last.
    pub steps: Vec<Ended>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    /// Its name.
    pub name: String,
    /// `init`, `primary` or `secondary`.
    pub role: String,
    /// `complete`, `syncing` or `degraded`; none where there is no worker.
    pub status: Option<String>,
    /// `disconnected`, `connecting` or `connected`.
    pub connection: Option<String>,
    /// This node's copy.
    pub local: Option<String>,
    /// The peer's copy.
    pub peer: Option<String>,
    /// Why it is not complete.
    pub reason: Option<String>,
}

/// A line as it is sent.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The next line; none at the end.
///
/// # Errors
/// `InvalidData` for what is no such message, or longer than [`LINE`].
pub fn read<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    from.take(LINE).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line without its end",
        ));
    }
    let message = serde_json::from_slice(&bytes);
    message
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
