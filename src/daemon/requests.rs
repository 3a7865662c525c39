//! What hastctl asks (spec, section 5), and the replies that wait for workers.
//!
//! Invariant: each request is answered once, a status within [`STATUS_TIME`], a change of role
//! within [`ROLE_TIME`], with what is known by then.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mio::Token;

use super::event_loop::Daemon;
use super::known_status::{known_status, status_without_report, unknown};
use super::lifecycle::{Event, Stage};
use super::managed::Managed;
use super::reactor::Deadline;
use super::role_change::RoleChange;
use super::timers::TimerId;
use super::worker_process::WorkerProcess;
use crate::control::{
    ErrorCode, Failure, Permit, Request, ResourceStatus, RoleReply, Selection, StatusReply,
    WorkerStatus, failure_reply,
};
use crate::nv::Nv;
use crate::terms::Role;
use crate::worker::channel::ToWorker;

/// How long workers may take to report.
const STATUS_TIME: Duration = Duration::from_secs(2);
/// How long workers may take to change roles before hastctl is told to look again later.
const ROLE_TIME: Duration = Duration::from_secs(10);

/// What is known of the answer for one resource; none while its worker is waited for.
type Slots<T> = Vec<(String, Option<Result<T, Failure>>)>;

/// A request that waits for workers.
#[derive(Debug)]
enum Pending {
    Role {
        wanted: Role,
        /// The role before, which is the answer once the new one is taken.
        before: HashMap<String, Role>,
        slots: Slots<Role>,
        timer: TimerId,
    },
    Status {
        number: u32,
        slots: Slots<ResourceStatus>,
        timer: TimerId,
    },
}

/// The requests that wait, by client.
#[derive(Debug, Default)]
pub struct Requests {
    pending: HashMap<Token, Pending>,
    /// Tells a report that is asked for now from a late one.
    number: u32,
}

impl Requests {
    /// The number of another report.
    pub fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }
}

impl Daemon {
    /// A client has sent a request.
    pub(super) fn requested(&mut self, client: Token, request: &Nv) {
        match Request::from_nv(request) {
            Ok(Request::Status { resources }) => self.status(client, &resources),
            Ok(Request::Permit { resources, permit }) => {
                self.set_permit(&resources, permit);
                self.status(client, &resources);
            }
            Ok(Request::SetRole {
                role,
                resources,
                force,
                guard,
            }) => {
                let change = RoleChange { role, force, guard };
                self.set_role(client, change, &resources);
            }
            Err(code) => {
                log::error!("Control request refused: {code}.");
                let reply = failure_reply(&code.into());
                self.control.answer(&mut self.reactor, client, &reply);
            }
        }
    }

    fn names(&self, selection: &Selection) -> Vec<String> {
        match selection {
            Selection::All => {
                let resources = self.config.resources.iter();
                resources.map(|resource| resource.name.clone()).collect()
            }
            // A name given twice is one resource all the same: it is asked, and answered, once.
            Selection::Named(names) => {
                let mut seen = HashSet::new();
                let first = names.iter().filter(|name| seen.insert(name.as_str()));
                first.cloned().collect()
            }
        }
    }

    fn configured(&self, name: &str) -> Option<&Managed> {
        self.resources.get(name).filter(|managed| !managed.removed)
    }

    fn set_role(&mut self, client: Token, change: RoleChange, selection: &Selection) {
        let RoleChange { role, force, .. } = change;
        let mut slots = Slots::new();
        let mut before = HashMap::new();
        for name in self.names(selection) {
            let slot = match self.configured(&name) {
                None => Some(Err(ErrorCode::NO_SUCH_RESOURCE.into())),
                Some(_) if self.ending => {
                    let failure = Failure::new(ErrorCode::REFUSED, "hastd is ending");
                    Some(Err(failure))
                }
                Some(managed) => {
                    let allowed = change.prepare(managed);
                    if allowed.is_ok() {
                        before
                            .entry(name.clone())
                            .or_insert(managed.lifecycle.role());
                        self.happen(&name, Event::Command { role, force });
                    }
                    allowed.err().map(Err)
                }
            };
            slots.push((name, slot));
        }
        let names: Vec<String> = before.keys().cloned().collect();
        let timer = self.reactor.after(ROLE_TIME, Deadline::Request(client));
        let pending = Pending::Role {
            wanted: role,
            before,
            slots,
            timer,
        };
        self.requests.pending.insert(client, pending);
        for name in names {
            self.answer_roles(&name);
        }
        self.answer_complete();
    }

    /// Answers what waited for a resource to take its role, if it has.
    pub(super) fn answer_roles(&mut self, name: &str) {
        let Some(managed) = self.resources.get(name) else {
            return;
        };
        if !managed.lifecycle.is_settled() {
            return;
        }
        let role = managed.lifecycle.role();
        for pending in self.requests.pending.values_mut() {
            let Pending::Role {
                wanted,
                before,
                slots,
                ..
            } = pending
            else {
                continue;
            };
            for (_, slot) in slots
                .iter_mut()
                .filter(|(own, slot)| own == name && slot.is_none())
            {
                let previous = before.get(name).copied().unwrap_or(Role::Init);
                *slot = Some(if role == *wanted && !managed.lifecycle.is_superseded() {
                    Ok(previous)
                } else {
                    Err(refused(managed, role))
                });
            }
        }
        self.answer_complete();
    }

    /// The status that is asked for after it tells that it is in force.
    fn set_permit(&mut self, selection: &Selection, permit: Permit) {
        for name in self.names(selection) {
            let Some(managed) = self.resources.get_mut(&name) else {
                continue;
            };
            managed.permit = permit;
            let role = managed.worker.as_ref().map(WorkerProcess::role);
            if role == Some(Role::Primary) {
                self.tell(&name, &ToWorker::Permit(permit), Vec::new());
            }
        }
    }

