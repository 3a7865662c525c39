//! What hastctl and hastd say to each other over the control socket (spec, section 5): one
//! request, one reply, each a message of an nv. Base FreeBSD's hastctl understands our hastd and
//! ours base's: what we add are entries of their own, which base passes over and whose absence
//! we take.
//!
//! Messages only: the one place here that opens a socket is [`client`].

pub mod client;
mod fields;
mod permit;
mod reply;
mod request;
mod states;
mod status;

pub use permit::Permit;
pub use reply::{ErrorCode, Failure, ReplyError, RoleReply, StatusReply, failure_reply};
pub use request::{Guard, Request, Selection};
pub use states::{Condition, Connection, Direction, LocalState, PeerState};
pub use status::{
    Details, Holding, Queues, ResourceStatus, Statistics, Synchronisation, WorkerStatus,
};

use crate::nv::Nv;
use crate::wire::PROTOCOL_VERSION;
use crate::wire::frame::{self, Limits};

/// What hastd takes from a client: names of some thousand resources, no payload.
pub const REQUEST_LIMITS: Limits = Limits {
    nv: 256 << 10,
    payload: 0,
};

/// What hastctl takes from hastd: status is about 2 KiB a resource.
pub const REPLY_LIMITS: Limits = Limits {
    nv: 4 << 20,
    payload: 0,
};

/// A request or reply as it goes over the control socket.
pub fn encode(nv: &Nv) -> Vec<u8> {
    frame::encode(PROTOCOL_VERSION, nv, &[])
}

#[cfg(test)]
mod tests;
