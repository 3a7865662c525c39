//! The one request of our extension: what a copy is now. Never sent to base hastd.

use super::PeerCommand;
use crate::nv::NvWriter;
use crate::wire::frame;

/// How good a node's copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ComponentState {
    /// Equal to the other.
    Consistent = 1,
    /// A mixture of two times.
    Inconsistent = 2,
    /// Holds writes that the other has not.
    Ahead = 3,
}

impl ComponentState {
    /// The state of a number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Consistent),
            2 => Some(Self::Inconsistent),
            3 => Some(Self::Ahead),
            _ => None,
        }
    }
}

/// Our extension's request: the primary tells the secondary what its copy is now, to be made durable
/// there before it is answered (with an ordinary reply).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateReport {
    /// As in [`PeerRequest::seq`](super::PeerRequest::seq).
    pub seq: u64,
    /// What the secondary's copy is.
    pub state: ComponentState,
    /// The secondary's new localcnt.
    pub localcnt: u64,
    /// The secondary's new remotecnt.
    pub remotecnt: u64,
}

impl StateReport {
    /// Appends the whole message.
    pub fn encode_into(&self, out: &mut Vec<u8>, version: u8) {
        frame::encode_head(out, version, |nv| self.write(nv));
    }

    /// Appends the entries.
    pub fn write(&self, nv: &mut NvWriter<'_>) {
        nv.u8("cmd", PeerCommand::State.number())
            .u64("seq", self.seq);
        nv.u8("state", self.state as u8);
        nv.u64("localcnt", self.localcnt)
            .u64("remotecnt", self.remotecnt);
    }
}
