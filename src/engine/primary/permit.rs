//! Whether this node may go on alone: acknowledge what only it has. Without a permit such changes are
//! held, and so are flushes: for the peer to be there and take them, for a permit, or for the end.
//! Reads are served.
//!
//! What is held was not acknowledged, and is done again from the start when its time comes; so no generation
//! begins for it (`go_alone`), and a peer that takes the role over meanwhile finds no split brain.
//! What was acknowledged before stays so.

use super::requests::Side;
use super::{Action, Notice, Primary};

impl Primary {
    /// Whether a change that the peer does not have may be acknowledged.
    pub(super) fn may_go_alone(&self) -> bool {
        self.permitted && !self.leans_on_peer()
    }

    /// Whether a request that the peer does not have is to wait for want of a permit. While this node leans on
    /// the peer, what is said of that counts.
    pub(super) fn is_held(&self, id: u64) -> bool {
        let pending = self.requests.get(&id);
        let open = pending.is_some_and(|pending| !pending.acknowledged);
        open && !self.permitted && !self.leans_on_peer()
    }

    /// Keeps a change that only the local disk has.
    pub(super) fn hold(&mut self, id: u64, remote: Side, actions: &mut Vec<Action>) {
        if matches!(remote, Side::Failed(_)) {
            // It would fail there again, at once: the peer is to have recovered first.
            self.wait_for_peer(id);
        } else {
            self.again(id, actions);
        }
    }

    /// How many requests are held.
    pub(super) fn held(&self) -> u64 {
        if self.permitted || self.leans_on_peer() {
            0
        } else {
            self.waiting_peer.len() as u64
        }
    }

    pub(super) fn permit(&mut self, permitted: bool, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.permitted, permitted) == permitted {
            return;
        }
        self.held_said = false;
        if permitted {
            self.wake_waiting_peer(actions);
            // In async some wait for nothing but the peer's answer.
            let ids: Vec<u64> = self.requests.keys().copied().collect();
            for id in ids {
                self.settle(id, actions);
            }
        }
    }

    /// Says once that requests are held.
    pub(super) fn say_held(&mut self, actions: &mut Vec<Action>) {
        if !self.held_said && self.held() > 0 {
            self.held_said = true;
            actions.push(Action::Notice(Notice::Held));
        }
    }
}
