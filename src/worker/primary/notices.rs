//! What a primary's engine says that concerns neither the disk nor a request: notices, the handshake, the
//! end of a connection, its own end.

use super::Primary;
use super::core::Work;
use crate::engine;
use crate::engine::meeting::Party;
use crate::engine::primary::{DisconnectReason, Notice};
use crate::worker::channel::{FromWorker, HookEvent};
use crate::worker::lock;

impl Primary {
    /// Passes on what concerns neither disk nor requests.
    pub(super) fn announce(&self, work: &mut Work) {
        if std::mem::take(&mut work.released) {
            self.room.notify_all();
        }
        if let Some(hello) = work.hello.take() {
            self.meeting.say(hello);
        }
        if let Some(reason) = work.disconnect.take() {
            self.disconnect(reason);
        }
        for notice in work.notices.drain(..) {
            self.notify(notice);
        }
        if work.stopped {
            work.stopped = false;
            self.ending.reached();
        }
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.meeting.closing(reason.to_string());
        if reason == DisconnectReason::MovedOn {
            self.meeting.again();
        }
        self.meeting.abandon();
        self.shut_connection();
    }

    pub(super) fn shut_connection(&self) {
        if let Some(connection) = &*lock(&self.connection) {
            connection.shut();
        }
    }

    fn notify(&self, notice: Notice) {
        match notice {
            Notice::SynchronisationStarted { direction, bytes } => {
                log::info!("synchronisation {} started: {bytes} bytes", way(direction));
                self.hook(HookEvent::SyncStart);
            }
            Notice::SynchronisationDone => {
                log::info!("synchronisation complete");
                self.hook(HookEvent::SyncDone);
            }
            Notice::SynchronisationInterrupted => {
                log::warn!("synchronisation interrupted; it goes on when the other node is back");
                self.hook(HookEvent::SyncInterrupted);
            }
            Notice::LocalStale => log::error!(
                "the local component fails writes: what it lacks is read from the other node; look at this \
                 node's disk"
            ),
            Notice::OlderImage(party) => log::error!(
                "an older image of {} component was put back: all of it is copied again from the node that is newer",
                match party {
                    Party::Primary => "this node's",
                    Party::Secondary => "the other node's",
                }
            ),
            Notice::Held => log::warn!(
                "writes are held: the other node is away, and this node's permit to go on without it has run out"
            ),
            Notice::Superseded { requests } => self.superseded(requests),
            Notice::PeerNeeded => log::error!(
                "requests fail: the other node holds the only current copy, and is away; bring it back, or \
                 go on without what only it has: 'hastctl role init', then 'role primary --force'"
            ),
        }
    }

    pub(super) fn waiting_for_disk(&self) -> usize {
        self.pool.waiting()
    }

    pub(super) fn hook(&self, event: HookEvent) {
        self.link.send(&FromWorker::Hook(event));
    }
}

const fn way(direction: engine::primary::Direction) -> &'static str {
    match direction {
        engine::primary::Direction::ToPeer => "to the other node",
        engine::primary::Direction::FromPeer => "from the other node",
    }
}