    fn status(&mut self, client: Token, selection: &Selection) {
        let number = self.requests.next_number();
        let mut slots = Slots::new();
        for name in self.names(selection) {
            let slot = match self.configured(&name) {
                None => Some(Err(ErrorCode::NO_SUCH_RESOURCE.into())),
                Some(managed) if managed.lifecycle.stage() == Stage::Running => {
                    self.tell(&name, &ToWorker::Status { number }, Vec::new());
                    None
                }
                Some(managed) => Some(Ok(status_without_report(managed))),
            };
            slots.push((name, slot));
        }
        let timer = self.reactor.after(STATUS_TIME, Deadline::Request(client));
        let pending = Pending::Status {
            number,
            slots,
            timer,
        };
        self.requests.pending.insert(client, pending);
        self.answer_complete();
    }

    /// A worker has reported.
    pub(super) fn reported(&mut self, name: &str, number: u32, report: &Nv) {
        let Some(managed) = self.resources.get(name) else {
            return;
        };
        let mut status = known_status(managed);
        status.worker = Some(match WorkerStatus::from_nv(report) {
            Ok(report) => {
                self.meetings
                    .reported(&mut self.reactor, name, number, &report);
                report
            }
            Err(entry) => unknown(&format!(
                "hastd and its worker process are not of one version ('{entry}' is not in its \
                 report); restart hastd"
            )),
        });
        self.fill_status(name, Some(number), &status);
    }

    /// A worker has ended: no report will come.
    pub(super) fn no_report_from(&mut self, name: &str) {
        if let Some(managed) = self.resources.get(name) {
            let mut status = known_status(managed);
            status.worker = Some(unknown(
                "the worker process has just ended; ask again in a moment",
            ));
            self.fill_status(name, None, &status);
        }
    }

    fn fill_status(&mut self, name: &str, wanted: Option<u32>, status: &ResourceStatus) {
        for pending in self.requests.pending.values_mut() {
            if let Pending::Status { number, slots, .. } = pending
                && wanted.is_none_or(|wanted| wanted == *number)
            {
                for (_, slot) in slots.iter_mut().filter(|(own, _)| own == name) {
                    slot.get_or_insert_with(|| Ok(status.clone()));
                }
            }
        }
        self.answer_complete();
    }

    /// A request has waited long enough: what is not known is said not to be.
    pub(super) fn request_overdue(&mut self, client: Token) {
        let Some(pending) = self.requests.pending.get_mut(&client) else {
            return;
        };
        match pending {
            Pending::Role { slots, .. } => {
                for (name, slot) in slots {
                    let managed = self.resources.get(name);
                    slot.get_or_insert_with(|| Err(too_slow(managed)));
                }
            }
            Pending::Status { slots, .. } => {
                let seconds = STATUS_TIME.as_secs();
                for (name, slot) in slots {
                    let managed = self.resources.get(name);
                    slot.get_or_insert_with(|| match managed {
                        None => Err(ErrorCode::NO_SUCH_RESOURCE.into()),
                        Some(managed) => Ok(ResourceStatus {
                            worker: Some(unknown(&format!(
                                "the worker process did not answer within {seconds} s; if it \
                                 stays so, look whether its disk still does"
                            ))),
                            ..known_status(managed)
                        }),
                    });
                }
            }
        }
        self.answer_complete();
    }

    /// Sends the replies that are complete.
    fn answer_complete(&mut self) {
        let complete: Vec<Token> = self
            .requests
            .pending
            .iter()
            .filter(|(_, pending)| pending.is_complete())
            .map(|(client, _)| *client)
            .collect();
        for client in complete {
            if let Some(pending) = self.requests.pending.remove(&client) {
                let (reply, timer) = pending.into_reply();
                self.reactor.cancel(timer);
                self.control.answer(&mut self.reactor, client, &reply);
            }
        }
    }
}

impl Pending {
    fn is_complete(&self) -> bool {
        match self {
            Self::Role { slots, .. } => slots.iter().all(|(_, slot)| slot.is_some()),
            Self::Status { slots, .. } => slots.iter().all(|(_, slot)| slot.is_some()),
        }
    }

    fn into_reply(self) -> (Nv, TimerId) {
        match self {
            Self::Role { slots, timer, .. } => {
                let resources = filled(slots);
                (RoleReply { resources }.to_nv(), timer)
            }
            Self::Status { slots, timer, .. } => {
                let resources = filled(slots);
                (StatusReply { resources }.to_nv(), timer)
            }
        }
    }
}

fn filled<T>(slots: Slots<T>) -> Vec<(String, Result<T, Failure>)> {
    let filled = |(name, slot): (String, Option<_>)| slot.map(|result| (name, result));
    slots.into_iter().filter_map(filled).collect()
}

fn refused(managed: &Managed, role: Role) -> Failure {
    let message = match managed.complaint.message() {
        Some(complaint) => complaint.to_owned(),
        None => format!("another command came meanwhile: the role is {role}"),
    };
    Failure::new(ErrorCode::REFUSED, message)
}

fn too_slow(managed: Option<&Managed>) -> Failure {
    let complaint = managed.and_then(|managed| managed.complaint.message());
    let message = format!(
        "the role is not taken after {} s, hastd goes on trying ({}); see status and the log",
        ROLE_TIME.as_secs(),
        complaint.unwrap_or("a worker is starting or ending")
    );
    Failure::new(ErrorCode::REFUSED, message)
}
