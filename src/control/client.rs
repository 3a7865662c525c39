//! hastctl's side of the control socket: connect, ask, take the answer. Every step has an end:
//! a hastd that hangs or babbles ends in an error, not in a wait.

use super::{Permit, REPLY_LIMITS, ReplyError, Request, RoleReply, Selection, StatusReply, encode};
use crate::config::{Address, Target};
use crate::deadline::DeadlineStream;
use crate::nv::Nv;
use crate::wire::frame::{Message, ReadError};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long hastctl waits for the connection, as base's does.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long hastctl waits for the whole reply: a role change ends one worker and starts
/// another, and a busy one may take its time to finish.
pub const REPLY_TIMEOUT: Duration = Duration::from_mins(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket may not be used.
    #[error("not permitted to talk to hastd at {0}; run hastctl as root")]
    NotPermitted(Address),
    /// Nobody answers there.
    #[error("hastd is not running or not listening at {address}: {error}")]
    Connect {
        /// The control address.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// The connection failed after it was made.
    #[error("cannot send the request to hastd at {address}: {error}")]
    Send {
        /// The control address.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// hastd did not answer, or not with a message.
    #[error("no usable reply from hastd at {address}: {error}")]
    Receive {
        /// The control address.
        address: Address,
        /// Why.
        error: ReadError,
    },
    /// hastd answered with an error, or not what was asked.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl ClientError {
    /// The exit code of sysexits(3) that base's hastctl ends with.
    pub const fn exit_code(&self) -> u8 {
        const EX_UNAVAILABLE: u8 = 69;
        const EX_SOFTWARE: u8 = 70;
        const EX_OSERR: u8 = 71;
        match self {
            Self::NotPermitted(_) | Self::Connect { .. } => EX_OSERR,
            Self::Send { .. } | Self::Receive { .. } => EX_UNAVAILABLE,
            Self::Reply(_) => EX_SOFTWARE,
        }
    }
}

/// Sends a [`Request::SetRole`] and understands the answer.
pub fn set_role(control: &Address, request: &Request) -> Result<RoleReply, ClientError> {
    Ok(RoleReply::from_nv(&exchange(
        control,
        request,
        REPLY_TIMEOUT,
    )?)?)
}

/// Sends a [`Request::Status`], or another that is answered like it, and understands the answer.
pub fn status(control: &Address, request: &Request) -> Result<StatusReply, ClientError> {
    Ok(StatusReply::from_nv(&exchange(
        control,
        request,
        REPLY_TIMEOUT,
    )?)?)
}

/// Gives primaries a permit to go on alone, or takes it away. The answer is the status of each once that is in
/// force; one whose worker does not answer has no [`Holding`](super::Holding) there.
pub fn permit(
    control: &Address,
    resources: Selection,
    permit: Permit,
) -> Result<StatusReply, ClientError> {
    status(control, &Request::Permit { resources, permit })
}

/// Sends a request and takes the reply, which must be complete within `reply_timeout`.
pub fn exchange(
    control: &Address,
    request: &Request,
    reply_timeout: Duration,
) -> Result<Nv, ClientError> {
    let mut socket = connect(control).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted(control.clone()),
        _ => ClientError::Connect {
            address: control.clone(),
            error,
        },
    })?;
    socket
        .set_write_timeout(Some(CONNECT_TIMEOUT))
        .and_then(|()| socket.write_all(&encode(&request.to_nv())))
        .map_err(|error| ClientError::Send {
            address: control.clone(),
            error,
        })?;
    let mut reader = DeadlineStream::new(socket, Instant::now() + reply_timeout);
    Message::read_from(&mut reader, REPLY_LIMITS)
        .map(|message| message.nv)
        .map_err(|error| ClientError::Receive {
            address: control.clone(),
            error,
        })
}

fn connect(control: &Address) -> io::Result<Socket> {
    let candidates = match control.target() {
        Target::Unix(path) => vec![(Domain::UNIX, SockAddr::unix(path)?)],
        Target::Tcp { .. } => control
            .resolve()?
            .into_iter()
            .map(|address| (Domain::for_address(address), SockAddr::from(address)))
            .collect(),
    };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for (domain, address) in candidates {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        match socket.connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(()) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
