//! Asking the other node of a resource what it is, on its replication port, and telling it that we are about to
//! become primary (a claim) or that it may (an invitation). For the failover agent.
//!
//! Blocks, but never longer than it is told to. Disturbs nothing: neither our hastd nor base's takes
//! a question for a primary that wants to begin. Decides nothing.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{Address, Resource};
use crate::deadline::DeadlineStream;
use crate::moment::Moment;
use crate::terms::{LocalState, Role};
use crate::wire::PROTOCOL_VERSION;
use crate::wire::frame::{self, Limits, Message, ReadError};
use crate::wire::handshake::TOKEN_SIZE;
use crate::wire::handshake::query::{CLAIM_LIMIT, Query, QueryAnswer, Reply};

/// What is asked of the other node, beside what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Question {
    /// For how long it shall stay out of the primary's role, because we are about to take it: zero for not at all,
    /// at most [`CLAIM_LIMIT`]; cut to whole seconds.
    pub claim: Duration,
    /// Whether we have given the role up for it to take.
    pub invite: bool,
}

/// What the other node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its role. Primary also while it is giving that up.
    pub role: Role,
    /// Until when it stays out of the primary's role, unless forced by a person: for a
    /// [`crate::control::Guard`]. None where it was not asked to, or does not promise it.
    pub claimed: Option<Moment>,
    /// Whether it understood the question. Base hastd does not: it can not promise anything, and what
    /// follows is not known of it.
    pub ours: bool,
    /// The state of its copy, where it has a worker to ask.
    pub local: Option<LocalState>,
    /// It is through with the handshake with its peer.
    pub connected: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The resource is configured without a peer.
    #[error("the resource has no remote")]
    NoPeer,
    /// Nobody answered in time.
    #[error("the other node at {remote} is out of reach: {reason}")]
    Unreachable {
        /// The configured address.
        remote: String,
        /// The last failure.
        reason: String,
    },
    /// Somebody is there and does not answer the question.
    #[error("the other node at {remote} does not tell its role: {reason}")]
    Refused {
        /// The configured address.
        remote: String,
        /// What it said.
        reason: String,
    },
    /// What came is no answer.
    #[error("no usable answer from {remote}: {reason}")]
    Malformed {
        /// The configured address.
        remote: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why one address gave no answer; [`AskError`] without the configured address.
enum Trouble {
    Unreachable(io::Error),
    Refused(String),
    Malformed(String),
}

/// Asks the other node of a resource, for at most `limit`.
pub fn ask(resource: &Resource, question: Question, limit: Duration) -> Result<Answer, AskError> {
    let deadline = Instant::now() + limit;
    let remote = resource.remote.as_ref().ok_or(AskError::NoPeer)?;
    talk(resource, remote, question, deadline).map_err(|trouble| {
        let remote = remote.to_string();
        match trouble {
            Trouble::Unreachable(error) => AskError::Unreachable {
                remote,
                reason: error.to_string(),
            },
            Trouble::Refused(reason) => AskError::Refused { remote, reason },
            Trouble::Malformed(reason) => AskError::Malformed { remote, reason },
        }
    })
}

fn talk(
    resource: &Resource,
    remote: &Address,
    question: Question,
    deadline: Instant,
) -> Result<Answer, Trouble> {
    let mut socket =
        connect(remote, resource.source.as_ref(), deadline).map_err(Trouble::Unreachable)?;
    // The promise counts from before the other node can have made it.
    let asked = Moment::now();
    say(&mut socket, resource, question, deadline).map_err(Trouble::Unreachable)?;
    let mut reader = DeadlineStream::new(socket, deadline);
    let message =
        Message::read_from(&mut reader, Limits::OPENING).map_err(|error| {
            match error {
        ReadError::Io(error) if ended(&error) => Trouble::Refused(
            "it closed the connection; is this node's address the 'remote' of the resource there?"
                .to_owned(),
        ),
        ReadError::Io(error) => Trouble::Unreachable(error),
        ReadError::Frame(error) => Trouble::Malformed(error.to_string()),
    }
        })?;
    let reply = Reply::from_nv(message.nv.view());
    match reply.map_err(|error| Trouble::Malformed(error.to_string()))? {
        Reply::Answer(answer) => Ok(understood(&answer, asked)),
        Reply::Role(role) => Ok(Answer {
            role,
            claimed: None,
            ours: false,
            local: None,
            connected: false,
        }),
        Reply::Refused(refusal) => Err(Trouble::Refused(refusal.errmsg)),
    }
}

fn understood(answer: &QueryAnswer, asked: Moment) -> Answer {
    let claim = Some(answer.claim).filter(|claim| !claim.is_zero());
    Answer {
        role: answer.role,
        claimed: claim.map(|claim| asked.after(claim)),
        ours: true,
        local: answer.local,
        connected: answer.connected,
    }
}

fn say(
    socket: &mut Socket,
    resource: &Resource,
    question: Question,
    deadline: Instant,
) -> io::Result<()> {
    let mut token = [0; TOKEN_SIZE];
    getrandom::fill(&mut token).map_err(io::Error::other)?;
    let query = Query {
        resource: resource.name.clone(),
        token,
        claim: question.claim.min(CLAIM_LIMIT),
        invite: question.invite,
    };
    socket.set_write_timeout(Some(left(deadline)?))?;
    socket.write_all(&frame::encode(PROTOCOL_VERSION, &query.to_nv(), &[]))
}

/// Whether the other side closed the connection.
fn ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// How long there is until `deadline`.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "it did not answer in time",
        ));
    }
    Ok(left)
}

/// Connects to the first address that answers; each has its share of the time that is left.
fn connect(remote: &Address, source: Option<&Address>, deadline: Instant) -> io::Result<Socket> {
    let addresses = look_up(remote, deadline)?;
    let sources = source.map(|source| look_up(source, deadline)).transpose()?;
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for (index, address) in addresses.iter().enumerate() {
        let share = left(deadline)? / (addresses.len() - index) as u32;
        match begin(*address, sources.as_deref(), share) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn begin(to: SocketAddr, sources: Option<&[SocketAddr]>, time: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(sources) = sources {
        let mut source = *sources
            .iter()
            .find(|source| source.is_ipv4() == to.is_ipv4())
            .ok_or_else(|| io::Error::other("the source is of another IP version"))?;
        // A port given there is in use by the resource's own connections.
        source.set_port(0);
        socket.bind(&SockAddr::from(source))?;
    }
    socket.connect_timeout(&SockAddr::from(to), time)?;
    Ok(socket)
}

/// The system's resolver takes its own time: where that is too long, it is left to itself.
fn look_up(address: &Address, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Some(numeric) = address.numeric() {
        return Ok(vec![numeric]);
    }
    let (sender, answers) = mpsc::channel();
    let wanted = address.clone();
    std::thread::Builder::new()
        .name("name look-up".to_owned())
        .spawn(move || {
            // Nobody listens any more where it took too long.
            let _ = sender.send(wanted.resolve());
        })?;
    answers.recv_timeout(left(deadline)?).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{address} could not be looked up in time"),
        ))
    })
}

#[cfg(test)]
mod tests;
