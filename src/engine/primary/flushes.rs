//! Flushes: acknowledged when every copy in use flushed. One that this node carries out alone counts as done
//! alone where it makes safe what no point covers.

use super::requests::{Side, Stage};
use super::{Action, Primary};
use crate::engine::{Command, Operation, Owner, Range};
use crate::terms::Replication;
use nix::errno::Errno;

impl Primary {
    pub(super) fn start_flush(&mut self, id: u64, actions: &mut Vec<Action>) {
        if self.is_peer_needed() || self.lacks_peer_what_it_leads() {
            self.wait_for_peer(id);
            return;
        }
        if self.is_meeting() {
            self.waiting_link.push_back(id);
            return;
        }
        let mode = self.replication;
        let none = Range::new(0, 0);
        let remote = self.send_to_peer(id, Command::Flush, none, mode, actions);
        actions.push(Action::FlushLocal(Operation {
            owner: Owner::Request(id),
            part: 0,
        }));
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.mode = mode;
            pending.stage = Stage::Running;
            pending.local = Side::Outstanding;
            pending.remote = remote;
        }
    }

    /// Whether the peer, on which this node leans, lacks something. A flush is not acknowledged then: the
    /// peer does not know that it lacks anything, and may have to go on alone.
    fn lacks_peer_what_it_leads(&self) -> bool {
        self.leans_on_peer() && !self.map.behind().is_empty()
    }

    pub(super) fn settle_flush(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(pending) = self.requests.get(&id) else {
            return;
        };
        let peer_is_truth = self.leans_on_peer();
        match (pending.local, pending.remote) {
            (Side::Outstanding, _) => {}
            (Side::Done, Side::Outstanding) => {
                if pending.mode == Replication::Async && self.may_go_alone() {
                    self.acknowledge(id, Ok(()), actions);
                }
            }
            (_, Side::Outstanding | Side::Received) => {}
            (_, Side::Done) if self.lacks_peer_what_it_leads() => self.wait_for_peer(id),
            (Side::Done, Side::Done | Side::Failed(Errno::EOPNOTSUPP)) => {
                // A peer without a volatile cache has nothing to flush.
                self.finish(id, Ok(()), actions);
            }
            (Side::Failed(_), Side::Done) if peer_is_truth => self.finish(id, Ok(()), actions),
            (Side::Failed(errno), _) | (_, Side::Failed(errno)) => {
                self.finish(id, Err(errno), actions);
            }
            (_, _) if peer_is_truth || self.is_held(id) => self.again(id, actions),
            // Begun alone, it ends beside the peer: what it was to make safe is the peer's to flush, too.
            (_, _) if self.is_meeting() || self.together().is_some() => self.again(id, actions),
            // The peer is away. Did it leave with something that only this flush makes safe?
            (_, _) if self.uncovered || self.alone => {
                let revision = self.go_alone();
                self.finish_after(id, revision, actions);
            }
            (_, _) => self.finish(id, Ok(()), actions),
        }
    }
}
