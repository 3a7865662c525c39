//! The primary's side of its device: what the device says of itself, when its users may read the local
//! component directly, and its end.
//!
//! Invariant: nobody reads the component directly while it lacks anything that this node knows of, or after
//! it failed. What makes that so comes before whatever depends on it: direct reads end before the engine
//! hears of a failure, or of a peer that is ahead.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use super::Primary;
use super::served::Served;
use crate::config::Resource;
use crate::control::WorkerStatus;
use crate::engine::meeting::Source;
use crate::engine::primary::Answer;
use crate::provider::gate::kernel::Kernel;
use crate::worker::channel::DeviceFate;
use crate::worker::confinement;
use crate::worker::local::{Ended, Task};
use crate::worker::lock;
use crate::worker::refusal::RoleError;
use crate::worker::station::Busy;

impl Primary {
    /// Begins to take requests.
    pub(super) fn serve(self: &Arc<Self>, gate: Option<Arc<dyn Kernel>>) -> Result<(), RoleError> {
        let resource = lock(&self.resource).clone();
        let info = describe(&resource, &self.report());
        let served = Served::open(gate, &resource, &self.local, &info, self.clone())?;
        *self
            .provider
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(served);
        self.review_direct_reads();
        Ok(())
    }

    /// Gives up what this process does not need any more. Without that it does not serve, and a device
    /// that nobody has open yet goes.
    pub(super) fn confine(&self) -> Result<(), RoleError> {
        let result = self.give_up_privileges();
        if result.is_err()
            && let Err(busy) = self.stop_serving(DeviceFate::Vacate)
        {
            log::error!("{busy}");
        }
        result
    }

    fn give_up_privileges(&self) -> Result<(), RoleError> {
        self.provider().as_ref().map_or(Ok(()), Served::confine)?;
        self.local.confine();
        confinement::confine()?;
        Ok(())
    }

    fn provider(&self) -> RwLockReadGuard<'_, Option<Served>> {
        self.provider.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after the device, once a second. Whether it is still there.
    pub(super) fn look_after_device(&self) -> bool {
        let info = describe(&lock(&self.resource), &self.report());
        self.review_direct_reads();
        self.provider().as_ref().is_none_or(|provider| {
            provider.set_info(&info);
            !provider.is_lost()
        })
    }

    /// Direct reads, exactly while the local copy has everything.
    fn review_direct_reads(&self) {
        // What is current must not change between looking and switching.
        let _reviewing = lock(&self.direct_reads);
        let status = lock(&self.core).engine().status();
        let lacks_nothing = status.stale == 0 && !status.superseded;
        // What failed before there was a device barred nothing.
        let is_current = lacks_nothing && self.local.last_failure().is_none();
        if let Some(provider) = &*self.provider() {
            provider.set_direct_reads(is_current);
        }
    }

    /// Does what makes the peer's answer known to the engine, without direct reads if the peer may have what
    /// this node lacks.
    pub(super) fn agreeing(&self, answer: Answer, tell: impl FnOnce(Answer)) {
        let _reviewing = lock(&self.direct_reads);
        if answer.source == Source::Secondary
            && let Some(provider) = &*self.provider()
        {
            provider.set_direct_reads(false);
        }
        tell(answer);
    }

    /// Does a task on the component. A failure is the end of direct reads, before anybody hears of it.
    pub(super) fn do_task(&self, task: Task) -> Ended {
        let ended = self.local.carry_out(task);
        if ended.is_failure()
            && let Some(provider) = &*self.provider()
        {
            provider.bar_direct_reads();
        }
        ended
    }

    /// Takes no more requests, unless the device is to be released and is open.
    pub(super) fn stop_serving(&self, fate: DeviceFate) -> Result<(), Busy> {
        self.provider()
            .as_ref()
            .map_or(Ok(()), |provider| provider.stop(fate))
    }

    /// Lets go of the provider; a device that was not released stays in place.
    pub(super) fn end_serving(&self) {
        // Tasks that fail meanwhile look at the provider, and requests in flight are waited for.
        if let Err(busy) = self.stop_serving(DeviceFate::Keep) {
            log::error!("{busy}");
        }
        let mut provider = self
            .provider
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *provider = None;
    }
}

/// What `geom gate list` shows of the device.
fn describe(resource: &Resource, status: &WorkerStatus) -> String {
    let (name, remote) = (&resource.name, resource.remote_text());
    let mut text = format!(
        "HAST resource {name}: primary, {}; peer {remote}",
        status.condition
    );
    if let Some(details) = &status.details {
        let reason = details.reason.iter().map(|reason| format!(" ({reason})"));
        text.extend([format!(" {}, {}", details.connection, details.peer)]);
        text.extend(reason);
    }
    text
}
