//! The other node went on as primary without this one, while the device here was open or requests were held.
//!
//! What is under an open device never changes but by that device's own requests. So this node does not follow while
//! anybody has it open: the engine fails every request, what is written here reaches neither disk, and the device goes
//! as a disk does that is pulled. The main process has it done (it tells this worker to stop, the device destroyed),
//! and makes the resource secondary once the last of its users has closed it.
//!
//! Invariant: it is said once in a worker's life, and there is no way back from it.

use super::Primary;
use crate::worker::channel::{FromWorker, HookEvent};
use crate::worker::lock;

impl Primary {
    /// Says so. Whoever brings it may hold up requests: nothing is waited for here.
    pub(super) fn superseded(&self, requests: u64) {
        let remote = lock(&self.resource).remote_text().to_owned();
        let message = sentence(&remote, requests);
        if self.superseded.set(message.clone()).is_err() {
            return;
        }
        self.hook(HookEvent::Superseded);
        self.link.send(&FromWorker::Superseded { message });
    }
}

/// What happened and what to do.
fn sentence(remote: &str, requests: u64) -> String {
    format!(
        "superseded: {remote} went on as primary; what was written here and not acknowledged ({requests} requests) \
         has failed; close the device (zpool export -f, umount -f, or reboot); this node then becomes secondary by \
         itself"
    )
}
