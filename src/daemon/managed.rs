//! A resource as the main process sees it: its configuration, its lifecycle, its worker, and what has been said of it.
//!
//! Answers questions about itself; what happens to it is [`super::resources`]'s.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::claims::Claims;
use super::complaint::Complaint;
use super::lifecycle::{Lifecycle, Stage};
use super::primary_line::PrimaryLine;
use super::socket_file::SocketFile;
use super::timers::TimerId;
use super::worker_process::WorkerProcess;
use crate::config::{Provider, Resource, Target};
use crate::control::Permit;
use crate::provider::gate;
use crate::terms::Role;
use crate::worker::channel::Introduction;

/// A pair of connections for a secondary's worker.
#[derive(Debug)]
pub struct Arrival {
    /// Carries requests.
    pub first: OwnedFd,
    /// Carries replies.
    pub second: OwnedFd,
    /// What was agreed.
    pub introduction: Introduction,
}

/// A resource as the main process sees it.
#[derive(Debug)]
pub struct Managed {
    pub(super) resource: Resource,
    /// With what its worker, which is being restarted, works still.
    pub(super) before: Option<Resource>,
    pub(super) lifecycle: Lifecycle,
    pub(super) worker: Option<WorkerProcess>,
    /// Where the worker serves NBD: confined, it can not remove that at its end.
    pub(super) socket: Option<SocketFile>,
    pub(super) arrival: Option<Arrival>,
    /// To the primary that the worker serves, while there is that worker.
    pub(super) primary_line: Option<PrimaryLine>,
    /// Why the last worker did not take its role, or lost it.
    pub(super) complaint: Complaint,
    pub(super) claims: Claims,
    /// What it may acknowledge alone when it is primary.
    pub(super) permit: Permit,
    /// It is no longer configured: it goes when its worker has ended.
    pub(super) removed: bool,
    pub(super) timer: Option<TimerId>,
}

impl Managed {
    /// A resource in role init.
    pub fn new(resource: Resource) -> Self {
        Self {
            resource,
            before: None,
            lifecycle: Lifecycle::default(),
            worker: None,
            socket: None,
            arrival: None,
            primary_line: None,
            complaint: Complaint::default(),
            claims: Claims::new(Instant::now()),
            permit: Permit::Free,
            removed: false,
            timer: None,
        }
    }

    /// The worker has taken its role: its socket, if it has one, is there.
    pub(super) fn note_socket(&mut self, role: Role) {
        let its = self.before.as_ref().unwrap_or(&self.resource);
        if role == Role::Primary
            && let Provider::Nbd(address) = &its.provider
            && let Target::Unix(path) = address.target()
        {
            self.socket = SocketFile::at(path).ok();
        }
    }
}

impl Managed {
    /// The role as the other node is to know it: a primary that is told to stop is one until its worker has
    /// ended, and one that was handed over, or died, while a file system waits on its device.
    pub fn role_for_peer(&self) -> Role {
        let worker = self.worker.as_ref().map(WorkerProcess::role);
        match self.lifecycle.role() {
            _ if worker == Some(Role::Primary) => Role::Primary,
            // Its device is gone: it can do no harm, and will follow.
            Role::Primary if self.lifecycle.stage() == Stage::Superseded => Role::Secondary,
            Role::Init if self.is_waited_for() => Role::Primary,
            role => role,
        }
    }

    /// Whether this is a secondary whose primary is connected, as far as this machine knows. One that lost power
    /// is, until the worker has given its silence up.
    pub fn serves_a_primary(&self) -> bool {
        self.worker.as_ref().map(WorkerProcess::role) == Some(Role::Secondary)
            && matches!(self.lifecycle.stage(), Stage::Starting | Stage::Running)
            && self.primary_line.as_ref().is_none_or(PrimaryLine::is_open)
    }

    /// Whether somebody has the device open. NBD's is gone with its worker.
    pub fn device_is_open(&self) -> bool {
        let its = self.before.as_ref().unwrap_or(&self.resource);
        its.provider == Provider::Gate
            && gate::of_this_system()
                .is_some_and(|kernel| gate::orphan::has_holders(&*kernel, &its.provname))
    }

    /// Destroys a device without a worker by force, if that has not been done. Whether it is open even so.
    pub(super) fn destroy_device(&self) -> bool {
        let its = self.before.as_ref().unwrap_or(&self.resource);
        if its.provider == Provider::Gate
            && let Some(kernel) = gate::of_this_system()
            && let Err(error) = gate::orphan::remove(&*kernel, &its.provname, true)
        {
            log::error!("{error}");
            return true;
        }
        self.device_is_open()
    }

    fn is_waited_for(&self) -> bool {
        self.resource.provider == Provider::Gate
            && gate::of_this_system()
                .is_some_and(|kernel| gate::orphan::is_open(&*kernel, &self.resource.provname))
    }
}
